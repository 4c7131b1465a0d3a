"""STFPM: the student learns, the graph equals the network, and torch stays out of everything else."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import ROOT
from plates import plate, scratched, write_set

from blemish.config import load_config
from blemish.detectors import Setting
from blemish.detectors.stfpm import STFPM, STFPMParameters
from blemish.errors import BackboneError, ModelError, UsageError
from blemish.training import Plan

torch = pytest.importorskip("torch")

SIZE = 64


def plates(count: int, start: int = 0) -> list[np.ndarray]:
    return [np.ascontiguousarray(plate(number)[:SIZE, :SIZE, ::-1]) for number in range(start, start + count)]


def fitted(fusion: str = "sum", iterations: int = 40, **others: Any) -> STFPM:
    plan = Plan(iterations=iterations, batch_size=4, warmup=3, device="cpu", **others)
    detector = STFPM(Setting(SIZE, SIZE, plan=plan, device="cpu"), STFPMParameters(fusion=fusion))
    detector.watched = plates(3, 50)
    detector.fit(plates(8))
    return detector


@pytest.fixture(scope="module")
def trained() -> STFPM:
    return fitted()


def test_the_student_learns_and_a_scratch_stands_out(trained: STFPM) -> None:
    assert trained.outcome is not None and trained.outcome.state.losses[40] < 0.5 * trained.outcome.state.losses[10]
    picture, mask = scratched(3, (10, 10))
    good = np.stack(plates(6, 60))
    maps, scores = trained.outputs(np.ascontiguousarray(picture[None, :SIZE, :SIZE, ::-1]))
    assert scores[0] > trained.outputs(good)[1].max()
    row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert mask[4 * row : 4 * row + 16, 4 * column : 4 * column + 16].any() or mask[4 * row, 4 * column]


FEW = {
    "one": plates(1),
    "two": plates(2),
    "five": plates(5),
    "one five times": plates(1) * 5,
    "grey": [np.full((SIZE, SIZE, 3), 90, np.uint8)] * 3,
    "black": [np.zeros((SIZE, SIZE, 3), np.uint8)],
}


@pytest.mark.parametrize("name", FEW)
def test_few_images_or_images_all_alike_are_enough(name: str) -> None:
    plan = Plan(iterations=30, batch_size=4, warmup=3, device="cpu")
    detector = STFPM(Setting(SIZE, SIZE, plan=plan, device="cpu"))
    detector.fit(FEW[name])
    assert detector.graph()
    good = np.stack(FEW[name])
    bad = good[:1].copy()
    bad[0, 24:40, 24:40] = 255 - bad[0, 24:40, 24:40]
    assert detector.outputs(bad)[1] > 5 + detector.outputs(good)[1].max()


@pytest.mark.parametrize("rate", [0.01, 0.4])
def test_the_tutorials_learning_rates_both_learn(rate: float) -> None:
    outcome = fitted(learning_rate=rate, iterations=40).outcome
    assert outcome is not None and outcome.state.losses[40] < 0.95 * outcome.state.losses[10]


@pytest.mark.parametrize("fusion", ["sum", "product"])
def test_onnx_runtime_computes_what_torch_does(fusion: str) -> None:
    import onnxruntime

    detector = fitted(fusion, iterations=4)
    session = onnxruntime.InferenceSession(detector.graph().SerializeToString())
    pixels = np.stack(plates(5, 70))
    maps, scores = session.run(["anomaly_map", "score"], {"image": pixels})
    expected_maps, expected_scores = detector.outputs(pixels)
    assert maps.shape == (5, SIZE // 4, SIZE // 4)
    np.testing.assert_allclose(maps, expected_maps, atol=1e-4 * expected_maps.max())
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4)


def test_a_graph_that_differs_is_refused(trained: STFPM, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [trained.parameters.momentum * weight for weight in trained._weights]
    layers = trained.layers

    def other_layers() -> Any:
        right, trained._weights = trained._weights, wrong
        try:
            return layers()
        finally:
            trained._weights = right

    monkeypatch.setattr(trained, "layers", other_layers)
    with pytest.raises(ModelError, match="differs from the trained one"):
        trained.graph()


def test_the_same_seed_gives_the_same_student() -> None:
    first, second, other = (fitted(iterations=3, seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_features_that_do_not_fit_into_memory_are_computed_again() -> None:
    def student(memory: int) -> Any:
        plan = Plan(iterations=3, batch_size=4, device="cpu")
        detector = STFPM(Setting(SIZE, SIZE, plan=plan, device="cpu", memory_budget=memory))
        return detector.fit(plates(8)), detector

    outcomes = [student(memory)[1].outcome.state for memory in (10_000_000, 1)]
    # kept features have 16 bits
    assert list(outcomes[0].criteria.values()) == pytest.approx(list(outcomes[1].criteria.values()), rel=0.02)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_come_from_a_local_file(tmp_path: Path, ending: str) -> None:
    from safetensors.torch import save_file

    from blemish.training.networks import load_teacher

    own = load_teacher("efficientnet_lite0", None, (8, 16))
    file = tmp_path / f"weights.{ending}"
    state = own.module.state_dict()
    save_file(state, file) if ending == "safetensors" else torch.save(state, file)
    other = load_teacher("efficientnet_lite0", file, (8, 16))
    assert all(torch.equal(value, state[name]) for name, value in other.module.state_dict().items())
    assert other.record.source == f"file weights.{ending}" and len(other.record.sha256) == 64


def test_a_hostile_or_foreign_weight_file_is_refused(tmp_path: Path) -> None:
    from blemish.training.networks import load_teacher

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/harm",)

    (tmp_path / "hostile.pth").write_bytes(pickle.dumps({"weight": Hostile()}))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    for name, said in (("hostile.pth", "refused"), ("foreign.pth", "not those of"), ("damaged.safetensors", "refused")):
        with pytest.raises(BackboneError, match=said):
            load_teacher("efficientnet_lite0", tmp_path / name, (8, 16))
    assert not (tmp_path / "harm").exists()


def test_an_unknown_backbone_is_refused_with_the_closest() -> None:
    with pytest.raises(BackboneError, match=r"no backbone `resnet19`\. Did you mean `resnet18`"):
        STFPM.sides("resnet19")


def test_the_packaged_run_file_is_whole() -> None:
    config = load_config("STFPM")
    assert config.Global.model == "STFPM" and config.Train.batch_size == 8
    STFPMParameters.model_validate(config.Model.detector_parameters())


PROGRAM = """
import sys
for name in ("torch", "timm"):
    sys.modules[name] = None
