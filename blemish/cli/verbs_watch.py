"""The verb that waits for images in a folder."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli import options
from blemish.cli.logs import say
from blemish.errors import UsageError

if TYPE_CHECKING:
    from blemish.pipeline import Result

_JOURNAL = ".blemish_watch.sqlite"


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder in which images appear.", metavar="FOLDER")],
    model: options.Model,
    *,
    save_path: options.SavePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Score what is there, then stop.")] = False,
    move: Annotated[
        Path | None, typer.Option(help="Move answered images there.", metavar="DIR", show_default="they stay")
    ] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", metavar="SECONDS")] = 1.0,
    patience: Annotated[
        float, typer.Option(help="Seconds until a file that cannot be read is given up.", metavar="SECONDS")
    ] = 10.0,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="The file that remembers what was answered.", metavar="FILE", show_default=f"{_JOURNAL} in FOLDER"
        ),
    ] = None,
    false_alarm_rate: options.ModelRate = None,
    threshold: options.ScoreThreshold = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    _verbose: options.Verbose = False,
) -> None:
    """Score every image that appears in a folder, once, through restarts; Ctrl-C stops it."""
    if false_alarm_rate is not None and threshold is not None:
        raise UsageError("Give --false-alarm-rate or --threshold, not both.")
    from blemish.cli.results import SOME_FAILED
    from blemish.pipeline import open_model
    from blemish.pipeline.journal import Journal
    from blemish.pipeline.watching import HotFolder, Watch

    settings = Watch(folder, interval, patience, once, move, save_path)
    predictor = open_model(model, device, batch_size, false_alarm_rate, threshold)
    with _stopped_by_signals() as stopped, Journal(journal or folder / _JOURNAL) as kept:
        hot = HotFolder(settings, predictor, kept, _json_lines if as_json else _lines)
        failed = hot.run(_say_json if as_json else _say_text, stopped)
    raise typer.Exit(SOME_FAILED if failed and once and not stopped.is_set() else 0)


def _json_lines(results: Sequence[Result]) -> str:
    return "\n".join(json.dumps(result.to_dict(mask=False), allow_nan=False) for result in results)


def _lines(results: Sequence[Result]) -> str:
    return "\n".join(result.str for result in results)


def _say_json(text: str, _failed: bool) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say_text(text: str, failed: bool) -> None:
    """Answers on stdout, failures on stderr."""
    if failed:
        for line in text.splitlines():
            say(f"blemish: {line}")
    else:
        _say_json(text, failed)


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """Set by Ctrl-C or SIGTERM; a second one ends the program at once."""
    stopped = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: Any) -> None:
        stopped.set()
        restore()

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        restore()
