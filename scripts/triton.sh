#!/bin/sh
# NVIDIA's Triton Inference Server on this machine, without a container, serving a pushed version on processors.
#   sh scripts/triton.sh setup                   put it into .tools/triton; nothing if it is there
#   sh scripts/triton.sh serve MODEL [HTTP_PORT]  serve a version's folder until it is stopped
#   sh scripts/triton.sh load HTTP_PORT          measure a running server: requests per second, and percentiles
# Needs a Python 3.11 with its shared library, such as Debian 12's python3.11; pyenv's have none.
set -eu
cd "$(dirname "$0")/.."

PYTRITON_VERSION=0.7.0
TENSORFLOW_VERSION=2.16.2
TRITON="$PWD/.tools/triton"

fail() {
    printf 'triton: %s\n' "$1" >&2
    exit 1
}

setup() {
    [ ! -f "$TRITON/.complete" ] || return 0
    python=/usr/bin/python3.11
    "$python" -c 'import venv, sysconfig, sys; sys.exit(not sysconfig.get_config_var("Py_ENABLE_SHARED"))' 2>/dev/null \
        || fail "$python with its shared library is missing. Install it: apt-get install python3.11-venv libpython3.11"
    rm -rf "$TRITON"
    mkdir -p .tools
    echo "triton: fetching Triton and TensorFlow for processors (1.4 GB)"
    "$python" -m venv "$TRITON"
    "$TRITON/bin/python" -m pip install --quiet "nvidia-pytriton==$PYTRITON_VERSION" \
        "tensorflow-cpu==$TENSORFLOW_VERSION" "numpy<2" "setuptools<81" \
        || fail "the packages could not be installed; see the messages above"
    : >"$TRITON/.complete"
}

python() {
    [ -f "$TRITON/.complete" ] || fail "Triton is not set up. Call: sh scripts/triton.sh setup"
    TF_CPP_MIN_LOG_LEVEL=2 exec "$TRITON/bin/python" "$@"
}

case "${1:-}" in
    setup) setup ;;
    serve) shift; python components/export_check/triton_server.py "$@" ;;
    load) shift; python scripts/triton/load.py "$@" ;;
    *) fail "unknown argument '${1:-}'; use setup, serve or load" ;;
esac
