"""A model takes in new good images: what it knows, what it promises, and what was there before."""

from __future__ import annotations

import resource
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from command import blemish
from runs import calibration, fitted, model_of, scores
from textures import brighter, plate, write, write_all
from tiny_model import tiny_info, tiny_network

from blemish.errors import BlemishError, DatasetError, ModelError, UsageError
from blemish.fitting import FitReport
from blemish.models import DetectorInfo, kept_versions, load_model, replace_model, save_model
from blemish.updating import update
from blemish.updating.update import TOLERANCE, _verify

NEW = [plate(seed) for seed in range(200, 212)]


@pytest.fixture
def run(usual: FitReport, tmp_path: Path) -> Path:
    """A run's folder that a test may change."""
    return Path(shutil.copytree(usual.output, tmp_path / "run"))


@pytest.fixture
def new_good(tmp_path: Path) -> Path:
    return write_all(tmp_path / "new", NEW)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestWhatTheModelKnows:
    def test_new_images_are_known_and_nothing_scores_higher(self, run: Path, new_good: Path) -> None:
        others = [plate(seed, defect=seed % 2 == 0) for seed in range(300, 306)]
        before, others_before = scores(run, NEW), scores(run, others)
        report = update(run, new_good, device="cpu")
        assert report.folder == run / "best_model" / "inference"
        assert (scores(run, NEW) <= before * (1 + TOLERANCE)).all()
        assert report.record is not None
        limit = report.record.threshold[1]
        assert (before > limit).any() and (scores(run, NEW) <= limit).all()
        assert (scores(run, others) <= others_before * (1 + TOLERANCE)).all()

    def test_defects_are_still_found(self, run: Path, new_good: Path) -> None:
        update(run, new_good, device="cpu")
        limit = calibration(run).threshold()
        assert (scores(run, [plate(seed, defect=True) for seed in range(300, 306)]) > limit).all()

    def test_the_bank_grows_by_what_it_does_not_cover(self, run: Path, tmp_path: Path) -> None:
        """Images like the old ones add a few rows and ever fewer, images under other light many."""
        added = []
        for number, change in enumerate((lambda image: image, lambda image: image, brighter)):
            folder = write_all(tmp_path / str(number), [change(plate(400 + 20 * number + i)) for i in range(12)])
            record = update(run, folder, calibrate=True, device="cpu").record
            assert record is not None and record.size is not None
            added.append(record.size[1] - record.size[0])
            assert added[-1] <= 512  # what a bank of these images alone would have
        assert added[1] <= added[0] < added[2]

    def test_max_rows_bounds_the_bank(self, good: Path, new_good: Path, tmp_path: Path) -> None:
        report = fitted(good, tmp_path / "run", "Model.max_rows=300")
        record = update(report.folder, new_good, device="cpu").record
        assert record is not None and record.size == [300, 300]

    def test_a_second_update_goes_on_from_the_first(self, run: Path, new_good: Path, tmp_path: Path) -> None:
        first = update(run, new_good, device="cpu").record
        second = update(run, write_all(tmp_path / "more", [plate(500), plate(501)]), device="cpu").record
        assert first is not None and second is not None and first.size is not None and second.size is not None
        assert first.size[1] == second.size[0]
        info = load_model(run).info
        assert info.history == [first, second]
        assert info.data.images == 24 + 12 + 2

    @pytest.mark.parametrize("keys", [["Model.tiles=3x1"], ["Model.roi=[[0, 0], [1, 0], [1, 0.6], [0, 0.6]]"]])
    def test_tiles_and_areas(self, good: Path, new_good: Path, tmp_path: Path, keys: list[str]) -> None:
        sizes = ["Model.width=32", "Model.height=96"] if "tiles" in keys[0] else []
        folder = fitted(good, tmp_path / "run", *sizes, *keys).folder
        before = scores(folder, NEW)
        update(folder, new_good, calibrate=True, device="cpu")
        assert load_model(folder).info.calibration.scores[24:]
        assert (scores(folder, NEW) <= before * (1 + TOLERANCE)).all()


