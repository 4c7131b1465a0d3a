"""A server in a process of its own: its start and end, its CPU time, memory and files as the system counts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 180.0


class Served:
    """A running server; `said` is the file that takes what it writes to stderr."""

    def __init__(self, line: Sequence[object], said: Path) -> None:
        self.said = said
        with said.open("wb") as stderr:
            self._process = subprocess.Popen(
                list(map(str, line)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )
        self.address = self._wait_for_address()

    @property
    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        values = text.rpartition(")")[2].split()
        return (int(values[11]) + int(values[12])) / _TICKS

    @property
    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def _wait_for_address(self) -> tuple[str, int]:
        """From what the server says when it is ready: `http://HOST:PORT` somewhere in it."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            text = self.said.read_text(encoding="utf-8", errors="replace")
            if found := re.search(r"(?:Serving|running) on http://([\d.]+):(\d+)", text):
                return found[1], int(found[2])
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended at once: {text[-2000:]}")
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server is not ready after {_START_S:g} s")


@contextmanager
def serving(line: Sequence[object], said: Path) -> Iterator[Served]:
    """A server for as long as the block runs."""
    server = Served(line, said)
    try:
        yield server
    finally:
        server.stop()


def blemish_serve(*arguments: object) -> list[object]:
    """The command line of our own."""
    return [sys.executable, "-m", "blemish", "serve", *arguments]
