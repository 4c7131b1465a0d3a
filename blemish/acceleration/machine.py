"""What identifies this machine and its engines, for what is remembered about them."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from blemish import __version__
from blemish.engines.onnx_runtime import usable_cores

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")


def fingerprint(parts: Iterable[object]) -> str:
    """32 hexadecimal digits that stand for this machine, the versions of its engines, and `parts`."""
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    record = [__version__, processor(), usable_cores(), versions, [str(part) for part in parts]]
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:32]


def processor() -> str:
    """The processor's name as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    return f"{platform.machine()} {names[0] if names else platform.processor()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
