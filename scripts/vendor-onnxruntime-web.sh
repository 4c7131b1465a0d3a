#!/bin/sh
# Fetches onnxruntime-web at the one version whose hash is stated, and keeps what `blemish export --format browser` needs.
set -eu

cd "$(dirname "$0")/../blemish/exporting/browser"
{ read -r name version; read -r hash; } < runtime.txt
if cmp -s runtime.txt vendor/runtime.txt; then exit 0; fi
if ! command -v npm >/dev/null; then
    echo "vendor-onnxruntime-web: npm is not installed, so \`blemish export --format browser\` needs --runtime" >&2
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
npm pack --silent --pack-destination "$scratch" "$name@$version" >/dev/null
archive="$scratch/$name-$version.tgz"
if [ "$(sha512sum < "$archive" | cut -d ' ' -f 1)" != "$hash" ]; then
    echo "vendor-onnxruntime-web: $name $version is not the file that runtime.txt states" >&2
    exit 1
fi
tar -xzf "$archive" -C "$scratch"
rm -rf vendor
mkdir vendor
for file in ort.wasm.min.mjs ort.webgpu.min.mjs; do cp "$scratch/package/dist/$file" vendor/; done
for build in ort-wasm-simd-threaded ort-wasm-simd-threaded.asyncify; do
    cp "$scratch/package/dist/$build.mjs" "$scratch/package/dist/$build.wasm" vendor/
done
cp runtime.txt vendor/
