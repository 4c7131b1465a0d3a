"""A guess is called a guess: one part, or a fixed threshold, states no false-alarm rate and no p-value anywhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from command import blemish
from runs import calibration, fitted, scores
from served import grey, serving
from textures import exposure, plate, write, write_all
from tiny_model import tiny_info, tiny_network

from blemish.calibration.views import VIEWS, View
from blemish.errors import UsageError
from blemish.evaluation import evaluate
from blemish.models import CalibrationInfo, load_model, save_model, set_false_alarm_rate
from blemish.pipeline import open_model
from blemish.updating import update

SAID = "Not calibrated"
OF_ONE_PART = CalibrationInfo(
    scores=[90.0, 100.0], peaks=[95.0, 105.0], parts=[3, 3], false_alarm_rate=0.01, kind="one part"
)
OF_AN_ORIGIN = CalibrationInfo(
    scores=[], peaks=[], parts=[], false_alarm_rate=0.01, kind="imported", fixed_threshold=100.0
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's output folder: a model of one image."""
    data = write_all(tmp_path_factory.mktemp("good"), [plate(0)])
    return fitted(data, tmp_path_factory.mktemp("run") / "out").output


@pytest.fixture(scope="module", params=[OF_ONE_PART, OF_AN_ORIGIN], ids=["one part", "a fixed threshold"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as earlier versions have written it."""
    place = tmp_path_factory.mktemp("model") / "bottle"
    return save_model(place, tiny_network(), tiny_info(calibration=request.param))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A data set of one good and one defective test image, both for the models of a few nodes."""
    for kind, level in (("good", 50), ("hole", 150)):
        (tmp_path / "data/test" / kind).mkdir(parents=True)
        (tmp_path / "data/test" / kind / "0.png").write_bytes(grey(level))
    return tmp_path / "data"


class TestGuess:
    def test_what_a_training_of_one_image_says(self, one: Path) -> None:
        record = json.loads((one / "train_result.json").read_text())
        assert record["false_alarm_rate"] is None and SAID in record["statement"] and record["oddest"] == []
        assert calibration(one).kind == "one part" and record["threshold"] == calibration(one).threshold()

    def test_it_lies_between_the_part_and_a_defect(self, one: Path) -> None:
        threshold = calibration(one).threshold()
        same, defective = scores(one, [plate(0), plate(0, defect=True)])
        assert same < threshold < defective

    def test_copies_and_several_images_are_the_same_case(self, one: Path, tmp_path: Path) -> None:
        copies = fitted(write_all(tmp_path / "copies", [plate(0)] * 3), tmp_path / "c").output
        assert calibration(copies).kind == "one part" and len(calibration(copies).scores) == 3
        assert calibration(copies).threshold() == pytest.approx(calibration(one).threshold(), rel=0.1)
        shots = [exposure(plate(0), seed) for seed in range(3)]
        grouped = fitted(write_all(tmp_path / "shots", shots), tmp_path / "s", "Calibrate.group_by=^0").output
        assert calibration(grouped).kind == "one part" and not calibration(grouped).is_calibrated
        same, defective = scores(grouped, [exposure(plate(0), 9), plate(0, defect=True)])
        assert same < calibration(grouped).threshold() < defective

    def test_an_update_gives_it_no_rate_unless_it_calibrates_it(self, one: Path, tmp_path: Path) -> None:
        """The rate is refused where it would promise nothing, before anything is written."""
        several = write_all(tmp_path / "several", [plate(seed) for seed in range(1, 8)])
        with pytest.raises(UsageError, match="not calibrated"):
            update(one, several, output=tmp_path / "refused", false_alarm_rate=0.5, device="cpu")
        single = write_all(tmp_path / "single", [plate(9)])
        with pytest.raises(UsageError, match="not calibrated"):
            update(one, single, calibrate=True, output=tmp_path / "refused", false_alarm_rate=0.5, device="cpu")
        assert not (tmp_path / "refused").exists()
        update(one, several, calibrate=True, output=tmp_path / "updated", false_alarm_rate=0.5, device="cpu")
        assert calibration(tmp_path / "updated").stated_rate == 0.5

    def test_large_images_in_tiles(self, tmp_path: Path) -> None:
        data = write_all(tmp_path / "in", [plate(0, 256)])
        folder = fitted(data, tmp_path / "out", "Model.tiles=2x2").output
        same, defective = scores(folder, [plate(0, 256), plate(0, 256, defect=True)])
        assert same < calibration(folder).threshold() < defective

    def test_more_images_than_views(self) -> None:
        """Every image has a view, and all views are shown, however many images there are."""
        for count in (1, 2, 7, len(VIEWS), len(VIEWS) + 5):
            dealt = [VIEWS[number % len(VIEWS) :: count] for number in range(count)]
            assert all(dealt) and {view for views in dealt for view in views} == set(VIEWS)

    def test_a_view_shows_what_it_says(self) -> None:
        image = np.zeros((40, 80, 3), np.uint8)
        image[12:20, 20:28] = 255

        def centre(view: View) -> tuple[float, float]:
            rows, columns = np.nonzero(view.of(image)[..., 0] > 127)
            return float(columns.mean()), float(rows.mean())

        assert centre(View()) == (23.5, 15.5)
        assert centre(View(flip=(True, False))) == (55.5, 15.5) and centre(View(flip=(False, True))) == (23.5, 23.5)
        assert centre(View(move=(0.1, -0.1))) == pytest.approx((31.5, 11.5))
        assert centre(View(scale=1.5)) == pytest.approx((1.5 * 23.5 - 20, 1.5 * 15.5 - 10), abs=0.6)
        assert View() not in VIEWS and len(set(VIEWS)) == len(VIEWS)

    def test_an_update_drops_it(self, one: Path, tmp_path: Path) -> None:
        """New parts calibrate; the guess is no score of a part that was left out."""
        new = write_all(tmp_path / "new", [plate(seed) for seed in range(1, 6)])
        report = update(one, new, calibrate=True, output=tmp_path / "model", device="cpu")
        known = calibration(report.folder)
        assert known.is_calibrated and known.part_count == len(known.scores) == 5
        assert load_model(report.folder).info.data.parts == load_model(report.folder).info.data.images == 6


class TestOldFolders:
    def test_threshold_and_verdict_stay_and_nothing_is_promised(self, folder: Path) -> None:
        below, above = open_model(folder, "cpu").predict([np.full((8, 16, 3), level, np.uint8) for level in (100, 101)])
        assert (below.label, above.label) == ("Normal", "Anomaly")
        for result in (below, above):
            assert (result.threshold, result.p_value, result.false_alarm_rate) == (100, None, None)

    def test_no_rate_can_be_asked_for(self, folder: Path) -> None:
        with pytest.raises(UsageError, match="not calibrated"):
            open_model(folder, "cpu", false_alarm_rate=0.1)
        with pytest.raises(UsageError, match="not calibrated"):
            next(open_model(folder, "cpu").predict(np.zeros((8, 16, 3), np.uint8), false_alarm_rate=0.1))
        with pytest.raises(UsageError, match="not calibrated"):
            set_false_alarm_rate(folder, 0.1)

    def test_a_threshold_of_ones_own_is_no_guess(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        (result,) = open_model(folder, "cpu", threshold=40.0).predict(np.full((8, 16, 3), 41, np.uint8))
        assert (result.label, result.p_value, result.false_alarm_rate) == ("Anomaly", None, None)
        assert SAID not in caplog.text
        open_model(folder, "cpu")
        assert SAID in caplog.text


class TestCommands:
    def test_predict(self, folder: Path, images: Path) -> None:
        done = blemish("predict", folder, images, "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.code == 0 and len(done.stderr.splitlines()) == 1 and SAID in done.stderr
        assert [(row["label"], row["p_value"], row["false_alarm_rate"]) for row in rows] == [
            ("Normal", None, None),
            ("Anomaly", None, None),
        ]
        refused = blemish("predict", folder, images, "--false-alarm-rate", 0.1)
        assert refused.code == 2 and "not calibrated" in refused.stderr and refused.stdout == ""

    def test_watch(self, folder: Path, images: Path) -> None:
        done = blemish("watch", images / "test/good", folder, "--once", "--json")
        assert done.code == 0 and SAID in done.stderr and json.loads(done.stdout)["p_value"] is None

    def test_evaluate(self, folder: Path, images: Path, tmp_path: Path) -> None:
        done = blemish("evaluate", folder, images, "--output", tmp_path / "out")
        assert done.code == 0 and sum(SAID in line for line in done.stderr.splitlines()) == 1
        result = json.loads((tmp_path / "out/evaluate_result.json").read_text())
        assert result["threshold"]["false_alarm_rate"] is None and SAID in result["threshold"]["origin"]
        assert result["other_rates"] == [] and any(SAID in line for line in result["unsure"])
        with (tmp_path / "out/per_image.csv").open() as file:
            assert [row["p_value"] for row in csv.DictReader(file)] == ["", ""]
        assert SAID in (tmp_path / "out/report.html").read_text()

    def test_evaluate_with_a_threshold_of_ones_own(self, folder: Path, images: Path, tmp_path: Path) -> None:
        report = evaluate(folder, images, tmp_path / "out", "cpu", threshold=70.0)
        assert report.threshold.is_given and "by hand" in report.threshold.origin
        assert not any(SAID in line for line in report.unsure)

    def test_quickstart(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a.png", plate(0))
        done = blemish("quickstart", "--data", tmp_path / "in", "--output", tmp_path / "out")
        assert done.code == 0 and SAID in done.stderr and "0 %" not in done.stdout


class TestService:
    @pytest.fixture(scope="class")
    @staticmethod
    def said() -> list[str]:
        return []

    @pytest.fixture(scope="class")
    @staticmethod
    def client(folder: Path, said: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
        with serving(folder, "--output", tmp_path_factory.mktemp("out")) as running, running.client() as opened:
            said += running.said
            yield opened

    def test_it_says_so_at_the_start(self, client: httpx.Client, said: list[str]) -> None:
        assert client.get("/health").status_code == 200 and sum(SAID in line for line in said) == 1

    def test_routes(self, client: httpx.Client) -> None:
        (version,) = client.get("/v1/models/bottle").json()["versions"]
        assert (version["is_calibrated"], version["false_alarm_rate"], version["threshold"]) == (False, None, 100)
        (result,) = client.post("/v1/models/bottle/predict", content=grey(150)).json()["results"]
        assert (result["label"], result["p_value"], result["false_alarm_rate"]) == ("Anomaly", None, None)
        assert client.get(f"/v1/inspections/{result['inspection']}").json()["p_value"] is None
        tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 16, 3], "data": [150] * (8 * 16 * 3)}
        answer = client.post("/v2/models/bottle/infer", json={"inputs": [tensor], "outputs": [{"name": "p_value"}]})
        assert answer.json()["outputs"][0]["data"] == [None]
        refused = client.post("/v1/models/bottle/threshold", json={"false_alarm_rate": 0.1})
        assert refused.status_code == 409 and refused.json()["error"]["code"] == "not_calibrated"

    def test_every_page_that_shows_verdicts(self, client: httpx.Client) -> None:
        number = client.post("/v1/models/bottle/predict", content=grey(150)).json()["results"][0]["inspection"]
        for address in ("inspect", "history", f"history/{number}", "models", "models/bottle", "trend", "train"):
            page = client.get(f"/{address}")
            assert page.status_code == 200 and page.text.count(SAID) >= 1, address
        card = client.post("/inspect/bottle", content=grey(150)).text
        assert "not calibrated, so there is no p-value" in card and "of good parts look" not in card
        assert client.get("/models/bottle/rate?step=3").status_code == 200
        assert client.get("/trend/charts?model=bottle&span=all").status_code == 200
        assert client.get("/history/export.csv").status_code == 200


def test_a_calibrated_model_says_nothing_of_it(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "bottle", tiny_network(), tiny_info())
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 16, 3), np.uint8))
    done = blemish("predict", folder, tmp_path / "a.png", "--json")
    assert (done.code, done.stderr) == (0, "") and json.loads(done.stdout)["p_value"] == 1
