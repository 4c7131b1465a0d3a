"""Measurements in processes of their own, pinned to so many cores, and the clocks around them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from benchmarks.record import Figures

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_MB = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # ru_maxrss counts bytes there and KiB here


class Stopwatch:
    """CPU and wall seconds since the last lap; CPU time is that of all threads, user and system."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def lap(self) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        spent = cpu - self._cpu, wall - self._wall
        self._cpu, self._wall = cpu, wall
        return spent


def peak_mb() -> float:
    """Largest resident memory of this process so far, 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB


@contextmanager
def pinned(cores: int) -> Iterator[list[int]]:
    """Processes that start inside are on so many cores, and their libraries kept to as many threads."""
    before, kept = os.sched_getaffinity(0), {name: os.environ.get(name) for name in THREADS}
    allowed = sorted(before)[-cores:]
    os.environ.update(dict.fromkeys(THREADS, str(len(allowed))))
    os.sched_setaffinity(0, allowed)
    try:
        yield allowed
    finally:
        os.sched_setaffinity(0, before)
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def fresh(cores: int, function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
    """The function's value, computed in a new process."""
    with pinned(cores), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def command(name: str, arguments: Sequence[str], environment: dict[str, str] | None = None) -> Figures:
    """One program on one core, from its start to its end.

    It is started by a small process: what the starting one holds at that moment counts as the program's memory.
    """
    return fresh(1, _command, name, arguments, environment or {})


def blemish(name: str, *arguments: object, environment: dict[str, str] | None = None) -> Figures:
    """One command of Blemish in a new process."""
    return command(name, [sys.executable, "-m", "blemish", *map(str, arguments)], environment)


def _command(name: str, arguments: Sequence[str], environment: dict[str, str]) -> Figures:
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=os.environ | environment)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return {
        f"{name}, CPU s": used.ru_utime + used.ru_stime,
        f"{name}, s": wall,
        f"{name}: peak memory, MB": used.ru_maxrss / _MB,
    }
