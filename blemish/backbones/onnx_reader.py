"""Reads an ONNX file that nobody vouches for: sizes, operators and the places of its weights are checked first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blemish.errors import BackboneError

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 1 << 30  # of the file and of its external weights, each
_STANDARD_DOMAINS = ("", "ai.onnx")


def read_model(path: Path) -> tuple[onnx.ModelProto, str]:
    """The checked model, weights included, and the SHA-256 of the file (and of its external weight files after it).

    Raises `BackboneError` for what is no ONNX model, is too large, uses operators outside the standard set, control
    flow, local functions or sparse weights, or keeps weights outside the file's own folder.
    """
    import onnx

    content = _read_bytes(path)
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # protobuf's DecodeError, whose module has no types
        raise BackboneError(f"{path}: not an ONNX file") from None
    _check_operators(path, model)
    external = _load_external_weights(path, model)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BackboneError(f"{path}: not a valid ONNX model ({_first_line(error)})") from None
    digest = hashlib.sha256(content)
    for file in external:
        digest.update(file.read_bytes())
    return model, digest.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BackboneError(f"{path}: larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise BackboneError(f"{path}: cannot be read ({error.strerror})") from None


def _check_operators(path: Path, model: onnx.ModelProto) -> None:
    if model.functions:
        raise BackboneError(f"{path}: has local functions; inline them (onnx.inliner) before use as a backbone")
    if model.graph.sparse_initializer:
        raise BackboneError(f"{path}: has sparse weights; store them dense")
    for node in model.graph.node:
        if node.domain not in _STANDARD_DOMAINS:
            raise BackboneError(f"{path}: operator {node.domain}.{node.op_type} is not of the standard ONNX set")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise BackboneError(f"{path}: has control flow ({node.op_type}); export the network without it")


def _load_external_weights(path: Path, model: onnx.ModelProto) -> list[Path]:
    """Brings weights in other files into the model; returns these files, each once, sorted."""
    from onnx.external_data_helper import load_external_data_for_model

    files: set[Path] = set()
    total = 0
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            file, size = _external_range(path, tensor)
            files.add(file)
            total += size
    if total > MAX_BYTES or sum(file.stat().st_size for file in files) > MAX_BYTES:
        raise BackboneError(f"{path}: external weights larger than {MAX_BYTES >> 20} MiB")
    try:
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx has no common base for its refusals
        raise BackboneError(f"{path}: its external weights cannot be read ({_first_line(error)})") from None
    return sorted(files)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _external_range(path: Path, tensor: onnx.TensorProto) -> tuple[Path, int]:
    """The file of an external tensor and how many of its bytes are read."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.parent.resolve()
    try:
        file = (folder / entries.get("location", "")).resolve()
        if not file.is_relative_to(folder):
            raise BackboneError(f"{path}: weights `{tensor.name}` lie outside of its folder")
        available = file.stat().st_size
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", available))
    except (OSError, ValueError):
        raise BackboneError(
            f"{path}: the external file of weights `{tensor.name}` is missing or ill-described"
        ) from None
    if not file.is_file() or offset < 0 or length < 0 or offset > available:
        raise BackboneError(f"{path}: weights `{tensor.name}` lie outside of their external file")
    return file, min(length, available - offset)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
