"""The chain check: it runs every detector, and finds what is planted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import ROOT, Done, blemish

from blemish.detectors import list_models

FOUND = "found at its rate"
STEPS = ["train", "evaluate", "export", "onnxruntime x1", "onnxruntime x2", "openvino x1", "openvino x2", "agreement"]

# Fits, but its scores depend on how many images are computed at once.
BATCHY = """
import numpy as np
from blemish.config import Section
from blemish.detectors import Detector, ModelCard
from blemish.errors import UsageError
from blemish.graph import GraphBuilder


class Parameters(Section):
    pass


class Batchy(Detector):
    card = ModelCard("Batchy", "wrong", requires="", reference="a test")
    Parameters = Parameters

    def fit(self, images, progress=None):
        return self

    def graph(self):
        graph = GraphBuilder()
        image = graph.input("image", np.uint8, ["N", self.setting.height, self.setting.width, 3])
        grey = graph.node("ReduceMean", graph.node("Cast", image, to=1), axes=[3], keepdims=0)
        anomaly_map = graph.node("Sub", grey, graph.node("ReduceMean", grey, axes=[0], keepdims=1))
        graph.output(anomaly_map, "anomaly_map", np.float32, ["N", self.setting.height, self.setting.width])
        graph.output(graph.node("ReduceMax", anomaly_map, axes=[1, 2], keepdims=0), "score", np.float32, ["N"])
        return graph.model("Batchy")


class Broken(Batchy):
    card = ModelCard("Broken", "wrong", requires="", reference="a test")

    def fit(self, images, progress=None):
        raise UsageError("nothing can be learned of this")


class Learner(Batchy):
    card = ModelCard("Learner", "needs torch", requires="train", reference="a test")
    learns = True
"""


def cells(row: str) -> list[str]:
    return re.split(r"  +", row)


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    place = tmp_path_factory.mktemp("selftest")
    return blemish("selftest", "--mode", "lite", "--output", place / "out", OMP_NUM_THREADS="1"), place / "out" / "lite"


def test_every_detector_goes_through_every_step(lite: tuple[Done, Path]) -> None:
    done, place = lite
    models = [card.name for card in list_models()]
    assert (done.code, done.stderr) == (0, ""), done
    *lines, header, first, second, third = done.stdout.splitlines()
    assert len(lines) == len(models) * len(STEPS) == 3 * 8
    assert all(line.startswith("Run successfully with command - ") for line in lines)
    assert cells(header) == ["detector", FOUND, *STEPS]
    assert [cells(row)[0] for row in (first, second, third)] == models
    assert all(re.fullmatch(r"\d+\.\d s", cell) for row in (first, second, third) for cell in cells(row)[2:])
    for row in (first, second, third):
        evaluation = place / cells(row)[0] / "evaluation" / "evaluate_result.json"
        (point,) = (p for p in json.loads(evaluation.read_text())["found_at_rates"]["points"] if p["in_force"])
        found, total, rate = re.fullmatch(r"(\d+) of (\d+) at ([\d.]+) %", cells(row)[1]).groups()
        assert point["found"]["count"] == int(found) and point["found"]["total"] == int(total) == 4
        assert 100 * point["false_alarm_rate"] == pytest.approx(float(rate), rel=0.05) and point["unsupported"]
    assert (place / "results.log").read_text() == done.stdout


def test_its_commands_can_be_typed(lite: tuple[Done, Path]) -> None:
    done, place = lite
    command = next(line for line in done.stdout.splitlines() if "predict" in line).partition(" - blemish ")[2]
    again = blemish(*command.split())
    assert again.code == 0
    log = next((place / "FastFlow" / "logs").glob("onnxruntime_x1.log")).read_text()
    assert len(again.stdout.splitlines()) == 6 and log.startswith(f"blemish {command}\n")


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A PYTHONPATH with the wrong detectors, as pip would have installed them."""
    folder = tmp_path / "installed"
    record = folder / "batchy-1.0.dist-info"
    record.mkdir(parents=True)
    (folder / "batchy.py").write_text(BATCHY)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: batchy\nVersion: 1.0\n")
    points = "".join(f"{name} = batchy:{name}\n" for name in ("Batchy", "Broken", "Learner"))
    (record / "entry_points.txt").write_text(f"[blemish.detectors]\n{points}")
    return f"{folder}:{ROOT}"


def test_planted_faults_are_found(installed: str, tmp_path: Path) -> None:
    done = blemish("selftest", "--model", "batchy,Broken", "--output", tmp_path / "out", PYTHONPATH=installed)
    *lines, header, batchy, broken = done.stdout.splitlines()
    assert done.code == 1 and cells(header) == ["detector", FOUND, *STEPS]
    assert cells(batchy)[0] == "Batchy" and cells(batchy)[-1] == "FAILED"
    assert "FAILED" not in cells(batchy)[:-1]
    assert cells(broken) == ["Broken", "-", "FAILED", *["-"] * 7]
    failed = [line for line in lines if line.startswith("Run failed with command - ")]
    assert re.search(r"more than 0.0001: onnxruntime x2 on .+\.png$", failed[0])
    assert failed[1].endswith(" - blemish: error: nothing can be learned of this") and len(failed) == 2


def test_a_missing_extra_is_named_and_no_failure(installed: str, tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name in ('torch', 'timm') else find(name, *rest)\n"
    )
    done = blemish("selftest", "--model", "Learner", "--output", tmp_path / "out", PYTHONPATH=f"{tmp_path}:{installed}")
    assert done.code == 0
    assert 'needs torch, timm: pip install "blemish[train]"' in done.stdout and "Run " not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--model", "STFMP"], "Did you mean `STFPM`?"), (["--mode", "light"], "Did you mean `lite`?")],
)
def test_wrong_usage_is_two(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = blemish("selftest", *arguments, cwd=tmp_path)
    assert done.code == 2 and message in done.stderr and not list(tmp_path.iterdir())
