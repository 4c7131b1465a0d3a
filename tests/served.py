"""A real server in a process of its own, with models of a few nodes, and images for them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
from command import ROOT
from tiny_model import tiny_info, tiny_network

from blemish.models import load_model, save_model

BIASES = {"first": 0.0, "second": 1000.0}  # what the two models add to a mean of grey levels


def tiny_folder(folder: Path, bias: float = 0.0) -> Path:
    """A model whose score is the brightest cell plus the bias."""
    return save_model(folder, tiny_network(bias), tiny_info())


def version_of(folder: Path) -> str:
    return load_model(folder).info.version[:12]


def grey(level: int, height: int = 24, width: int = 48, suffix: str = ".png") -> bytes:
    """An image file of one grey level."""
    return cv2.imencode(suffix, np.full((height, width, 3), level, np.uint8))[1].tobytes()


class Server:
    """A running server: its address, its process, what it says on stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""
        for line in process.stderr:  # type: ignore[union-attr]
            self.said.append(line)
            if found := re.search(r"Serving on (http://\S+);", line):
                self.url = found[1]
                break
        assert self.url, "".join(self.said)
        self._reader = threading.Thread(target=lambda: self.said.extend(process.stderr))  # type: ignore[arg-type]
        self._reader.start()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **settings: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **settings)  # type: ignore[arg-type]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        self.process.stderr.close()  # type: ignore[union-attr]
        return code


@contextmanager
def serving(
    *arguments: object,
    before: Sequence[str] = (),
    program: Sequence[str | Path] = (sys.executable, "-W", "error", "-m", "blemish"),
    cwd: Path | None = None,
    **env: str,
) -> Iterator[Server]:
    """`blemish serve` on a free port; it must end by itself with exit code 0, and without a traceback.

    `before` is a program that turns into the one that its arguments name, `program` the one that is `blemish`.
    """
    process = subprocess.Popen(
        [*before, *program, "serve", *map(str, arguments), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    server = None
    try:
        server = Server(process)
        yield server
        assert server.stop() == 0, "".join(server.said)
        assert "Traceback" not in "".join(server.said), "".join(server.said)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if server is not None:
            server.stop()
        else:
            process.stderr.close()  # type: ignore[union-attr]
