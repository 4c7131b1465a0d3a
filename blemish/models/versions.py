"""Earlier versions of a model, kept beside it, so that whatever replaced it can be taken back: an update, a training.

Those of the model folder `NAME` are model folders too, in `NAME_history` beside it, each named by the first digits of
its version. Of a run's model, the folder `run` in them holds what the training wrote beside it. Nothing is ever
deleted there.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from blemish.errors import BlemishError, ModelError, UsageError
from blemish.metrics.rates import counted
from blemish.models.files import sibling
from blemish.models.folder import LoadedModel, find_model, load_model, save_model, saving, version_of
from blemish.models.info import NETWORK, PASSING, ModelInfo
from blemish.models.run_folder import DIGITS, KEPT_RECORDS, alone, copy_records, read_result, run_of, settle, swapped
from blemish.models.run_traces import are_of_model, move_traces, traces

_COMPARED_APART = {*PASSING, "files"}

Verify = Callable[[LoadedModel], None]


def replace_model(
    old: LoadedModel,
    model: bytes,
    info: ModelInfo,
    verify: Verify,
    output: Path | None = None,
    *,
    good_patches: bytes | None = None,
) -> Before:
    """Put a new version into the place of `old`, or into the folder `output`; returns what was there, which is kept.

    The new version is written beside the place and read back; `verify` raises if it must not be taken. Only then is
    the one before kept and replaced, so that a crash at any moment leaves one of the two. Raises `ModelError` where the
    disk refuses, and where another model than `old` is in its place by now: what changed it is not lost.
    """
    folder = old.folder if output is None else output
    place = Path(os.path.realpath(folder))
    beside = sibling(place, ".tmp")  # a name that a later save removes, should this process be killed
    try:
        written = load_model(save_model(beside / place.name, model, info, good_patches))
        verify(written)
        with saving(folder):
            if output is None:
                _refuse_changed(old)
                keep_version(old)
                before = Before(old.info.version[:DIGITS])
            else:
                before = keep_before(output, model, info, output)
            save_model(folder, written.model, written.info, written.good_patches)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return before


def bring_back(path: str | Path, version: str | None = None) -> LoadedModel:
    """Put a kept version back into the place of the model, which is kept in its turn; returns what is there now.

    `version` is the beginning of one; without it, the version that the last update or training replaced. What the
    training wrote beside that version comes back with it. Raises `UsageError` where there is none, and `ModelError`
    where it is damaged.
    """
    folder = find_model(path)
    run = run_of(folder)
    with nullcontext() if run is None else alone(run), saving(folder):
        if run is not None:
            settle(run)
        present = load_model(path)
        wanted = _kept(present, path, version)
        kept = keep_version(present)
        with nullcontext() if run is None else _exchanged(run, present, wanted, kept / KEPT_RECORDS):
            save_model(present.folder, wanted.model, wanted.info, wanted.good_patches)
        return load_model(present.folder)


@contextmanager
def _exchanged(run: Path, present: LoadedModel, wanted: LoadedModel, kept: Path) -> Iterator[None]:
    """Exchange what lies beside the model while the caller puts `wanted` there; `kept` is where that of `present` goes.

    Log and checkpoints of a training that began after `present` was made stay: it is the one that can go on.
    """
    are_own = are_of_model(run, kept)
    move_traces(traces(run) if are_own else (), kept)
    comes = version_of(wanted.model, wanted.info, wanted.good_patches)[:DIGITS]
    with swapped(run, comes, _records(present, wanted)):
        yield
    move_traces(traces(wanted.folder / KEPT_RECORDS) if are_own else (), run)


def kept_versions(path: str | Path) -> list[str]:
    """The first digits of all other versions of the model that are kept, the oldest update first."""
    folder = find_model(path)
    present, history = present_model(folder), history_of(folder)
    names: list[tuple[int, str]] = []
    for entry in history.iterdir() if history.is_dir() else ():
        if present is not None and entry.name == present.info.version[:DIGITS]:
            continue  # it came back
        try:
            names.append((len(load_model(entry).info.history or []), entry.name))
        except BlemishError:
            continue  # half written when the power went, or somebody else's
    return [name for _, name in sorted(names)]


def keep_version(old: LoadedModel) -> Path:
    """Write a version into the history, if it is not there, with the records beside it; returns its place there."""
    kept = history_of(old.folder) / old.info.version[:DIGITS]
    try:
        load_model(kept)
    except ModelError:
        save_model(kept, old.model, old.info, old.good_patches)
    run = run_of(old.folder)
    if run is not None:
        copy_records(run, kept / KEPT_RECORDS)
    return kept


@dataclass(frozen=True)
class Before:
    """What was at a place before a model is put there that was not made of it.

    Attributes:
        version: of the model that is kept, None where none is.
        lines: what a person should know of it.
    """

    version: str | None = None
    lines: tuple[str, ...] = ()


def keep_before(place: Path, model: bytes, info: ModelInfo, said: Path) -> Before:
    """Keep the model that is at a place, if another is about to take it; `said` is its name for the user.

    One that says the same is no version of its own. One that cannot be read is kept as it is, file by file.
    """
    present = present_model(place)
    if present is not None and say_the_same(present, model, info):
        return Before()
    if present is not None:
        kept, version = keep_version(present), present.info.version[:DIGITS]
        shown = place.with_name(kept.parent.name) / version
        images = counted(present.info.data.images, "image")
        line = (
            f"The model before ({present.info.detector.name}, {images}) is kept: {shown} "
            f"({megabytes(kept)} MB, yours to delete). To go back: "
            f"blemish update {quote(str(said))} --undo --to {version}"
        )
        return Before(version, (line,))
    if not place.is_dir() or not any(place.iterdir()):
        return Before()
    kept = history_of(place) / f"unreadable-{secrets.token_hex(4)}"
    shutil.copytree(place, kept, symlinks=True)
    return Before(None, (f"The model before cannot be read; its files are kept: {kept}",))


def present_model(place: Path) -> LoadedModel | None:
    """The model in a folder; None where there is none that can be read."""
    try:
        return load_model(place)
    except ModelError:
        return None


def say_the_same(present: LoadedModel, model: bytes, info: ModelInfo) -> bool:
    """Whether a model gives the same results as another, and tells the same of itself."""
    return present.model == model and present.info.model_dump(exclude=_COMPARED_APART) == info.model_dump(
        exclude=_COMPARED_APART
    )


def megabytes(folder: Path) -> str:
    """The size of all files in a folder, as a person reads it."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}"


