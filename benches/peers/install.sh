#!/usr/bin/env bash
# Installs the peers into DIRECTORY, which holds all of it: Redis from Debian's packages, the others from PyPI.
# Usage: install.sh DIRECTORY redis|python|client|feast
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1"
cd "$1"

download() {
    apt-get download redis-server redis-tools libjemalloc2 liblzf1 libatomic1
}

redis() {
    [ -x redis/usr/bin/redis-server ] && return
    mkdir -p redis/packages
    # Only unpacked: nothing of the system changes and no service starts.
    (cd redis/packages && download || { apt-get update && download; })
    for package in redis/packages/*.deb; do dpkg-deb --extract "$package" redis; done
}

environment() {
    cmp --silent "$here/$2" "$1/installed.txt" && return
    python3 -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/$2"
    cp "$here/$2" "$1/installed.txt"
}

# The client of this tree, built anew: it is what is measured.
client() {
    environment client requirements.txt
    client/bin/python -m pip install --quiet --disable-pip-version-check "$here/../../client/python"
}

case "$2" in
    client) client ;;
    redis) redis ;;
    python) environment python requirements.txt ;;
    feast) environment feast requirements-feast.txt ;;
    *) echo "unknown peer $2" >&2; exit 2 ;;
esac
