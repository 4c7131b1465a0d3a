#!/bin/sh
# Does the base package on ARM64 give the scores of x86-64?
#
#   scripts/arm64-check.sh [FOLDER]
#
# On x86-64 it fills FOLDER (output/arm64) with a wheel, a model, images and their scores, installs the wheel in an ARM64
# Debian under qemu-user, and compares. On a Raspberry Pi or Jetson it installs and compares on the machine itself: copy
# FOLDER there from an x86-64 machine, and this script. PYTHON names the Python: on x86-64 one that has Blemish
# (.venv/bin/python), on ARM64 one from 3.10 to 3.13 (python3).
set -eu

folder=${1:-output/arm64}
export OMP_NUM_THREADS=1

make_expected() {
    "$1" -m pip wheel --quiet --no-deps --wheel-dir "$folder" .
    cp constraints.txt "$folder"
    "$1" -c 'import sys; from pathlib import Path; from blemish.datasets import generate_sample
generate_sample(Path(sys.argv[1]), train=12, good=3, per_defect=1, size=320)' "$folder/sample"
    "$1" -m blemish train "$folder/sample" --preset fast --output "$folder/model"
    "$1" -m blemish predict "$folder/model" "$folder/sample/test" --json >"$folder/expected.jsonl"
}

# An ARM64 Debian as files alone: its installation scripts would need a kernel that starts ARM64 programs.
make_root() {
    if ! command -v qemu-aarch64-static >/dev/null || ! command -v mmdebstrap >/dev/null; then
        echo 'arm64-check: missing; as root: apt-get install qemu-user-static mmdebstrap' >&2
        exit 2
    fi
    mmdebstrap --quiet --variant=extract --architectures=arm64 \
        --include=python3,python3-pip,ca-certificates,libstdc++6 bookworm "$folder/root"
    # ONNX Runtime reads here what processor it runs on, and crashes at that of x86-64; 0xd08 is a Cortex-A72.
    mkdir -p "$folder/root/proc"
    printf 'processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n%s\n' \
        "$(printf 'CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3')" >"$folder/root/proc/cpuinfo"
}

# qemu looks for every file below the root first, then on the machine itself.
emulated() {
    qemu-aarch64-static -cpu cortex-a72 -L "$folder/root" "$folder/root/usr/bin/python3" "$@"
}

install_blemish() {
    "$@" -m pip install --quiet --no-compile --only-binary :all: --constraint "$folder/constraints.txt" \
        --target "$folder/site" "$folder"/blemish-*.whl
}

compare() {
    "$@" - "$folder" <<'PYTHON'
import json, pathlib, platform, sys
folder = pathlib.Path(sys.argv[1])
expected, found = ([json.loads(line) for line in (folder / f"{name}.jsonl").open()] for name in ("expected", "found"))
names = [[pathlib.PurePath(one["input_path"]).name for one in results] for results in (expected, found)]
if not expected or names[0] != names[1]:
    sys.exit("arm64-check: not the same images")
worst = max(abs(a["score"] - b["score"]) / abs(a["score"]) for a, b in zip(expected, found))
verdicts = sum(a["label"] != b["label"] for a, b in zip(expected, found))
network = sorted(one["timings"]["network"] for one in found)[len(found) // 2]
print(f"{platform.machine()}: {len(found)} images, network {network:.0f} ms (median), "
      f"largest relative difference of a score {worst:.1e}, {verdicts} verdicts differ")
sys.exit(worst > 1e-4 or verdicts > 0)
PYTHON
}

check() {
    [ -d "$folder/site" ] || install_blemish "$@"
    export PYTHONPATH="$folder/site"
    "$@" -m blemish --version
    "$@" -m blemish predict "$folder/model" "$folder/sample/test" --json >"$folder/found.jsonl"
    compare "$@"
}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
case $(uname -m) in
aarch64 | arm64)
    if [ ! -s "$folder/expected.jsonl" ]; then
        echo "arm64-check: $folder holds no expected.jsonl; run this on x86-64 first and copy the folder here" >&2
        exit 2
    fi
    # what another machine has installed and found does not count here
    rm -rf "$folder/root" "$folder/site" "$folder/found.jsonl"
    check "${PYTHON:-python3}"
    ;;
*)
    [ -s "$folder/expected.jsonl" ] || make_expected "${PYTHON:-.venv/bin/python}"
    [ -d "$folder/root" ] || make_root
    check emulated
    ;;
esac
