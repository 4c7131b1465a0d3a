"""Run the command line as its users do: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Done(NamedTuple):
    """What a finished command left."""

    code: int
    stdout: str
    stderr: str


def blemish(*arguments: object, cwd: Path | None = None, program: str | Path = "-m blemish", **env: str) -> Done:
    """Run `blemish` with these arguments; every error must come without a traceback."""
    start = ["-m", "blemish"] if program == "-m blemish" else [str(program)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **env}
    done = subprocess.run(
        [sys.executable, "-W", "error", *start, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)
