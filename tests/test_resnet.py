"""ResNet-18 as ONNX layers: the same features as torchvision's and timm's, and what is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from blemish.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, TAPS, checked_weights, resnet18
from blemish.errors import BackboneError
from blemish.graph import GraphBuilder

torch = pytest.importorskip("torch")
ALL_TAPS = [tap.name for tap in TAPS]
RECORD = {"name": "resnet18", "source": "a test", "sha256": "0" * 64, "licence": "none"}


def network(kind: str):
    """ResNet-18 with random weights and statistics, and the modules whose outputs are the taps."""
    torch.manual_seed(0)
    if kind == "timm":
        made = pytest.importorskip("timm").create_model("resnet18", pretrained=False)
    else:
        made = pytest.importorskip("torchvision").models.resnet18(weights=None)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return made.eval()


def features(made, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    found: list[npt.NDArray[np.float32]] = []
    for layer in (made.layer1, made.layer2, made.layer3):
        layer.register_forward_hook(lambda _, __, y: found.append(y.detach().numpy()))
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        made((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std)
    return found


def weights_of(made) -> dict[str, npt.NDArray[np.float32]]:
    return {name: values.numpy() for name, values in made.state_dict().items()}


def run(weights: dict[str, npt.NDArray[np.float32]], images: npt.NDArray[np.uint8], taps: list[str]):
    import onnxruntime as ort

    graph, (height, width) = GraphBuilder(), images.shape[1:3]
    pixels = graph.input("image", np.uint8, ["N", height, width, 3])
    built = resnet18(weights, **RECORD).build(graph, pixels, height, width, taps)
    for tap, value in zip(taps, built, strict=True):
        graph.output(value, f"out_{tap}", np.float32, ["N", None, None, None])
    model = graph.model("taps").SerializeToString()
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": images})


@pytest.mark.parametrize("kind", ["timm", "torchvision"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (48, 80)])
def test_every_tap_equals_the_known_network(kind: str, height: int, width: int):
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    made = network(kind)
    for ours, theirs, tap in zip(run(weights_of(made), images, ALL_TAPS), features(made, images), TAPS, strict=True):
        assert ours.shape == theirs.shape == (2, tap.channels, height // tap.stride, width // tap.stride)
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_taps_come_in_the_order_asked_for_and_only_what_is_needed_is_built():
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    weights = weights_of(network("torchvision"))
    both = run(weights, images, ["stride8", "stride4"])
    assert [values.shape[1] for values in both] == [128, 64]
    np.testing.assert_array_equal(both[1], run(weights, images, ["stride4"])[0])
    graph = GraphBuilder()
    resnet18(weights, **RECORD).build(graph, graph.input("image", np.uint8, ["N", 64, 64, 3]), 64, 64, ["stride4"])
    assert sum(node.op_type == "Conv" for node in graph.nodes) == 5


def test_paddle_names_are_the_same_weights():
    weights = weights_of(network("torchvision"))
    paddle = {
        name.replace("running_mean", "_mean").replace("running_var", "_variance"): values
        for name, values in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    ours, theirs = checked_weights(weights), checked_weights(paddle)
    assert list(ours) == list(theirs) and len(ours) == 15 * 5
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer3.1.bn2.running_var": None}, "`layer3.1.bn2.running_var` is missing"),
        ({"layer2.0.conv1.weight": np.zeros((128, 64, 1, 1))}, r"\(128, 64, 1, 1\), not \(128, 64, 3, 3\)"),
        ({"bn1.weight": np.full(64, np.nan)}, "`bn1.weight` has values"),
        ({"bn1.running_var": np.full(64, -1.0)}, "`bn1.running_var` has values"),
    ],
)
def test_refuses_other_weights(change: dict[str, npt.NDArray[np.float64] | None], says: str):
    weights = {
        name: values for name, values in (weights_of(network("torchvision")) | change).items() if values is not None
    }
    with pytest.raises(BackboneError, match=says):
        resnet18(weights, **RECORD)


@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 40), (16, 64)])
def test_refuses_a_size_that_does_not_divide(height: int, width: int):
    with pytest.raises(BackboneError, match="multiples of 16"):
        run(weights_of(network("torchvision")), np.zeros((1, height, width, 3), np.uint8), ["stride4"])
