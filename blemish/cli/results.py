"""Results on stdout as they come, failures on stderr, pictures and records in a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from blemish.cli.logs import say
from blemish.datasets.files import write_whole
from blemish.errors import BusyError, ImageError, UsageError

if TYPE_CHECKING:
    from blemish.config import RunConfig
    from blemish.pipeline import PartResult, Predictor, Result

SOME_FAILED = 1


def report_results(predictor: Predictor, results: Iterable[Result], save_path: Path | None, as_json: bool) -> int:
    """Print every result as it comes and save it if asked to, then the verdicts of parts; returns the exit code.

    It is 1 if an input failed.
    """
    from blemish.metrics.rates import counted
    from blemish.pipeline.parts import PartTally
    from blemish.pipeline.saving import is_file_name

    tally = PartTally(predictor.calibration)
    count = failed = of_parts = 0
    for result in results:
        count += 1
        if count > 1 and save_path is not None and is_file_name(save_path):
            raise UsageError(f"--save_path {save_path} names one file, and there are more results; name a folder.")
        failed += result.error is not None
        _report(result, save_path, as_json)
        if result.part is not None:
            of_parts += 1
            tally.add(result)
    if not count:
        raise ImageError("There is no image in what was given; give image files, folders that hold some, or URLs.")
    _report_parts(tally.results(), save_path, as_json)
    if of_parts not in (0, count):
        say(
            f"blemish: {count - of_parts} of {count} images: the pattern finds no part in the name, so no verdict of a "
            "part counts them."
        )
    if failed:
        say(f"blemish: {failed} of {counted(count, 'input')} failed.")
    return SOME_FAILED if failed else 0


def _report_parts(parts: Sequence[PartResult], save_path: Path | None, as_json: bool) -> None:
    """The verdicts of parts, after those of the images."""
    from blemish.metrics.rates import counted

    for part in parts:
        _report(part, save_path, as_json)
    larger = [part for part in parts if part.images > part.images_per_part[1]]
    if larger:
        say(
            f"blemish: {len(larger)} of {counted(len(parts), 'part')} with more images than those of the calibration, "
            f"which had {larger[0].images_per_part[1]} at most: expect more false alarms of parts than were asked for."
        )


def _report(result: Result | PartResult, save_path: Path | None, as_json: bool) -> None:
    if result.error is not None:
        say(f"blemish: {result.str}")
    elif save_path is not None:
        result.save_all(save_path)
    if as_json:
        # The mask stays out of the stream: it is in the saved file, and would make lines of kilobytes.
        sys.stdout.write(json.dumps(result.to_dict(mask=False), allow_nan=False) + "\n")
    elif result.error is None:
        result.print()
    sys.stdout.flush()


@contextmanager
def failure_recorded(config: RunConfig) -> Iterator[None]:
    """Write what ends a mode of the run file to `<mode>_result.json`, as PaddleX does; success writes its own file.

    A check never writes into the data set, and a training never into the folder of another one that is running, so that
    nothing is recorded where it was refused for that.
    """
    output, mode, data = Path(config.Global.output), config.Global.mode, config.Global.dataset_dir
    try:
        yield
    except (typer.Exit, BusyError):  # an exit code of typer's is no failure: the mode has done its work
        raise
    except Exception as error:
        refused = mode == "check_dataset" and data is not None and output.resolve().is_relative_to(Path(data).resolve())
        if not refused:
            passed = {"check_pass": False} if mode == "check_dataset" else {}
            record = {"done_flag": False, **passed, "err_type": str(type(error)), "err_msg": str(error)}
            text = json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
            with suppress(OSError):  # the error itself matters more than its record
                for name in _failure_files(output, mode):
                    write_whole(output / name, text)
        raise


def _failure_files(output: Path, mode: str) -> tuple[str, ...]:
    """Where a failure is recorded: of a training beside a model, not in the record of that model."""
    from blemish.models.run_folder import FAILURE, MODEL, RESULT, RESULT_TWIN

    if mode != "train":
        return (f"{mode}_result.json",)
    return (FAILURE,) if (output / MODEL / "model.json").exists() else (RESULT_TWIN, RESULT)
