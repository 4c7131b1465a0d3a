"""Any ONNX file as a backbone: layouts, taps, what is said about it, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from blemish.backbones import Backbone, Tap, load_backbone
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder

FLOAT = TensorProto.FLOAT
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def weights(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(len(name)).normal(0, 0.3, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def strided(source: str, output: str, kernel: str, **attributes: Any) -> onnx.NodeProto:
    sizes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    return helper.make_node("Conv", [source, kernel], [output], name=f"conv_{output}", **(sizes | attributes))


def network(shape: tuple[Any, ...] = ("N", 3, "H", "W"), opset: int = 17, extra: Any = ()) -> onnx.ModelProto:
    """Five convolutions of stride 2; the maps a, b, c, d, e have strides 2 ... 32 and 4 ... 8 channels."""
    nodes, source = [], "image"
    if shape[-1] == 3:
        nodes.append(helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]))
        source = "planes"
    channels = 3
    kernels = []
    for i, output in enumerate("abcde"):
        kernels.append(weights(f"k{output}", 4 + i, channels, 3, 3))
        nodes += [strided(source, output, f"k{output}"), helper.make_node("Relu", [output], [f"{output}_relu"])]
        source, channels = f"{output}_relu", 4 + i
    nodes.append(helper.make_node("GlobalAveragePool", ["e_relu"], ["pooled"], name="pool"))
    graph = helper.make_graph(
        [*nodes, *extra],
        "network",
        [helper.make_tensor_value_info("image", FLOAT, shape)],
        [helper.make_tensor_value_info("pooled", FLOAT, [None] * 4)],
        kernels,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(folder: Path, model: onnx.ModelProto, sidecar: object = None) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    if sidecar is not None:
        Path(f"{path}.json").write_text(json.dumps(sidecar))
    return path


def run(model: onnx.ModelProto, **inputs: Any) -> list[Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )


def features(backbone: Backbone, pixels: Any, taps: list[str]) -> list[Any]:
    _, height, width, _ = pixels.shape
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", height, width, 3])
    for i, value in enumerate(backbone.build(graph, image, height, width, taps)):
        graph.output(value, f"tap{i}", np.float32, ["N", None, None, None])
    return run(graph.model("features"), image=pixels)


def expected(model: onnx.ModelProto, pixels: Any, taps: list[str], mean: Any, std: Any) -> list[Any]:
    """The taps of the user's own model, fed with normalised float images."""
    direct = onnx.ModelProto()
    direct.CopyFrom(model)
    del direct.graph.output[:]
    direct.graph.output.extend(helper.make_tensor_value_info(tap, FLOAT, None) for tap in taps)
    image = ((pixels / 255 - np.array(mean)) / np.array(std)).astype(np.float32)
    channels_last = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value == 3
    return run(direct, image=image if channels_last else image.transpose(0, 3, 1, 2))


def pixels_of(height: int, width: int, count: int = 2) -> Any:
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


SHAPES = {
    "planes": ("N", 3, "H", "W"),
    "channels last": ("N", "H", "W", 3),
    "unnamed": (None, 3, None, None),
    "batch of one": (1, 3, "H", "W"),
    "fixed size": ("N", 3, 64, 96),
    "all fixed, channels last": (1, 64, 96, 3),
}


@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_features_are_the_networks_own(tmp_path: Path, shape: tuple[Any, ...], opset: int):
    model = network(shape, opset)
    backbone = load_backbone(saved(tmp_path, model))
    assert [(tap.name, tap.stride, tap.channels) for tap in backbone.taps] == [("c_relu", 8, 6), ("d_relu", 16, 7)]
    pixels, taps = pixels_of(64, 96, count=1 if shape[0] == 1 else 2), ["d_relu", "c_relu"]
    found = features(backbone, pixels, taps)
    for ours, theirs in zip(found, expected(model, pixels, taps, *IMAGENET), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_file_for_batches_of_one_runs_on_larger_batches(tmp_path: Path):
    backbone = load_backbone(saved(tmp_path, network((1, 3, 64, 64))))
    pixels = pixels_of(64, 64, count=3)
    together = features(backbone, pixels, ["c_relu"])[0]
    for i in range(3):
        np.testing.assert_allclose(together[i : i + 1], features(backbone, pixels[i : i + 1], ["c_relu"])[0], atol=1e-5)


def test_the_record_of_a_bare_file(tmp_path: Path):
    path = saved(tmp_path, network())
    backbone = load_backbone(path)
    assert backbone.name == "net.onnx"
    assert backbone.licence == "unknown (user's file)"
    assert backbone.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (backbone.mean, backbone.std) == IMAGENET
    assert f"ImageNet's are used; state `mean` and `std` in {path}.json" in backbone.note
    assert backbone.note.endswith("taps are not stated, so these are read: c_relu (stride 8), d_relu (stride 16)")
    assert backbone.size is None


STATED = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "licence": "MIT",
    "source": "our own line camera",
    "taps": ["b_relu", "conv_c"],
}


