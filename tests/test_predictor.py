"""Images in, results out: order, batches, engines, laziness, thresholds, geometry, and PaddleX's calls."""

from __future__ import annotations

import gc
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from runs import fitted
from textures import plate, write, write_all

from blemish import create_model, create_pipeline
from blemish.calibration import Calibration
from blemish.engines import Engine, open_engine
from blemish.errors import DeviceError, UsageError
from blemish.models import LoadedModel, load_model
from blemish.pipeline import Predictor, Result, open_model
from blemish.pipeline.predictor import choose_limit

SIZE = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's output folder: a model of 12 plates at a rate of 10 %."""
    data = write_all(tmp_path_factory.mktemp("good"), [plate(seed, SIZE) for seed in range(12)])
    return fitted(data, tmp_path_factory.mktemp("run") / "out", "Calibrate.false_alarm_rate=0.1").output


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load_model(folder)


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return open_model(folder, "cpu")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven images in two sub-folders, every second one with a defect."""
    for number in range(7):
        write(tmp_path / "in" / "ab"[number % 2] / f"{number}.png", plate(100 + number, SIZE, defect=number % 2 == 1))
    return tmp_path / "in"


def scores(results: Iterator[Result]) -> list[float | None]:
    return [result.score for result in results]


def bgr(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(image[..., ::-1])


class Slow:
    """An engine that takes its time, counts, and says when it is in use."""

    def __init__(self, engine: Engine, seconds: float = 0.0) -> None:
        self._engine, self._seconds = engine, seconds
        self.calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        self.calls.append(len(image))
        time.sleep(self._seconds)
        return self._engine.run(image)


class TestOrderAndBatches:
    @pytest.mark.parametrize("batch_size", [2, 3, 7, 50])
    def test_batches_give_what_single_images_give(self, predictor: Predictor, images: Path, batch_size: int) -> None:
        single, together = list(predictor.predict(images)), list(predictor.predict(images, batch_size))
        assert (
            [r.input_path for r in together]
            == [r.input_path for r in single]
            == sorted(map(str, images.rglob("*.png")))
        )
        np.testing.assert_allclose([r.score for r in together], [r.score for r in single], rtol=1e-4)
        for one, other in zip(together, single, strict=True):
            np.testing.assert_allclose(one.anomaly_map, other.anomaly_map, rtol=1e-3, atol=0.05)
            assert one.label == other.label

    def test_batches_really_batch(self, model: LoadedModel, images: Path) -> None:
        engine = Slow(open_engine(model.model, "cpu"))
        list(Predictor(model, [engine]).predict(images, 3))
        assert engine.calls == [3, 3, 1]

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
    def test_errors_stand_in_their_places(self, predictor: Predictor, tmp_path: Path, batch_size: int) -> None:
        inputs: list[object] = []
        for number in range(8):
            path = tmp_path / f"{number}.png"
            if number in (0, 3, 4, 5):
                path.write_text("no image")
            else:
                write(path, plate(number, SIZE))
            inputs.append(str(path))
        inputs += [str(tmp_path / "nowhere.png"), 17, np.zeros((4, 4), np.float64)]
        found = list(predictor.predict(inputs, batch_size))
        assert [r.error is None for r in found] == [False, True, True, False, False, False, True, True] + [False] * 3
        for number in (1, 2, 6, 7):
            assert found[number].input_path == inputs[number]
            alone = next(predictor.predict(inputs[number]))
            assert found[number].score == pytest.approx(alone.score, rel=1e-4)
        for number in (0, 3, 4, 5, 8):
            assert str(inputs[number]) in str(found[number].error) and found[number].score is None
            assert found[number].is_anomalous is None and found[number].anomaly_map is None

    def test_nothing_at_all(self, predictor: Predictor, tmp_path: Path) -> None:
        assert list(predictor.predict([])) == []
        (tmp_path / "void").mkdir()
        (only,) = predictor.predict(tmp_path / "void")
        assert "no images" in str(only.error)

    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_a_batch_of_nothing_is_refused_at_once(self, predictor: Predictor, folder: Path, batch_size: int) -> None:
        for call in (
            lambda: predictor.predict([], batch_size),
            lambda: open_model(folder, "cpu", batch_size),
            lambda: create_model("PatchCore", folder, batch_size=batch_size),
            lambda: create_pipeline("anomaly_detection", model_dir=folder, batch_size=batch_size),
        ):
            with pytest.raises(UsageError, match="batch"):
                call()


class TestSeveralEngines:
    def test_order_is_kept_and_both_work(self, model: LoadedModel, images: Path) -> None:
        """The second engine is the faster one; its results still wait their turn."""
        engines = [Slow(open_engine(model.model, "cpu"), 0.03), Slow(open_engine(model.model, "cpu"))]
        found = list(Predictor(model, engines).predict(images, 2))
        assert [r.input_path for r in found] == sorted(map(str, images.rglob("*.png")))
        assert (engines[0].calls, engines[1].calls) == ([2, 2], [2, 1])
        np.testing.assert_allclose(
            [r.score for r in found], scores(open_model(model.folder).predict(images)), rtol=1e-4
        )

    def test_errors_among_them(self, model: LoadedModel, images: Path) -> None:
        (images / "a" / "1.png").write_text("no image")
        engines = [open_engine(model.model, "cpu") for _ in range(3)]
        found = list(Predictor(model, engines).predict([images, "nowhere.png"]))
        assert [r.error is None for r in found] == [True, False] + [True] * 6 + [False]

    def test_a_failing_engine_is_heard_of(self, model: LoadedModel, images: Path) -> None:
        class Broken(Slow):
            def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
                raise DeviceError("the device is gone")

        engines = [open_engine(model.model, "cpu"), Broken(open_engine(model.model, "cpu"))]
        with pytest.raises(DeviceError, match="gone"):
            list(Predictor(model, engines).predict(images))


class TestLaziness:
    def test_nothing_is_read_before_it_is_asked_for(self, predictor: Predictor) -> None:
        asked: list[int] = []

        def endless() -> Iterator[npt.NDArray[np.uint8]]:
            for number in range(10**9):
                asked.append(number)
                yield plate(number, SIZE)

        results = predictor.predict(endless())
        assert asked == []
        assert [next(results).score is not None for _ in range(3)] == [True] * 3
        assert len(asked) < 20
        results.close()  # type: ignore[attr-defined]

    @pytest.mark.parametrize("engines", [1, 2])
    def test_an_abandoned_generator_leaves_no_thread(self, model: LoadedModel, images: Path, engines: int) -> None:
        before = set(threading.enumerate())
        predictor = Predictor(model, [open_engine(model.model, "cpu") for _ in range(engines)])
        results = predictor.predict([images] * 50, 2)
        next(results)
        assert set(threading.enumerate()) - before
        del results
        gc.collect()
        deadline = time.monotonic() + 60
        while set(threading.enumerate()) - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not set(threading.enumerate()) - before

    def test_two_generators_at_once(self, predictor: Predictor, images: Path) -> None:
        expected = scores(predictor.predict(images))
        first, second = predictor.predict(images), predictor.predict(images)
        pairs = [(next(first).score, next(second).score) for _ in range(7)]
        assert pairs == [(score, score) for score in expected]

    def test_calling_it_is_predicting(self, predictor: Predictor, images: Path) -> None:
        assert scores(predictor(images)) == scores(predictor.predict(input=images))


class TestThresholds:
    def test_the_models_own_rate(self, predictor: Predictor, model: LoadedModel, images: Path) -> None:
        calibration = Calibration.from_json(model.info.calibration.model_dump())
        for result in predictor.predict(images):
            assert (result.threshold, result.false_alarm_rate) == (calibration.threshold(0.1), 0.1)
            assert result.pixel_threshold == calibration.pixel_threshold(0.1)
            assert result.p_value == calibration.p_value(float(result.score or 0))
            assert result.is_anomalous == (result.p_value <= 0.1) == ("/b/" in str(result.input_path))

    def test_another_rate_for_a_call_or_for_good(self, predictor: Predictor, folder: Path, images: Path) -> None:
        for_a_call = list(predictor.predict(images, false_alarm_rate=0.5))
        for_good = list(open_model(folder, "cpu", false_alarm_rate=0.5).predict(images))
        assert (
            {r.threshold for r in for_a_call}
            == {r.threshold for r in for_good}
            == {predictor.calibration.threshold(0.5)}
        )
        assert {r.false_alarm_rate for r in for_a_call} == {0.5}
        assert next(predictor.predict(images)).false_alarm_rate == 0.1, "the call changed the predictor"
        both = open_model(folder, "cpu", false_alarm_rate=0.5).predict(images, threshold=3.0)
        assert {r.threshold for r in both} == {3.0}

    def test_a_threshold_of_ones_own(self, predictor: Predictor, images: Path) -> None:
        usual = next(predictor.predict(images))
        for factor in (0.5, 2.0):
            for result in predictor.predict(images, threshold=factor * float(usual.threshold or 0)):
                assert result.false_alarm_rate is None
                assert result.is_anomalous == (result.score > result.threshold)
                assert result.pixel_threshold == pytest.approx(factor * float(usual.pixel_threshold or 0))
        assert all(r.is_anomalous for r in predictor.predict(images, threshold=0))

    @pytest.mark.parametrize(
        "setting",
        [
            {"false_alarm_rate": 0},
            {"false_alarm_rate": 1.0},
            {"false_alarm_rate": float("nan")},
            {"threshold": float("nan")},
            {"threshold": float("inf")},
            {"threshold": 3.0, "false_alarm_rate": 0.1},
        ],
    )
    def test_what_makes_no_sense_is_refused_at_once(
        self, predictor: Predictor, folder: Path, setting: dict[str, float]
    ) -> None:
        for call in (lambda: predictor.predict([], **setting), lambda: open_model(folder, "cpu", **setting)):
            with pytest.raises(UsageError, match=r"rate|threshold"):
                call()

    def test_thresholds_of_negative_scores_move_the_pixels_the_same_way(self) -> None:
        values = np.linspace(-30, -20, 50)
        calibration = Calibration(values, values + 25, np.arange(50), 0.1)
        usual = calibration.threshold()
        limits = [choose_limit(calibration, None, usual + step) for step in (-5, 0, 5)]
        pixels = [limit.pixel for limit in limits if limit is not None]
        assert pixels == sorted(pixels) and pixels[0] < pixels[1] < pixels[2]
        assert pixels[1] == pytest.approx(calibration.pixel_threshold(), rel=1e-12)


class TestGeometry:
    @pytest.mark.parametrize(("width", "height"), [(SIZE, SIZE), (300, 300), (192, 96), (60, 240), (97, 203)])
    def test_the_map_lies_on_the_image(self, predictor: Predictor, width: int, height: int) -> None:
        """The defect is where the map and the regions say, in the image's own pixels, letterboxed or not."""
        image = cv2.resize(plate(7, 400), (width, height), interpolation=cv2.INTER_AREA)
        x, y = round(0.6 * width), round(0.4 * height)
        radius = max(5, min(width, height) // 12)
        cv2.circle(image, (x, y), radius, (0, 0, 0), -1)
        (result,) = predictor.predict(bgr(image))
        assert result.size == (width, height)
        assert result.anomaly_map.shape == result.pred.shape == (height, width)
        assert result.anomaly_map.dtype == np.float32 and result.pred.dtype == np.uint8
        row, column = np.unravel_index(result.anomaly_map.argmax(), result.anomaly_map.shape)
        reach = 2 * max(width, height) / (SIZE / 8) + radius
        assert abs(row - y) <= reach and abs(column - x) <= reach
        assert set(np.unique(result.pred)) <= {0, 255}

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 500), (3000, 20)])
    def test_strange_shapes(self, predictor: Predictor, width: int, height: int) -> None:
        (result,) = predictor.predict(np.full((height, width, 3), 128, np.uint8))
        assert result.anomaly_map.shape == (height, width) and np.isfinite(result.score)


