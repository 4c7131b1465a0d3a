"""Photographs of real parts, where they are at hand: `BLEMISH_SHARED`, or `shared` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from blemish.calibration import Calibration
from blemish.config import load_config
from blemish.fitting import fit
from blemish.models import load_model
from blemish.pipeline import Result, open_model

DATA = Path(os.environ.get("BLEMISH_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no photographs in {DATA} (see BLEMISH_SHARED)")


def judged(data: Path, output: Path, test: list[Path], *overrides: str) -> tuple[list[Result], Calibration]:
    """Results of the test images by a fast model, and its calibration."""
    settings = [f"Global.dataset_dir={data}", f"Global.output={output}", "Model.preset=fast", *overrides]
    report = fit(load_config(None, settings))
    calibration = Calibration.from_json(load_model(report.folder).info.calibration.model_dump())
    return list(open_model(report.folder).predict(test, 4)), calibration


def auroc(results: list[Result]) -> float:
    good = np.array([r.score for r in results if "good" in Path(str(r.input_path)).parts])
    bad = np.array([r.score for r in results if "good" not in Path(str(r.input_path)).parts])
    return float((bad[:, None] > good).mean() + 0.5 * (bad[:, None] == good).mean())


def assert_false_alarms_are_as_stated(results: list[Result], calibration: Calibration) -> None:
    p_values = np.array([r.p_value for r in results if "good" in Path(str(r.input_path)).parts])
    for rate in (0.05, 0.1, 0.3):
        if rate >= calibration.best_rate:
            low, high = binom.ppf([0.005, 0.995], len(p_values), rate)
            assert low <= (p_values <= rate).sum() <= high


def test_hazelnut(tmp_path: Path) -> None:
    results, calibration = judged(DATA / "hazelnut", tmp_path, sorted((DATA / "hazelnut" / "test").rglob("*.jpg")))
    assert auroc(results) == 1.0
    assert_false_alarms_are_as_stated(results, calibration)
    assert calibration.part_count == 28


def test_bottle(tmp_path: Path) -> None:
    """70 of the 209 good images, by a list; the regions touch the true defect."""
    import cv2

    root = DATA / "mvtec_ad" / "bottle"
    (tmp_path / "in").mkdir()
    listed = sorted((root / "train" / "good").glob("*.jpg"))[::3]
    (tmp_path / "in" / "train.txt").write_text("".join(f"'{path}'\n" for path in listed))
    test = sorted((root / "test").rglob("*.jpg"))[::2]
    results, calibration = judged(tmp_path / "in", tmp_path / "out", test, "Calibrate.false_alarm_rate=0.05")
    assert auroc(results) > 0.995
    assert_false_alarms_are_as_stated(results, calibration)
    touched = []
    for result in results:
        path = Path(str(result.input_path))
        if "good" not in path.parts:
            mask = cv2.imread(str(root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"), 0) > 127
            assert result.pred is not None and mask.shape == result.pred.shape
            touched.append(bool((result.pred[mask] == 255).any()))
    assert np.mean(touched) > 0.95


def test_photographs_of_one_tile_are_one_part(tmp_path: Path) -> None:
    """Tiles were photographed several times: fewer parts than images, and images of no tile apart in the list."""
    root = DATA / "magnetic_tile" / "train" / "good"
    listed = sorted(root.glob("*.jpg"))[:120]
    (tmp_path / "train.txt").write_text("".join(f"{path}\n" for path in listed))
    results, calibration = judged(tmp_path, tmp_path / "out", [], "Model.width=224", "Model.height=224")
    assert results == [] and 20 < calibration.part_count < 110
