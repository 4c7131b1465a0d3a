#!/bin/sh
# Fetches what browsers run, each package of npm at the one version whose hash is stated: onnxruntime-web for
# `blemish export --format browser`, htmx and
# Swagger UI for the pages of `blemish serve`.
set -eu

cd "$(dirname "$0")/../blemish"

# fetch STATED FOLDER FILE...: the files of the package that STATED names and hashes, into FOLDER; the files' paths are
# those in the package
fetch() {
    stated=$1 folder=$2
    shift 2
    if cmp -s "$stated" "$folder/package.txt"; then return; fi
    { read -r name version; read -r hash; } < "$stated"
    if ! command -v npm >/dev/null; then
        echo "vendor: npm is not installed, so $name is missing" >&2
        return
    fi
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    npm pack --silent --pack-destination "$scratch" "$name@$version" >/dev/null
    archive="$scratch/$name-$version.tgz"
    if [ "$(sha512sum < "$archive" | cut -d ' ' -f 1)" != "$hash" ]; then
        echo "vendor: $name $version is not the file that $stated states" >&2
        exit 1
    fi
    tar -xzf "$archive" -C "$scratch"
    rm -rf "$folder"
    mkdir "$folder"
    for file; do cp "$scratch/package/$file" "$folder/"; done
    cp "$stated" "$folder/package.txt"
    rm -rf "$scratch"
}

fetch exporting/browser/runtime.txt exporting/browser/vendor \
    dist/ort.wasm.min.mjs dist/ort.webgpu.min.mjs \
    dist/ort-wasm-simd-threaded.mjs dist/ort-wasm-simd-threaded.wasm \
    dist/ort-wasm-simd-threaded.asyncify.mjs dist/ort-wasm-simd-threaded.asyncify.wasm
fetch service/pages/htmx.txt service/pages/static/vendor dist/htmx.min.js
fetch service/pages/swagger.txt service/pages/static/vendor_swagger swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css