class TestChosenByTheirScores:
    """False alarms, and whatever else was chosen because it scores high: learned, and no word in the threshold."""

    def alarms(self, run: Path, folder: Path) -> Path:
        """Good plates that the model calls anomalous."""
        images = [plate(seed) for seed in range(2000, 2080)]
        found = [image for image, score in zip(images, scores(run, images), strict=True) if is_alarm(run, score)]
        assert len(found) >= 3
        return write_all(folder, found)

    def test_they_are_learned_and_the_calibration_stays(self, run: Path, tmp_path: Path) -> None:
        folder, before = self.alarms(run, tmp_path / "alarms"), calibration(run)
        report = update(run, folder, device="cpu")
        after, record = calibration(run), report.record
        assert not any(is_alarm(run, score) for score in scores(run, [read(path) for path in folder.iterdir()]))
        assert record is not None and record.size is not None
        assert 0 < record.size[1] - record.size[0] <= 4 * record.images  # no more than it takes
        assert (after.scores == before.scores).all() and (after.parts == before.parts).all()
        assert record is not None and record.calibrated is False
        assert record.threshold[0] == record.threshold[1] == before.threshold()
        assert record.false_alarms[0] == record.images == len(list(folder.iterdir()))
        assert load_model(run).info.data.images == 24 + record.images
        assert any("--calibrate" in line for line in report.lines)

    def test_calibrating_with_them_would_lift_the_threshold(self, run: Path, tmp_path: Path) -> None:
        """What the default spares a user."""
        folder, before = self.alarms(run, tmp_path / "alarms"), calibration(run)
        update(run, folder, calibrate=True, device="cpu")
        assert calibration(run).threshold() > before.threshold()

    def test_they_join_once_all_of_their_period_calibrate(self, run: Path, tmp_path: Path) -> None:
        """Else the period would lack its highest scores, and the calibration would promise too much."""
        folder = self.alarms(run, tmp_path / "period")
        alarms = [path.name for path in folder.iterdir()]
        update(run, folder, device="cpu")
        learned = load_model(run).info.data.learned_only
        assert learned is not None and len(learned) == len(alarms)
        for number, seed in enumerate(range(2100, 2112)):
            write(folder / f"usual {number}.png", plate(seed))
        report = update(run, folder, calibrate=True, device="cpu")
        info, after = load_model(run).info, calibration(run)
        assert any(line.startswith("Learned before without calibration") for line in report.lines)
        assert info.data.learned_only is None and info.data.images == 24 + len(alarms) + 12
        assert len(after.scores) == after.part_count == info.data.images
        seen = sorted(score for ((score, _peak),) in learned.values())
        np.testing.assert_allclose(np.sort(after.scores[-len(alarms) :]), seen)
        assert info.history is not None and [one.calibrated for one in info.history] == [False, True]

    def test_learned_images_alone_do_not_calibrate_later(self, run: Path, tmp_path: Path) -> None:
        folder = self.alarms(run, tmp_path / "alarms")
        update(run, folder, device="cpu")
        before = content(run)
        report = update(run, folder, calibrate=True, device="cpu")
        assert report.record is None and "--undo" in report.lines[-1]
        assert content(run) == before

    def test_where_none_raises_an_alarm_nothing_is_said_to_be_learned(self, run: Path, tmp_path: Path) -> None:
        calm = [image for image in map(plate, range(2000, 2020)) if not is_alarm(run, scores(run, [image])[0])][:3]
        report = update(run, write_all(tmp_path / "calm", calm), device="cpu")
        assert report.record is not None and report.record.size is not None
        assert report.record.size[0] == report.record.size[1]
        assert report.lines[-1].startswith("No image raised an alarm, so nothing had to be learned")

    def test_images_that_still_alarm_are_named(self, tmp_path: Path) -> None:
        """A bank that is full has no room for the rows that they take."""
        good = write_all(tmp_path / "good", [plate(seed) for seed in range(12)])
        run = fitted(good, tmp_path / "full", "Model.max_rows=512").output
        defects = [plate(seed, defect=True) for seed in range(800, 803)]
        report = update(run, write_all(tmp_path / "odd", defects), device="cpu")
        (line,) = [line for line in report.lines if "still raise an alarm" in line]
        assert line.startswith("3 of 3 images") and (scores(run, defects) > calibration(run).threshold()).all()

    def test_a_rate_for_an_unchanged_calibration(self, run: Path, new_good: Path) -> None:
        before = calibration(run)
        update(run, new_good, false_alarm_rate=0.2, device="cpu")
        assert calibration(run).threshold() == before.threshold(0.2) != before.threshold()

    def test_at_another_rate_they_are_learned_up_to_its_threshold(self, run: Path, tmp_path: Path) -> None:
        """A higher rate has a lower threshold, which the old one's row is not enough for."""
        before, folder = calibration(run), self.alarms(run, tmp_path / "alarms")
        limit = before.threshold(0.4)
        assert limit < 0.98 * before.threshold()
        update(run, folder, output=tmp_path / "old", device="cpu")
        images = [read(path) for path in sorted(folder.iterdir())]
        assert (scores(tmp_path / "old", images) > limit).any()  # what learning up to the old threshold leaves
        record = update(run, folder, false_alarm_rate=0.4, device="cpu").record
        assert record is not None and record.threshold == [before.threshold(), limit]
        assert not (scores(run, images) > limit).any()


