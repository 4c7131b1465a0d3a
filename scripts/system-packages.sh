#!/bin/sh
# Installs what is needed from Debian where that is allowed; elsewhere says what is missing and goes on.
# With the argument `test` also what only the tests need.
set -eu

missing=
need() {  # a program, and the package that brings it
    command -v "$1" >/dev/null || missing="$missing $2"
}
need_file() {  # a file, likewise
    [ -e "$1" ] || missing="$missing $2"
}

"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"  # the virtual environments
if [ "${1-}" = test ]; then
    need openssl openssl  # the certificate of the HTTPS test
    command -v google-chrome >/dev/null || need chromium chromium  # the exported page
    need cmake cmake  # the C++ example
    need c++ g++
    need_file /usr/include/png.h libpng-dev
    need_file /usr/include/jpeglib.h libjpeg-dev
    need_file /usr/include/nlohmann/json.hpp nlohmann-json3-dev
    need_file "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | head -n 1)" postgresql  # the tests start a cluster
    need_file /usr/sbin/mosquitto mosquitto  # and a broker
    need_file /usr/sbin/nginx nginx  # the example of a reverse proxy
fi

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "system-packages: no root, so not installed:$missing" >&2
elif ! command -v apt-get >/dev/null; then
    echo "system-packages: no apt-get, so not installed:$missing" >&2
else
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get -qq update && apt-get -qq install --no-install-recommends $missing; } >&2 ||
        echo "system-packages: apt-get failed, so not installed:$missing" >&2
fi
