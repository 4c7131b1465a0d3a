"""Reads a dictionary of tensors from torch's legacy (pre-zip) file format, without torch and without pickle.

The format is three pickle streams (system information, the dictionary, the list of storage keys) and then the
storages' raw bytes. A pickle is a program for a stack machine; this module is such a machine with only the
instructions that a state dictionary needs. It knows four global names, all inert, and it calls nothing. Whatever a
file says, its lengths are checked against the bytes that are there before anything is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import BackboneError

# torch's magic number and protocol version 1001, each a pickle of its own
PREFIX = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
_MAX_BYTES = 1 << 30
_MAX_INSTRUCTIONS = 200_000  # a stream; EfficientNet-Lite0 needs 10,696
_MAX_TEXT = 1000  # bytes of a string; names of tensors have about 50
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class _Global:
    name: str


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


_ORDERED_DICT = _Global("collections OrderedDict")
_REBUILD_TENSOR = _Global("torch._utils _rebuild_tensor_v2")
_DTYPES: dict[_Global, np.dtype[Any]] = {
    _Global("torch FloatStorage"): np.dtype("<f4"),
    _Global("torch LongStorage"): np.dtype("<i8"),
}
_GLOBALS = {known.name: known for known in (_ORDERED_DICT, _REBUILD_TENSOR, *_DTYPES)}


def read_state_dict(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The named tensors of a legacy torch file, as read-only views into `data` (float32 or int64).

    Raises `BackboneError` for anything but a flat dictionary of tensors.
    """
    if not data.startswith(PREFIX):
        raise BackboneError("not a weight file in torch's legacy format (its first bytes differ)")
    if len(data) > _MAX_BYTES:
        raise BackboneError(f"weight file of {len(data):,} bytes: at most {_MAX_BYTES:,} are read")
    cursor = _Cursor(data, len(PREFIX))
    system = _Machine(cursor).run()
    _require(isinstance(system, dict) and system.get("little_endian") is True, "a file of a little-endian machine")
    state = _Machine(cursor).run()
    _require(isinstance(state, dict), "a dictionary")
    for tensor in state.values():
        _require(isinstance(tensor, _Tensor), "a dictionary of tensors")
    storages = _read_storages(cursor, _Machine(cursor).run(), {t.storage.key: t.storage for t in state.values()})
    return {name: _array(tensor, storages) for name, tensor in state.items()}


def _read_storages(cursor: _Cursor, keys: object, declared: dict[str, _Storage]) -> dict[_Storage, npt.NDArray[Any]]:
    """The storages' elements, in the order of `keys`; each key once, each as long as declared."""
    if not isinstance(keys, list):
        raise _refusal("a list of storage keys")
    found: dict[_Storage, npt.NDArray[Any]] = {}
    for key in keys:
        _require(isinstance(key, str) and key in declared, "storage keys that tensors refer to")
        storage = declared.pop(key)
        _require(int.from_bytes(cursor.take(8), "little") == storage.count, "storages of the declared length")
        found[storage] = np.frombuffer(cursor.take(storage.count * storage.dtype.itemsize), dtype=storage.dtype)
    _require(cursor.at_end(), "no bytes after the last storage")
    return found