def read(path: Path) -> npt.NDArray[np.uint8]:
    """An image file as RGB."""
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def is_alarm(run: Path, score: float) -> bool:
    return score > calibration(run).threshold()


class TestWhatItPromises:
    def test_old_scores_stay_and_new_ones_are_left_out_scores(self, run: Path, new_good: Path) -> None:
        before, unseen = calibration(run), scores(run, NEW)
        update(run, new_good, calibrate=True, device="cpu")
        after = calibration(run)
        assert (after.scores[:24] == before.scores).all() and len(after.scores) == 36
        assert after.part_count == before.part_count + 12
        assert after.false_alarm_rate == before.false_alarm_rate
        # others of the new images may explain what the old ones did not, and an image never explains itself
        assert (after.scores[24:] <= unseen * (1 + TOLERANCE)).all()
        assert np.median(after.scores[24:] / unseen) > 0.8
        assert (after.scores[24:] > scores(run, NEW)).all()

    def test_images_of_one_part_are_left_out_together(self, run: Path, tmp_path: Path) -> None:
        folder = write_all(tmp_path / "new", [brighter(NEW[0]), brighter(NEW[0]), *map(brighter, NEW[1:6])])
        update(run, folder, calibrate=True, device="cpu")
        found = calibration(run)
        assert found.part_count == 24 + 6
        assert found.parts[24] == found.parts[25] != found.parts[26]
        assert found.scores[24] == pytest.approx(found.scores[25], rel=1e-5)
        assert found.scores[24] > 1.2 * scores(run, [brighter(NEW[0])])[0]

    def test_parts_by_name(self, run: Path, new_good: Path) -> None:
        record = update(run, new_good, calibrate=True, group_by=r"(\d\d)\d\.png", device="cpu").record
        assert record is not None and record.parts == 2
        more = write_all(new_good / "x", [plate(600)])
        with pytest.raises(UsageError, match="finds nothing"):
            update(run, more, calibrate=True, group_by="part", device="cpu")

    def test_the_model_s_own_pattern_groups_where_it_fits(self, tmp_path: Path) -> None:
        """And stays in the model, even if an update has other names."""
        data = write_all(tmp_path / "good", [plate(seed) for seed in range(24)])
        folder = fitted(data, tmp_path / "out", r"Calibrate.group_by=(\d\d)\d\.png").output
        new, before = write_all(tmp_path / "new", NEW), calibration(folder)
        record = update(folder, new, device="cpu").record
        assert record is not None and record.parts == -(-len(NEW) // 10)
        assert calibration(folder).part_count == before.part_count
        write(new / "500.png", plate(700))
        update(folder, new, calibrate=True, device="cpu")  # those that waited join in their parts
        after = calibration(folder)
        assert after.part_count == before.part_count + record.parts + 1 and len(after.scores) == 24 + len(NEW) + 1
        other = write_all(tmp_path / "other", [plate(600)]) / "000.png"
        other.rename(other.with_name("x.png"))
        assert update(folder, other.parent, device="cpu").record is not None
        assert calibration(folder).group_by == r"(\d\d)\d\.png"

    def test_a_part_learned_first_and_seen_again_counts_once(self, tmp_path: Path) -> None:
        data = write_all(tmp_path / "good", [plate(seed) for seed in range(12)])
        folder = fitted(data, tmp_path / "out", r"Calibrate.group_by=(\d+)").output
        period = write(tmp_path / "period" / "a100.png", plate(400)).parent
        update(folder, period, device="cpu")
        write(period / "b100.png", plate(401))
        write(period / "a101.png", plate(402))
        update(folder, period, calibrate=True, device="cpu")
        after = calibration(folder)
        assert len(after.scores) == 12 + 3 and after.part_count == 12 + 2

    def test_parts_that_are_told_come_before_any_pattern(self, tmp_path: Path) -> None:
        """Of images that nobody tells of, near-duplicates are one part; their names say nothing."""
        data = write_all(tmp_path / "good", [plate(seed) for seed in range(12)])
        folder = fitted(data, tmp_path / "out", r"Calibrate.group_by=(\d+)").output
        images = [*NEW[:8], NEW[8], NEW[8]]
        new, told = write_all(tmp_path / "new", images), {f"{i:03}.png": str(i // 2) for i in range(8)}
        update(folder, new, calibrate=True, part_of=told, device="cpu")
        after = calibration(folder)
        assert after.parts[12:].tolist() == [12, 12, 13, 13, 14, 14, 15, 15, 16, 16]
        assert after.group_by == r"(\d+)"

    def test_other_light_raises_no_more_alarms(self, run: Path, tmp_path: Path) -> None:
        unseen = [brighter(plate(seed)) for seed in range(700, 720)]
        before = (scores(run, unseen) > calibration(run).threshold()).mean()
        folder = write_all(tmp_path / "light", [brighter(plate(seed)) for seed in range(720, 750)])
        record = update(run, folder, calibrate=True, device="cpu").record
        after = (scores(run, unseen) > calibration(run).threshold()).mean()
        assert before > 0.8
        assert after <= 0.25
        assert record is not None and record.false_alarms[0] > 24 and record.false_alarms[1] <= 8

    def test_a_rate_given_with_the_images(self, run: Path, new_good: Path) -> None:
        update(run, new_good, false_alarm_rate=0.2, device="cpu")
        assert calibration(run).false_alarm_rate == 0.2


class TestWhatIsLeftOut:
    def test_images_that_the_model_knows(self, run: Path, good: Path, new_good: Path) -> None:
        shutil.copy(good / "003.png", new_good / "again.png")
        report = update(run, new_good, device="cpu")
        assert report.lines[0] == "Left out, since the model has them already: again.png."
        assert report.record is not None and report.record.images == 12
        before = content(run)
        report = update(run, new_good, device="cpu")
        assert report.record is None and "Nothing is new" in report.lines[-1]
        assert content(run) == before

    def test_what_looks_like_a_defect_is_named_and_can_be_left_out(self, run: Path, new_good: Path) -> None:
        write(new_good / "odd.png", plate(800, defect=True))
        report = update(run, new_good, output=run / "taken", device="cpu")
        assert report.outliers == ["odd.png"]
        assert any(line.startswith("1 of 13 new images stands apart") and "odd.png" in line for line in report.lines)
        (like,) = (line for line in report.lines if "like defects" in line)
        assert "odd.png" in like and "learned as good" in like
        assert report.record is not None and report.record.images == 13
        report = update(run, new_good, leave_out=["odd.png"], device="cpu")
        assert report.record is not None and report.record.images == 12 and report.outliers == []
        assert scores(run, [plate(800, defect=True)])[0] > calibration(run).threshold()

    def test_a_name_that_no_image_has(self, run: Path, new_good: Path) -> None:
        before = content(run)
        with pytest.raises(UsageError, match="is called `01"):
            update(run, new_good, leave_out=["01.png"], device="cpu")
        assert content(run) == before

    def test_images_that_cannot_be_read(self, run: Path, new_good: Path) -> None:
        (new_good / "cut.png").write_bytes(b"no image")
        report = update(run, new_good, device="cpu")
        assert len(report.failed) == 1 and "cut.png" in report.failed[0]
        assert report.record is not None and report.record.images == 12


class TestRefusals:
    def refused(self, kind: type[BlemishError], what: str, model: Path, folder: Path, **given: object) -> None:
        before = content(model)
        with pytest.raises(kind, match=what) as error:
            update(model, folder, device="cpu", **given)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
        assert content(model) == before

    def test_detectors_that_learn_by_gradient(self, tmp_path: Path, new_good: Path) -> None:
        info = tiny_info(detector=DetectorInfo(name="STFPM", parameters={"imported_from": "PaddleX"}))
        model = save_model(tmp_path / "m", tiny_network(), info)
        self.refused(
            UsageError, "STFPM learns by gradient and cannot take in new images: train it again", model, new_good
        )

    def test_a_network_without_a_bank(self, tmp_path: Path, new_good: Path) -> None:
        info = tiny_info(detector=DetectorInfo(name="PatchCore", parameters={"preset": "fast", "seed": 0}))
        model = save_model(tmp_path / "m", tiny_network(), info)
        self.refused(ModelError, "the memory bank in model.onnx cannot be read", model, new_good)

    def test_no_usable_images(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        self.refused(DatasetError, "no images found", run, tmp_path / "empty")
        self.refused(DatasetError, "no such folder", run, tmp_path / "absent")
        (tmp_path / "unread").mkdir()
        (tmp_path / "unread" / "a.png").write_bytes(b"no image")
        self.refused(DatasetError, "none of 1 image can be read", run, tmp_path / "unread")

    def test_an_area_and_images_of_another_aspect(self, good: Path, tmp_path: Path) -> None:
        folder = fitted(good, tmp_path / "run", "Model.roi=[[0, 0], [1, 0], [1, 0.6], [0, 0.6]]").folder
        wide = write_all(tmp_path / "wide", [plate(1)[:48]])
        self.refused(DatasetError, "000.png has 96x48 pixels; the model's region of interest", folder, wide)

    def test_another_aspect_without_an_area_is_letterboxed_and_said(self, run: Path, tmp_path: Path) -> None:
        report = update(run, write_all(tmp_path / "wide", [plate(1)[:48]]), device="cpu")
        assert any("letterboxed: 000.png" in line for line in report.lines)

    def test_an_impossible_rate(self, run: Path, new_good: Path) -> None:
        self.refused(UsageError, "between 0 and 1", run, new_good, false_alarm_rate=1.0)

    def test_a_place_that_is_no_model(self, run: Path, new_good: Path) -> None:
        self.refused(ModelError, "no model folder", run, new_good, output=new_good)

    def test_a_disk_that_refuses(self, run: Path, new_good: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            self.refused(ModelError, "cannot be written: File too large", run, new_good)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def test_a_version_that_scores_higher_is_not_taken(self, run: Path, usual: FitReport, new_good: Path) -> None:
        """The fault is planted: a bank without half of its rows, in an otherwise right model."""
        from blemish.datasets import find_good_images
        from blemish.detectors.patchcore import PatchCore
        from blemish.updating.incoming import read_incoming
        from blemish.updating.update import _quietly, _restored

        old = load_model(run)
        new = read_incoming(old, find_good_images(new_good), "cpu", _quietly)
        detector, _ = _restored(old, "cpu")
        assert isinstance(detector, PatchCore)
        detector._bank = detector.bank.take(np.arange(20))
        before = content(run)
        with pytest.raises(ModelError, match="higher than before; it is not taken"):
            replace_model(
                old, detector.graph().SerializeToString(), old.info, lambda written: _verify(written, new, "cpu")
            )
        assert content(run) == before
        _verify(replace(old), new, "cpu")


class TestTheCommand:
    def test_from_images_to_the_way_back(self, run: Path, new_good: Path) -> None:
        place = run / "best_model" / "inference"
        original = content(place)
        (new_good / "cut.png").write_bytes(b"no image")
        done = blemish("update", run, new_good, "--device", "cpu")
        assert done.code == 1 and "cut.png" in done.stderr
        assert "new images: 12, of 12 parts" in done.stdout
        assert done.stdout.splitlines()[-1] == str(place)
        version = load_model(run).info.history[-1].version_before[:12]
        assert kept_versions(run) == [version]
        shown = blemish("update", run).stdout
        assert f"12 images from new into version {version}" in shown and f"kept: {version}" in shown
        updated, newer = content(place), load_model(run).info.version
        assert blemish("update", run, "--undo").code == 0
        assert content(place) == original
        assert kept_versions(run) == [newer[:12]]  # what came back is no longer kept beside itself
        shown = blemish("update", run).stdout.splitlines()
        assert shown[-1] == f"kept: {newer[:12]}"
        again = blemish("update", run, "--undo", "--to", version)
        assert again.code == 2 and f"is version {version} already" in again.stderr
        assert blemish("update", run, "--undo", "--to", newer[:6]).code == 0
        assert content(place) == updated

    def test_the_rate_alone(self, run: Path) -> None:
        done = blemish("update", run, "--false-alarm-rate", "20%")
        assert done.code == 0 and "false-alarm rate: 0.1 -> 0.2" in done.stdout
        assert calibration(run).false_alarm_rate == 0.2

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            (["--undo"], "never been updated"),
            (["--undo", "--to", "abc"], "no kept version `abc`"),
            (["--to", "abc"], "--to is for --undo"),
            (["--undo", "--false-alarm-rate", "0.1"], "--undo goes alone"),
            (["--calibrate"], "need a folder"),
            (["x", "--max-score", "3"], "--max-score is gone"),
            (["x", "--group-by", "(.*)"], "--group-by is for --calibrate"),
            (["--false-alarm-rate", "2"], "above 0 and below 1"),
            (["absent"], "absent"),
        ],
    )
    def test_wrong_usage(self, usual: FitReport, arguments: list[str], what: str) -> None:
        before = content(usual.output)
        done = blemish("update", usual.output, *arguments)
        assert done.code == 2 and what in done.stderr and len(done.stderr.splitlines()) == 1
        assert content(usual.output) == before

    def test_the_command_that_leaves_out_what_stands_apart_can_be_pasted(self, run: Path, new_good: Path) -> None:
        odd = "it's odd.png"
        write(new_good / odd, plate(800, defect=True))
        done = blemish("update", run, new_good, "--device", "cpu")
        assert done.code == 0 and odd in done.stderr and "threshold" in done.stdout
        (line,) = (line for line in done.stderr.splitlines() if "To update without what stands apart: " in line)
        undo, again = (shlex.split(part) for part in line.partition("apart: ")[2].split(" && "))
        assert undo[0] == again[0] == "blemish"
        assert blemish(*undo[1:]).code == 0
        done = blemish(*again[1:])
        assert done.code == 0 and "new images: 12," in done.stdout and "apart" not in done.stderr

    def test_where_most_stand_apart_leaving_them_out_is_no_advice(self, run: Path, tmp_path: Path) -> None:
        original = content(run / "best_model" / "inference")
        odd = write_all(tmp_path / "shots", [plate(seed, defect=True) for seed in range(800, 804)])
        done = blemish("update", run, odd, "--device", "cpu")
        assert done.code == 0 and "--leave-out" not in done.stderr and "train again with all good" in done.stderr
        (line,) = (line for line in done.stderr.splitlines() if "To take the update back: " in line)
        assert blemish(*shlex.split(line.partition("back: ")[2])[1:]).code == 0
        assert content(run / "best_model" / "inference") == original

    def test_what_stands_apart_and_calibrates_is_told_by_the_threshold(self, run: Path, new_good: Path) -> None:
        write(new_good / "odd.png", plate(800, defect=True))
        done = blemish("update", run, new_good, "--calibrate", "--output", run / "both")
        blemish("update", run, new_good, "--calibrate", "--leave-out", "odd.png", "--output", run / "usual")
        both, usual = (calibration(run / name).threshold() for name in ("both", "usual"))
        assert both > usual
        assert f"the threshold is {both:.3g}, without it {usual:.3g}" in done.stderr

    def test_a_lower_threshold_tells_of_false_alarms_that_come_back(self, run: Path, tmp_path: Path) -> None:
        images = [plate(seed) for seed in range(2000, 2060)]
        alarms = [image for image, score in zip(images, scores(run, images), strict=True) if is_alarm(run, score)]
        folder = write_all(tmp_path / "false alarms", alarms)
        assert blemish("update", run, folder, "--device", "cpu").code == 0
        assert "raise an alarm again" not in blemish("update", run, "--false-alarm-rate", "0.09").stderr
        done = blemish("update", run, "--false-alarm-rate", "0.4")
        assert f"{len(alarms)} false alarms that were learned may raise an alarm again" in done.stderr
        limit = calibration(run).threshold()
        assert (scores(run, alarms) > limit).any()
        back, again = done.stderr.partition("(blemish ")[2], done.stderr.partition("with their images: blemish ")[2]
        assert blemish(*shlex.split(back.partition(")")[0])).code == 0
        told = [str(folder) if word == "DIR" else word for word in shlex.split(again)]
        assert blemish(*told).code == 0
        assert calibration(run).threshold() == limit and not (scores(run, alarms) > limit).any()

    def test_into_another_folder(self, run: Path, new_good: Path, tmp_path: Path) -> None:
        before = content(run)
        assert blemish("update", run, new_good, "--output", tmp_path / "made").code == 0
        assert content(run) == before
        assert load_model(tmp_path / "made").info.data.images == 36
        assert model_of(FitReport(tmp_path / "made", run, [])).info.history is not None
