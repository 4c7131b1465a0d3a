"""Backbones for training: vision transformers, convolutional networks of timm, and weights from local files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import blemish
from paddle_files import ResNet, state_file
from plates import plate, write_set

from blemish.detectors import Setting, detector_class
from blemish.detectors.fastflow import FastFlow
from blemish.detectors.stfpm import STFPM
from blemish.errors import BackboneError
from blemish.training import Plan

torch = pytest.importorskip("torch")

HEIGHT, WIDTH = 96, 64  # unequal, so that a grid that is turned would show
TINY_VIT, TINY_RESNET = "test_vit", "test_resnet"  # timm's own for tests; their input is 160 x 160


def images(count: int, start: int = 0) -> list[np.ndarray]:
    return [np.ascontiguousarray(plate(number)[:HEIGHT, :WIDTH, ::-1]) for number in range(start, start + count)]


def random_weights(name: str, file: Path) -> Path:
    """A file of weights such as timm would fetch: for the input size that the network was made for."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), file)
    return file


def fitted(detector: str, backbone: str, weights: Path, iterations: int = 4) -> Any:
    plan = Plan(iterations=iterations, batch_size=4, warmup=1, learning_rate=1e-3, device="cpu", weights=weights)
    made: Any = detector_class(detector)(Setting(WIDTH, HEIGHT, backbone=backbone, plan=plan, device="cpu"))
    made.watched = images(2, 50)
    return made.fit(images(6))


@pytest.mark.parametrize(
    ("detector", "backbone"),
    [("FastFlow", "resnet18"), ("STFPM", "resnet18"), ("FastFlow", "mobilenetv3_small_050"), ("STFPM", TINY_RESNET)],
)
def test_networks_of_timm_become_equal_graphs(tmp_path: Path, detector: str, backbone: str) -> None:
    learned = fitted(detector, backbone, random_weights(backbone, tmp_path / "w.safetensors"))
    assert [tap.stride for tap in learned.backbone.taps] == [4, 8, 16]
    assert_equal_graph(learned)


def test_a_vision_transformer_becomes_an_equal_graph(tmp_path: Path) -> None:
    learned = fitted("FastFlow", TINY_VIT, random_weights(TINY_VIT, tmp_path / "w.safetensors"), 20)
    assert [(tap.stride, tap.channels) for tap in learned.backbone.taps] == [(16, 64)]
    assert learned.outcome.state.losses[20] < learned.outcome.state.losses[10]
    assert_equal_graph(learned)