class TestInputs:
    def test_path_dict_array_and_text_agree(self, predictor: Predictor, images: Path) -> None:
        path = images / "b" / "1.png"
        array = cv2.imread(str(path))
        found = list(predictor.predict([path, str(path), {"img": str(path)}, array, {"img": array}, [[array]]], 4))
        assert np.ptp([r.score for r in found]) < 1e-3 * found[0].score
        assert [r.input_path for r in found] == [str(path)] * 3 + [None] * 3
        assert len({r.name.as_posix() for r in found[3:]}) == 3, "arrays would overwrite each other"

    def test_grey_alpha_and_16_bit_arrays_agree(self, predictor: Predictor) -> None:
        grey = plate(3, SIZE)[..., 0]
        three = np.repeat(grey[..., None], 3, axis=2)
        four = np.concatenate([three, np.full_like(three[..., :1], 9)], axis=2)
        found = scores(predictor.predict([grey, three, four, grey.astype(np.uint16) * 257]))
        np.testing.assert_allclose(found, found[0], rtol=1e-5)

    def test_channels_are_bgr(self, predictor: Predictor, tmp_path: Path) -> None:
        tinted = plate(5, SIZE)
        tinted[..., 0] //= 2
        write(tmp_path / "t.png", tinted)
        by_path, right, wrong = scores(predictor.predict([tmp_path / "t.png", bgr(tinted), tinted]))
        assert by_path == right != wrong

    def test_pages(self, predictor: Predictor, tmp_path: Path) -> None:
        cv2.imwritemulti(str(tmp_path / "all.tiff"), [bgr(plate(seed, SIZE)) for seed in range(3)])
        found = list(predictor.predict(tmp_path / "all.tiff", 2))
        assert [r.page_index for r in found] == [0, 1, 2]
        for result in found:
            result.save_all(tmp_path / "out")
        assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.suffix == ".json") == [
            f"all_{page}_res.json" for page in range(3)
        ]

    def test_timings_are_told(self, predictor: Predictor, images: Path) -> None:
        for result in predictor.predict(images, 3):
            assert set(result.timings) == {"read", "resize", "network"}
            assert all(0 <= ms < 60_000 for ms in result.timings.values())


