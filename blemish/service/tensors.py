"""Tensors of the open inference protocol: as JSON numbers, or as bytes behind the JSON (the binary extension)."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.service.errors import ServiceError

_DEEPEST = 8


def bad_tensor(message: str) -> ServiceError:
    """For a request that is no inference request of one image tensor."""
    return ServiceError(400, "bad_tensor", message)


def split_body(body: bytes, header_length: str | None) -> tuple[dict[str, Any], memoryview]:
    """The JSON part of a request and the bytes behind it; `header_length` is the header's text, None without it."""
    length = len(body)
    if header_length is not None:
        if not re.fullmatch(r"[0-9]{1,18}", header_length) or int(header_length) > len(body):
            raise bad_tensor("Inference-Header-Content-Length is not the length of the JSON part")
        length = int(header_length)
    try:
        content = json.loads(body[:length])
    except (ValueError, RecursionError):
        raise bad_tensor("the body is no JSON object") from None
    if not isinstance(content, dict):
        raise bad_tensor("the body is no JSON object")
    return content, memoryview(body)[length:]


def shape_of(tensor: Mapping[str, Any]) -> list[int]:
    """The stated shape."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 2**31 for size in shape):
        raise bad_tensor("an input has no shape of positive whole numbers")
    return shape


def binary_size(tensor: Mapping[str, Any], rest: memoryview) -> int | None:
    """How many of the bytes behind the JSON are this tensor's; None for one that is in the JSON."""
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= len(rest):
        raise bad_tensor("binary_data_size does not fit the bytes that follow the JSON")
    return size


def read_pixels(tensor: Mapping[str, Any], data: memoryview | None) -> npt.NDArray[np.uint8]:
    """A UINT8 tensor of its stated shape, from bytes or from the JSON's numbers, nested or flat."""
    shape = shape_of(tensor)
    number = math.prod(shape)
    if data is not None:
        if len(data) != number:
            raise bad_tensor(f"shape {shape} takes {number} bytes, not {len(data)}")
        return np.frombuffer(data, np.uint8).reshape(shape)
    values = _flat(tensor.get("data"), _DEEPEST)
    if len(values) != number or not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise bad_tensor(f"`data` is not {number} whole numbers from 0 to 255, as shape {shape} says")
    return np.array(values, np.uint8).reshape(shape)


def read_strings(tensor: Mapping[str, Any], data: memoryview | None) -> list[bytes]:
    """The elements of a BYTES tensor: behind their lengths in four bytes each, or in Base64 in the JSON."""
    number = math.prod(shape_of(tensor))
    found = _from_json(tensor) if data is None else _from_bytes(data)
    if len(found) != number:
        raise bad_tensor(f"the shape says {number} elements, and there are {len(found)}")
    return found


def write_tensor(name: str, values: npt.NDArray[Any], datatype: str, binary: bool) -> tuple[dict[str, Any], bytes]:
    """One output's JSON record, and its bytes where they go behind the JSON."""
    record: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if binary:
        data = np.ascontiguousarray(values).tobytes()
        return record | {"parameters": {"binary_data_size": len(data)}}, data
    plain = values.ravel().tolist()
    if datatype.startswith("FP"):  # JSON knows no infinity and no NaN
        plain = [value if math.isfinite(value) else None for value in plain]
    return record | {"data": plain}, b""


def _from_json(tensor: Mapping[str, Any]) -> list[bytes]:
    try:
        return [base64.b64decode(text, validate=True) for text in _flat(tensor.get("data"), _DEEPEST)]
    except (binascii.Error, TypeError, ValueError):
        raise bad_tensor("BYTES in JSON are image files in Base64") from None


def _from_bytes(data: memoryview) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        if position + 4 > len(data):
            raise bad_tensor("the BYTES tensor is cut short")
        (size,) = struct.unpack_from("<I", data, position)
        position += 4 + size
        if position > len(data):
            raise bad_tensor("the BYTES tensor is cut short")
        found.append(bytes(data[position - size : position]))
    return found


def _flat(values: object, depth: int) -> Sequence[Any]:
    if not isinstance(values, list) or not depth:
        raise bad_tensor("an input has no `data`")
    if values and isinstance(values[0], list):
        return [one for inner in values for one in _flat(inner, depth - 1)]
    return values
