#!/bin/sh
# Makes .venv from requirements-$STACK.lock. Needs Linux on x86-64 and any Python 3.
#   sh scripts/setup.sh        set up, or do nothing if .venv is up to date
#   sh scripts/setup.sh lock   write both locks again
#   sh scripts/setup.sh uv     put uv into .tools, nothing else
# STACK=current|compatible asks for one of the two stacks (docs/stacks.md); unset, the machine decides.
set -eu
cd "$(dirname "$0")/.."

# In a shell with .venv activated, the interpreter is found that one without it finds: .venv may be emptied.
PATH=$(printf ':%s:' "$PATH" | sed "s|:$PWD/.venv/bin:|:|g; s|^:||; s|:$||")

UV_VERSION=0.13.9
ZIG_VERSION=0.13.0.post1
TOOLS="$PWD/.tools"

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# A command on the PATH is not enough: pyenv's shims fail where .python-version names a version it does not have.
find_python3() {
    for candidate in python3 /usr/bin/python3 /usr/local/bin/python3 python3.14 python3.13 python3.12 python3.11 \
            python3.10 python3.9 python3.8 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 7))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3 was found. Install any Python 3.7 or newer, for example: apt install python3"
}

# Puts one package from PyPI into its own folder under .tools: by venv, else by pip, else (uv only) by plain urllib.
install_tool() { # name version
    folder="$TOOLS/$1-$2"
    [ -f "$folder/.complete" ] && return
    rm -rf "$folder"
    mkdir -p "$TOOLS"
    log="$TOOLS/$1.log"
    python3=$(find_python3)
    echo "setup: installing $1 $2 into .tools"
    if { "$python3" -m venv "$folder" && "$folder/bin/python" -m pip install "$1==$2"; } >"$log" 2>&1; then :
    elif rm -rf "$folder"; "$python3" -m pip install --target "$folder" "$1==$2" >>"$log" 2>&1; then :
    elif rm -rf "$folder"; [ "$1" = uv ] && "$python3" scripts/fetch_uv.py "$2" "$folder/bin" >>"$log" 2>&1; then :
    else
        tail -n 5 "$log" >&2
        fail "$1 $2 could not be installed from the Python package index (see $log). Check the network and proxy."
    fi
    : >"$folder/.complete"
}

# The first of the given versions at hand, on the PATH or one of pyenv's; nothing if there is none.
find_python() { # version...
    for version in "$@"; do
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/"python$version"; do
            # pyfarmhash is compiled at set-up and needs the headers, which distributions package separately.
            if "$candidate" -c 'import os, sys, sysconfig
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1] or not os.path.exists(header))' "$version" >/dev/null 2>&1; then
                "$candidate" -c 'import sys; print(sys.executable)'
                return
            fi
        done
    done
}

# Whether the wheels of TFX 1.21, made for glibc 2.39, run here.
new_glibc() {
    case "$GLIBC" in
        [0-9]*.[0-9]*) [ "${GLIBC%%.*}" -gt 2 ] || [ "${GLIBC#*.}" -ge 39 ] ;;
        *) false ;;
    esac
}

# Sets STACK, PYTHON (a path, or a version that uv fetches) and WHY.
choose_stack() {
    GLIBC=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/glibc //')
    new=$(find_python 3.13 3.12 3.11)
    old=$(find_python 3.10)
    case "${STACK:-}" in
        current)
            new_glibc || fail "STACK=current needs glibc 2.39 or newer (Debian 13, Ubuntu 24.04); this machine has \
${GLIBC:-none}. Leave STACK unset, or run 'make test-current', which works in a Debian 13 folder."
            WHY="asked for by STACK" ;;
        compatible) WHY="asked for by STACK" ;;
        "")
            if ! new_glibc; then
                STACK=compatible WHY="glibc ${GLIBC:-unknown} is older than 2.39"
            elif [ -z "$new" ] && [ -n "$old" ]; then
                STACK=compatible WHY="Python 3.11 to 3.13 with headers is not at hand, Python 3.10 is"
            else
                STACK=current WHY="glibc $GLIBC is 2.39 or newer"
            fi ;;
        *) fail "STACK is '$STACK'; allowed are current and compatible, or leave it unset" ;;
    esac
    case "$STACK" in
        current) PYTHON=${new:-3.13} ;;
        compatible) PYTHON=${old:-3.10} ;;
    esac
    LOCK=requirements-$STACK.lock
    echo "setup: stack $STACK with Python $PYTHON ($WHY)"
}

