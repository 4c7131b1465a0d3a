#!/bin/sh
# Installs what is needed from Debian where that is allowed; elsewhere says what is missing and goes on.
set -eu

missing=
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"  # the virtual environments
command -v openssl >/dev/null || missing="$missing openssl"  # the certificate of the HTTPS test
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"  # the tests start a cluster of their own
PATH="$PATH:/usr/sbin" command -v mosquitto >/dev/null || missing="$missing mosquitto"  # and a broker

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
