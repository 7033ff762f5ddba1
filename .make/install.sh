#!/bin/sh
# Installs below $DESTDIR$PREFIX: a virtual environment in lib/powerd, the commands in bin, the service files, powerctl's
# manual page and completions, and examples in share/powerd. Nothing in it knows $DESTDIR, and /etc/power is left alone.
# `uninstall.sh` undoes it.
set -eu
cd "$(dirname "$0")/.."
: "${PREFIX:=/usr/local}" "${DESTDIR:=}" "${PYTHON:=python3}" "${SYSTEM:=$(uname -s)}"
PREFIX=${PREFIX%/}

fail() {
	echo "$*" >&2
	exit 1
}

case $PREFIX in
/*[[:space:]]* | "") fail "PREFIX must be a directory without blanks in its path, not '$PREFIX'" ;;
/*) ;;
*) fail "PREFIX must be an absolute path, not '$PREFIX'" ;;
esac
# A service user cannot look into home directories, and the unit hides them: neither powerd nor its Python may be there.
at_home() { case $1/ in /root/* | /home/* | /Users/*) true ;; *) false ;; esac; }
base=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))') ||
	fail "PYTHON=$PYTHON is no Python"
if at_home "$base" && ! at_home "$PREFIX"; then
	fail "PYTHON=$PYTHON lies in a home directory ($base), where the service cannot use it." \
		"Name another: make install PYTHON=/usr/bin/python3"
fi

wheels=$(sh .make/wheels.sh)
extras=llama
test "${BACKEND:-cpu}" != cuda || extras=llama,nvidia
lib=$PREFIX/lib/powerd
share=$PREFIX/share/powerd
new=$DESTDIR$lib.new
installed=$(mktemp) # every file that goes elsewhere than into lib/powerd, and every directory that was not there before

# ------------------------------------------------------------ the virtual environment, beside the one in use

directory() {
	test -d "$DESTDIR$1" && return
	directory "$(dirname "$1")"
	mkdir -m 755 "$DESTDIR$1"
	echo "$1/" >>"$installed"
}

umask 022
trap 'rm -rf "$new" "$installed"' EXIT
test ! -e "$DESTDIR$lib/installed" || sed -n '/\/$/p' "$DESTDIR$lib/installed" >"$installed"
mkdir -p "$DESTDIR/"
directory "$PREFIX/lib"
rm -rf "$new"
"$PYTHON" -m venv "$new"
pip() { PIP_DISABLE_PIP_VERSION_CHECK=1 "$new/bin/python" -m pip "$@"; }
pip install -qq --no-index --no-compile --no-cache-dir --find-links "$wheels" "powerd[$extras]"
pip uninstall -qq --yes pip setuptools
find "$new/bin" ! -type d ! -name 'python*' -exec rm -f {} +
rm -rf "$new/include" "$new/share"
# Files of packages that were written for other Pythons do not compile; nothing imports them.
"$new/bin/python" -m compileall -qq -j 0 -s "$new" -p "$lib" "$new/lib" || true
grep -v '^command' "$new/pyvenv.cfg" >"$new/pyvenv.new"
mv "$new/pyvenv.new" "$new/pyvenv.cfg"

entry() {
	cat >"$new/bin/$1" <<EOF
#!$lib/bin/python -P
"""The $1 command. Neither it nor what it starts imports from the directory it happens to be called in."""
import os
import sys

os.environ["PYTHONSAFEPATH"] = "1"

from $2 import main

sys.exit(main())
EOF
	chmod 755 "$new/bin/$1"
}
entry powerd powerd.__main__
entry powerctl powerd.ctl.main

# ------------------------------------------------------------ everything else

place() { # place FILE DIRECTORY [NAME]: with this PREFIX in it
	target=$2/${3:-$(basename "$1")}
	directory "$2"
	sed -e "s#/usr/local/bin/#$PREFIX/bin/#g" -e "s#/usr/local/share/#$PREFIX/share/#g" "$1" >"$DESTDIR$target"
	chmod 644 "$DESTDIR$target"
	echo "$target" >>"$installed"
}

directory "$PREFIX/bin"
for name in powerd powerctl; do
	ln -sfn "../lib/powerd/bin/$name" "$DESTDIR$PREFIX/bin/$name"
	echo "$PREFIX/bin/$name" >>"$installed"
done
made() { # made NAME DIRECTORY WORDS...: what powerctl prints for these words
	file=$1 directory=$2
	shift 2
	"$new/bin/python" -B -P -m powerd.ctl "$@" >"$new/$file"
	place "$new/$file" "$directory"
	rm "$new/$file"
}
made powerctl.1 "$PREFIX/share/man/man1" manual
made powerctl "$PREFIX/share/bash-completion/completions" completion bash
made _powerctl "$PREFIX/share/zsh/site-functions" completion zsh
made powerctl.fish "$PREFIX/share/fish/vendor_completions.d" completion fish
place etc/models.yaml "$share"
place etc/models.schema.json "$share"
if [ "$SYSTEM" = Darwin ]; then
	# There the service is told nothing but its file, so the file has to say where the state is.
	sed 's/^# state:/state:/' etc/powerd.yaml >"$new/powerd.yaml"
	place "$new/powerd.yaml" "$share"
	rm "$new/powerd.yaml"
	for plist in launchd/*.plist; do place "$plist" "$share/launchd"; done
else
	place etc/powerd.yaml "$share"
	for example in systemd/drop-ins/*.conf; do place "$example" "$share/drop-ins"; done
	place systemd/powerd.service "$PREFIX/lib/systemd/system"
	place systemd/powerd.sysusers.conf "$PREFIX/lib/sysusers.d" powerd.conf
	place systemd/powerd.tmpfiles.conf "$PREFIX/lib/tmpfiles.d" powerd.conf
	: "${SYSTEMD:=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')}"
	if [ "${SYSTEMD:-0}" -ge 254 ]; then
		place systemd/drop-ins/back-off.conf "$PREFIX/lib/systemd/system/powerd.service.d"
	fi
fi
cp "$installed" "$new/installed"
chmod 644 "$new/installed"

# ------------------------------------------------------------ the change-over: one moment, or nothing

if [ -e "$DESTDIR$lib/installed" ]; then # what an older version put there and this one does not
	grep -Fxv -f "$installed" "$DESTDIR$lib/installed" | while read -r path; do rm -f "$DESTDIR$path"; done
fi
rm -rf "$DESTDIR$lib.old"
test ! -e "$DESTDIR$lib" || mv "$DESTDIR$lib" "$DESTDIR$lib.old"
mv "$new" "$DESTDIR$lib"
rm -rf "$DESTDIR$lib.old"

# ------------------------------------------------------------ what is left to do

echo "powerd is installed in $DESTDIR$PREFIX."
test -z "$DESTDIR" || exit 0
if [ "$SYSTEM" = Darwin ]; then
	echo "The examples of launchd jobs and of the two configuration files are in $share."
	exit 0
fi
units=$PREFIX/lib/systemd/system
case $PREFIX in
/usr | /usr/local) users= tmpfiles= link= ;;
*) # systemd looks for nothing there by itself
	users=" $PREFIX/lib/sysusers.d/powerd.conf" tmpfiles=" $PREFIX/lib/tmpfiles.d/powerd.conf"
	link="  systemctl link $units/powerd.service
"
	;;
esac
if [ -e /etc/power/models.yaml ]; then
	echo "/etc/power was left as it is. To run the new version:"
	echo "  systemctl daemon-reload && systemctl restart powerd"
else
	cat <<EOF
To have it run as a service, as root:
  systemd-sysusers$users && systemd-tmpfiles --create$tmpfiles
  cp $share/powerd.yaml $share/models.yaml /etc/power/
$link  systemctl daemon-reload && systemctl enable --now powerd
EOF
fi
