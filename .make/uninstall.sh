#!/bin/sh
# Removes what install.sh put below $DESTDIR$PREFIX, and nothing else.
set -eu
: "${PREFIX:=/usr/local}" "${DESTDIR:=}"
PREFIX=${PREFIX%/}
lib=$PREFIX/lib/powerd

if [ ! -e "$DESTDIR$lib/installed" ]; then
	echo "nothing is installed in $DESTDIR$PREFIX; PREFIX and DESTDIR must be those of the installation" >&2
	exit 1
fi
unit=$PREFIX/lib/systemd/system/powerd.service
if [ -z "$DESTDIR" ] && [ "$(systemctl show -P FragmentPath powerd 2>/dev/null)" = "$unit" ]; then
	if systemctl -q is-active powerd || systemctl -q is-enabled powerd 2>/dev/null; then
		echo "the service is in use; first: systemctl disable --now powerd" >&2
		exit 1
	fi
fi

# Files first, then the directories that install.sh had to make, the deepest first, where nobody else put anything.
list=$(cat "$DESTDIR$lib/installed")
echo "$list" | while read -r path; do
	case $path in
	*/) ;;
	*) rm -f "$DESTDIR$path" ;;
	esac
done
rm -rf "$DESTDIR$lib"
echo "$list" | sort -r | while read -r path; do
	case $path in
	*/) rmdir "$DESTDIR$path" 2>/dev/null || true ;;
	esac
done

echo "powerd is removed from $DESTDIR$PREFIX."
if [ -z "$DESTDIR" ]; then
	echo "Left alone: /etc/power (your files), /var/lib/power (models, accepted generations), the user and group power."
	echo "To remove them too, as root: rm -r /etc/power /var/lib/power; userdel power"
	echo "If systemd runs here: systemctl daemon-reload"
fi