def _array(tensor: _Tensor, storages: dict[_Storage, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The tensor as a view of its storage, after a check that it lies inside."""
    _require(tensor.storage in storages, "a storage for every tensor")
    elements, size = storages[tensor.storage], math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    inside = tensor.offset <= elements.size if size == 0 else last < elements.size
    _require(inside and size <= elements.size, "tensors that lie inside their storage")
    steps = [step * elements.itemsize for step in tensor.stride]
    view: npt.NDArray[Any] = np.ndarray(
        tensor.shape, elements.dtype, elements.data, tensor.offset * elements.itemsize, steps
    )
    view.flags.writeable = False
    return view


class _Cursor:
    """A position in the bytes that never passes their end."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = memoryview(data), position

    def take(self, count: int) -> memoryview:
        start, self._position = self._position, self._position + count
        _require(self._position <= len(self._data), "more bytes (the file is cut off)")
        return self._data[start : self._position]

    def number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def text(self, size: int) -> str:
        _require(size <= _MAX_TEXT, f"strings of at most {_MAX_TEXT} bytes")
        try:
            return str(self.take(size), "utf-8")
        except UnicodeDecodeError:
            raise _refusal("text in UTF-8") from None

    def line(self) -> str:
        """ASCII text up to a newline, of at most 40 characters: no known global is longer."""
        characters = bytearray()
        while (byte := self.take(1)[0]) != 0x0A:
            characters.append(byte)
            _require(len(characters) <= 40 and byte < 0x80, "the names of known globals")
        return characters.decode("ascii")

    def at_end(self) -> bool:
        return self._position == len(self._data)


@dataclass
class _Machine:
    """One run of the pickle stack machine, from the cursor to the STOP instruction."""

    cursor: _Cursor
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        for _ in range(_MAX_INSTRUCTIONS):
            code = self.cursor.take(1)[0]
            if code == ord("."):
                _require(len(self.stack) == 1 and not self.marks, "one value in a stream")
                return self.stack[0]
            _require(code in _INSTRUCTIONS, f"no pickle instruction 0x{code:02x}")
            _INSTRUCTIONS[code](self)
        raise _refusal(f"at most {_MAX_INSTRUCTIONS:,} instructions")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        _require(len(self.stack) > (self.marks[-1] if self.marks else 0), "a value on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        _require(bool(self.marks), "a mark on the stack")
        start = self.marks.pop()
        values, self.stack[start:] = self.stack[start:], []
        return values

    def pop_tuple(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def top(self, kind: type[Any]) -> Any:
        _require(bool(self.stack) and isinstance(self.stack[-1], kind), f"a {kind.__name__} on the stack")
        return self.stack[-1]

    def put(self, index: int) -> None:
        _require(bool(self.stack), "a value on the stack")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        _require(index in self.memo, "a remembered value")
        self.push(self.memo[index])

    def protocol(self) -> None:
        _require(self.cursor.number(1) == 2, "pickle protocol 2")

    def append(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        """String keys only: hashing a deeply nested tuple would overflow the C stack."""
        target = self.top(dict)
        _require(len(values) % 2 == 0 and all(type(key) is str for key in values[::2]), "string keys")
        target.update(zip(values[::2], values[1::2], strict=True))

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def global_name(self) -> None:
        name = f"{self.cursor.line()} {self.cursor.line()}"
        _require(name in _GLOBALS, f"no global `{name}`")
        self.push(_GLOBALS[name])

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if function == _ORDERED_DICT and arguments == ():
            self.push({})
        else:
            _require(function == _REBUILD_TENSOR, "a call that makes a tensor or an empty dictionary")
            self.push(_tensor(arguments))

    def persistent(self) -> None:
        self.push(_storage(self.pop()))

    def build(self) -> None:
        """Drops the attributes of the dictionary (torch keeps module versions there)."""
        self.pop()
        self.top(dict)


def _storage(identity: object) -> _Storage:
    """Checks a persistent id: ("storage", type, key, location, count, no view)."""
    expected = "the persistent id of a storage"
    if not isinstance(identity, tuple) or len(identity) != 6:
        raise _refusal(expected)
    kind, storage_type, key, location, count, view = identity
    _require(isinstance(kind, str) and kind == "storage" and view is None, expected)
    _require(isinstance(storage_type, _Global) and storage_type in _DTYPES, expected)
    _require(isinstance(key, str) and isinstance(location, str) and _is_size(count), expected)
    return _Storage(key, _DTYPES[storage_type], count)


def _tensor(arguments: object) -> _Tensor:
    """Checks the arguments of torch's tensor constructor: storage, offset, shape, stride, gradient flag, no hooks."""
    expected = "the arguments of a tensor"
    if not isinstance(arguments, tuple) or len(arguments) != 6:
        raise _refusal(expected)
    storage, offset, shape, stride, _, hooks = arguments
    _require(isinstance(storage, _Storage) and _is_size(offset) and hooks == {}, expected)
    for sizes in (shape, stride):
        _require(isinstance(sizes, tuple) and len(sizes) <= _MAX_DIMENSIONS and all(map(_is_size, sizes)), expected)
    _require(len(shape) == len(stride), expected)
    return _Tensor(storage, offset, shape, stride)


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


def _require(condition: bool, expected: str) -> None:
    if not condition:
        raise _refusal(expected)


def _refusal(expected: str) -> BackboneError:
    return BackboneError(f"weight file refused: expected {expected}")


def _table() -> dict[int, Callable[[_Machine], None]]:
    """The instructions of pickle protocol 2 that a state dictionary needs, by their code."""
    named: dict[str, Callable[[_Machine], None]] = {
        "\x80": _Machine.protocol,
        "(": lambda m: m.marks.append(len(m.stack)),
        "q": lambda m: m.put(m.cursor.number(1)),
        "r": lambda m: m.put(m.cursor.number(4)),
        "h": lambda m: m.get(m.cursor.number(1)),
        "j": lambda m: m.get(m.cursor.number(4)),
        "K": lambda m: m.push(m.cursor.number(1)),
        "M": lambda m: m.push(m.cursor.number(2)),
        "J": lambda m: m.push(m.cursor.number(4, signed=True)),
        "X": lambda m: m.push(m.cursor.text(m.cursor.number(4))),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "}": lambda m: m.push({}),
        "]": lambda m: m.push([]),
        ")": lambda m: m.push(()),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "\x85": lambda m: m.pop_tuple(1),
        "\x86": lambda m: m.pop_tuple(2),
        "\x87": lambda m: m.pop_tuple(3),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.pop_to_mark()),
        "s": _Machine.set_item,
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "c": _Machine.global_name,
        "R": _Machine.reduce,
        "Q": _Machine.persistent,
        "b": _Machine.build,
    }
    return {ord(code): instruction for code, instruction in named.items()}


_INSTRUCTIONS = _table()