def history_of(folder: Path) -> Path:
    """Where the earlier versions of the model in `folder` are kept."""
    place = Path(os.path.realpath(folder))
    return place.with_name(f"{place.name}_history")


def _kept(present: LoadedModel, path: str | Path, version: str | None) -> LoadedModel:
    """The kept version of that name, or the one that was replaced last."""
    if version is None:
        version = _replaced(present)
        if version is None:
            there = ", ".join(kept_versions(path)) or "none"
            raise UsageError(
                f"{path} has never been updated or replaced, so there is nothing to undo; kept are: {there}"
            )
    if version and present.info.version.startswith(version.lower()):
        raise UsageError(f"{path} is version {version} already; {_told(path)}")
    found = [checksum for checksum in kept_versions(path) if checksum.startswith(version[:DIGITS].lower())]
    if len(found) != 1 or not version:
        raise UsageError(f"{path} has no kept version `{version}`, or several; {_told(path)}")
    return load_model(history_of(present.folder) / found[0])


def _told(path: str | Path) -> str:
    return f"kept are: {', '.join(kept_versions(path)) or 'none'}"


def _replaced(present: LoadedModel) -> str | None:
    """The version that the last update or, by its record, the training took the place of."""
    if present.info.history:
        return present.info.history[-1].version_before[:DIGITS]
    run = run_of(present.folder)
    replaced = None if run is None else read_result(run).get("replaced")
    return replaced if isinstance(replaced, str) else None


def _records(present: LoadedModel, wanted: LoadedModel) -> Callable[[Path], None]:
    """Writes the records of a kept version into a folder.

    Versions kept by an earlier Blemish have none of their own: all versions of one training shared what lay there.
    """
    own, run = wanted.folder / KEPT_RECORDS, run_of(present.folder)
    if own.is_dir():
        return partial(copy_records, own)
    shared = run if run is not None and _first(present.info) == _first(wanted.info) else own
    return partial(copy_records, shared)


def _first(info: ModelInfo) -> str:
    """The version that the training made of which this one came by updates."""
    return info.history[0].version_before if info.history else info.version


def _refuse_changed(old: LoadedModel) -> None:
    present = load_model(old.folder).info
    if present.checksum != old.info.checksum:
        raise ModelError(
            f"the model in {old.folder} was changed meanwhile ({_change(old.info, present)}), so nothing was written; "
            "run the command again"
        )


def _change(before: ModelInfo, now: ModelInfo) -> str:
    """What was done to a model, as far as can be told."""
    known, history = before.history or [], now.history or []
    if len(history) > len(known) and history[: len(known)] == known:
        return f"an update with {counted(history[-1].images, 'image')} of {history[-1].folder}, {history[-1].when}"
    if now.files[NETWORK] == before.files[NETWORK] and known == history:
        return f"its false-alarm rate is {now.calibration.false_alarm_rate:g} now"
    return f"version {now.version[:DIGITS]} was put there"
