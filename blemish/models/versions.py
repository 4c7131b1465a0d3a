"""Earlier versions of a model, kept beside it, so that whatever replaced it can be taken back.

Those of the model folder `NAME` are model folders too, in `NAME_history` beside it, each named for the first digits of
its checksum. Nothing is ever deleted there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from blemish.errors import BlemishError, ModelError, UsageError
from blemish.models.files import sibling
from blemish.models.folder import LoadedModel, find_model, load_model, save_model
from blemish.models.info import ModelInfo

DIGITS = 12  # of a checksum: enough to tell the versions of one model apart

Verify = Callable[[LoadedModel], None]


def replace_model(
    old: LoadedModel,
    model: bytes,
    info: ModelInfo,
    verify: Verify,
    output: Path | None = None,
    *,
    good_patches: bytes | None = None,
) -> Path:
    """Put a new version into the place of `old`, which is kept, or into another folder; returns its folder.

    The new version is written beside the place and read back; `verify` raises if it must not be taken. Only then is
    the old one kept and replaced, so that a crash at any moment leaves one of the two. Raises `ModelError` where the
    disk refuses.
    """
    folder = old.folder if output is None else output
    place = Path(os.path.realpath(folder))
    beside = sibling(place, ".tmp")  # a name that a later save removes, should this process be killed
    try:
        written = load_model(save_model(beside / place.name, model, info, good_patches))
        verify(written)
        if output is None:
            _keep(old)
        save_model(folder, written.model, written.info, written.good_patches)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def bring_back(path: str | Path, version: str | None = None) -> LoadedModel:
    """Put a kept version back into the place of the model, which is kept in its turn; returns what is there now.

    `version` is the beginning of a checksum; without it, the version that the last update began with. Raises
    `UsageError` where there is none, and `ModelError` where it is damaged.
    """
    present = load_model(path)
    if version is None:
        if not present.info.history:
            raise UsageError(f"{path} has never been updated, so there is nothing to undo")
        version = present.info.history[-1].version_before[:DIGITS]
    found = [checksum for checksum in kept_versions(path) if checksum.startswith(version[:DIGITS].lower())]
    if len(found) != 1 or not version:
        there = ", ".join(kept_versions(path)) or "none"
        raise UsageError(f"{path} has no kept version `{version}`, or several; kept are: {there}")
    wanted = load_model(_history(present.folder) / found[0])
    _keep(present)
    save_model(present.folder, wanted.model, wanted.info, wanted.good_patches)
    return load_model(present.folder)


def kept_versions(path: str | Path) -> list[str]:
    """The first digits of the checksums of all earlier versions, the oldest update first."""
    history = _history(find_model(path))
    names: list[tuple[int, str]] = []
    for entry in history.iterdir() if history.is_dir() else ():
        try:
            names.append((len(load_model(entry).info.history or []), entry.name))
        except BlemishError:
            continue  # half written when the power went, or somebody else's
    return [name for _, name in sorted(names)]


def _keep(old: LoadedModel) -> None:
    """Write a version into the history, if it is not there."""
    kept = _history(old.folder) / old.info.checksum[:DIGITS]
    try:
        load_model(kept)
    except ModelError:
        save_model(kept, old.model, old.info, old.good_patches)


def _history(folder: Path) -> Path:
    place = Path(os.path.realpath(folder))
    return place.with_name(f"{place.name}_history")
