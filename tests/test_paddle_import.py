"""Weights of PaddleX and FastFlow-Paddle as model folders: the same maps as those programs compute, and the records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from command import blemish
from paddle_files import ResNet, Stfpm, Tensors, checkpoint, fastflow_tensors, state_file, tar

from blemish.datasets import generate_sample
from blemish.engines import open_engine
from blemish.errors import BackboneError, DatasetError, ModelError, UsageError
from blemish.importing import import_model
from blemish.importing.fastflow import blur_matrix, fastflow_model
from blemish.importing.stfpm import stfpm_model
from blemish.models import load_model, set_false_alarm_rate
from blemish.pipeline import open_model


@pytest.fixture(scope="module")
def stfpm() -> Stfpm:
    return Stfpm()


class Reference:
    """Both detectors from their description, in torch."""

    def __init__(self) -> None:
        self.torch = pytest.importorskip("torch")
        self.functional = self.torch.nn.functional

    def planes(self, images: npt.NDArray[np.uint8]):
        mean = self.torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
        std = self.torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
        return (self.torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std

    def norm(self, x, weights: Tensors, name: str):
        parts = (self.torch.from_numpy(weights[f"{name}.{p}"]) for p in ("_mean", "_variance", "weight", "bias"))
        return self.functional.batch_norm(x, *parts, training=False, eps=1e-5)

    def conv(self, x, weights: Tensors, name: str, stride: int = 1):
        kernel = self.torch.from_numpy(weights[f"{name}.weight"])
        bias = self.torch.from_numpy(weights[f"{name}.bias"]) if f"{name}.bias" in weights else None
        return self.functional.conv2d(x, kernel, bias, stride, padding=kernel.shape[2] // 2)

    def resnet(self, x, weights: Tensors) -> list:
        """Features of the first three groups, by torchvision's names."""
        x = self.functional.relu(self.norm(self.conv(x, weights, "conv1", 2), weights, "bn1"))
        x, features = self.functional.max_pool2d(x, 3, 2, 1), []
        for group in (1, 2, 3):
            for block in (0, 1):
                p, stride = f"layer{group}.{block}", 2 if group > 1 and block == 0 else 1
                y = self.functional.relu(self.norm(self.conv(x, weights, f"{p}.conv1", stride), weights, f"{p}.bn1"))
                y = self.norm(self.conv(y, weights, f"{p}.conv2"), weights, f"{p}.bn2")
                if f"{p}.downsample.0.weight" in weights:
                    x = self.norm(self.conv(x, weights, f"{p}.downsample.0", stride), weights, f"{p}.downsample.1")
                x = self.functional.relu(x + y)
            features.append(x)
        return features

    def stfpm(self, made: Stfpm, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with self.torch.no_grad():
            nets = [self.resnet(self.planes(images), net.torchvision()) for net in (made.teacher, made.student)]
            product = 1
            for pair in zip(*nets, strict=True):
                t, s = (self.functional.normalize(features, dim=1) for features in pair)
                level = ((t - s) ** 2).sum(1, keepdim=True)
                product = product * self.functional.interpolate(level, (256, 256), mode="bilinear", align_corners=False)
            return product[:, 0].numpy()

    def fastflow(self, tensors: Tensors, images: npt.NDArray[np.uint8], steps: int = 4) -> npt.NDArray[np.float32]:
        """The map before it is smoothed."""
        torch, maps = self.torch, []
        prefix = "feature_extractor."
        backbone = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        with torch.no_grad():
            for level, features in enumerate(self.resnet(self.planes(images), backbone)):
                normed = f"norms.{level}.weight" in tensors
                z = self.norm(features, tensors, f"norms.{level}") if normed else features
                for step in range(steps):
                    z = self.flow_step(z, tensors, f"nf_flows.{level}.module_list.{step}.")
                one_minus = 1 - torch.exp(-0.5 * (z**2).mean(1, keepdim=True))
                maps.append(self.functional.interpolate(one_minus, (256, 256), mode="bilinear", align_corners=True))
            return torch.stack(maps).mean(0)[:, 0].numpy()

    def flow_step(self, x, tensors: Tensors, prefix: str):
        torch, half = self.torch, x.shape[1] // 2
        x1, x2 = x[:, :half], x[:, half:]

        def moved(value, other):
            a = self.conv(
                self.functional.relu(self.conv(other, tensors, f"{prefix}subnet.0")), tensors, f"{prefix}subnet.2"
            )
            a = 0.1 * a
            return value * torch.exp(2.0 * torch.tanh(a[:, :half])) + a[:, half:]

        x2 = moved(x2, x1)
        x1 = moved(x1, x2)
        scale, offset, mix = (
            torch.from_numpy(tensors[prefix + n]) for n in ("global_scale", "global_offset", "w_perm")
        )
        return self.functional.conv2d(torch.cat([x1, x2], 1) * scale + offset, mix)


@pytest.fixture(scope="module")
def images() -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    smooth = cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (256, 256), interpolation=cv2.INTER_CUBIC)
    return np.stack([noise, smooth])


