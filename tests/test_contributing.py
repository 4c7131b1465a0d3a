"""CONTRIBUTING.md is right: its detector runs as printed, its tree is the package, its order of imports is the rule."""

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT, blemish

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def block(language: str) -> str:
    """The page's only block of code in a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = (code for name, code in blocks if name == language)
    return found


def tree() -> list[str]:
    """The names in the page's tree, in its order."""
    return re.findall(r"^  (\w+)(?:\.py|/) +\S", block(""), re.MULTILINE)


def plate(seed: int, defect: bool = False) -> np.ndarray:
    """A plate with a dark rim (96, 128, 3), noisy; the defect is a bright spot in its upper left quarter."""
    image = np.full((96, 128, 3), (90, 120, 150), np.uint8)
    cv2.rectangle(image, (4, 4), (123, 91), (40, 40, 40), 3)
    if defect:
        cv2.circle(image, (40, 30), 7, (250, 250, 250), -1)
    noise = np.random.default_rng(seed).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with the page's detector beside us, as pip would have installed it."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "toy_detector.py").write_text(block("python"), "utf-8")
    group, *points = re.findall(r'entry-points\."(.+)"|^(\w+) = "(.+)"$', block("toml"), re.MULTILINE)
    record = folder / "toy_detector-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-detector\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{group[0]}]\n" + "".join(f"{n} = {at}\n" for _, n, at in points))
    return os.pathsep.join([str(folder), str(ROOT)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven good plates; in `test`, one more and one with a spot."""
    root = tmp_path_factory.mktemp("plates")
    (root / "train" / "good").mkdir(parents=True)
    (root / "test").mkdir()
    for seed in range(11):
        cv2.imwrite(str(root / "train" / "good" / f"{seed:03}.png"), plate(seed))
    cv2.imwrite(str(root / "test" / "good.png"), plate(100))
    cv2.imwrite(str(root / "test" / "spot.png"), plate(101, defect=True))
    return root


def test_the_page_s_detector_is_listed_beside_ours(installed):
    done = blemish("models", "--json", PYTHONPATH=installed)
    assert done.code == 0, done.stderr
    assert {"PatchCore", "Toy"} <= {card["name"] for card in json.loads(done.stdout)}


def test_the_page_s_detector_is_fitted_calibrated_and_predicts(installed, data, tmp_path):
    arguments = ("train", data, "--model", "Toy", "--output", tmp_path, "--false-alarm-rate", "0.1")
    done = blemish(*arguments, "-o", "Model.cell=8", PYTHONPATH=installed)
    assert done.code == 0, done.stderr
    model = json.loads((tmp_path / "best_model" / "inference" / "model.json").read_text())
    assert model["detector"]["name"] == "Toy" and model["detector"]["parameters"]["cell"] == 8
    assert model["backbone"] is None and model["calibration"]["kind"] == "leave-one-part-out"
    assert len(set(model["calibration"]["scores"])) == 11

    done = blemish("predict", tmp_path, data / "test", "--json", PYTHONPATH=str(ROOT))  # the graph is all it takes
    assert done.code == 0, done.stderr
    good, spot = (json.loads(line) for line in done.stdout.splitlines())
    assert spot["is_anomalous"] and spot["score"] > 3 * good["score"]
    x, y = spot["regions"][0]["centroid"]
    assert abs(x - 40) < 4 and abs(y - 30) < 4


def test_the_page_s_detector_refuses_a_misspelt_key(installed, data, tmp_path):
    arguments = ("train", data, "--model", "toy", "--output", tmp_path, "-o", "Model.cel=8")
    done = blemish(*arguments, PYTHONPATH=installed)
    assert done.code == 2 and "Did you mean `Model.cell`?" in done.stderr


def test_the_tree_is_the_package():
    modules = {path.stem for path in (ROOT / "blemish").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(tree()) == {name for name in modules if not name.startswith("__")}
    assert len(tree()) == len(set(tree()))


def test_the_tree_is_in_the_order_of_imports():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    listed, *_ = re.findall(r"^layers = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    layers = [set(names.split(" | ")) for names in reversed(re.findall(r'"(.+)"', listed))]
    levels = [level for name in tree() for level, names in enumerate(layers) if name in names]
    assert levels == sorted(levels) and len(levels) == len(tree()) - 1  # all but the folder without code
