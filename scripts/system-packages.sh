#!/bin/sh
# Installs what is needed from Debian where that is allowed; elsewhere says what is missing and goes on.
set -eu

missing=
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"  # the virtual environments
command -v npm >/dev/null || missing="$missing npm"  # onnxruntime-web, and nodejs with it
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$missing chromium"  # the exported page
command -v openssl >/dev/null || missing="$missing openssl"  # the certificate of the HTTPS test

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