# pyfarmhash, which TFDV imports, has no wheel; without a compiler of its own the machine gets Zig's from PyPI.
find_compiler() {
    if command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1; then
        return
    fi
    install_tool ziglang "$ZIG_VERSION"
    zig=$(find "$TOOLS/ziglang-$ZIG_VERSION" -type f -path '*/ziglang/zig' | head -n 1)
    mkdir -p "$TOOLS/bin"
    for pair in "cc cc" "c++ c++" "gcc cc" "g++ c++"; do
        printf '#!/bin/sh\nexec "%s" %s -mcrc32 "$@"\n' "$zig" "${pair#* }" >"$TOOLS/bin/${pair% *}"
        chmod +x "$TOOLS/bin/${pair% *}"
    done
    export PATH="$TOOLS/bin:$PATH" CC="$TOOLS/bin/cc" CXX="$TOOLS/bin/c++"
}

use_uv() {
    install_tool uv "$UV_VERSION"
    UV="$TOOLS/uv-$UV_VERSION/bin/uv"
    "$UV" --version >/dev/null || fail "$UV does not run on this machine. Linux on x86-64 is needed."
}

lock() {
    use_uv
    set -- --extra pipeline --extra kubeflow --extra docs --extra test --generate-hashes --no-annotate --quiet \
        --custom-compile-command "make lock" setup.py
    "$UV" pip compile --python-version 3.10 --python-platform x86_64-manylinux_2_28 "$@" -o requirements-compatible.lock
    # One file for Python 3.11 to 3.13: the few packages that differ carry a marker.
    "$UV" pip compile --python-version 3.11 --universal "$@" -o requirements-current.lock
    echo "setup: wrote requirements-compatible.lock and requirements-current.lock"
}

# Everything that .venv depends on, the folder included: an editable install and a venv hold absolute paths.
stamp() {
    { echo "$PYTHON"; cat "$LOCK" setup.py scripts/setup.sh; pwd; } | cksum
}

setup() {
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64") ;;
        *) fail "this is $(uname -s) on $(uname -m); TFX's libraries exist for Linux on x86-64 only." ;;
    esac
    choose_stack
    if [ -f .venv/.stamp ] && [ "$(cat .venv/.stamp)" = "$(stamp)" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    use_uv
    find_compiler
    echo "setup: making .venv"
    # Emptied, not removed: it may be a mount point.
    [ ! -d .venv ] || find .venv -mindepth 1 -delete
    "$UV" venv --quiet --allow-existing --seed --python "$PYTHON" .venv || fail \
        "Python $PYTHON was not found and could not be downloaded. Install it with its headers, for example: pyenv install"
    echo "setup: installing the packages of $LOCK (3.4 GB on disk)"
    "$UV" pip sync --quiet --python .venv/bin/python --require-hashes "$LOCK" || fail \
        "the packages could not be installed. Check the network, the space on the disk and the messages above."
    "$UV" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable . || fail \
        "the project itself could not be installed; see the messages above."
    stamp >.venv/.stamp
    echo "setup: done"
}

case "${1:-setup}" in
    setup) setup ;;
    lock) lock ;;
    uv) use_uv ;;
    *) fail "unknown argument '$1'; use 'lock', 'uv' or none" ;;
esac
