"""OpenVINO as an engine: what it refuses, what it leaves behind, and that it computes what is asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from command import ROOT
from onnx import TensorProto, helper
from tiny_model import HEIGHT, WIDTH, tiny_network, tiny_proto

from blemish.engines import engines_for, open_engine, openvino
from blemish.errors import DeviceError, ModelError, UsageError

if find_spec("openvino") is None:
    pytest.skip('needs pip install "blemish[openvino]"', allow_module_level=True)

ENGINE = open_engine(tiny_network(bias=0.5), "cpu", num_threads=1, name="openvino")


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_engine_computes_the_network(count: int) -> None:
    outputs = ENGINE.run(images(count))
    expected = images(count).astype(np.float64).mean(axis=3) + 0.5  # (N, H, W)
    np.testing.assert_allclose(outputs["anomaly_map"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["score"], expected.max(axis=(1, 2)), rtol=1e-5)
    assert all(value.dtype == np.float32 for value in outputs.values())


def test_the_engine_describes_itself() -> None:
    assert (ENGINE.name, ENGINE.device) == ("openvino", "cpu")
    assert ENGINE.input_shape == (None, HEIGHT, WIDTH, 3)
    assert ENGINE.outputs == ("anomaly_map", "score")
    assert [engine.device for engine in engines_for(tiny_network(), "auto", name="openvino")] == ["cpu"]


def test_outputs_outlive_the_next_run() -> None:
    first = ENGINE.run(images(1))
    kept = first["anomaly_map"].copy()
    ENGINE.run(images(1, seed=1))
    np.testing.assert_array_equal(first["anomaly_map"], kept)


def test_a_view_is_as_good_as_a_copy() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, 2 * WIDTH, 3), np.uint8)
    view = wide[:, :, ::2]
    np.testing.assert_array_equal(ENGINE.run(view)["score"], ENGINE.run(view.copy())["score"])


def test_several_threads_may_share_an_engine() -> None:
    batches = [images(3, seed) for seed in range(8)]
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        for _ in range(20):
            found[number] = ENGINE.run(batches[number])["score"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, batch in enumerate(batches):
        np.testing.assert_allclose(found[number], batch.mean(axis=3).max(axis=(1, 2)) + 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, HEIGHT, WIDTH, 3), np.float32), "uint8 pixels, got float32"),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), r"\[any, 8, 16, 3\], got \[8, 16, 3\]"),
        (np.zeros((1, WIDTH, HEIGHT, 3), np.uint8), r"got \[1, 16, 8, 3\]"),
    ],
)
def test_another_dtype_or_shape_is_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ENGINE.run(image)


def float_input() -> bytes:
    proto = tiny_proto()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return proto.SerializeToString()


def integer_output() -> bytes:
    proto = tiny_proto()
    proto.graph.node.append(helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT32))
    proto.graph.output.append(helper.make_tensor_value_info("whole", TensorProto.INT32, None))
    return proto.SerializeToString()


IR = b'<?xml version="1.0"?><net name="x" version="11"><layers></layers><edges></edges></net>'


@pytest.mark.parametrize(
    "network",
    [b"", b"no network", tiny_network()[:100], float_input(), integer_output(), IR],
    ids=["empty", "text", "cut", "float input", "integer output", "another format"],
)
def test_what_is_no_image_network_is_refused(network: bytes) -> None:
    with pytest.raises(ModelError) as error:
        open_engine(network, "cpu", name="openvino")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("device", "engine", "message"),
    [
        ("intel_gpu", None, "OpenVINO sees no GPU here"),
        ("intel_gpu:3", None, "no GPU.3 here"),
        ("intel_npu", "openvino", "OpenVINO sees no NPU here"),
        ("gpu:0", "openvino", "OpenVINO runs on cpu, intel_gpu, intel_npu"),
        ("intel_gpu", "onnxruntime", "leave out the engine"),
        ("cpu", "tensorrt", "TensorRT runs on gpu"),
        ("auto", "tensorrt", "onnxruntime-gpu tensorrt"),
        ("cpu", "openvin", "Did you mean `openvino`"),
    ],
)
def test_devices_and_engines_that_do_not_go_together(device: str, engine: str | None, message: str) -> None:
    with pytest.raises(DeviceError, match=message) as error:
        open_engine(tiny_network(), device, name=engine)
    assert "\n" not in str(error.value)


def test_only_openvino_has_bfloat16() -> None:
    with pytest.raises(UsageError, match="openvino has bf16"):
        open_engine(tiny_network(), "cpu", precision="bf16")
    close = open_engine(tiny_network(bias=0.5), "cpu", name="openvino", precision="bf16").run(images(2))
    np.testing.assert_allclose(close["score"], ENGINE.run(images(2))["score"], rtol=0.01)


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError, match=r'pip install "blemish\[openvino\]"'):
        open_engine(tiny_network(), "cpu", name="openvino")


CODE = """
import sys
from blemish.engines import open_engine
from tiny_model import tiny_network
import numpy as np
open_engine(tiny_network(), "cpu", name="openvino").run(np.zeros((2, 8, 16, 3), np.uint8))
assert "openvino_telemetry" not in sys.modules
import openvino
assert openvino.convert_model
"""


def test_nothing_is_left_behind_and_nobody_is_told(tmp_path: Path) -> None:
    """OpenVINO reports its own import over the network and keeps an identity in the home folder."""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_openvino_is_imported_in_one_place() -> None:
    """Any other import of it would report to its makers."""
    importing = re.compile(r"^\s+(import openvino|from openvino\b)", re.MULTILINE)
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "blemish").rglob("*.py")
        if importing.search(path.read_text("utf-8").replace("if TYPE_CHECKING:\n    import openvino as ov", ""))
    ]
    assert found == ["blemish/engines/openvino.py"]


def test_a_processor_without_bfloat16_is_not_said_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a processor computes in float32 and says so when it is asked; here OpenVINO is asked for that at once."""
    monkeypatch.setitem(openvino._PRECISIONS, "bf16", "f32")
    with pytest.raises(DeviceError, match=r"no bf16, .* compute in f32; use fp32"):
        open_engine(tiny_network(), "cpu", name="openvino", precision="bf16")
