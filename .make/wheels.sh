#!/bin/sh
# Makes the wheels of powerd, of its engine for $BACKEND and of all they need, and prints the directory they are in.
# `install.sh` takes them from there, so that nothing is downloaded or compiled by root. What is up to date stays.
set -eu
cd "$(dirname "$0")/.."

case ${BACKEND:=cpu} in
cpu) flags= ;;
cuda) flags=-DGGML_CUDA=on ;;
vulkan) flags=-DGGML_VULKAN=on ;;
metal) flags=-DGGML_METAL=on ;;
rocm) flags=-DGGML_HIP=on ;;
*)
	echo "BACKEND is cpu, cuda, vulkan, metal or rocm, not '$BACKEND'" >&2
	exit 64
	;;
esac
flags="$flags ${CMAKE_ARGS-}"
extras=llama
test "$BACKEND" != cuda || extras=llama,nvidia

tag=$("${PYTHON:=python3}" -c 'import sys; assert sys.version_info >= (3, 11); print("cp%d%d" % sys.version_info[:2])') || {
	echo "powerd needs Python 3.11 or newer; PYTHON names it (PYTHON=$PYTHON is not one)" >&2
	exit 1
}
dist=$PWD/dist/$BACKEND-$tag-$(echo "$flags" | cksum | cut -d' ' -f1)
mkdir -p "$dist"

changed() { # whether a file or directory of "$@" is newer than the stamp $1, or there is no stamp
	stamp=$dist/.$1
	shift
	test ! -e "$stamp" || test -n "$(find "$@" -name __pycache__ -prune -o -newer "$stamp" -print)"
}

if changed dependencies pyproject.toml || changed powerd powerd pyproject.toml README.md LICENSE; then
	echo "making wheels in $dist; compiling the engine for the first time takes minutes" >&2
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	touch "$scratch/began" # what is edited meanwhile counts as changed
	# Built in a copy: setuptools leaves files beside what it builds, and packs what it left before.
	cp -R powerd pyproject.toml README.md LICENSE "$scratch"
	"$PYTHON" -m venv "$scratch/venv"
	wheel() { CMAKE_ARGS=$flags "$scratch/venv/bin/python" -m pip wheel -qq -w "$dist" --find-links "$dist" "$@" >&2; }
	rm -f "$dist"/powerd-*.whl
	if changed dependencies pyproject.toml; then
		# pip's cache does not know for which hardware an engine was compiled: only the plain one is taken from there.
		test "$flags" = " " && cached= || cached=--no-cache-dir
		wheel $cached "$scratch[$extras]"
		touch -r "$scratch/began" "$dist/.dependencies"
	else
		wheel --no-deps "$scratch"
	fi
	touch -r "$scratch/began" "$dist/.powerd"
fi
echo "$dist"
