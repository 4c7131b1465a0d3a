"""What calibration promises on new parts, what the memory budget and the noise share change."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from command import blemish
from runs import SMALL, calibration, fitted, model_of, scores
from scipy.stats import betabinom, binom
from textures import exposure, plate, write, write_all

from blemish.config import load_config
from blemish.errors import UsageError
from blemish.fitting import FitReport, fit


@pytest.fixture(scope="module")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 parts, each photographed five times."""
    folder = tmp_path_factory.mktemp("exposures")
    for part in range(16):
        for take in range(5):
            write(folder / f"part{part:02}_take{take}.png", exposure(plate(part), 100 * part + take))
    return folder


@pytest.fixture(scope="module")
def by_likeness(exposures: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fitted(exposures, tmp_path_factory.mktemp("likeness"))


class TestParts:
    def test_exposures_of_a_part_are_found(self, by_likeness: FitReport) -> None:
        found = calibration(by_likeness.folder)
        np.testing.assert_array_equal(
            found.parts[:, None] == found.parts, np.arange(80)[:, None] // 5 == np.arange(80) // 5
        )
        assert model_of(by_likeness).info.data.parts == 16
        assert "80 good images of 16 parts" in by_likeness.lines[1]

    def test_the_pattern_gives_the_same(self, exposures: Path, by_likeness: FitReport, tmp_path: Path) -> None:
        report = fitted(exposures, tmp_path, r"Calibrate.group_by=part(\d+)", "Calibrate.near_duplicates=false")
        np.testing.assert_allclose(calibration(report.folder).scores, calibration(by_likeness.folder).scores)
        assert calibration(report.folder).group_by == r"part(\d+)" and calibration(by_likeness.folder).group_by is None
        hints = [any("--group-by PATTERN" in line for line in each.lines) for each in (report, by_likeness)]
        assert hints == [False, True]  # only what was found by likeness needs a pattern to be given

    def test_the_option_of_the_command_names_the_parts(self, exposures: Path, tmp_path: Path) -> None:
        start = ("train", exposures, "--preset", "fast", "-o", "Model.width=96", "-o", "Model.height=96")
        done = blemish(*start, "--output", tmp_path / "out", "--group-by", r"part(\d)\d")
        assert done.code == 0 and "80 good images of 2 parts" in done.stderr
        assert calibration(tmp_path / "out").group_by == r"part(\d)\d"
        run_file = tmp_path / "run.yaml"
        run_file.write_text("Calibrate:\n  group_by: part\n")
        done = blemish(*start, "--output", tmp_path / "none", "-c", run_file, "--group-by", "")
        assert done.code == 0 and calibration(tmp_path / "none").group_by is None
        done = blemish(*start, "--output", tmp_path / "x", "--group-by", "[0-9]+x")
        assert done.code == 2 and "finds nothing in" in done.stderr and not (tmp_path / "x" / "best_model").exists()

    def test_copies_are_told_as_copies(self, good: Path, tmp_path: Path) -> None:
        data = Path(shutil.copytree(good, tmp_path / "data"))
        shutil.copy(data / "000.png", data / "copy.png")
        report = fitted(data, tmp_path / "out")
        (line,) = (line for line in report.lines if "= copy.png" in line)
        assert line.startswith("2 images have the pixels of 1 image") and "Delete all but one" in line
        assert not any("group-by" in line for line in report.lines)
        assert f"{len(list(data.iterdir()))} good images of {len(list(good.iterdir()))} parts" in report.lines[1]

    def test_a_pattern_that_misses_an_image(self, exposures: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"group_by .*finds nothing in `part00_take0\.png`"):
            fitted(exposures, tmp_path, r"Calibrate.group_by=tile(\d+)")

    def test_false_alarms_on_new_parts(self, exposures: Path, by_likeness: FitReport, tmp_path: Path) -> None:
        """Inside the exact band when parts are left out; leaving out images promises far too few."""
        by_image = fitted(exposures, tmp_path, "Calibrate.near_duplicates=false")
        new = scores(by_likeness.folder, [exposure(plate(seed), seed) for seed in range(1000, 1100)])
        realised = []
        for report in (by_likeness, by_image):
            found = calibration(report.folder)
            realised.append(sum(found.p_value(score) <= 0.2 for score in new))
        # The threshold is itself random, as the third largest of 16: Beta(3, 14) around the rate.
        low, high = _beta_binomial_band(100, 3, 14)
        assert low <= realised[0] <= high < realised[1]

    def test_near_duplicates_can_be_switched_off(self, exposures: Path, tmp_path: Path) -> None:
        report = fitted(exposures, tmp_path, "Calibrate.near_duplicates=false")
        assert model_of(report).info.data.parts == 80


def _beta_binomial_band(count: int, a: int, b: int) -> tuple[float, float]:
    low, high = betabinom.ppf([0.005, 0.995], count, a, b)
    return float(low), float(high)


def test_false_alarm_rate_pooled_over_sets(tmp_path: Path) -> None:
    """Realised false alarms on new good images of several small sets, within the exact 99 % band of the rate."""
    alarms = images = 0
    for number in range(6):
        write_all(tmp_path / f"in{number}", [plate(seed, 64) for seed in range(1000 * number, 1000 * number + 29)])
        report = fitted(tmp_path / f"in{number}", tmp_path / f"out{number}", "Model.width=64", "Model.height=64")
        found = calibration(report.folder)
        new = scores(report.folder, [plate(seed, 64) for seed in range(1000 * number + 500, 1000 * number + 540)])
        alarms += sum(found.p_value(score) <= 0.1 for score in new)
        images += len(new)
    low, high = binom.ppf([0.005, 0.995], images, 0.1)
    assert low <= alarms <= high


class TestMemoryBudget:
    def test_a_tiny_budget_gives_nearly_the_same_model(self, good: Path, usual: FitReport, tmp_path: Path) -> None:
        """Images are read again for every pass, features are selected in a stream, and little changes."""
        stages: list[str] = []
        config = load_config(
            None, [f"Global.dataset_dir={good}", f"Global.output={tmp_path}", *SMALL, "Model.memory_budget=1KB"]
        )
        small = fit(config, lambda stage, *rest: stages.append(stage))
        new = [plate(seed, defect=seed % 2 == 1) for seed in range(300, 310)]
        np.testing.assert_allclose(scores(small.folder, new), scores(usual.folder, new), rtol=0.1)
        np.testing.assert_allclose(calibration(small.folder).scores, calibration(usual.folder).scores, rtol=0.2)
        assert stages.count("calibration") == 24 and {"images", "features", "memory bank"} <= set(stages)

    def test_images_that_are_not_held_are_the_same(self, good: Path) -> None:
        from blemish.datasets import find_good_images
        from blemish.images import Frame, InputGeometry
        from blemish.sample_range import SampleRange
        from blemish.training_images import TrainingImages

        frame = Frame.whole(InputGeometry(64, 64, 1.0))
        held, read = (
            TrainingImages(find_good_images(good), frame, SampleRange.of(16), memory, lambda done, total: None)
            for memory in (10**9, 64 * 64 * 3 * 23)
        )
        assert (held._held is None, read._held is None) == (False, True)
        for _ in range(2):
            for one, other in zip(held, read, strict=True):
                np.testing.assert_array_equal(one, other)
        assert held.names == read.names and held.hashes == read.hashes and len(held) == len(read) == 24


def test_contaminated_images_are_worth_the_noise_share(tmp_path: Path) -> None:
    """A tenth of the "good" images has a defect; dropping the oddest patches separates new ones better."""
    images = [plate(seed, defect=seed % 10 == 0) for seed in range(40)]
    write_all(tmp_path / "in", images)
    good, bad = [plate(seed) for seed in range(500, 520)], [plate(seed, defect=True) for seed in range(600, 620)]
    aurocs, gaps = [], []
    for share in (0, 0.1):
        report = fitted(tmp_path / "in", tmp_path / f"out{share}", f"Model.noise_share={share}")
        fine, odd = scores(report.folder, good), scores(report.folder, bad)
        aurocs.append((odd[:, None] > fine).mean())
        gaps.append(odd.mean() / fine.mean())
    assert aurocs[1] >= aurocs[0] and aurocs[1] > 0.99 and gaps[1] > 1.1 * gaps[0]
