"""Backbones of any kind for PatchCore: ONNX files with taps at any strides, and models of timm with local weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from command import blemish
from onnx import TensorProto, helper, numpy_helper
from plates import plate, write_set
from test_backbone_files import features, pixels_of, run

from blemish.backbones import Choice, load_backbone
from blemish.backbones.onnx_opset import converted
from blemish.backbones.taps import side_step, usual_strides
from blemish.config import load_config
from blemish.detectors import Setting
from blemish.detectors.patch_features import PatchFeatures
from blemish.detectors.patchcore import PatchCore
from blemish.detectors.stored_bank import stored_bank
from blemish.engines import open_engine
from blemish.errors import BackboneError, UsageError
from blemish.fitting import fit

HEIGHT, WIDTH = 96, 192
# Strides of the taps of a file; two are divided by no other, and two taps have one stride.
STRIDES = {"one": (8,), "three": (4, 8, 32), "odd ratio": (8, 12), "two of one": (8, 8, 16), "thirds": (6, 16)}


def file_with(folder: Path, strides: tuple[int, ...], stated: dict[str, Any] | None = None, pad: int = 0) -> Path:
    """A network with a convolution and a ReLU for each tap, which is as wide as its stride."""
    random = np.random.default_rng(0)
    nodes, weights, taps = [], [], []
    for number, stride in enumerate(strides):
        kernel = random.normal(0, 1 / stride, (3 + number, 3, stride, stride)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{number}"))
        sizes = {"kernel_shape": [stride] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        nodes.append(helper.make_node("Conv", ["image", f"kernel{number}"], [f"conv{number}"], **sizes))
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"tap{number}"]))
        taps.append(f"tap{number}")
    nodes.append(helper.make_node("GlobalAveragePool", ["tap0"], ["pooled"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("N", 3, "H", "W"))
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [None] * 4)
    model = helper.make_model(
        helper.make_graph(nodes, "taps", [image], [pooled], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = folder / "taps.onnx"
    path.write_bytes(model.SerializeToString())
    half = [0.5] * 3
    Path(f"{path}.json").write_text(json.dumps({"mean": half, "std": half, "taps": taps} if stated is None else stated))
    return path


def noise(seed: int, count: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[npt.NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


class TestRules:
    @pytest.mark.parametrize(
        ("strides", "expected"),
        [
            ([2, 4, 8, 16, 32], [8, 16]),
            ([4, 8, 32], [8, 32]),
            ([4, 16], [4, 16]),
            ([2, 4], [4]),
            ([14], [14]),
            ([16, 32, 64], [16, 32]),
            ([1, 2, 64], []),
        ],
    )
    def test_the_strides_nearest_to_8_and_16(self, strides: list[int], expected: list[int]) -> None:
        assert usual_strides(strides) == expected

    @pytest.mark.parametrize(("strides", "step"), [([8, 16], 32), ([14], 14), ([8, 12], 24), ([4, 64], 64)])
    def test_sides_that_give_every_tap_a_whole_grid(self, strides: list[int], step: int) -> None:
        assert side_step(strides) == step


class TestFiles:
    @pytest.mark.parametrize("strides", STRIDES.values(), ids=STRIDES.keys())
    def test_features_are_those_of_every_tap_alone_on_the_finest_grid(
        self, tmp_path: Path, strides: tuple[int, ...]
    ) -> None:
        functional = pytest.importorskip("torch.nn.functional")
        torch = pytest.importorskip("torch")
        path, (image,) = file_with(tmp_path, strides), noise(1, 1)
        together = PatchFeatures(str(path), HEIGHT, WIDTH)
        grid = HEIGHT // min(strides), WIDTH // min(strides)
        assert (together.rows, together.columns) == grid
        expected = []
        for tap, stride in enumerate(strides):
            alone = PatchFeatures(load_backbone(path, [f"tap{tap}"]), HEIGHT, WIDTH)
            values = next(iter(alone.extract([image], "cpu"))).reshape(1, HEIGHT // stride, WIDTH // stride, -1)
            planes = torch.from_numpy(values).permute(0, 3, 1, 2)
            expected.append(functional.interpolate(planes, grid, mode="bilinear")[0].permute(1, 2, 0).numpy())
        joined = np.concatenate(expected, axis=2).reshape(grid[0] * grid[1], -1)
        np.testing.assert_allclose(next(iter(together.extract([image], "cpu"))), joined, atol=1e-5)

    @pytest.mark.parametrize("strides", STRIDES.values(), ids=STRIDES.keys())
    def test_the_model_scores_by_the_distances_of_these_features(
        self, tmp_path: Path, strides: tuple[int, ...]
    ) -> None:
        good, new = noise(1, 6), np.stack(noise(2, 2))
        detector = PatchCore(Setting(WIDTH, HEIGHT, backbone=str(file_with(tmp_path, strides)), device="cpu")).fit(good)
        model = detector.graph()
        patches = np.stack(list(detector.features.extract(new, "cpu"))).astype(np.float64)  # (n, P, d)
        nearest = np.linalg.norm(patches[:, :, None] - detector.bank.rows, axis=3).min(axis=2)
        expected = [detector._smoothed(distances.astype(np.float32)).max() for distances in nearest]
        found = open_engine(model.SerializeToString(), "cpu").run(new)
        np.testing.assert_allclose(found["score"], expected, rtol=1e-3)
        assert found["anomaly_map"].shape == (2, HEIGHT // min(strides), WIDTH // min(strides))
        again = PatchCore.restored(model.SerializeToString(), detector.setting)
        assert [tap.stride for tap in again.backbone.taps] == sorted(set(strides))
        np.testing.assert_allclose(again.bank.rows, detector.bank.rows, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            open_engine(again.graph().SerializeToString(), "cpu").run(new)["score"], expected, rtol=1e-3
        )

    def test_openvino_agrees(self, tmp_path: Path) -> None:
        pytest.importorskip("openvino")
        setting = Setting(WIDTH, HEIGHT, backbone=str(file_with(tmp_path, (4, 8, 32))), device="cpu")
        model, new = PatchCore(setting).fit(noise(1, 4)).graph().SerializeToString(), np.stack(noise(2, 2))
        found = [open_engine(model, "cpu", name=name).run(new)["anomaly_map"] for name in ("onnxruntime", "openvino")]
        np.testing.assert_allclose(*found, rtol=1e-3)

    def test_from_training_to_update_with_a_word_on_what_is_assumed(self, tmp_path: Path) -> None:
        data, output = write_set(tmp_path / "data", train=6, good=2, defects=1), tmp_path / "output"
        path = file_with(tmp_path, (4, 8, 32), stated={"taps": ["tap0", "tap1", "tap2"]})
        sized = ("-o", "Model.width=96", "-o", "Model.height=96", "-o", "Model.memory_budget=100MB")
        done = blemish("train", data, "--output", output, "-o", f"Model.backbone={path}", *sized)
        assert done.code == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if "mean and std" in line]
        assert len(said) == 1 and f"state `mean` and `std` in {path}.json" in said[0]
        model = output / "best_model" / "inference"
        info = json.loads((model / "model.json").read_text())
        assert info["backbone"]["taps"] == ["tap0", "tap1", "tap2"]
        assert (info["output"]["map_height"], info["output"]["map_width"]) == (24, 24)
        path.unlink()  # the model holds all that it needs
        assert blemish("update", output, data / "test" / "good").code == 0
        assert blemish("predict", output, data / "test").code in {0, 1}
        assert len(json.loads((model / "model.json").read_text())["history"]) == 1

    def test_nothing_is_said_where_mean_and_std_are_stated(self, tmp_path: Path) -> None:
        data, path = write_set(tmp_path / "data", train=3, good=1, defects=1), file_with(tmp_path, (8, 16))
        small = ("-o", "Model.width=64", "-o", "Model.height=64", "-o", f"Model.backbone={path}")
        done = blemish("train", data, "--output", tmp_path / "output", *small)
        assert done.code == 0 and "mean and std" not in done.stderr

    def test_taps_are_named_by_a_key_of_the_run_file(self, tmp_path: Path) -> None:
        choice = Choice(str(file_with(tmp_path, (4, 8, 16))), taps=("tap2",))
        assert [tap.name for tap in load_backbone(choice).taps_to_read] == ["tap2"]
        assert PatchFeatures(Choice(taps=("stride16", "stride4")), 64, 64).strides == [4, 16]

    def test_sides_that_a_tap_does_not_divide_are_refused_before_any_work(self, tmp_path: Path) -> None:
        data = write_set(tmp_path / "data", train=3, good=1, defects=1)
        for backbone, step in ((file_with(tmp_path, (8, 12)), 24), ("efficientnet_lite0", 32)):
            options = [f"Global.dataset_dir={data}", f"Global.output={tmp_path}/output", "Model.width=100"]
            with pytest.raises(UsageError, match=rf"Model\.width is 100, but should be a multiple of {step}"):
                fit(load_config("PatchCore", [*options, f"Model.backbone={backbone}"]))
        assert not (tmp_path / "output").exists()

    def test_a_tap_whose_grid_is_not_whole_is_named(self, tmp_path: Path) -> None:
        backbone = load_backbone(file_with(tmp_path, (8,), pad=4))
        with pytest.raises(BackboneError, match=r"tap `tap0` of the network has a grid of 13x9 on images of 96x64"):
            PatchFeatures(backbone, 64, 96).engine("cpu")

    def test_a_network_without_any_map_says_what_a_tap_is(self, tmp_path: Path) -> None:
        path = file_with(tmp_path, (8,), stated={})
        model = onnx.load(path)
        del model.graph.node[:]
        kernel = numpy_helper.from_array(np.ones((3, 2), np.float32), "kernel")
        model.graph.initializer.append(kernel)
        mean = helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0)
        model.graph.node.extend([mean, helper.make_node("MatMul", ["means", "kernel"], ["pooled"])])
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [None, 2]))
        path.write_bytes(model.SerializeToString())
        with pytest.raises(BackboneError, match=r"no feature map to read: a tap is float32 \[N, C, h, w\]"):
            load_backbone(path)

    def test_weights_of_timm_do_not_belong_to_it(self, tmp_path: Path) -> None:
        for name in ("efficientnet_lite0", str(file_with(tmp_path, (8,)))):
            with pytest.raises(BackboneError, match=r"Model\.backbone_weights is for a model of timm, not for"):
                load_backbone(Choice(name, tmp_path / "weights.pth"))

    def test_models_of_before_are_read_whose_levels_have_other_names(self) -> None:
        setting = Setting(64, 64, device="cpu")
        model = PatchCore(setting).fit(noise(1, 3, (64, 64))).graph()
        old = {"bank_stride8": "bank_fine", "bank_stride16": "bank_coarse"}
        old |= {"metric_stride8": "metric_fine", "metric_stride16": "metric_coarse"}
        before = onnx.ModelProto()
        before.CopyFrom(model)
        for tensor in before.graph.initializer:
            tensor.name = old.get(tensor.name, tensor.name)
        for node in before.graph.node:
            node.input[:] = [old.get(name, name) for name in node.input]
        (backbone, rows, prepared), (_, now, _) = map(
            stored_bank, map(bytes, (before.SerializeToString(), model.SerializeToString()))
        )
        np.testing.assert_array_equal(rows, now)
        assert [tap.stride for tap in backbone.taps] == [8, 16] and prepared.kernel == "binomial"


class TestOperatorSet18:
    """Its operators in the set that we write, with the same values."""

    @pytest.mark.parametrize("op", ["split", "pad", "reduce", "reduce all"])
    def test_the_same_values(self, op: str) -> None:
        axes = numpy_helper.from_array(np.array([2, 3]), "axes")
        pads = numpy_helper.from_array(np.array([1, 0, 2, 3]), "pads")
        nodes = {
            "split": [helper.make_node("Split", ["x"], ["y", "rest"], axis=1, num_outputs=2)],
            "pad": [helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"])],
            "reduce": [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)],
            "reduce all": [helper.make_node("ReduceMax", ["x"], ["y"])],
        }
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 4, 6, 8))
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes[op], "one", [value], [output], [axes, pads])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        x = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype(np.float32)
        (expected,) = run(model, x=x)
        changed = converted(model)
        onnx.checker.check_model(changed, full_check=True)
        assert changed.opset_import[0].version == 17
        np.testing.assert_array_equal(run(changed, x=x)[0], expected)

    def test_what_the_older_set_cannot_do_is_refused(self) -> None:
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 4, 6, 8))
        axes = helper.make_tensor_value_info("axes", TensorProto.INT64, (2,))
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["x", "axes"], ["y"])], "one", [value, axes], [output]
        )
        with pytest.raises(BackboneError, match="the axes of ReduceMean are computed"):
            converted(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def weights_of(name: str, file: Path, **options: Any) -> Path:
    """Random weights in the form that timm has on its hub."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    torch.manual_seed(0)
    model = timm.create_model(name, **options)
    for norm in model.modules():  # statistics of their own, as after a training
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    if hasattr(model, "patch_embed"):
        model.patch_embed.proj.weight.data *= 30  # what is seen counts as much as where
    torch.save(model.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache folder of its own for the tests of one process."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLEMISH_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Choice:
    file = weights_of("test_resnet", tmp_path_factory.mktemp("weights") / "resnet.pth")
    return Choice("timm:test_resnet", file)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Choice:
    """A tiny transformer with patches of 14 pixels and register tokens, as DINOv2 has them."""
    registry = pytest.importorskip("timm.models")
    from timm.models.vision_transformer import _create_vision_transformer

    @registry.register_model
    def tiny_patch14(pretrained: bool = False, **options: Any) -> Any:
        sizes = {"patch_size": 14, "embed_dim": 48, "depth": 6, "num_heads": 3, "reg_tokens": 2, "init_values": 1.0}
        return _create_vision_transformer("tiny_patch14", pretrained=pretrained, **{"img_size": 84} | sizes | options)

    return Choice("tiny_patch14", weights_of("tiny_patch14", tmp_path_factory.mktemp("weights") / "vit.pth"))


def planes_of(pixels: npt.NDArray[np.uint8], backbone: Any) -> Any:
    torch = pytest.importorskip("torch")
    planes = (pixels / 255 - np.array(backbone.mean)) / np.array(backbone.std)
    return torch.from_numpy(planes.transpose(0, 3, 1, 2).astype(np.float32))


def assert_near(found: list[Any], expected: list[Any]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs.numpy()).max(), rtol=0)


