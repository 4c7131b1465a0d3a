"""Reads the tensors of Paddle's `*.pdparams` files, without Paddle and without pickle.

Such a file is one pickle, of protocol 2 to 4: a dictionary from parameter names to numpy arrays, or a dictionary that
holds such a one under `model_state_dict` beside the optimiser's state. The pickle runs on a machine that calls
nothing; a tensor of a nested dictionary is written as a "call" of `tuple` with its internal name and its array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.backbones.pickle_machine import Cursor, Dialect, Global, refusal, require, run_pickle
from blemish.errors import BackboneError

Tensors = dict[str, npt.NDArray[np.float32]]

_MAX_BYTES = 1 << 30
_MAX_DIMENSIONS = 8
_STRUCTURED_NAMES = "StructuredToParameterName@@"
_SPLIT_TENSORS = "UnpackBigParamInfor@@"
_MODEL = "model_state_dict"
_ELEMENTS = ("f2", "f4", "f8", "i4", "i8", "u1", "b1")  # an optimiser's state may hold more than float32


def read_pdparams(data: bytes) -> Tensors:
    """The model's tensors by their names, float32, as read-only views into `data` where the pickle protocol allows it.

    Raises `BackboneError` for anything but a dictionary of tensors, for one beside other things under
    `model_state_dict`, and for files that split large tensors.
    """
    content = read_dictionary(data)
    if isinstance(content.get(_MODEL), dict):
        content = content[_MODEL]
    if _SPLIT_TENSORS in content:
        raise BackboneError("weight file refused: an old Paddle has split its large tensors; save it with Paddle 2.1+")
    return {name: _tensor(name, value) for name, value in content.items() if name != _STRUCTURED_NAMES}


def read_dictionary(data: bytes) -> dict[str, Any]:
    """The dictionary that a file of Paddle pickles; its tensors are opaque values."""
    if len(data) > _MAX_BYTES:
        raise BackboneError(f"weight file of {len(data):,} bytes: at most {_MAX_BYTES:,} are read")
    cursor = Cursor(data)
    content = run_pickle(cursor, _dialect(len(data)))
    require(isinstance(content, dict), "a dictionary")
    require(cursor.at_end(), "no bytes after the pickle")
    return dict(content)


@dataclass
class _Dtype:
    """A numpy dtype: its element, and its byte order once that has come."""

    element: str
    order: str = ""


@dataclass
class _Array:
    """A numpy array, None until its state has come."""

    values: npt.NDArray[Any] | None = None


def _tensor(name: str, value: Any) -> npt.NDArray[np.float32]:
    """The array of a tensor, alone or behind its internal name."""
    shown = ascii(name)[1:-1][:100]
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]
    if not isinstance(value, _Array) or value.values is None:
        raise refusal(f"tensors only; `{shown}` is none")
    require(value.values.dtype == np.float32, f"float32 tensors; `{shown}` is {value.values.dtype}")
    return value.values


_ARRAY, _DTYPE, _ENCODE = Global("numpy ndarray"), Global("numpy dtype"), Global("_codecs encode")
_ORDERED_DICT = Global("collections OrderedDict")
_RECONSTRUCT = tuple(Global(f"{core}.multiarray _reconstruct") for core in ("numpy.core", "numpy._core"))
_TUPLE = (Global("builtins tuple"), Global("__builtin__ tuple"))


@dataclass
class _Budget:
    """How many bytes may still be made of text; a pickle could ask for the same text again and again."""

    left: int


def _call(budget: _Budget, function: Global, arguments: tuple[Any, ...]) -> Any:
    """Empty arrays, dtypes, ordered dictionaries, the bytes of protocol 2, and the tuple around a nested tensor."""
    if function in _RECONSTRUCT:
        require(len(arguments) == 3 and arguments[0] == _ARRAY, "the arguments of an array")
        return _Array()
    if function == _DTYPE:
        require(len(arguments) > 0 and arguments[0] in _ELEMENTS, f"a dtype of {', '.join(_ELEMENTS)}")
        return _Dtype(arguments[0])
    if function == _ORDERED_DICT and arguments == ():
        return {}
    if function == _ENCODE:
        return _encoded(arguments, budget)
    require(
        function in _TUPLE and len(arguments) == 1 and isinstance(arguments[0], tuple), "a call that makes a tensor"
    )
    return arguments[0]


def _encoded(arguments: tuple[Any, ...], budget: _Budget) -> bytes:
    """The bytes that protocol 2 writes as text."""
    expected = "bytes as Latin-1 text"
    require(len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1", expected)
    budget.left -= len(arguments[0])
    require(budget.left >= 0, "bytes that are used once")
    try:
        return str(arguments[0]).encode("latin-1")
    except UnicodeEncodeError:
        raise refusal(expected) from None


def _build(value: Any, state: Any) -> None:
    if isinstance(value, _Dtype):
        require(isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", "|"), "little-endian arrays")
        value.order = state[1]
    elif isinstance(value, _Array):
        value.values = _array(state)
    else:
        raise refusal("the state of an array or of its dtype")


def _array(state: Any) -> npt.NDArray[Any]:
    """An array from its version, shape, dtype, order and bytes, after a check that these agree."""
    expected = "the state of an array in C order"
    if not isinstance(state, tuple) or len(state) != 5:
        raise refusal(expected)
    _, shape, dtype, fortran, data = state
    if not isinstance(dtype, _Dtype) or not dtype.order or not isinstance(data, (bytes, memoryview)):
        raise refusal(expected)
    sizes = isinstance(shape, tuple) and len(shape) <= _MAX_DIMENSIONS and all(type(n) is int and n > 0 for n in shape)
    require(sizes and fortran is False, expected)
    element = np.dtype(f"{dtype.order}{dtype.element}")
    require(math.prod(shape) * element.itemsize == len(data), "arrays of as many bytes as their shapes say")
    values: npt.NDArray[Any] = np.frombuffer(data, dtype=element).reshape(shape)
    values.flags.writeable = False
    return values


def _dialect(size: int) -> Dialect:
    """Paddle's pickles in a file of that many bytes."""
    known = (_ARRAY, _DTYPE, _ENCODE, _ORDERED_DICT, *_RECONSTRUCT, *_TUPLE)
    return Dialect(
        frozenset({2, 3, 4}),
        {each.name: each for each in known},
        partial(_call, _Budget(size)),
        _build,
        max_text=_MAX_BYTES,  # of text, protocol 2 makes the bytes of tensors
    )
