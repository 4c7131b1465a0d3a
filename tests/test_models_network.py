"""The checks of `model.onnx`, compared with onnx's own reading of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_model import HEIGHT, WIDTH, tiny_info, tiny_network, tiny_proto

from blemish.errors import ModelError
from blemish.models.network import check_network
from blemish.models.protobuf import read_fields

INFO = tiny_info()
FLOAT = TensorProto.FLOAT


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for child in value if not isinstance(value, Message) else [value]:
                yield from _messages(child)


def _is_acceptable(model: ModelProto) -> bool:
    """The same rules, stated over onnx's classes."""
    for message in _messages(model):
        if isinstance(message, TensorProto) and (message.external_data or message.data_location):
            return False
        if isinstance(message, (onnx.NodeProto, onnx.OperatorSetIdProto)) and message.domain not in ("", "ai.onnx"):
            return False
    interface = [
        [(v.name, v.type.tensor_type.elem_type, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in values]
        for values in (model.graph.input, sorted(model.graph.output, key=lambda v: v.name))
    ]
    return (
        not model.functions
        and not model.training_info
        and interface[0] == [("image", TensorProto.UINT8, [0, HEIGHT, WIDTH, 3])]
        and interface[1] == [("anomaly_map", FLOAT, [0, HEIGHT, WIDTH]), ("score", FLOAT, [0])]
    )


def _external_tensor(name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def _node_with(attribute: Any) -> onnx.NodeProto:
    node = helper.make_node("Constant", [], ["unused"])
    node.attribute.append(attribute)
    return node


def _subgraph(*nodes: onnx.NodeProto, initializers: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "inner", [], [], list(initializers))


def _external_initializer(model: ModelProto) -> None:
    model.graph.initializer.append(_external_tensor())


def _external_key_only(model: ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def _external_location_only(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def _external_attribute(model: ModelProto) -> None:
    model.graph.node.append(_node_with(helper.make_attribute("value", _external_tensor())))


def _external_attribute_list(model: ModelProto) -> None:
    model.graph.node.append(_node_with(helper.make_attribute("values", [_external_tensor()])))


def _external_in_subgraph(model: ModelProto) -> None:
    model.graph.node.append(_node_with(helper.make_attribute("body", _subgraph(initializers=(_external_tensor(),)))))


def _custom_in_subgraphs(model: ModelProto) -> None:
    inner = _subgraph(helper.make_node("Read", [], ["x"], domain="com.evil"))
    outer = _subgraph(_node_with(helper.make_attribute("body", inner)))
    model.graph.node.append(_node_with(helper.make_attribute("bodies", [outer])))


def _external_sparse(model: ModelProto) -> None:
    model.graph.sparse_initializer.add(values=_external_tensor())


def _external_training(model: ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(_external_tensor())


def _custom_operator(model: ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def _custom_opset(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def _function(model: ModelProto) -> None:
    model.functions.append(helper.make_function("", "Mean", ["x"], ["y"], [], [helper.make_opsetid("", 17)]))


def _second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", FLOAT, [1]))


def _second_image(model: ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def _renamed_input(model: ModelProto) -> None:
    model.graph.input[0].name = "x"


def _float_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = FLOAT


def _fixed_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _other_size(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = HEIGHT + 1


def _dynamic_size(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


def _no_shape(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def _no_type(model: ModelProto) -> None:
    model.graph.input[0].ClearField("type")


def _no_score(model: ModelProto) -> None:
    del model.graph.output[1]


def _third_output(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1]))


def _score_per_pixel(model: ModelProto) -> None:
    model.graph.output[1].type.tensor_type.shape.dim.add(dim_value=2)


def _no_graph(model: ModelProto) -> None:
    model.ClearField("graph")


HOSTILE = [
    _external_initializer,
    _external_key_only,
    _external_location_only,
    _external_attribute,
    _external_attribute_list,
    _external_in_subgraph,
    _custom_in_subgraphs,
    _external_sparse,
    _external_training,
    _custom_operator,
    _custom_opset,
    _function,
    _second_input,
    _second_image,
    _renamed_input,
    _float_input,
    _fixed_batch,
    _other_size,
    _dynamic_size,
    _no_shape,
    _no_type,
    _no_score,
    _third_output,
    _score_per_pixel,
    _no_graph,
]


@pytest.mark.parametrize("spoil", HOSTILE, ids=lambda spoil: spoil.__name__)
def test_a_hostile_or_foreign_network_is_refused(spoil: Callable[[ModelProto], None]) -> None:
    model = tiny_proto()
    assert _is_acceptable(model)
    spoil(model)
    with pytest.raises(ModelError) as error:
        check_network(model.SerializeToString(), INFO)
    assert str(error.value).startswith("model.onnx")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_the_tiny_network_and_standard_sub_graphs_are_accepted() -> None:
    check_network(tiny_network(), INFO)
    model = tiny_proto()
    inner = _subgraph(helper.make_node("Abs", ["image"], ["x"], domain="ai.onnx"))
    inner.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "w"))
    model.graph.node.append(_node_with(helper.make_attribute("body", inner)))
    model.graph.doc_string = "a note"
    model.metadata_props.add(key="author", value="somebody")
    check_network(model.SerializeToString(), INFO)


def test_a_domain_with_control_characters_is_not_printed_raw() -> None:
    model = tiny_proto()
    model.graph.node[0].domain = "com.\x1b[2Jevil\n" + "x" * 1000
    with pytest.raises(ModelError) as error:
        check_network(model.SerializeToString(), INFO)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("copies", [2, 3])
def test_parts_that_protobuf_would_merge_are_refused(copies: int) -> None:
    """Two graphs in one file are one graph to protobuf; a checker that reads one of them sees another network."""
    network = tiny_network()
    extra = ModelProto(graph=helper.make_graph([], "", [], [])).SerializeToString()
    assert len(onnx.load_model_from_string(network + extra).graph.node) == len(tiny_proto().graph.node)
    with pytest.raises(ModelError):
        check_network(network + extra * (copies - 1), INFO)


def test_the_mark_of_another_format_is_refused() -> None:
    model = tiny_proto()
    model.producer_name = "ORTM"
    with pytest.raises(ModelError, match="another format"):
        check_network(model.SerializeToString(), INFO)


def test_deep_nesting_and_floods_of_fields_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _subgraph()
    for _ in range(20):  # three messages each; onnx itself stops at a hundred
        graph = _subgraph(_node_with(helper.make_attribute("body", graph)))
    model = tiny_proto()
    model.graph.node.append(_node_with(helper.make_attribute("body", graph)))
    with pytest.raises(ModelError, match="deeply"):
        check_network(model.SerializeToString(), INFO)
    monkeypatch.setattr("blemish.models.network._MAX_FIELDS", 50)
    with pytest.raises(ModelError, match="more than 50 fields"):
        check_network(tiny_network(), INFO)


def _judge(network: bytes) -> None:
    """What the walk accepts, onnx must find acceptable too, or not be able to read."""
    try:
        check_network(network, INFO)
    except ModelError:
        return
    try:
        model = onnx.load_model_from_string(network)
    except DecodeError:  # for example, text that is not UTF-8
        return
    assert _is_acceptable(model)


@given(st.data())
def test_a_changed_network_never_passes_with_less_than_onnx_sees(data: st.DataObject) -> None:
    network = bytearray(tiny_network())
    for _ in range(data.draw(st.integers(1, 4))):
        network[data.draw(st.integers(0, len(network) - 1))] = data.draw(st.integers(0, 255))
    _judge(bytes(network))


@given(st.sampled_from(HOSTILE), st.data())
def test_a_hostile_network_with_changed_bytes_never_passes(
    spoil: Callable[[ModelProto], None], data: st.DataObject
) -> None:
    model = tiny_proto()
    spoil(model)
    network = bytearray(model.SerializeToString())
    position = data.draw(st.integers(0, len(network) - 1))
    network[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _judge(bytes(network))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(ModelError):
        check_network(content, INFO)


@given(st.lists(st.tuples(st.integers(1, 15), st.integers(0, 2**64 - 1) | st.binary(max_size=300)), max_size=8))
def test_fields_read_as_they_were_written(fields: list[tuple[int, int | bytes]]) -> None:
    message = b""
    for number, value in fields:
        if isinstance(value, int):
            message += bytes([number << 3]) + _varint(value)
        else:
            message += bytes([number << 3 | 2]) + _varint(len(value)) + value
    found = [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in read_fields(memoryview(message))
    ]
    assert found == fields


def _varint(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\x08", "cut off"),
        (b"\x08\x80", "cut off"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "ten bytes"),
        (b"\x12\x05abc", "longer than"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than"),
        (b"\x0dabc", "longer than"),
        (b"\x09abcdefg", "longer than"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x00\x00", "field number 0"),
        (b"\x80\x80\x80\x80\x80\x01\x00", "field number"),
    ],
)
def test_damaged_messages_are_refused(message: bytes, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        list(read_fields(memoryview(message)))


def test_the_schema_has_the_field_numbers_of_onnx() -> None:
    """A slip in the table would let a field pass as something harmless."""
    from blemish.models.network import _SCHEMA

    protos = {
        "Model": onnx.ModelProto, "Opset": onnx.OperatorSetIdProto, "Graph": onnx.GraphProto, "Node": onnx.NodeProto,
        "Attribute": onnx.AttributeProto, "Tensor": TensorProto, "ValueInfo": onnx.ValueInfoProto,
        "Type": onnx.TypeProto, "TensorType": onnx.TypeProto.Tensor, "Shape": onnx.TensorShapeProto,
        "Dimension": onnx.TensorShapeProto.Dimension, "Property": onnx.StringStringEntryProto,
    }  # fmt: skip
    assert protos.keys() == _SCHEMA.keys()
    for kind, fields in _SCHEMA.items():
        for number, child in fields.items():
            descriptor = protos[kind].DESCRIPTOR.fields_by_number[number]
            if child in protos:
                assert descriptor.message_type is protos[child].DESCRIPTOR, (kind, number)
            elif child == "Domain":
                assert descriptor.name == "domain", (kind, number)
            elif child == "External":
                assert descriptor.name in ("external_data", "data_location"), (kind, number)
            else:
                assert descriptor.message_type is None, (kind, number)
                assert descriptor.name not in ("external_data", "data_location"), (kind, number)
                assert descriptor.name != "domain" or kind == "Model", (kind, number)
