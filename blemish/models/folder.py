"""The model folder, written whole or not at all, verified when read: `model.onnx`, `model.json`, `inference.yml`, and
perhaps `good_patches.zip`.

`docs/model-format.md` specifies the format.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blemish.errors import ModelError, UsageError
from blemish.models.calibration_info import CalibrationInfo
from blemish.models.files import read_plain_file, sha256, sibling, sync_folder, write_synced
from blemish.models.info import GOOD_PATCHES, NETWORK, SUMMARY, FileInfo, ModelInfo
from blemish.models.info_file import read_info, write_info
from blemish.models.lock import locked
from blemish.models.network import check_network

INFO = "model.json"
_LIMITS = {INFO: 16 << 20, SUMMARY: 64 << 10, NETWORK: (2 << 30) - 1, GOOD_PATCHES: 128 << 20}
_PLACES = (".", "best_model/inference", "inference")
_TEMPORARY = ".tmp"
_STALE_SECONDS = 24 * 3600
_ATTEMPTS = 20
_WAIT_S = 60.0  # for another process that saves, which takes seconds
_saving = threading.local()  # the places to which this thread saves


@dataclass(frozen=True)
class LoadedModel:
    """A verified model folder; `model` is the ONNX file."""

    info: ModelInfo
    model: bytes
    folder: Path

    @cached_property
    def good_patches(self) -> bytes | None:
        """`good_patches.zip`, read and verified when first asked for; None where there is none, or no longer.

        Raises `ModelError` where it is not the one of this model.
        """
        path = _readable(self.folder) / GOOD_PATCHES
        if GOOD_PATCHES not in self.info.files or not os.path.lexists(path):
            return None
        return _verified(path, self.info.files[GOOD_PATCHES])


def save_model(folder: Path, model: bytes, info: ModelInfo, good_patches: bytes | None = None) -> Path:
    """Write a model folder, replacing the model that is there; returns `folder`.

    A crash at any moment leaves the old model or the new one, for `load_model` to find. Other files in the folder stay.
    `info.files` and `info.checksum` are computed here. Raises `ModelError` if the network does not fit `info`, if
    `folder` holds something else than a model, or if the disk refuses, and `BusyError` as `saving`.
    """
    check_network(model, info)
    place = Path(os.path.realpath(folder))  # never rename a link in the place of the folder it points to
    content = _content(model, info, good_patches)
    with saving(folder), _named_refusal(folder):
        _recover(place)
        check_place(place)
        _replace(place, content)
    return folder


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Let nobody else save to a model folder during the block, so that what was read in it is what is replaced.

    Within it, this thread may save, and begin it again. Raises `BusyError` where another process saves there for a
    minute, and `ModelError` where the disk refuses.
    """
    place = Path(os.path.realpath(folder))
    places: set[Path] = _saving.__dict__.setdefault("places", set())
    if place in places:
        yield
        return
    with _named_refusal(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
    busy = f"another process is saving the model {folder}; run the command again when that has ended"
    with locked(place.with_name(f".{place.name}.lock"), busy, _WAIT_S):
        places.add(place)
        try:
            yield
        finally:
            places.discard(place)


@contextmanager
def _named_refusal(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"model folder {folder} cannot be written: {error.strerror or error}") from error


def version_of(model: bytes, info: ModelInfo, good_patches: bytes | None = None) -> str:
    """The version that `save_model` will make of these."""
    return read_info(_content(model, info, good_patches)[INFO]).version


def load_model(path: str | Path) -> LoadedModel:
    """Read and verify a model folder, or that of a run's output folder.

    Every refusal is a `ModelError` of one line: a missing, truncated, changed or linked file, a newer format, a network
    that is not self-contained or not what `model.json` says.
    """
    for _ in range(_ATTEMPTS):
        folder = find_model(path)
        source = _readable(folder)
        before = _identity(source)
        try:
            return LoadedModel(*_read(source), folder)
        except ModelError as error:
            refusal = error
        if before is not None and _identity(source) == before:
            break
        time.sleep(0.01)  # the folder was replaced while it was read
    raise ModelError(f"model folder {folder}: {refusal}") from refusal


def find_model(path: str | Path) -> Path:
    """The model folder at `path`: itself, or `best_model/inference` or `inference` in it; `ModelError` if none."""
    path = Path(path)
    for _ in range(_ATTEMPTS):  # a running save may move the folder between two looks
        for place in _PLACES:
            if _holds_model(path / place) or _holds_model(_backup(path / place)):
                return path / place
    raise ModelError(
        f"{path} is not a model: expected a folder with {NETWORK}, {INFO} and {SUMMARY}, or the output folder of "
        f"`blemish train`; {_what_is_there(path)}"
    )


def set_false_alarm_rate(path: str | Path, rate: float) -> ModelInfo:
    """Change the stated false-alarm rate, a share in (0, 1), of a model on disk; needs no retraining, and is atomic."""
    with saving(find_model(path)):
        loaded = load_model(path)
        text = write_info(_with_rate(loaded.info, rate, path), loaded.info.files.items())
        folder = Path(os.path.realpath(loaded.folder))
        place = folder / INFO
        temporary = sibling(place, _TEMPORARY)
        try:
            _recover(folder)
            write_synced(temporary, text)
            temporary.replace(place)
            sync_folder(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ModelError(f"{place} cannot be written: {error.strerror}") from error
    return read_info(text)


def _with_rate(info: ModelInfo, rate: float, path: str | Path) -> ModelInfo:
    stated = info.calibration
    if stated.part_count < 2:
        way = "train it with images of 20 parts or more" if stated.scores else "import it with --good-images DIR"
        raise UsageError(f"{path} is not calibrated, so it has no false-alarm rate: {way}")
    try:
        calibration = CalibrationInfo.model_validate(stated.model_dump() | {"false_alarm_rate": rate})
    except ValidationError:
        raise UsageError(f"the false-alarm rate is {rate}; it must be above 0 and below 1, as 0.01 for 1 %") from None
    return info.model_copy(update={"calibration": calibration})


def _content(model: bytes, info: ModelInfo, good_patches: bytes | None) -> dict[str, bytes]:
    """The files of a model folder by name."""
    content = {NETWORK: model, SUMMARY: _inference_yml(info)}
    if good_patches is not None and len(good_patches) <= _LIMITS[GOOD_PATCHES]:
        content[GOOD_PATCHES] = good_patches
    files = {name: FileInfo(sha256=sha256(data), bytes=len(data)) for name, data in content.items()}
    content[INFO] = write_info(info, files.items())
    if len(content[INFO]) > _LIMITS[INFO]:
        raise ModelError(
            f"{INFO} would have {len(content[INFO]) / 2**20:.1f} MiB, and no reader takes more than "
            f"{_LIMITS[INFO] >> 20} MiB; fewer sessions with shorter names, or a training instead of many updates, "
            "make it smaller"
        )
    return content


def _read(folder: Path) -> tuple[ModelInfo, bytes]:
    info = read_info(read_plain_file(folder / INFO, _LIMITS[INFO]))
    model, _ = (_verified(folder / name, info.files[name]) for name in (NETWORK, SUMMARY))
    check_network(model, info)
    return info, model


def _verified(path: Path, stated: FileInfo) -> bytes:
    content = read_plain_file(path, _LIMITS[path.name], stated.bytes)
    if sha256(content) != stated.sha256:
        raise ModelError(f"{path.name} has been changed or damaged: its SHA-256 is not the one in model.json")
    return content


def _replace(folder: Path, content: dict[str, bytes]) -> None:
    """Write a complete folder beside the place, then put it there; the old one waits under its backup name."""
    temporary, backup = sibling(folder, _TEMPORARY), _backup(folder)
    try:
        temporary.mkdir()
        for name, data in content.items():
            write_synced(temporary / name, data)
        sync_folder(temporary)
        if folder.exists():
            folder.rename(backup)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if backup.exists():
        _retire(backup, folder)


def _recover(folder: Path) -> None:
    """Tidy up after a crashed save: complete the replacement or undo it, and drop old half-written folders."""
    backup = _backup(folder)
    if _holds_model(backup) and not _holds_model(folder):
        backup.rename(folder)
    elif backup.exists():
        _retire(backup, folder)
    for entry in folder.parent.iterdir():
        is_temporary = entry.name.startswith(f".{folder.name}.") and entry.name.endswith(_TEMPORARY)
        if is_temporary and time.time() - entry.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(entry, ignore_errors=True)


def _retire(backup: Path, folder: Path) -> None:
    """Delete a replaced model; files that are not the model's go over to the new folder."""
    for entry in backup.iterdir():
        if entry.name in _LIMITS or entry.name.startswith(f".{INFO}."):
            entry.unlink()
        else:
            entry.rename(folder / entry.name)
    backup.rmdir()


def check_place(folder: Path) -> None:
    """Refuse, with `ModelError`, a place that holds anything but a model, before the work that would end there."""
    if folder.exists() and not _holds_model(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} is no model folder, so it is not replaced; {_what_is_there(folder)}")


def _readable(folder: Path) -> Path:
    """The folder, or what a crashed or running save moved out of its place."""
    backup = _backup(folder)
    return backup if not _holds_model(folder) and _holds_model(backup) else folder


def _backup(folder: Path) -> Path:
    place = Path(os.path.realpath(folder))
    return place.parent / f".{place.name}.old"


def _holds_model(folder: Path) -> bool:
    try:
        return (folder / INFO).is_file()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Differs between two folders that were at one place, None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _what_is_there(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError:
        return "there is nothing at that path"
    except NotADirectoryError:
        return "it is a file"
    except OSError as error:
        return f"the folder cannot be read: {error.strerror}"
    if not names:
        return "the folder is empty"
    shown = [name if name.isprintable() else ascii(name)[1:-1] for name in names[:5]]
    return f"it holds {', '.join(shown)}{' ...' if len(names) > 5 else ''}"


def _inference_yml(info: ModelInfo) -> bytes:
    """What the folder tells readers that know PaddleX's `inference.yml`; Blemish itself reads only `model.json`."""
    import yaml

    size, whole = info.input, info.input.frame.geometry
    transforms: list[dict[str, Any]] = [
        {"Resize": {"target_size": [whole.width, whole.height], "keep_ratio": True, "interp": size.resize.upper()}}
    ]
    if info.backbone is not None:
        statistics = {"mean": info.backbone.mean, "std": info.backbone.std}
        transforms.append({"Normalize": {**statistics, "inside_model": True}})
    deploy = {
        "model": NETWORK,
        "transforms": transforms,
        "input_shape": [-1, size.height, size.width, 3],
        "input_dtype": "uint8",
        "output_op": "none",
        "output_dtype": "float32",
    }
    document = {"Global": {"model_name": info.detector.name}, "Deploy": deploy}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
