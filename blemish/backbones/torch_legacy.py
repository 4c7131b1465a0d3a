"""Reads a dictionary of tensors from torch's legacy (pre-zip) file format, without torch and without pickle.

The format is three pickle streams (system information, the dictionary, the list of storage keys) and then the
storages' raw bytes. The pickles run on a machine that calls nothing; they may mention four globals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.backbones.pickle_machine import Cursor, Dialect, Global, refusal, require, run_pickle
from blemish.errors import BackboneError

# torch's magic number and protocol version 1001, each a pickle of its own
PREFIX = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
_MAX_BYTES = 1 << 30
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


_ORDERED_DICT = Global("collections OrderedDict")
_REBUILD_TENSOR = Global("torch._utils _rebuild_tensor_v2")
_DTYPES: dict[Global, np.dtype[Any]] = {
    Global("torch FloatStorage"): np.dtype("<f4"),
    Global("torch LongStorage"): np.dtype("<i8"),
}


def read_state_dict(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The named tensors of a legacy torch file, as read-only views into `data` (float32 or int64).

    Raises `BackboneError` for anything but a flat dictionary of tensors.
    """
    if not data.startswith(PREFIX):
        raise BackboneError("not a weight file in torch's legacy format (its first bytes differ)")
    if len(data) > _MAX_BYTES:
        raise BackboneError(f"weight file of {len(data):,} bytes: at most {_MAX_BYTES:,} are read")
    cursor = Cursor(data, len(PREFIX))
    system = run_pickle(cursor, _DIALECT)
    require(isinstance(system, dict) and system.get("little_endian") is True, "a file of a little-endian machine")
    state = run_pickle(cursor, _DIALECT)
    require(isinstance(state, dict), "a dictionary")
    for tensor in state.values():
        require(isinstance(tensor, _Tensor), "a dictionary of tensors")
    storages = _read_storages(cursor, run_pickle(cursor, _DIALECT), {t.storage.key: t.storage for t in state.values()})
    return {name: _array(tensor, storages) for name, tensor in state.items()}


def _read_storages(cursor: Cursor, keys: object, declared: dict[str, _Storage]) -> dict[_Storage, npt.NDArray[Any]]:
    """The storages' elements, in the order of `keys`; each key once, each as long as declared."""
    if not isinstance(keys, list):
        raise refusal("a list of storage keys")
    found: dict[_Storage, npt.NDArray[Any]] = {}
    for key in keys:
        require(isinstance(key, str) and key in declared, "storage keys that tensors refer to")
        storage = declared.pop(key)
        require(int.from_bytes(cursor.take(8), "little") == storage.count, "storages of the declared length")
        found[storage] = np.frombuffer(cursor.take(storage.count * storage.dtype.itemsize), dtype=storage.dtype)
    require(cursor.at_end(), "no bytes after the last storage")
    return found


def _array(tensor: _Tensor, storages: dict[_Storage, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The tensor as a view of its storage, after a check that it lies inside."""
    require(tensor.storage in storages, "a storage for every tensor")
    elements, size = storages[tensor.storage], math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    inside = tensor.offset <= elements.size if size == 0 else last < elements.size
    require(inside and size <= elements.size, "tensors that lie inside their storage")
    steps = [step * elements.itemsize for step in tensor.stride]
    view: npt.NDArray[Any] = np.ndarray(
        tensor.shape, elements.dtype, elements.data, tensor.offset * elements.itemsize, steps
    )
    view.flags.writeable = False
    return view


def _call(function: Global, arguments: tuple[Any, ...]) -> Any:
    if function == _ORDERED_DICT and arguments == ():
        return {}
    require(function == _REBUILD_TENSOR, "a call that makes a tensor or an empty dictionary")
    return _tensor(arguments)


def _build(value: Any, _attributes: Any) -> None:
    """Drops the attributes of the dictionary (torch keeps module versions there)."""
    require(isinstance(value, dict), "a dict on the stack")


def _storage(identity: object) -> _Storage:
    """Checks a persistent id: ("storage", type, key, location, count, no view)."""
    expected = "the persistent id of a storage"
    if not isinstance(identity, tuple) or len(identity) != 6:
        raise refusal(expected)
    kind, storage_type, key, location, count, view = identity
    require(isinstance(kind, str) and kind == "storage" and view is None, expected)
    require(isinstance(storage_type, Global) and storage_type in _DTYPES, expected)
    require(isinstance(key, str) and isinstance(location, str) and _is_size(count), expected)
    return _Storage(key, _DTYPES[storage_type], count)


def _tensor(arguments: tuple[Any, ...]) -> _Tensor:
    """Checks the arguments of torch's tensor constructor: storage, offset, shape, stride, gradient flag, no hooks."""
    expected = "the arguments of a tensor"
    require(len(arguments) == 6, expected)
    storage, offset, shape, stride, _, hooks = arguments
    require(isinstance(storage, _Storage) and _is_size(offset) and hooks == {}, expected)
    for sizes in (shape, stride):
        require(isinstance(sizes, tuple) and len(sizes) <= _MAX_DIMENSIONS and all(map(_is_size, sizes)), expected)
    require(len(shape) == len(stride), expected)
    return _Tensor(storage, offset, shape, stride)


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


_DIALECT = Dialect(
    frozenset({2}), {known.name: known for known in (_ORDERED_DICT, _REBUILD_TENSOR, *_DTYPES)}, _call, _build, _storage
)
