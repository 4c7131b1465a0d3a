"""Checks that a `model.onnx` is what its `model.json` says, and nothing that reaches outside.

The graph is walked over the raw protobuf: onnx would cost 40 ms and a second copy of all weights at every start.
Field numbers are those of onnx.proto3. Only fields listed here are accepted, so that what this walk does not know of
cannot slip past it.
"""

from __future__ import annotations

from blemish.errors import ModelError
from blemish.models.info import ModelInfo
from blemish.models.protobuf import Value, damaged, read_fields

_MAX_FIELDS = 3_000_000
_MAX_DEPTH = 40
_ORT_FORMAT = b"ORTM"  # where ONNX Runtime looks for the mark of its own format
_UINT8, _FLOAT = 2, 1

# message -> field number -> message in it, or a rule of `_check_field`, or None for what needs no look inside
_SCHEMA: dict[str, dict[int, str | None]] = {
    "Model": {**dict.fromkeys((1, 2, 3, 4, 5, 6)), 7: "Graph", 8: "Opset", 14: "Property"},
    "Opset": {1: "Domain", 2: None},
    "Graph": {
        **dict.fromkeys((2, 10)),
        1: "Node",
        5: "Tensor",
        11: "ValueInfo",
        12: "ValueInfo",
        13: "ValueInfo",
        16: "Property",
    },
    "Node": {**dict.fromkeys((1, 2, 3, 4, 6, 8)), 5: "Attribute", 7: "Domain", 9: "Property"},
    "Attribute": {
        **dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20, 21)),
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        14: "Type",
        15: "Type",
    },
    "Tensor": {**dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12)), 13: "External", 14: "External", 16: "Property"},
    "ValueInfo": {**dict.fromkeys((1, 3)), 2: "Type", 4: "Property"},
    "Type": {1: "TensorType", 6: None},
    "TensorType": {1: None, 2: "Shape"},
    "Shape": {1: "Dimension"},
    "Dimension": dict.fromkeys((1, 2, 3)),
    "Property": dict.fromkeys((1, 2)),
}

Shape = tuple[int | None, ...]  # None: a dimension that may vary
Interface = dict[str, tuple[int, Shape]]  # name -> ONNX element type and shape


def check_network(model: bytes, info: ModelInfo) -> None:
    """Refuse a network that is not self-contained, or whose input and outputs are not those of `model.json`.

    Raises `ModelError` for: bytes that are no ONNX model, data outside the file, operators that are not standard ONNX,
    functions, training parts, another input than `image` uint8 `[N, H, W, 3]`, other outputs than `anomaly_map` float32
    `[N, h, w]` and `score` float32 `[N]`.
    """
    if model[4:8] == _ORT_FORMAT:
        raise damaged("the mark of another format")
    _check_fields(memoryview(model))
    graph = _only(7, memoryview(model), "graph")
    height, width = info.output.map_height, info.output.map_width
    image: Interface = {"image": (_UINT8, (None, info.input.height, info.input.width, 3))}
    results: Interface = {"anomaly_map": (_FLOAT, (None, height, width)), "score": (_FLOAT, (None,))}
    _check_interface("inputs", _values(graph, 11), image)
    _check_interface("outputs", _values(graph, 12), results)


def _check_fields(model: memoryview) -> None:
    """Visit every message of the model, sub-graphs included, and refuse any field that is not in the schema."""
    pending = [("Model", model, 0)]
    count = 0
    while pending:
        kind, message, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise damaged("graphs nested too deeply")
        for number, value in read_fields(message):
            count += 1
            child = _check_field(kind, number, value)
            if child is not None:
                pending.append((child, _message(value), depth + 1))
        if count > _MAX_FIELDS:
            raise damaged(f"more than {_MAX_FIELDS} fields")


def _check_field(kind: str, number: int, value: Value) -> str | None:
    """The kind of message in this field, None if there is nothing to visit in it."""
    if number not in _SCHEMA[kind]:
        raise ModelError(f"model.onnx is refused: it has field {number} of {kind}Proto, which no Blemish model has")
    child = _SCHEMA[kind][number]
    if child == "External" and value != 0:
        raise ModelError("model.onnx is refused: it keeps data in other files")
    if child == "Domain" and bytes(_message(value)[:50]) not in (b"", b"ai.onnx"):
        raise ModelError(
            f"model.onnx is refused: it uses operators of {_quote(_message(value))}; "
            "only the standard ONNX operators are allowed"
        )
    return child if child in _SCHEMA else None


def _check_interface(what: str, found: list[tuple[str, int, Shape]], expected: Interface) -> None:
    if len(found) != len(expected) or {name: (kind, shape) for name, kind, shape in found} != expected:
        raise ModelError(
            f"model.onnx is refused: its {what} must be "
            f"{_describe([(name, *rest) for name, rest in expected.items()])}; they are {_describe(found[:5])}"
        )


def _values(graph: memoryview, number: int) -> list[tuple[str, int, Shape]]:
    """Name, element type and shape of the graph's inputs (field 11) or outputs (field 12)."""
    found = []
    for value in (_message(value) for field, value in read_fields(graph) if field == number):
        tensor = _only(1, _only(2, value, "type of a value"), "tensor type")
        shape = tuple(_dimension(_message(dim)) for field, dim in read_fields(_only(2, tensor, "shape")) if field == 1)
        found.append((_quote(_only(1, value, "name of a value")), _element_type(tensor), shape))
    return found


def _dimension(dimension: memoryview) -> int | None:
    """A fixed size, or None for a named dimension."""
    sizes = [value for number, value in read_fields(dimension) if number in (1, 2)]
    if len(sizes) != 1:
        raise damaged("a dimension without one size")
    return sizes[0] if isinstance(sizes[0], int) else None


def _element_type(tensor: memoryview) -> int:
    kinds = [value for number, value in read_fields(tensor) if number == 1]
    if len(kinds) != 1 or not isinstance(kinds[0], int):
        raise damaged("a tensor without one element type")
    return kinds[0]


def _only(number: int, message: memoryview, what: str) -> memoryview:
    """The one field of that number; protobuf would merge or override several."""
    values = [value for field, value in read_fields(message) if field == number]
    if len(values) != 1:
        raise damaged(f"{len(values)} times a {what}")
    return _message(values[0])


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise damaged("a number in the place of a message")
    return value


def _quote(text: memoryview) -> str:
    return ascii(bytes(text[:50]).decode("utf-8", "backslashreplace"))[1:-1]


def _describe(values: list[tuple[str, int, Shape]]) -> str:
    kinds = {_UINT8: "uint8", _FLOAT: "float32"}
    texts = []
    for name, kind, shape in values:
        sizes = ", ".join("N" if size is None else str(size) for size in shape[:8])
        texts.append(f"{name} {kinds.get(kind, f'type {kind}')} [{sizes}]")
    return ", ".join(texts) or "none"
