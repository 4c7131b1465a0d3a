"""Finds the tensors in what a user of Paddle has: a checkpoint, an exported model, its folder, its archive."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blemish.backbones.pdparams import Tensors, read_pdparams
from blemish.errors import BackboneError
from blemish.importing.archive import read_tar
from blemish.importing.internal_names import names_by_order, names_from_info, names_from_program
from blemish.importing.pdiparams import read_records

_MAX_BYTES = 1 << 30
_NAMED, _RECORDS = ".pdparams", ".pdiparams"


@dataclass(frozen=True)
class WeightFile:
    """Tensors by their names in the network, and the file that they were in; `sha256` is that file's."""

    name: str
    sha256: str
    tensors: Tensors


def read_weights(path: Path) -> WeightFile:
    """Read a `.pdparams`, a `.pdiparams` with what lies beside it, a folder with an exported model, or a `.tar` of one.

    Raises `BackboneError`, which names `path`, for a file that is missing, too large, or refused.
    """
    try:
        if path.is_dir():
            path = _exported(path)
        data = _read(path)
        return WeightFile(path.name, hashlib.sha256(data).hexdigest(), _tensors(path, data))
    except BackboneError as error:
        raise BackboneError(f"{path}: {error}") from None


def _tensors(path: Path, data: bytes) -> Tensors:
    suffix = path.suffix.lower()
    if suffix == _NAMED:
        return read_pdparams(data)
    if suffix == ".tar":
        return _archived({name: bytes(content) for name, content in read_tar(data).items()})
    if suffix == _RECORDS:
        beside = {".info": path.with_name(f"{path.name}.info"), ".json": path.with_suffix(".json")}
        return _named_records(data, {kind: _read(file) for kind, file in beside.items() if file.is_file()})
    raise BackboneError("not a weight file of Paddle: it ends in .pdparams, .pdiparams or .tar")


def _archived(files: Mapping[str, bytes]) -> Tensors:
    """The tensors of the one exported model among the files."""
    names = [name for name in files if name.endswith(_RECORDS)]
    if len(names) != 1:
        raise BackboneError(f"the archive holds {len(names)} .pdiparams files; it should hold one")
    beside = {".info": f"{names[0]}.info", ".json": names[0].removesuffix(_RECORDS) + ".json"}
    return _named_records(files[names[0]], {kind: files[name] for kind, name in beside.items() if name in files})


def _named_records(data: bytes, beside: Mapping[str, bytes]) -> Tensors:
    """The tensors with their names, from the best source there is beside them."""
    records = read_records(data)
    if ".info" in beside:
        names = names_from_info(beside[".info"], len(records))
    elif ".json" in beside:
        names = names_from_program(beside[".json"], len(records))
    else:
        names = names_by_order(len(records))
    return dict(zip(names, records, strict=True))


def _exported(folder: Path) -> Path:
    """The weights of the exported model in a folder."""
    found = sorted(folder.glob(f"*{_RECORDS}"))
    if len(found) != 1:
        raise BackboneError(f"the folder holds {len(found)} .pdiparams files; name the weight file itself")
    return found[0]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BackboneError(f"cannot be read ({error.strerror})") from None
    if len(data) > _MAX_BYTES:
        raise BackboneError(f"has more than the {_MAX_BYTES:,} bytes that are read")
    return data
