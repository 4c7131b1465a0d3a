"""Checkpoints: all that a training needs to go on as if nothing had happened, as safetensors and JSON.

A checkpoint is written beside its place and renamed, and renamed before it is deleted, so a folder `iter_N` is always
whole.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.datasets.files import write_whole
from blemish.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 5
WEIGHTS, OPTIMISER, STATE = "model.safetensors", "optimiser.safetensors", "state.json"
_FORMAT = "blemish-checkpoint"
_TEMPORARY, _DROPPED = ".tmp", ".dropped.tmp"
_NUMBERED = re.compile(r"iter_(\d+)")


@dataclass
class State:
    """Where a training stands.

    Attributes:
        step: batches learned from.
        seconds: wall time spent.
        losses: loss of the logged batches by step.
        criteria: loss on the held-out good images by step.
        run: names the training, to tell its checkpoints from another's; those of earlier versions have none.
        best_step: the step with the smallest criterion.
    """

    step: int = 0
    seconds: float = 0.0
    losses: dict[int, float] = field(default_factory=dict)
    criteria: dict[int, float] = field(default_factory=dict)
    run: str = ""

    @property
    def best_step(self) -> int | None:
        return min(self.criteria, key=lambda step: self.criteria[step], default=None)


def write_checkpoint(
    folder: Path,
    weights: Mapping[str, Tensor],
    optimiser: Mapping[str, Tensor],
    state: State,
    identity: Mapping[str, Any],
) -> Path:
    """Write `folder/iter_N` and drop the oldest beyond the last five; returns it.

    All `iter_N` there must be of this training: the newest are those with the largest numbers.

    A disk that is full raises `UsageError` and leaves the earlier checkpoints as they are.
    """
    place = folder / f"iter_{state.step}"
    record = {"format": _FORMAT, **asdict(state), "identity": dict(identity)}
    content = {
        WEIGHTS: tensor_bytes(weights),
        OPTIMISER: tensor_bytes(optimiser),
        STATE: json.dumps(record, indent=1).encode(),
    }
    temporary = folder / f".{place.name}{_TEMPORARY}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name, data in content.items():
            write_whole(temporary / name, data, synced=True)
        drop(place)
        temporary.rename(place)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UsageError(
            f"checkpoint {place} cannot be written: {error.strerror}. Earlier checkpoints are whole: make room and "
            "go on with Train.resume_path"
        ) from error
    for old in checkpoints(folder)[KEPT:]:
        drop(old)
    return place


def remove_partial_checkpoints(folder: Path) -> None:
    """Clear away what a killed training was writing or deleting."""
    for pattern in (f".iter_*{_TEMPORARY}", f".*{_DROPPED}"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """The `iter_N` folders, newest first."""
    numbered = [(int(match[1]), path) for path in folder.glob("iter_*") if (match := _NUMBERED.fullmatch(path.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def read_checkpoint(folder: Path, identity: Mapping[str, Any]) -> tuple[State, dict[str, Tensor], dict[str, Tensor]]:
    """State, weights and optimiser of a checkpoint; `UsageError` if it is none or of another training.

    A key of `identity` that differs is named, since going on would then be neither training.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = checkpoint_folder(folder)
    try:
        record = _record(folder)
        weights, optimiser = (load((folder / name).read_bytes()) for name in (WEIGHTS, OPTIMISER))
        losses, criteria = ({int(step): float(v) for step, v in record[key].items()} for key in ("losses", "criteria"))
        state = State(int(record["step"]), float(record["seconds"]), losses, criteria, str(record.get("run", "")))
        stated = dict(record["identity"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise UsageError(f"checkpoint {folder} is damaged: {error}") from None
    _refuse_other(folder, stated, identity)
    return state, weights, optimiser


def checkpoint_folder(path: Path) -> Path:
    """The folder `iter_N` that is meant by it or by the file of weights in it; `UsageError` if it is none."""
    folder = path.parent if path.name == WEIGHTS else path
    if not (folder / STATE).is_file():
        raise UsageError(f"Train.resume_path {folder} is no checkpoint: expected a folder iter_N with {STATE}")
    return folder


def refuse_other_training(folder: Path, identity: Mapping[str, Any]) -> None:
    """`UsageError` for a checkpoint of another training, before anything is done; a damaged one is told when read."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _refuse_other(folder, dict(_record(folder)["identity"]), identity)


def run_of_checkpoint(folder: Path) -> str:
    """Which training has written it; empty for one that an earlier version wrote, or that cannot be read."""
    try:
        return str(_record(folder).get("run", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors in the safetensors format."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)


def _record(folder: Path) -> Any:
    return json.loads((folder / STATE).read_text(encoding="utf-8"))


def drop(place: Path) -> None:
    """Delete a folder, such as a checkpoint: one that is being deleted is none any more."""
    dropped = place.with_name(f".{place.name}{_DROPPED}")
    shutil.rmtree(dropped, ignore_errors=True)
    if place.exists():
        place.rename(dropped)
        shutil.rmtree(dropped, ignore_errors=True)


def _refuse_other(folder: Path, stated: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for key in sorted({*stated, *identity}):
        before, now = stated.get(key), identity.get(key)
        if before != now:
            raise UsageError(
                f"{folder} is of another training: {key} was {before!r} and is {now!r}. Set it back, or start anew "
                "without --resume (Train.resume_path)"
            )
