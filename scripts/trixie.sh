#!/bin/sh
# A folder with Debian 13, in which the current stack runs on a machine whose glibc is too old for it.
#   sh scripts/trixie.sh build                           make the folder; nothing if it is there
#   sh scripts/trixie.sh ready                           whether this checkout's environment is in the folder
#   sh scripts/trixie.sh exec [--share FOLDER] COMMAND   run a command in it, in this checkout, with its own .venv
# The folder is ${XDG_CACHE_HOME:-~/.cache}/blendinator/trixie. The mounts are the command's own: they end with it,
# however it ends. Needs root and debootstrap.
set -eu
cd "$(dirname "$0")/.."

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/blendinator
ROOT=$CACHE/trixie
# One environment for each checkout, since it holds absolute paths; inside, it lies over the checkout's own .venv.
VENV="$ROOT/venvs/$(echo "$PWD" | cksum | cut -d' ' -f1)"
# Beside the minimal system: a compiler with headers for pyfarmhash, git and procps for the tests.
PACKAGES=ca-certificates,g++,git,make,procps,python3-dev,python3-venv

fail() {
    printf 'trixie: %s\n' "$1" >&2
    exit 1
}

build() {
    [ "$(cat "$ROOT/etc/blendinator" 2>/dev/null)" != "$PACKAGES" ] || return 0
    [ "$(id -u)" = 0 ] || fail "the Debian 13 folder can only be made and entered by root; run this with sudo"
    command -v debootstrap >/dev/null || fail "debootstrap is missing. Install it: apt-get install debootstrap"
    mkdir -p "$CACHE"
    exec 9>"$CACHE/trixie.lock"
    flock 9
    [ "$(cat "$ROOT/etc/blendinator" 2>/dev/null)" != "$PACKAGES" ] || return 0
    echo "trixie: making $ROOT (a minute or some, 0.7 GB)"
    rm -rf "$ROOT" "$ROOT.new"
    debootstrap --variant=minbase --include="$PACKAGES" trixie "$ROOT.new" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$CACHE/trixie.log" 2>&1 || {
        tail -n 5 "$CACHE/trixie.log" >&2
        fail "debootstrap failed (see $CACHE/trixie.log). Check the network; DEBIAN_MIRROR names another mirror."
    }
    rm -rf "$ROOT.new"/var/cache/apt/archives/*.deb
    echo "$PACKAGES" >"$ROOT.new/etc/blendinator"
    mv "$ROOT.new" "$ROOT"
    exec 9>&-
}

# Runs as process 1 of namespaces of its own.
enter() {
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    mount --rbind /sys "$ROOT/sys"
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        [ ! -f "$file" ] || { [ -f "$ROOT$file" ] || : >"$ROOT$file"; mount --bind "$file" "$ROOT$file"; }
    done
    for folder in "$PWD" "${SHARE:-$PWD}"; do
        mkdir -p "$ROOT$folder"
        mount --rbind "$folder" "$ROOT$folder"
    done
    mkdir -p "$VENV" .venv
    mount --bind "$VENV" "$ROOT$PWD/.venv"
    unset PYENV_ROOT PYENV_VERSION PYTHONPATH VIRTUAL_ENV XDG_CACHE_HOME XDG_STATE_HOME TMPDIR SHARE
    status=0
    # shellcheck disable=SC2016
    HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        chroot "$ROOT" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@" || status=$?
    exit "$status"
}

case "${1:-}" in
    build) build ;;
    ready) [ "$(id -u)" = 0 ] && [ -f "$VENV/.stamp" ] ;;
    exec)
        shift
        SHARE=
        [ "${1:-}" != --share ] || { SHARE=$(realpath "$2"); shift 2; }
        [ $# -gt 0 ] || fail "give the command to run in the Debian 13 folder"
        build
        [ "$(id -u)" = 0 ] || fail "the Debian 13 folder can only be entered by root; run this with sudo"
        SHARE=$SHARE exec unshare --mount --pid --fork --kill-child sh scripts/trixie.sh _enter "$@" ;;
    _enter) shift; enter "$@" ;;
    *) fail "unknown argument '${1:-}'; use build, ready or exec" ;;
esac
