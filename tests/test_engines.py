"""Device strings, and ONNX Runtime as an engine."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tiny_model import HEIGHT, WIDTH, tiny_network, tiny_proto

from blemish.engines import Device, engines_for, onnx_runtime, open_engine, parse_device
from blemish.engines.devices import find_provider
from blemish.errors import DeviceError, ModelError, UsageError

ABSENT = {
    "gpu": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "gpu:0": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "gpu:0,1": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt:0": ("TensorrtExecutionProvider", "onnxruntime-gpu tensorrt"),
    "npu:1": ("CANNExecutionProvider", "onnxruntime-cann"),
    "qnn": ("QNNExecutionProvider", "onnxruntime-qnn"),
    "dml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
}


@pytest.mark.parametrize(
    ("text", "device", "printed"),
    [
        ("auto", Device("auto"), "auto"),
        ("cpu", Device("cpu"), "cpu"),
        (" CPU ", Device("cpu"), "cpu"),
        ("gpu", Device("gpu"), "gpu"),
        ("GPU:0", Device("gpu", (0,)), "gpu:0"),
        ("gpu:0,1", Device("gpu", (0, 1)), "gpu:0,1"),
        ("gpu:2, 0", Device("gpu", (2, 0)), "gpu:2,0"),
        ("cuda:1", Device("gpu", (1,)), "gpu:1"),
        ("xpu", Device("intel_gpu"), "intel_gpu"),
        ("intel_gpu:0", Device("intel_gpu", (0,)), "intel_gpu:0"),
        ("Intel_NPU", Device("intel_npu"), "intel_npu"),
        ("tensorrt:1", Device("tensorrt", (1,)), "tensorrt:1"),
        ("qnn", Device("qnn"), "qnn"),
        ("npu:3", Device("npu", (3,)), "npu:3"),
        ("mlu:0", Device("mlu", (0,)), "mlu:0"),
    ],
)
def test_device_strings_parse(text: str, device: Device, printed: str) -> None:
    assert parse_device(text) == device
    assert str(device) == printed


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("gpu:x", "`gpu:0`"),
        ("gpu:", "`gpu:0`"),
        ("gpu:-1", "`gpu:0`"),
        ("gpu:²", "`gpu:0`"),
        ("gpu:0,", "`gpu:0`"),
        ("gpu:0:1", "`gpu:0,1`"),
        ("gpu:0,0", "twice"),
        ("cpu:0", "write `cpu`"),
        ("auto:0", "write `auto`"),
        ("coreml:0", "write `coreml`"),
        ("qnn:0", "write `qnn`"),
        ("intel_npu:0", "write `intel_npu`"),
        ("tpu", "Did you mean `"),
        ("gpu0", "Did you mean `gpu`?"),
        ("", "Devices are: auto, cpu"),
    ],
)
def test_bad_device_strings_are_refused_with_the_way_out(text: str, way_out: str) -> None:
    with pytest.raises(DeviceError) as error:
        parse_device(text)
    assert way_out in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(max_size=20))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        device = parse_device(text)
    except DeviceError:
        return
    assert parse_device(str(device)) == device


@pytest.mark.parametrize("text", ABSENT)
def test_an_absent_device_names_provider_and_package(text: str) -> None:
    provider, package = ABSENT[text]
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"{provider} is here")
    for opener in (open_engine, engines_for):
        with pytest.raises(DeviceError) as error:
            opener(tiny_network(), text)
        assert provider in str(error.value)
        assert f"pip install {package}" in str(error.value)


def test_a_device_that_no_package_serves_says_so() -> None:
    with pytest.raises(DeviceError, match="no pip package"):
        open_engine(tiny_network(), "mlu")


def test_every_provider_is_known_to_onnx_runtime() -> None:
    known = onnxruntime.get_all_providers()
    for kind in ("cpu", "gpu", "tensorrt", "npu", "dml", "coreml", "qnn"):
        assert find_provider(Device(kind)).name in known


def test_a_provider_that_cannot_start_is_no_silent_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime lists CUDA where only its library is installed, and then quietly runs on the CPU."""
    listed = [*onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    if listed.count("CUDAExecutionProvider") > 1:
        pytest.skip("CUDA is here")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with pytest.raises(DeviceError, match="CUDAExecutionProvider"), pytest.warns(UserWarning, match="not in available"):
        open_engine(tiny_network(), "gpu")
    with pytest.warns(UserWarning, match="not in available"):
        assert open_engine(tiny_network(), "auto").device == "cpu"


def test_auto_takes_what_is_there() -> None:
    engine = open_engine(tiny_network())
    assert engine.device == ("gpu:0" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu")
    assert [e.device for e in engines_for(tiny_network(), "cpu")] == ["cpu"]


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_engine_computes_the_network(count: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
    outputs = ENGINE.run(image)
    expected = image.astype(np.float64).mean(axis=3) + 0.5  # (N, H, W)
    np.testing.assert_allclose(outputs["anomaly_map"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["score"], expected.max(axis=(1, 2)), rtol=1e-5)
    assert all(value.dtype == np.float32 for value in outputs.values())


ENGINE = open_engine(tiny_network(bias=0.5), "cpu", num_threads=1)


def test_the_engine_describes_itself() -> None:
    assert (ENGINE.name, ENGINE.device) == ("onnxruntime", "cpu")
    assert ENGINE.input_shape == (None, HEIGHT, WIDTH, 3)
    assert ENGINE.outputs == ("anomaly_map", "score")


def test_a_view_is_as_good_as_a_copy() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, 2 * WIDTH, 3), np.uint8)
    view = wide[:, :, ::2]
    np.testing.assert_array_equal(ENGINE.run(view)["score"], ENGINE.run(view.copy())["score"])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, HEIGHT, WIDTH, 3), np.float32), "uint8 pixels, got float32"),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), r"\[any, 8, 16, 3\], got \[8, 16, 3\]"),
        (np.zeros((1, HEIGHT, WIDTH, 1), np.uint8), r"got \[1, 8, 16, 1\]"),
        (np.zeros((1, WIDTH, HEIGHT, 3), np.uint8), r"got \[1, 16, 8, 3\]"),
    ],
)
def test_another_dtype_or_shape_is_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ENGINE.run(image)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DeviceError, match="Did you mean `onnxruntime`"):
        open_engine(tiny_network(), name="onnxruntim")
    with pytest.raises(UsageError, match="num_threads"):
        open_engine(tiny_network(), num_threads=0)