class TestSaving:
    def test_sub_folders_are_mirrored(self, predictor: Predictor, tmp_path: Path) -> None:
        for name in ("a/x.png", "b/x.png", "b/c/x.jpg", "b/c/x.png"):
            write(tmp_path / "in" / name, plate(1, SIZE))
        for result in predictor.predict(tmp_path / "in", 3):
            result.save_all(tmp_path / "out")
        saved = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
        assert saved == {
            *("a/x_res.json", "a/x_res.png", "b/x_res.json", "b/x_res.png"),
            *("b/c/x_res.json", "b/c/x_res.jpg", "b/c/x_2_res.json", "b/c/x_2_res.png"),
        }

    def test_saved_results_leave_nothing_in_memory(self, predictor: Predictor, tmp_path: Path) -> None:
        path = write(tmp_path / "x.png", plate(1, 32))

        def save(first: int, count: int) -> None:
            for number in range(first, first + count):
                moved = path.rename(tmp_path / f"{number}.png")
                next(predictor.predict(moved)).save_to_json(tmp_path / "out")
                moved.rename(path)

        save(0, 50)
        gc.collect()
        tracemalloc.start()
        save(50, 150)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(list((tmp_path / "out").iterdir())) == 200
        assert grown < 30_000

    def test_folders_of_one_name(self, predictor: Predictor, tmp_path: Path) -> None:
        """Two folders with files of one name, in one call and in two calls of one predictor."""
        for folder in ("one", "two"):
            write(tmp_path / folder / "x.png", plate(1, SIZE))
        for inputs in ([tmp_path / "one", tmp_path / "two"], tmp_path / "one"):
            for result in predictor.predict(inputs):
                result.save_to_json(tmp_path / "out")
        saved = {p.name: json.loads(p.read_text())["input_path"] for p in (tmp_path / "out").iterdir()}
        assert saved == {"x_res.json": str(tmp_path / "one/x.png"), "x_2_res.json": str(tmp_path / "two/x.png")}