from blemish.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_from_images_to_a_model_folder_that_predicts_without_torch(tmp_path: Path) -> None:
    from blemish.fitting import fit

    data, output = write_set(tmp_path / "data", train=10), tmp_path / "output"
    overrides = [
        *(f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu", "Model.width=64"),
        *("Model.height=64", "Train.epochs_iters=4", "Train.eval_interval=2", "Train.batch_size=4"),
    ]
    report = fit(load_config("STFPM", overrides))
    assert {path.name for path in output.iterdir()} >= {"iter_2", "iter_4", "config.yaml", "train.log"}
    record = json.loads((output / "train_result.json").read_text())
    assert (output / "train_results.json").read_text() == (output / "train_result.json").read_text()
    assert record["done_flag"] and (output / record["models"]["last_1"]["pdparams"]).is_file()
    assert (output / record["models"]["best"]["pdparams"]).is_file()
    info = json.loads((report.folder / "model.json").read_text())
    assert info["calibration"]["kind"] == "held out: 2 of 10 images" and len(info["calibration"]["scores"]) == 2
    assert info["backbone"]["licence"] == "Apache-2.0"
    done = without_torch("predict", output, data / "test", "--json")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 8, done.stderr
    with pytest.raises(UsageError, match=r"Train\.learning_rate was 0\.4 and is 0\.1"):
        fit(load_config("STFPM", [*overrides, f"Train.resume_path={output}/iter_2", "Train.learning_rate=0.1"]))
    before = (output / "best_model" / "model.safetensors").read_bytes()
    fit(load_config("STFPM", [*overrides, f"Train.resume_path={output}/iter_2"]))
    assert (output / "best_model" / "model.safetensors").read_bytes() == before


def test_without_torch_the_way_out_is_said(tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", train=3, good=1, defects=1)
    done = without_torch("train", data, "--model", "STFPM", "--output", tmp_path / "output")
    assert done.returncode == 2 and 'pip install "blemish[train]"' in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "output").exists()


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    from blemish.fitting import fit

    data = write_set(tmp_path / "data", train=3, good=1, defects=1)
    with pytest.raises(UsageError, match=r"Train\.pretrain_weight_path: there is no file nowhere\.pth"):
        fit(load_config("STFPM", [f"Global.dataset_dir={data}", "Train.pretrain_weight_path=nowhere.pth"]))


@pytest.mark.parametrize("folds", [None, 2])
def test_few_images_and_folds(tmp_path: Path, folds: int | None) -> None:
    from blemish.fitting import fit

    data = write_set(tmp_path / "data", train=1 if folds is None else 5, good=1, defects=1)
    report = fit(
        load_config(
            "STFPM",
            [
                *(f"Global.dataset_dir={data}", f"Global.output={tmp_path / 'o'}", "Global.device=cpu"),
                *("Model.width=64", "Model.height=64", "Train.epochs_iters=2", f"Calibrate.folds={folds or 'null'}"),
            ],
        )
    )
    kind = json.loads((report.folder / "model.json").read_text())["calibration"]["kind"]
    assert kind == ("one part" if folds is None else "cross-fitted, 2 folds")


def test_two_processes_learn_what_one_does() -> None:
    """Two CPU processes stand in for two devices; later batches differ by rounding that random weights amplify."""

    def losses(processes: int) -> list[float]:
        detector = fitted(iterations=3, processes=processes, log_interval=1, learning_rate=0.1)
        assert detector.graph() and detector.outcome is not None
        return list(detector.outcome.state.losses.values())

    one, two = losses(1), losses(2)
    assert two[0] == pytest.approx(one[0], rel=1e-6) and two[1] == pytest.approx(one[1], rel=1e-4)
    assert two[2] == pytest.approx(one[2], rel=1e-2)


def test_a_batch_that_devices_cannot_share_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 4 images cannot be shared by 3 devices"):
        fitted(iterations=3, processes=3)


def test_what_stops_a_training_of_several_processes_is_told() -> None:
    from blemish.training.loop import TrainingError

    with pytest.raises(TrainingError, match="the loss is nan at iteration"):
        fitted(iterations=30, processes=2, learning_rate=1e30)