def _float_input() -> bytes:
    proto = tiny_proto()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return proto.SerializeToString()


def _integer_output() -> bytes:
    proto = tiny_proto()
    proto.graph.node.append(helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT32))
    proto.graph.output.append(helper.make_tensor_value_info("whole", TensorProto.INT32, None))
    return proto.SerializeToString()


@pytest.mark.parametrize(
    "network", [b"", b"no network", tiny_network()[:100], _float_input(), _integer_output()], ids=range(5)
)
def test_what_is_no_image_network_is_refused(network: bytes) -> None:
    with pytest.raises(ModelError) as error:
        open_engine(network, "cpu")
    assert "\n" not in str(error.value)


def test_outputs_that_belie_their_declaration_are_refused() -> None:
    """A score per batch instead of one per image would otherwise be given to the wrong image."""
    proto = tiny_proto()
    reduce = next(node for node in proto.graph.node if node.op_type == "ReduceMax")
    del reduce.attribute[:]
    reduce.attribute.extend([helper.make_attribute("keepdims", 0), helper.make_attribute("axes", [0, 1, 2])])
    proto.graph.output[1].CopyFrom(helper.make_tensor_value_info("score", TensorProto.FLOAT, None))
    engine = open_engine(proto.SerializeToString(), "cpu")
    with pytest.raises(ModelError, match="score"):
        engine.run(np.zeros((2, HEIGHT, WIDTH, 3), np.uint8))


def test_bytes_with_the_mark_of_another_format_are_read_as_onnx() -> None:
    """ONNX Runtime takes bytes with 'ORTM' at offset 4 for its own format, whatever else they are."""
    proto = tiny_proto()
    proto.producer_name = "ORTM"
    network = proto.SerializeToString()
    assert network[4:8] == b"ORTM"
    assert onnx.load_model_from_string(network).graph.name == "tiny"
    assert open_engine(network, "cpu").outputs == ("anomaly_map", "score")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_the_thread_count_follows_the_affinity() -> None:
    cores = os.sched_getaffinity(0)
    assert onnx_runtime.usable_cores() == len(cores)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert onnx_runtime.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, cores)


def test_importing_engines_loads_no_runtime() -> None:
    heavy = ("onnxruntime", "onnx", "cv2", "torch")
    code = f"import blemish.engines, blemish.models, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
