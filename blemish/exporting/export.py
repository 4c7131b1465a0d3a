"""Writes an export: a folder of its own, whole or not at all, in the place of nothing but an earlier export."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from blemish.errors import ModelError, UsageError, did_you_mean
from blemish.exporting.browser import export_browser
from blemish.exporting.formats import export_onnx, export_openvino, export_ort
from blemish.models import LoadedModel, exported_files, load_model, saving
from blemish.models.files import sibling, sync_folder

# A format's function writes into a new, empty folder and returns it; what it writes is listed in its `model.json`.
FORMATS: dict[str, Callable[[LoadedModel, Path], Path]] = {
    "onnx": export_onnx,
    "openvino": export_openvino,
    "ort": export_ort,
    "browser": export_browser,
}

_MODEL_FOLDER = frozenset({"model.json", "model.onnx", "inference.yml"})
_OPTIONAL = frozenset({"good_patches.zip"})


def export_model(model: str | Path, format_name: str, output: Path, runtime: Path | None = None) -> Path:
    """Write a model in a format of `FORMATS` to the folder `output`, and return that.

    `model` is a model folder or a run's output folder. An earlier export is replaced, a model folder only by the format
    `onnx`, anything else never. A failure leaves what was there. `runtime` is a folder or .tgz of onnxruntime-web, for
    the format `browser`, in the place of the one in the package.

    Raises `UsageError` for an unknown format or one whose package is missing, `ModelError` for a folder that is no
    model, for a place that is taken, and where the exported network gives other values than the model.
    """
    write = _format(format_name, runtime)
    loaded = load_model(model)
    place = Path(os.path.realpath(output.expanduser()))
    if place == Path(os.path.realpath(loaded.folder)):
        raise UsageError(f"{output} is the model itself; choose another folder with --output")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with saving(place):
            _check_place(place, output, format_name)
            _write_whole(place, lambda folder: write(loaded, folder))
    except OSError as error:
        raise ModelError(f"the export {output} cannot be written: {error.strerror or error}") from error
    return output


def _format(name: str, runtime: Path | None) -> Callable[[LoadedModel, Path], Path]:
    if name not in FORMATS:
        raise UsageError(
            f"there is no export format `{name}`.{did_you_mean(name, FORMATS)} There are {', '.join(FORMATS)}."
        )
    if runtime is None:
        return FORMATS[name]
    if name != "browser":
        raise UsageError(f"a runtime goes with the format browser alone, not with {name}")
    return partial(export_browser, runtime=runtime)


def _check_place(place: Path, output: Path, format_name: str) -> None:
    """Refuse whatever is neither absent, nor empty, nor an earlier export that this one may replace."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not place.is_dir():
        raise ModelError(f"{output} is a file; name a folder for the export with --output")
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
    foreign = sorted(found - _exported(place))
    if foreign:
        raise ModelError(
            f"{output} is not replaced: it holds {ascii(foreign[0])[1:-1]}, which no export has written; "
            "choose another folder with --output"
        )
    if found - _OPTIONAL == _MODEL_FOLDER and format_name != "onnx":
        raise ModelError(f"{output} holds a model, which is not replaced; choose another folder with --output")


def _exported(place: Path) -> set[str]:
    """The files that the export at this place has written; none where there is no export."""
    try:
        return exported_files(place)
    except ModelError:
        return set()


def _write_whole(place: Path, write: Callable[[Path], object]) -> None:
    """Let a folder be written beside its place, then put it there."""
    temporary, old = sibling(place, ".tmp"), sibling(place, ".old")
    try:
        temporary.mkdir()
        write(temporary)
        sync_folder(temporary)
        if place.exists():
            place.rename(old)
        temporary.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(place.parent)
    shutil.rmtree(old, ignore_errors=True)