@pytest.mark.parametrize("place", ["sidecar", "metadata"])
def test_what_is_stated_about_the_file(tmp_path: Path, place: str):
    model = network()
    if place == "metadata":
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in STATED.items()}
        helper.set_model_props(model, {**texts, "producer": "unrelated"})
    backbone = load_backbone(saved(tmp_path, model, STATED if place == "sidecar" else None))
    assert (backbone.licence, backbone.source, backbone.note) == ("MIT", "our own line camera", "")
    assert backbone.taps == (Tap("b_relu", 4, 5), Tap("c", 8, 6))
    pixels = pixels_of(32, 64)
    ours, theirs = features(backbone, pixels, ["c"]), expected(model, pixels, ["c"], STATED["mean"], STATED["std"])
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-4)


def test_sidecar_wins_over_metadata_and_argument_over_both(tmp_path: Path):
    model = network()
    helper.set_model_props(model, {"licence": "MIT", "source": "metadata"})
    path = saved(tmp_path, model, {"licence": "BSD-3-Clause", "taps": ["a"]})
    assert (load_backbone(path).licence, load_backbone(path).source) == ("BSD-3-Clause", "metadata")
    assert load_backbone(path, taps=["conv_b"]).taps == (Tap("b", 4, 5),)


def test_a_channels_last_tap_comes_as_planes(tmp_path: Path):
    turn = helper.make_node("Transpose", ["c_relu"], ["c_last"], perm=[0, 2, 3, 1])
    model = network(extra=[turn])
    backbone = load_backbone(saved(tmp_path, model), taps=["c_last", "c_relu"])
    assert backbone.taps == (Tap("c_last", 8, 6), Tap("c_relu", 8, 6))
    turned, plain = features(backbone, pixels_of(64, 96), ["c_last", "c_relu"])
    np.testing.assert_array_equal(turned, plain)


def test_only_the_nodes_of_the_taps_are_taken(tmp_path: Path):
    backbone = load_backbone(saved(tmp_path, network()), taps=["a_relu", "e"])
    graph = GraphBuilder()
    backbone.build(graph, graph.input("image", np.uint8, ["N", 64, 64, 3]), 64, 64, ["a_relu"])
    assert [node.op_type for node in graph.nodes] == ["Transpose", "Cast", "Mul", "Add", "Conv", "Relu"]
    assert len(graph.initializers) == 3


def test_the_same_network_twice_in_one_graph(tmp_path: Path):
    backbone, graph = load_backbone(saved(tmp_path, network())), GraphBuilder()
    pixels = graph.input("image", np.uint8, ["N", 64, 64, 3])
    for i in range(2):
        graph.output(*backbone.build(graph, pixels, 64, 64, ["c_relu"]), f"map{i}", np.float32, ["N", 6, 8, 8])
    first, second = run(graph.model("two"), image=pixels_of(64, 64))
    np.testing.assert_array_equal(first, second)


def test_a_fixed_size_is_kept(tmp_path: Path):
    backbone = load_backbone(saved(tmp_path, network((1, 3, 64, 96))))
    assert backbone.size == (64, 96)
    with pytest.raises(BackboneError, match=r"takes \(64, 96\) images only"):
        backbone.build(GraphBuilder(), "image", 64, 64, ["c_relu"])


def test_weights_in_a_second_file(tmp_path: Path):
    path = tmp_path / "net.onnx"
    onnx.save_model(network(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    backbone = load_backbone(path)
    data = (tmp_path / "net.data").read_bytes()
    assert backbone.sha256 == hashlib.sha256(path.read_bytes() + data).hexdigest()
    pixels = pixels_of(64, 96)
    ours, theirs = features(backbone, pixels, ["c_relu"]), expected(network(), pixels, ["c_relu"], *IMAGENET)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-4)


def external(folder: Path, **entries: str) -> onnx.ModelProto:
    """The network with its first kernel (432 bytes) in another file."""
    model = network()
    tensor = model.graph.initializer[0]
    (folder / "inside.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../outside.data"},
        {"location": "sub/../../outside.data"},
        {"location": "/etc/passwd"},
        {"location": "link.data"},
        {"location": "missing.data"},
        {"location": "."},
        {"location": "in\0side.data"},
        {"location": "inside.data", "offset": "-1"},
        {"location": "inside.data", "offset": "433"},
        {"location": "inside.data", "offset": "4"},
        {"location": "inside.data", "length": "-5"},
        {"location": "inside.data", "length": "many"},
        {"location": "inside.data", "length": "8"},
        {},
    ],
    ids=str,
)
def test_refuses_weights_from_elsewhere(tmp_path: Path, entries: dict[str, str]):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.data").write_bytes(bytes(432))
    (folder / "link.data").symlink_to(tmp_path / "outside.data")
    path = saved(folder, external(folder, **entries))
    with pytest.raises(BackboneError) as refusal:
        load_backbone(path)
    assert "\n" not in str(refusal.value)