class TestTimm:
    def test_a_convolutional_network_gives_what_torch_gives(self, resnet: Choice, cache: Path) -> None:
        import timm
        import torch

        backbone = load_backbone(resnet)
        assert [(tap.name, tap.stride, tap.channels) for tap in backbone.taps] == [
            ("layer2", 8, 48),
            ("layer3", 16, 192),
        ]
        assert backbone.licence == "unknown (file; timm's own weights: apache-2.0)"
        assert backbone.mean == (0.5, 0.5, 0.5) == backbone.std
        network = timm.create_model("test_resnet").eval()
        network.load_state_dict(torch.load(resnet.weights, weights_only=True))
        pixels = pixels_of(64, 96)
        with torch.inference_mode():
            expected = network.forward_intermediates(
                planes_of(pixels, backbone), indices=[2, 3], intermediates_only=True
            )
        assert_near(features(backbone, pixels, ["layer2", "layer3"]), expected)

    def test_it_is_exported_once_and_made_again_where_the_file_is_damaged(self, resnet: Choice, cache: Path) -> None:
        backbone, pixels = load_backbone(resnet), pixels_of(64, 96)
        first = features(backbone, pixels, ["layer2"])
        (file,) = (cache / "backbones").glob("test_resnet-96x64-*.onnx")
        made = file.stat().st_ino
        np.testing.assert_array_equal(features(load_backbone(resnet), pixels, ["layer2"])[0], first[0])
        assert file.stat().st_ino == made
        file.write_bytes(file.read_bytes()[:1000])
        np.testing.assert_array_equal(features(backbone, pixels, ["layer2"])[0], first[0])
        assert file.stat().st_ino != made
        # the file is a backbone that states all of itself, for a machine without torch
        own = load_backbone(file)
        assert (own.mean, own.std, own.licence, own.note) == (backbone.mean, backbone.std, backbone.licence, "")
        np.testing.assert_array_equal(features(own, pixels, ["layer2"])[0], first[0])

    def test_patch_tokens_of_the_middle_third_with_the_final_norm(self, vit: Choice) -> None:
        import timm
        import torch

        backbone = load_backbone(vit)
        assert [(tap.name, tap.stride, tap.channels) for tap in backbone.taps] == [
            ("blocks.2", 14, 48),
            ("blocks.3", 14, 48),
        ]
        assert backbone.step == 14
        network = timm.create_model("tiny_patch14").eval()
        network.load_state_dict(torch.load(vit.weights, weights_only=True))
        pixels = pixels_of(84, 84)
        with torch.inference_mode():
            expected = network.forward_intermediates(
                planes_of(pixels, backbone), indices=[2, 3], norm=True, intermediates_only=True
            )
        assert_near(features(backbone, pixels, ["blocks.2", "blocks.3"]), expected)

    def test_position_embeddings_are_fitted_to_the_input(self, vit: Choice) -> None:
        import timm
        import torch

        backbone, pixels = load_backbone(vit), pixels_of(70, 112)
        network = timm.create_model("tiny_patch14", dynamic_img_size=True).eval()
        network.load_state_dict(torch.load(vit.weights, weights_only=True))
        with torch.inference_mode():
            (expected,) = network.forward_intermediates(
                planes_of(pixels, backbone), indices=[3], norm=True, intermediates_only=True
            )
        (found,) = features(backbone, pixels, ["blocks.3"])
        assert found.shape == (2, 48, 5, 8)
        assert_near([found], [expected])

    def test_a_transformer_trains_at_multiples_of_its_patch(self, vit: Choice, tmp_path: Path) -> None:
        import cv2

        for folder, count in (("train", 5), ("new", 2)):
            (tmp_path / folder).mkdir()
            for number, image in enumerate(noise(count, count, (84, 112))):
                cv2.imwrite(str(tmp_path / folder / f"{number}.png"), image)
        options = [f"Global.dataset_dir={tmp_path}/train", f"Global.output={tmp_path}/output", "Global.device=cpu"]
        options += [f"Model.backbone={vit.name}", f"Model.backbone_weights={vit.weights}", "Model.width=112"]
        fit(load_config("PatchCore", options))
        info = json.loads((tmp_path / "output" / "best_model" / "inference" / "model.json").read_text())
        assert (info["input"]["width"], info["input"]["height"]) == (112, 84)
        assert info["output"]["map_width"] == 8 and info["backbone"]["name"] == "tiny_patch14"
        assert blemish("update", tmp_path / "output", tmp_path / "new").code == 0
        done = blemish("predict", tmp_path / "output", tmp_path / "new", "--json")
        scores = [json.loads(line)["score"] for line in done.stdout.splitlines()]
        assert len(scores) == 2 and np.isfinite(scores).all()

    def test_openvino_agrees(self, vit: Choice) -> None:
        pytest.importorskip("openvino")
        images = [np.ascontiguousarray(plate(number)[:70, :112, ::-1]) for number in range(4)]
        model = PatchCore(Setting(112, 70, backbone=vit, device="cpu")).fit(images).graph().SerializeToString()
        found = [open_engine(model, "cpu", name=name).run(np.stack(images)) for name in ("onnxruntime", "openvino")]
        largest = float(found[0]["anomaly_map"].max())
        np.testing.assert_allclose(found[0]["anomaly_map"], found[1]["anomaly_map"], atol=2e-2 * max(largest, 1.0))

    def test_named_taps_are_read_and_unknown_ones_refused(self, resnet: Choice, vit: Choice) -> None:
        named = Choice(resnet.name, resnet.weights, ("layer3", "layer1"))
        assert [tap.name for tap in load_backbone(named).taps_to_read] == ["layer1", "layer3"]
        with pytest.raises(BackboneError, match=r"no tap `blocks\.9`\. Did you mean `blocks\.\d`\? It has: blocks\.0"):
            load_backbone(Choice(vit.name, vit.weights, ("blocks.9",)))

    def test_wrong_weights_are_refused_before_any_work(self, vit: Choice, tmp_path: Path) -> None:
        data = write_set(tmp_path / "data", train=3, good=1, defects=1)
        options = [f"Global.dataset_dir={data}", f"Global.output={tmp_path}/output", "Model.backbone=timm:resnet18"]
        with pytest.raises(BackboneError, match=r"the weights are not those of resnet18: no `conv1\.weight`"):
            fit(load_config("PatchCore", [*options, f"Model.backbone_weights={vit.weights}"]))
        with pytest.raises(UsageError, match=r"Model\.backbone_weights: there is no file nowhere\.pth"):
            fit(load_config("PatchCore", [*options, "Model.backbone_weights=nowhere.pth"]))
        assert not (tmp_path / "output").exists()

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            (
                Choice("timm:resnet81"),
                r"no backbone `resnet81`: timm has no model of that name\. Did you mean `resnet\d",
            ),
            (Choice("resnet81"), r"no backbone `resnet81`\. Did you mean .* or a model of timm by its name"),
            (
                Choice("timm:resnet18.mine"),
                r"timm has no weights `resnet18\.mine`; of resnet18 it has: resnet18\.a1_in1k",
            ),
            (
                Choice("timm:vit_small_patch16_dinov3"),
                r"under the licence dinov3-license, .* Model\.accept_licence=dinov3-license",
            ),
            (Choice("timm:convnextv2_atto", accepted="mit"), r"not to mit; Model\.accept_licence=cc-by-nc-4\.0"),
            (Choice("timm:vit_small_patch16_dinov3", Path("nowhere"), accepted="DINOv3-license"), "no file nowhere"),
        ],
    )
    def test_refusals_name_the_way_out(self, choice: Choice, message: str) -> None:
        pytest.importorskip("timm")
        with pytest.raises(BackboneError, match=message) as refusal:
            load_backbone(choice)
        assert "\n" not in str(refusal.value)

    def test_patches_that_do_not_fill_the_image_are_refused(self, vit: Choice, tmp_path: Path) -> None:
        data = write_set(tmp_path / "data", train=3, good=1, defects=1)
        options = [f"Global.dataset_dir={data}", f"Global.output={tmp_path}/output", f"Model.backbone={vit.name}"]
        with pytest.raises(UsageError, match=r"Model\.height is 96, but should be a multiple of 14"):
            fit(load_config("PatchCore", [*options, f"Model.backbone_weights={vit.weights}", "Model.height=96"]))

    def test_a_missing_package_is_named_with_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from blemish.backbones import timm_networks

        found = timm_networks.find_spec
        monkeypatch.setattr(timm_networks, "find_spec", lambda name: None if name == "timm" else found(name))
        with pytest.raises(
            UsageError, match=r'resnet18 is a model of timm and needs timm .* pip install "blemish\[train\]'
        ):
            load_backbone("timm:resnet18")
        with pytest.raises(BackboneError, match="or a model of timm by its name, once timm is installed"):
            load_backbone("resnet18")

    def test_a_hub_out_of_reach_is_told_with_the_way_without(self, tmp_path: Path) -> None:
        pytest.importorskip("timm")
        data = write_set(tmp_path / "data", train=3, good=1, defects=1)
        nobody = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "BLEMISH_CACHE_HOME": str(tmp_path)}
        done = blemish(
            "train", data, "--output", tmp_path / "output", "-o", "Model.backbone=timm:test_resnet", **nobody
        )
        assert done.code == 2 and "Traceback" not in done.stderr and not os.path.exists(tmp_path / "output")
        assert "fetching the weights of test_resnet from timm/test_resnet.r160_in1k, licence apache-2.0" in done.stderr
        assert "Model.backbone_weights=FILE" in done.stderr.splitlines()[-1]

    def test_a_detector_with_strides_of_its_own_takes_no_taps(self) -> None:
        pytest.importorskip("timm")
        from blemish.detectors.stfpm import STFPM

        with pytest.raises(UsageError, match=r"Model\.taps is for PatchCore"):
            STFPM.sides(Choice("timm:resnet18", taps=("layer2",)))
        assert STFPM.sides(Choice("timm:resnet18")).step == 32
