"""What a training leaves in the run's folder while it runs: its log, its curves, and checkpoints to go on from.

They are those of the training that was started last; the records beside them, and the model, are those of the last
one that ended. These differ while a training runs, and after one that was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from blemish.errors import UsageError
from blemish.models.run_folder import read_result
from blemish.training.checkpoints import checkpoints, drop, run_of_checkpoint
from blemish.training.scalars import FOLDER as SCALARS

LOG = "train.log"
INTERRUPTED = "interrupted"  # the folder in a run's folder that holds the traces of trainings that did not end


def traces(run: Path) -> list[Path]:
    """All that is there, the newest checkpoint last: what is moved in this order can go on from it until the end."""
    return [path for path in (run / LOG, run / SCALARS, *reversed(checkpoints(run))) if path.exists()]


def has_ended(run: Path) -> bool:
    """Whether the training that wrote the newest checkpoint is the one that `train_result.json` tells of."""
    newest, result = next(iter(checkpoints(run)), None), read_result(run)
    return (
        newest is not None
        and result.get("done_flag") is True
        and run_of_checkpoint(newest) == str(result.get("run", ""))
    )


def are_of_model(run: Path, kept: Path) -> bool:
    """Whether the traces are those of the training of the model that is there.

    `kept` is where they go with it; where the log of that training is there already, this one is a later one's.
    """
    return has_ended(run) if checkpoints(run) else not (kept / LOG).exists()


def newest_checkpoint(run: Path) -> Path:
    """The checkpoint to go on from; `UsageError` where no interrupted training has left one."""
    found = checkpoints(run)
    if not found:
        aside = sorted((run / INTERRUPTED).glob("*/iter_*"))
        hint = f" There are older ones: Train.resume_path={aside[-1]} goes on from one." if aside else ""
        raise UsageError(f"--resume: there is no checkpoint iter_N in {run}; start without --resume.{hint}")
    if has_ended(run):
        raise UsageError(
            f"--resume: the training in {run} has ended and was not interrupted; start a new one without --resume."
        )
    return found[0]


def move_traces(paths: Iterable[Path], target: Path) -> None:
    """Move them into the folder `target`, replacing what has their names there."""
    for path in paths:
        target.mkdir(parents=True, exist_ok=True)
        place = target / path.name
        remove(place)
        shutil.move(path, place)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        drop(path)
    else:
        path.unlink(missing_ok=True)
