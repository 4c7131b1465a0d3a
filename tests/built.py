"""The package as it is handed on: an archive of the sources, and the wheel that is built from that archive alone."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from command import ROOT


def built_wheel(folder: Path) -> Path:
    """The wheel, in `folder` beside the archive and what was unpacked from it."""
    _build("sdist", ROOT, folder)
    (archive,) = folder.glob("blemish-*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(folder, filter="data")
    _build("wheel", folder / archive.name.removesuffix(".tar.gz"), folder)
    (wheel,) = folder.glob("blemish-*-py3-none-any.whl")
    return wheel


def _build(kind: str, source: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
