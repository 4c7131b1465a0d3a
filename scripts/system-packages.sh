#!/bin/sh
# Installs what is needed from Debian where that is allowed; elsewhere says what is missing and goes on.
# With the argument `test` also what only the tests need.
set -eu

missing=
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"  # the virtual environments
command -v openssl >/dev/null || missing="$missing openssl"  # the certificate of the HTTPS test

need() {  # a file, and the package that brings it
    [ -e "$1" ] || missing="$missing $2"
}
if [ "${1-}" = test ]; then  # the C++ example is built
    command -v cmake >/dev/null || missing="$missing cmake"
    command -v c++ >/dev/null || missing="$missing g++"
    need /usr/include/png.h libpng-dev
    need /usr/include/jpeglib.h libjpeg-dev
    need /usr/include/nlohmann/json.hpp nlohmann-json3-dev
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
