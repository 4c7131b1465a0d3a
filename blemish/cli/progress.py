"""How far a long task is: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blemish.cli.logs import say

if TYPE_CHECKING:
    from blemish.detectors import Progress

LINE_INTERVAL = 10.0  # seconds


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A callback `(stage, done, total, detail)` that shows the progress for as long as the context lasts."""
    if sys.stderr.isatty():
        with _bar() as advance:
            yield advance
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        tasks = {}

        def advance(stage: str, done: int, total: int, detail: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, detail="")
            bar.update(tasks[stage], completed=done, total=total, detail=detail)

        yield advance


def _lines(clock: Callable[[], float] = time.monotonic) -> Progress:
    """A line when a stage begins or ends, and at most every `LINE_INTERVAL` seconds between."""
    current, last = "", 0.0

    def advance(stage: str, done: int, total: int, detail: str = "") -> None:
        nonlocal current, last
        now = clock()
        if stage != current or done >= total or now - last >= LINE_INTERVAL:
            say(f"{stage}: {done} of {total}{', ' * bool(detail)}{detail}")
            current, last = stage, now

    return advance