def assert_equal_graph(learned: Any) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(learned.graph().SerializeToString())
    for count in (1, 3):
        pixels = np.stack(images(count, 70))
        maps, scores = session.run(["anomaly_map", "score"], {"image": pixels})
        expected_maps, expected_scores = learned.outputs(pixels)
        assert maps.shape == (count, HEIGHT // 4, WIDTH // 4)
        np.testing.assert_allclose(maps, expected_maps, atol=1e-4 * max(1.0, np.abs(expected_maps).max()))
        np.testing.assert_allclose(scores, expected_scores, atol=5e-5, rtol=1e-4)


def test_patch_tokens_are_those_of_the_block_at_two_thirds_of_the_depth(tmp_path: Path) -> None:
    """As a whole network of timm gives them, at the size that its position embeddings are made for."""
    import timm
    from safetensors.torch import load_file

    from blemish.training.networks import load_teacher

    file = random_weights(TINY_VIT, tmp_path / "w.safetensors")
    whole = timm.create_model(TINY_VIT)
    whole.load_state_dict(load_file(file))
    planes = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        expected = whole.eval().forward_intermediates(planes, indices=[3], intermediates_only=True)[0]
        (found,) = load_teacher(TINY_VIT, file, (16,), (160, 160)).module(planes)
    torch.testing.assert_close(found, expected)


def test_position_embeddings_are_resampled_and_the_class_token_keeps_its_own(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from blemish.training.networks import load_teacher

    file = random_weights(TINY_VIT, tmp_path / "w.safetensors")
    state = load_file(file)
    down = torch.linspace(-1, 1, 10)[:, None, None].expand(10, 10, 64).reshape(1, 100, 64)  # grows with the row
    class_token = state["pos_embed"][:, :1]
    save_file({**state, "pos_embed": torch.cat([class_token, down], 1)}, file)
    positions = load_teacher(TINY_VIT, file, (16,), (HEIGHT, WIDTH)).module.state_dict()["model.pos_embed"]
    grid = positions[0, 1:].reshape(6, 4, 64)
    assert torch.equal(positions[:, :1], class_token)
    assert (grid.diff(dim=0) > 0).all() and grid.std(dim=1).max() < 1e-5


def test_position_embeddings_that_are_no_square_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from blemish.training.networks import load_teacher

    file = random_weights(TINY_VIT, tmp_path / "w.safetensors")
    save_file({**load_file(file), "pos_embed": torch.zeros(1, 8, 64)}, file)
    with pytest.raises(BackboneError, match=r"`model\.pos_embed` has another shape"):
        load_teacher(TINY_VIT, file, (16,), (HEIGHT, WIDTH))


def test_what_does_not_fit_a_detector_is_refused_before_any_work() -> None:
    with pytest.raises(BackboneError, match=r"no feature maps at strides 4, 8, 16, only at 16: choose a convolutional"):
        STFPM.sides("deit_tiny_patch16_224")
    assert FastFlow.strides_of("deit_tiny_patch16_224") == (16,) and FastFlow.strides_of("resnet18") == (4, 8, 16)
    with pytest.raises(BackboneError, match=r"no feature maps at strides 4, 8, 16, only at 16, 32, 64:"):
        FastFlow.sides("levit_128")


def test_patches_that_do_not_fill_the_image_are_refused() -> None:
    from blemish.training.networks import new_network

    with pytest.raises(BackboneError, match=r"patches of 14 pixels: .* must be multiples of 224, not 64x96"):
        new_network("vit_small_patch14_dinov2", (14,), (HEIGHT, WIDTH))


def test_a_network_that_refuses_the_size_is_told(tmp_path: Path) -> None:
    from blemish.training.networks import load_teacher

    file = random_weights("swin_tiny_patch4_window7_224", tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match="swin_tiny_patch4_window7_224 does not take images of 64x96"):
        load_teacher("swin_tiny_patch4_window7_224", file, (4, 8, 16), (HEIGHT, WIDTH))


@pytest.mark.parametrize("protocol", [2, 4])
def test_weights_of_paddle_are_those_of_torch(tmp_path: Path, protocol: int) -> None:
    """Only the statistics of the normalisations are called otherwise."""
    from blemish.training.networks import load_teacher

    tensors = ResNet(0).torchvision()
    file = tmp_path / "resnet18.pdparams"
    file.write_bytes(state_file(tensors, {name: name for name in tensors}, protocol))
    teacher = load_teacher("resnet18", file, (4, 8, 16), (HEIGHT, WIDTH))
    state = teacher.module.state_dict()
    for name in ("conv1.weight", "layer3.0.downsample.0.weight", "layer2.1.bn2.bias"):
        np.testing.assert_array_equal(state[name], tensors[name])
    np.testing.assert_array_equal(state["layer3.1.bn1.running_mean"], tensors["layer3.1.bn1._mean"])
    np.testing.assert_array_equal(state["layer1.0.bn1.running_var"], tensors["layer1.0.bn1._variance"])
    assert (
        teacher.record.source == "file resnet18.pdparams"
        and teacher.record.licence == "unknown (file; timm's own weights: apache-2.0)"
    )
    assert teacher.record.mean == (0.485, 0.456, 0.406)


def test_wide_resnet50_takes_weights_of_paddle(tmp_path: Path) -> None:
    import timm

    from blemish.training.networks import load_teacher

    torch.manual_seed(0)
    theirs = {"running_mean": "_mean", "running_var": "_variance"}
    whole = timm.create_model("wide_resnet50_2").state_dict()
    state = {name: value for name, value in whole.items() if value.ndim and not name.startswith(("layer4", "fc"))}
    tensors = {}
    for name, value in state.items():
        head, _, last = name.rpartition(".")
        tensors[f"{head}.{theirs.get(last, last)}"] = value.numpy()
    file = tmp_path / "wide_resnet50_2.pdparams"
    file.write_bytes(state_file(tensors, {name: name for name in tensors}, 4))
    found = load_teacher("wide_resnet50_2", file, (4, 8, 16)).module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items() if value.ndim)


def test_a_hostile_file_of_paddle_is_refused(tmp_path: Path) -> None:
    import os
    import pickle

    from blemish.training.networks import load_teacher

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/harm",)

    (tmp_path / "hostile.pdparams").write_bytes(pickle.dumps({"conv1.weight": Hostile()}, 4))
    with pytest.raises(BackboneError, match=r"hostile\.pdparams is refused"):
        load_teacher("resnet18", tmp_path / "hostile.pdparams", (4, 8, 16))
    assert not (tmp_path / "harm").exists()


def test_from_a_local_file_to_a_model_folder_that_states_it(tmp_path: Path) -> None:
    data, output = write_set(tmp_path / "data", train=8, good=1, defects=1), tmp_path / "output"
    weights = random_weights(TINY_RESNET, tmp_path / "plant.safetensors")
    small = ["Model.width=64", "Model.height=64", "Train.epochs_iters=2", "Train.batch_size=4", "Train.amp=OFF"]
    options = [f"Model.backbone={TINY_RESNET}", f"Train.pretrain_weight_path={weights}", *small]
    command = ("train", data, "--model", "FastFlow", "--output", output, "--device", "cpu")
    done = blemish(*command, *(part for option in options for part in ("-o", option)))
    assert done.code == 0, done.stderr
    assert "licence unknown (file; timm's own weights: apache-2.0)" in (output / "train.log").read_text()
    info = json.loads((output / "best_model" / "inference" / "model.json").read_text())
    assert info["backbone"]["name"] == TINY_RESNET and info["backbone"]["source"] == "file plant.safetensors"


def test_a_weight_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", train=3, good=1, defects=1)
    command = ("train", data, "--model", "FastFlow", "--output", tmp_path / "output", "-o", "Model.backbone=resnet18")
    done = blemish(*command, "-o", f"Train.pretrain_weight_path={tmp_path}/nowhere.pdparams")
    assert done.code == 2 and "there is no file" in done.stderr and not (tmp_path / "output").exists()