def custom_operator() -> onnx.ModelProto:
    model = network(extra=[helper.make_node("Magic", ["a"], ["x"], domain="com.example")])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def control_flow() -> onnx.ModelProto:
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("a", FLOAT, [None] * 4)])
    yes = numpy_helper.from_array(np.array(True), "yes")
    model = network(extra=[helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch)])
    model.graph.initializer.append(yes)
    return model


def local_function() -> onnx.ModelProto:
    model = network()
    body = [helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(helper.make_function("com.example", "f", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
    return model


def two_inputs() -> onnx.ModelProto:
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("second", FLOAT, [1]))
    return model


def one_batch() -> onnx.ModelProto:
    """A tap behind a Reshape that was written down for one image."""
    model = network(extra=[helper.make_node("Reshape", ["c_relu", "shape"], ["single"])])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 6, 32, 40]), "shape"))
    return model


def unknown_operator() -> onnx.ModelProto:
    return network(extra=[helper.make_node("Convolute", ["a"], ["x"])])


def cycle() -> onnx.ModelProto:
    return network(extra=[helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["x"])])


def short_weights() -> onnx.ModelProto:
    model = network()
    model.graph.initializer[0].raw_data = bytes(8)
    return model


REFUSED = {
    "custom operator": (custom_operator, (), "com.example.Magic is not of the standard"),
    "control flow": (control_flow, (), r"control flow \(If\)"),
    "local function": (local_function, (), "local functions"),
    "two inputs": (two_inputs, (), "2 inputs"),
    "grey images": (lambda: network(("N", 1, "H", "W")), (), "is no image|not a valid"),
    "flat input": (lambda: network(("N", 3)), (), "is no image|not a valid"),
    "unknown operator": (unknown_operator, (), "not a valid ONNX model"),
    "cycle": (cycle, (), "not a valid ONNX model"),
    "short weights": (short_weights, (), "net.onnx"),
    "newer than known": (lambda: network(opset=99), (), "net.onnx"),
    "misspelt tap": (network, ["c_rel"], r"Did you mean `c_relu`\?"),
    "tap without size": (network, ["pooled", "pool"], "no feature map|no tensor"),
    "tap for one image only": (one_batch, ["single"], "for any N"),
    "weights as a tap": (network, ["ka"], "no tensor or node `ka`"),
}


@pytest.mark.parametrize(("model", "taps", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_networks(tmp_path: Path, model: Any, taps: list[str], message: str):
    with pytest.raises(BackboneError, match=message) as refusal:
        load_backbone(saved(tmp_path, model()), taps)
    assert str(tmp_path / "net.onnx") in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("last", "taps"), [("a_relu", None), ("b_relu", ["b_relu"])])
def test_a_network_of_fine_maps_alone(tmp_path: Path, last: str, taps: list[str] | None):
    """The coarsest is read, and one that is too fine is not taken unasked."""
    model = network()
    del model.graph.node[2 if taps is None else 4 :]
    model.graph.output[0].name = last
    path = saved(tmp_path, model)
    if taps is None:
        with pytest.raises(
            BackboneError, match=r"stride of 4 to 32: name the taps\. Feature maps: a_relu \(stride 2\)"
        ):
            load_backbone(path)
    else:
        assert [tap.name for tap in load_backbone(path).taps] == taps


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ({"license": "MIT"}, r"unknown key `license`\. Did you mean `licence`\?"),
        ({"mean": [123.7, 116.3, 103.5]}, "less than or equal to 1"),
        ({"std": [0, 0.2, 0.2]}, "greater than 0"),
        ({"mean": [0.5]}, "mean"),
        ({"taps": "c"}, "taps"),
        ([1], "expected a JSON object"),
    ],
)
def test_refuses_wrong_sidecars(tmp_path: Path, sidecar: object, message: str):
    path = saved(tmp_path, network(), sidecar)
    with pytest.raises(BackboneError, match=message):
        load_backbone(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 60_000, b" " * 70_000])
def test_refuses_unreadable_sidecars(tmp_path: Path, content: bytes):
    path = saved(tmp_path, network())
    Path(f"{path}.json").write_bytes(content)
    with pytest.raises(BackboneError, match=r"net\.onnx\.json"):
        load_backbone(path)


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path):
    with pytest.raises(BackboneError, match="cannot be read"):
        load_backbone(tmp_path / "missing.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BackboneError, match="cannot be read"):
        load_backbone(tmp_path / "folder.onnx")


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"not onnx", b"\x08\x08", b"\x0a" * 1000])
def test_refuses_garbage(tmp_path: Path, content: bytes):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=r"net\.onnx"):
        load_backbone(path)


WHOLE = network().SerializeToString()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=4))
def test_changed_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, position: int, patch: bytes):
    path = tmp_path_factory.mktemp("fuzz") / "net.onnx"
    path.write_bytes(WHOLE[:position] + patch + WHOLE[position + len(patch) :])
    try:
        backbone = load_backbone(path)
        backbone.build(GraphBuilder(), "image", 64, 64, [backbone.taps[0].name])
    except BackboneError:
        return