def close(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> None:
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    assert np.ptp(theirs) > 1e-3  # a constant map would prove nothing
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


class TestStfpm:
    def test_equals_the_description(self, stfpm: Stfpm, images: npt.NDArray[np.uint8]):
        outputs = open_engine(stfpm_model(stfpm.tensors), "cpu").run(images)
        expected = Reference().stfpm(stfpm, images)
        close(outputs["anomaly_map"], expected)
        close(outputs["score"], expected.max(axis=(1, 2)))

    def test_equal_networks_see_nothing(self, stfpm: Stfpm, images: npt.NDArray[np.uint8]):
        twins = {name: stfpm.tensors[name.replace("student", "teacher")] for name in stfpm.tensors}
        outputs = open_engine(stfpm_model(twins), "cpu").run(images[:1])
        assert outputs["score"] == 0 and not outputs["anomaly_map"].any()

    @pytest.mark.parametrize("kind", ["pdparams", "protocol 2", "info", "json", "alone", "tar", "pruned tar", "folder"])
    def test_every_file_becomes_the_same_network(self, stfpm: Stfpm, tmp_path: Path, kind: str):
        pruned = kind in ("pruned tar", "alone", "folder")
        records = stfpm.pdiparams(pruned) if "p" not in kind[:1] or pruned else b""
        model = {"inference.yml": b"Global: {}", "inference.pdiparams": records}
        files = {
            "pdparams": lambda: {"model.pdparams": stfpm.pdparams()},
            "protocol 2": lambda: {"model.pdparams": stfpm.pdparams(protocol=2)},
            "info": lambda: {"inference.pdiparams": records, "inference.pdiparams.info": stfpm.info()},
            "json": lambda: {"inference.pdiparams": records, "inference.json": stfpm.program()},
            "alone": lambda: {"inference.pdiparams": records},
            "tar": lambda: {"STFPM_infer.tar": tar({**model, "inference.json": stfpm.program()})},
            "pruned tar": lambda: {"STFPM_infer.tar": tar({**model, "inference.pdiparams.info": stfpm.info()})},
            "folder": lambda: {**model, "inference.pdiparams.info": stfpm.info()},
        }[kind]()
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        source = tmp_path if kind == "folder" else tmp_path / next(iter(files))
        import_model(source, "paddlex", tmp_path / "model")
        assert load_model(tmp_path / "model").model == stfpm_model(stfpm.tensors)

    def test_a_student_alone_needs_a_teacher(self, stfpm: Stfpm, tmp_path: Path):
        alone = {f"model.{name}": values for name, values in stfpm.student.tensors.items()}
        (tmp_path / "best.pdparams").write_bytes(state_file(alone, {}))
        (tmp_path / "resnet18.pdparams").write_bytes(state_file(stfpm.teacher.torchvision(), {}))
        with pytest.raises(BackboneError, match="--backbone-weights"):
            import_model(tmp_path / "best.pdparams", "paddlex", tmp_path / "model")
        teacher = tmp_path / "resnet18.pdparams"
        import_model(tmp_path / "best.pdparams", "paddlex", tmp_path / "model", backbone_weights=teacher)
        loaded = load_model(tmp_path / "model")
        assert loaded.model == stfpm_model(stfpm.tensors)
        assert loaded.info.backbone.sha256 == hashlib.sha256(teacher.read_bytes()).hexdigest()

    @pytest.mark.parametrize(
        ("tensors", "says"),
        [
            ({}, "no weights of STFPM"),
            ({"fc.weight": np.zeros((3, 3), np.float32)}, "the first is `fc.weight`"),
            ({"student.model.0.weight": np.zeros((64, 3, 7, 7), np.float32)}, "`bn1.weight` is missing"),
        ],
    )
    def test_refuses_other_tensors(self, tensors: Tensors, says: str):
        with pytest.raises(BackboneError, match=says):
            stfpm_model(tensors)


class TestFastFlow:
    @pytest.mark.parametrize(
        ("ratio", "kernels", "norm"), [(1.06, (3, 3, 3, 3), True), (1.0, (3, 1), False), (0.5, (3, 1, 3), True)]
    )
    def test_equals_the_description(
        self, images: npt.NDArray[np.uint8], ratio: float, kernels: tuple[int, ...], norm: bool
    ):
        tensors = fastflow_tensors(ratio, kernels, norm)
        outputs = open_engine(fastflow_model(tensors), "cpu").run(images)
        unsmoothed = Reference().fastflow(tensors, images, len(kernels))
        close(outputs["score"], unsmoothed.max(axis=(1, 2)))
        smoothed = np.stack([cv2.GaussianBlur(m, (49, 49), 6, borderType=cv2.BORDER_REFLECT) for m in unsmoothed])
        close(outputs["anomaly_map"], smoothed)

    def test_parameters_are_as_many_as_it_prints(self):
        """The program counts the unused sub-networks: 4,896,728 parameters that are trained."""
        trained = {n: v for n, v in fastflow_tensors().items() if not n.startswith("feature_") and "w_perm" not in n}
        count = sum(v.size for n, v in trained.items() if not n.endswith(("_mean", "_variance")))
        assert count == 4_896_728

    def test_smoothing_is_scipys(self):
        ndimage = pytest.importorskip("scipy.ndimage")
        image = np.random.default_rng(0).random((40, 40))
        blur = blur_matrix(40)
        np.testing.assert_allclose(blur @ image @ blur.T, ndimage.gaussian_filter(image, 6), atol=1e-12)

    def test_weights_that_overflow_are_refused_and_nothing_is_written(self, tmp_path: Path):
        tensors = {name: values.astype(np.float32) for name, values in fastflow_tensors(kernels=(3,)).items()}
        name = next(name for name in tensors if name.endswith("conv1.weight"))
        tensors[name] = np.full_like(tensors[name], 1e38)
        (tmp_path / "best.pdparams").write_bytes(checkpoint(tensors))
        with pytest.raises(ModelError, match=r"best\.pdparams is not imported: of a grey image, the model gives a"):
            import_model(tmp_path / "best.pdparams", "fastflow", tmp_path / "model")
        assert [path.name for path in tmp_path.iterdir()] == ["best.pdparams"]

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_reads_a_checkpoint(self, tmp_path: Path, protocol: int):
        tensors = fastflow_tensors(kernels=(3,))
        (tmp_path / "best.pdparams").write_bytes(checkpoint(tensors, protocol))
        import_model(tmp_path / "best.pdparams", "fastflow", tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        assert loaded.model == fastflow_model(tensors)
        assert loaded.info.detector.name == "FastFlow" and loaded.info.calibration.fixed_threshold == 0.8

    def test_a_checkpoint_without_backbone_needs_one(self):
        tensors = fastflow_tensors(kernels=(3,))
        flows = {name: values for name, values in tensors.items() if not name.startswith("feature_extractor.")}
        with pytest.raises(BackboneError, match="--backbone-weights"):
            fastflow_model(flows)
        assert fastflow_model(flows, ResNet(7).torchvision()) == fastflow_model(tensors)

    @pytest.mark.parametrize(
        ("name", "values", "says"),
        [
            ("nf_flows.1.module_list.0.global_scale", None, "global_scale` is missing"),
            ("nf_flows.0.module_list.0.subnet.0.weight", np.zeros((33, 32, 3, 1)), "no kernel of 1 or 3"),
            (
                "nf_flows.0.module_list.0.subnet.2.weight",
                np.zeros((64, 9, 3, 3)),
                r"\(64, 9, 3, 3\), not \(64, 33, 3, 3\)",
            ),
            ("nf_flows.2.module_list.0.w_perm", np.full((256, 256, 1, 1), np.inf), "not finite"),
            ("nf_flows.2.module_list.2.w_perm", np.zeros(1), "has gaps"),
            ("norms.0._variance", np.full(64, -1.0), "negative"),
            ("norms.0.bias", None, "`norms.0.bias` is missing"),
            ("feature_extractor.bn1.bias", None, "`bn1.bias` is missing"),
        ],
    )
    def test_refuses_other_tensors(self, name: str, values: npt.NDArray[np.float64] | None, says: str):
        changed = {**fastflow_tensors(kernels=(3,)), name: values}
        with pytest.raises(BackboneError, match=says):
            fastflow_model({n: v for n, v in changed.items() if v is not None})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, stfpm: Stfpm) -> Path:
    """A checkpoint of PaddleX and the sample's good images, which are not square."""
    root = tmp_path_factory.mktemp("import")
    (root / "model.pdparams").write_bytes(stfpm.pdparams())
    sample = generate_sample(root / "sample", train=6, good=1, per_defect=1, size=96)
    (root / "good").mkdir()
    for file in sorted((sample / "train" / "good").iterdir()):
        cv2.imwrite(str(root / "good" / file.name), cv2.resize(cv2.imread(str(file)), (120, 80)))
    return root


class TestModelFolder:
    def test_good_images_become_the_calibration(self, world: Path, tmp_path: Path):
        report = import_model(
            world / "model.pdparams", "paddlex", tmp_path / "m", good=world / "good", false_alarm_rate=0.2
        )
        info = load_model(tmp_path / "m").info
        assert info.calibration.kind == "good images given at import" and info.calibration.fixed_threshold is None
        assert info.calibration.false_alarm_rate == 0.2 and info.calibration.parts == list(range(6))
        assert info.input.aspect == 1.5 and info.data.images == 6 and info.data.sizes == {"120x80": 6}
        assert "6 good images" in report.lines[0]
        predictor = open_model(tmp_path / "m", "cpu")
        results = list(predictor.predict(str(world / "good")))
        np.testing.assert_allclose(sorted(r.score for r in results), sorted(info.calibration.scores), rtol=1e-6)
        # 1.4 of 7 parts: the largest score is above the threshold, the second below
        assert sum(r.is_anomalous for r in results) == 1 and results[0].false_alarm_rate == 0.2
        assert sorted(r.p_value for r in results)[:2] == pytest.approx([1 / 7, 2 / 7], abs=1e-3)

    def test_without_good_images_the_threshold_is_paddlex(self, world: Path, tmp_path: Path):
        report = import_model(world / "model.pdparams", "paddlex", tmp_path / "m")
        info = load_model(tmp_path / "m").info
        assert info.calibration.scores == [] and info.calibration.kind.startswith("not calibrated")
        assert report.lines == ["Not calibrated: 0.01 is a fixed threshold, its false-alarm rate is unknown."]
        result = next(open_model(tmp_path / "m", "cpu").predict(str(world / "good")))
        assert (result.threshold, result.pixel_threshold, result.p_value) == (0.01, 0.01, None)
        assert result.false_alarm_rate is None and result.is_anomalous  # random networks disagree everywhere
        assert result.pred.max() == 255
        calm = next(open_model(tmp_path / "m", "cpu", threshold=60).predict(str(world / "good")))
        assert not calm.is_anomalous and calm.pixel_threshold == 60

    def test_without_good_images_there_is_no_rate(self, world: Path, tmp_path: Path):
        import_model(world / "model.pdparams", "paddlex", tmp_path / "m")
        with pytest.raises(UsageError, match="not calibrated"):
            open_model(tmp_path / "m", "cpu", false_alarm_rate=0.1)
        with pytest.raises(UsageError, match="not calibrated"):
            set_false_alarm_rate(tmp_path / "m", 0.1)
        with pytest.raises(UsageError, match="--good"):
            import_model(world / "model.pdparams", "paddlex", tmp_path / "n", false_alarm_rate=0.1)

    def test_refuses_what_is_wrong_before_it_writes(self, world: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="Did you mean `paddlex`"):
            import_model(world / "model.pdparams", "padlex", tmp_path / "m")
        with pytest.raises(BackboneError, match="No such file"):
            import_model(tmp_path / "none.pdparams", "paddlex", tmp_path / "m")
        with pytest.raises(BackboneError, match=r"ends in \.pdparams"):
            import_model(next((world / "good").iterdir()), "paddlex", tmp_path / "m")
        with pytest.raises(BackboneError, match=r"holds 0 \.pdiparams"):
            import_model(world / "good", "paddlex", tmp_path / "m")
        with pytest.raises(BackboneError, match="feature_extractor"):
            import_model(world / "model.pdparams", "fastflow", tmp_path / "m")
        with pytest.raises(DatasetError):
            import_model(world / "model.pdparams", "paddlex", tmp_path / "m", good=tmp_path / "nowhere")
        assert not (tmp_path / "m").exists()
        with pytest.raises(ModelError, match="not replaced"):
            import_model(world / "model.pdparams", "paddlex", world)

    def test_an_image_that_cannot_be_read_is_named(self, world: Path, tmp_path: Path):
        (tmp_path / "good").mkdir()
        (tmp_path / "good" / "a.png").write_bytes(next((world / "good").iterdir()).read_bytes())
        (tmp_path / "good" / "b.png").write_bytes(b"no image")
        done = blemish(
            "import",
            world / "model.pdparams",
            "--from",
            "paddlex",
            "--good",
            tmp_path / "good",
            "--output",
            tmp_path / "m",
        )
        assert done.code == 1 and "b.png" in done.stderr
        assert load_model(tmp_path / "m").info.data.images == 1


def test_the_command(world: Path, tmp_path: Path):
    done = blemish("import", world / "model.pdparams", "--from", "paddlex", "--good", world / "good", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines() == ["output/imported", "blemish predict output/imported INPUT"]
    assert "6 good images support" in done.stderr
    predicted = blemish("predict", "output/imported", world / "good", "--json", cwd=tmp_path)
    assert predicted.code == 0 and json.loads(predicted.stdout.splitlines()[0])["model_name"] == "STFPM"


def test_the_command_refuses_in_one_line(tmp_path: Path):
    (tmp_path / "bad.pdparams").write_bytes(b"\x80\x04cos\nsystem\n.")
    done = blemish("import", tmp_path / "bad.pdparams", "--from", "paddlex", "--output", tmp_path / "m")
    assert done.code == 2 and len(done.stderr.splitlines()) == 1 and "no global `os system`" in done.stderr
    assert blemish("import", tmp_path / "bad.pdparams").code == 2
