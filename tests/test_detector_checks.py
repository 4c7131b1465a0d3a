"""Checks that every detector must pass, whatever it is: a detector is tested by being registered."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from textures import exposure, plate
from tiny_model import tiny_info

from blemish.calibration import LeftOut
from blemish.config import load_config
from blemish.detectors import Detector, Setting, detector_class, list_models
from blemish.engines import installed_engines, open_engine
from blemish.errors import BlemishError
from blemish.models import OutputInfo, load_model, save_model
from blemish.training import Plan

SIZE = 96
SETTING = Setting(SIZE, SIZE, preset="fast", device="cpu")
TOLERANCE = 1e-4  # relative, between engines and between batch sizes
GOOD = [plate(seed, SIZE) for seed in range(8)]
NEW = [plate(seed, SIZE) for seed in range(100, 106)]
DEFECTIVE = [plate(seed, SIZE, defect=True) for seed in range(100, 106)]

Outputs = dict[str, npt.NDArray[np.float32]]
on_every_engine = pytest.mark.parametrize("engine", installed_engines())


def _usable(extra: str) -> bool:
    return {"": True, "train": find_spec("torch") is not None and find_spec("timm") is not None}.get(extra, False)


def _parameter(name: str, extra: str) -> object:
    missing = pytest.mark.skipif(not _usable(extra), reason=f'needs pip install "blemish[{extra}]"')
    return pytest.param(name, marks=missing)


@pytest.fixture(scope="module", params=[_parameter(card.name, card.requires) for card in list_models()])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[card.name for card in list_models() if not detector_class(card.name).learns])
def exact(request: pytest.FixtureRequest) -> str:
    """A detector that computes its model from the images instead of learning it step by step."""
    return str(request.param)


def fitted(name: str, images: list[npt.NDArray[np.uint8]], setting: Setting = SETTING) -> Detector:
    if detector_class(name).learns:
        rate = load_config(name).Train.learning_rate
        plan = Plan(iterations=60, batch_size=4, warmup=3, learning_rate=rate, device="cpu")
        setting = replace(setting, plan=plan)
    return detector_class(name)(setting).fit(images)


def held_out(detector: Detector, parts: npt.NDArray[np.int64]) -> LeftOut | None:
    scored = detector.left_out(parts)
    return None if scored is None else LeftOut.of(scored)


def run(model: bytes, images: list[npt.NDArray[np.uint8]], engine: str = "onnxruntime") -> Outputs:
    return open_engine(model, "cpu", num_threads=1, name=engine).run(np.stack(images))


@pytest.fixture(scope="module")
def detector(name: str) -> Detector:
    return fitted(name, GOOD)


@pytest.fixture(scope="module")
def model(detector: Detector) -> bytes:
    return detector.graph().SerializeToString()


def assert_close(one: Outputs, other: Outputs, tolerance: float = TOLERANCE) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=tolerance, atol=tolerance * np.abs(other[key]).max())


def test_the_name_finds_the_class(name: str) -> None:
    assert detector_class(name.upper()).card.name == name
    assert detector_class(name).card.summary and detector_class(name).card.reference


@on_every_engine
def test_the_graph_keeps_the_contract(model: bytes, engine: str) -> None:
    onnx.checker.check_model(model, full_check=True)
    outputs = run(model, NEW, engine)
    assert set(outputs) == {"anomaly_map", "score"}
    count, height, width = outputs["anomaly_map"].shape
    assert count == len(NEW) == len(outputs["score"]) and outputs["score"].ndim == 1
    assert height * width >= 16
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in outputs.values())


def test_same_seed_same_bytes(name: str, model: bytes) -> None:
    assert fitted(name, GOOD).graph().SerializeToString() == model


def test_a_fit_forgets_the_one_before(name: str, model: bytes) -> None:
    detector = fitted(name, NEW[:3])
    assert detector.fit(GOOD) is detector
    assert detector.graph().SerializeToString() == model
    if detector.sketches is not None:
        assert len(detector.sketches) == len(GOOD)


def test_the_graph_can_be_asked_for_twice(detector: Detector, model: bytes) -> None:
    assert detector.graph().SerializeToString() == model


def test_the_images_are_left_alone(name: str) -> None:
    images = [image.copy() for image in GOOD]
    fitted(name, images)
    for image, before in zip(images, GOOD, strict=True):
        np.testing.assert_array_equal(image, before)


@on_every_engine
def test_a_batch_equals_single_images(model: bytes, engine: str) -> None:
    together = run(model, NEW + DEFECTIVE, engine)
    for number, image in enumerate(NEW + DEFECTIVE):
        alone = run(model, [image], engine)
        assert_close(alone, {key: value[number : number + 1] for key, value in together.items()})


def test_save_and_load_equal(model: bytes, tmp_path: Path) -> None:
    outputs = run(model, NEW)
    height, width = outputs["anomaly_map"].shape[1:]
    info = tiny_info(output=OutputInfo(map_height=height, map_width=width))
    shape = {"width": SIZE, "height": SIZE, "aspect": 1.0}
    info = info.model_copy(update={"input": info.input.model_copy(update=shape)})
    loaded = load_model(save_model(tmp_path / "model", model, info))
    for key, value in run(loaded.model, NEW).items():
        np.testing.assert_array_equal(value, outputs[key])


@on_every_engine
def test_all_engines_agree(model: bytes, engine: str) -> None:
    assert_close(run(model, NEW + DEFECTIVE, engine), run(model, NEW + DEFECTIVE))


@on_every_engine
def test_a_defect_raises_the_score_and_the_map_peaks_on_it(model: bytes, engine: str) -> None:
    good, bad = run(model, NEW, engine), run(model, DEFECTIVE, engine)
    assert bad["score"].min() > good["score"].max()
    _, height, width = bad["anomaly_map"].shape
    for anomaly_map in bad["anomaly_map"]:
        row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
        assert abs((row + 0.5) - 0.4 * height) <= 2 and abs((column + 0.5) - 0.6 * width) <= 2


def test_scores_are_not_clamped(model: bytes) -> None:
    """The worse the image, the larger the score, far beyond the range of good ones."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    half = np.concatenate([noise[: SIZE // 2], NEW[0][SIZE // 2 :]])
    scores = run(model, [NEW[0], DEFECTIVE[0], half, noise])["score"]
    assert scores[0] < scores[1] and scores[0] < scores[2]
    assert len(set(run(model, NEW + DEFECTIVE)["score"].tolist())) == len(NEW + DEFECTIVE)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_images(name: str, level: int) -> None:
    flat = np.full((SIZE, SIZE, 3), level, np.uint8)
    spot = flat.copy()
    spot[40:60, 40:60] = 255 - level if level != 128 else 0
    try:
        model = fitted(name, [flat] * 3).graph().SerializeToString()
    except BlemishError as error:
        assert "image" in str(error) and "\n" not in str(error)
        return
    outputs = run(model, [flat, spot])
    assert all(np.isfinite(value).all() for value in outputs.values())
    assert outputs["score"][1] > outputs["score"][0]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_work_or_say_why_not(name: str, count: int) -> None:
    try:
        detector = fitted(name, GOOD[:count])
        model = detector.graph().SerializeToString()
    except BlemishError as error:
        assert "image" in str(error) and "\n" not in str(error)
        return
    outputs = run(model, [*NEW, *DEFECTIVE])
    assert np.isfinite(outputs["score"]).all()
    assert np.median(outputs["score"][len(NEW) :]) > np.median(outputs["score"][: len(NEW)])
    for parts in (np.arange(count), np.zeros(count, np.int64)):
        left_out = held_out(detector, parts)
        if left_out is not None:
            assert left_out.scores.shape == left_out.peaks.shape == (count,)
            assert np.isfinite(left_out.scores).all() and np.isfinite(left_out.peaks).all()
            assert left_out.scores.min() > 0.1 * outputs["score"].min(), "an image was judged by itself"


def test_no_images_say_why_not(name: str) -> None:
    with pytest.raises(BlemishError, match="image"):
        fitted(name, [])


def test_the_order_of_images_does_not_matter(exact: str) -> None:
    order = np.random.default_rng(1).permutation(len(GOOD))
    model, other = (fitted(exact, images).graph().SerializeToString() for images in (GOOD, [GOOD[i] for i in order]))
    assert_close(run(other, NEW + DEFECTIVE), run(model, NEW + DEFECTIVE), 1e-3)


def test_images_may_come_from_a_collection_that_is_read_anew(name: str, model: bytes) -> None:
    """A fit goes through the images as often as it needs, never by index."""

    class Stream:
        def __len__(self) -> int:
            return len(GOOD)

        def __iter__(self):  # type: ignore[no-untyped-def]
            return (image.copy() for image in GOOD)

        def __contains__(self, image: object) -> bool:
            return False

    assert fitted(name, Stream()).graph().SerializeToString() == model  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "height"), [(64, 128), (128, 64), (32, 32), (160, 96)])
def test_other_input_sizes(name: str, width: int, height: int) -> None:
    images = [plate(seed, 160)[:height, :width] for seed in range(3)]
    bad = images[0].copy()
    bad[height // 2 : height // 2 + 12, width // 4 : width // 4 + 12] = 0
    detector = fitted(name, images, replace(SETTING, width=width, height=height))
    outputs = run(detector.graph().SerializeToString(), [images[0], bad])
    _, rows, columns = outputs["anomaly_map"].shape
    assert outputs["score"][1] > outputs["score"][0]
    row, column = np.unravel_index(outputs["anomaly_map"][1].argmax(), (rows, columns))
    assert abs((row + 0.5) / rows * height - height / 2 - 6) <= 20
    assert abs((column + 0.5) / columns * width - width / 4 - 6) <= 20


class TestLeftOut:
    """What calibration rests on: nothing of an image's own part may explain it."""

    @pytest.fixture(scope="class")
    @classmethod
    def exact_detector(cls, exact: str) -> Detector:
        return fitted(exact, GOOD)

    def test_each_part_alone(self, exact_detector: Detector) -> None:
        left_out = held_out(exact_detector, np.arange(len(GOOD)))
        assert left_out is not None
        own = run(exact_detector.graph().SerializeToString(), GOOD)["score"]
        assert (left_out.scores > own).all()

    def test_twins_that_stay_in_explain_an_image(self, exact: str) -> None:
        """Left out alone, an image is explained by its twin; together, by nothing of its own."""
        twins = [exposure(image, seed) for image in GOOD[:5] for seed in range(2)]
        detector = fitted(exact, twins)
        together, apart = (held_out(detector, parts) for parts in (np.repeat(np.arange(5), 2), np.arange(10)))
        assert together is not None and apart is not None
        assert (together.scores >= apart.scores).all() and together.scores.mean() > 1.1 * apart.scores.mean()

    def test_numbers_of_parts_are_only_names(self, exact_detector: Detector) -> None:
        parts = np.array([0, 0, 1, 1, 2, 3, 4, 4])
        one, other = held_out(exact_detector, parts), held_out(exact_detector, 70 - 3 * parts)
        assert one is not None and other is not None
        np.testing.assert_array_equal(one.scores, other.scores)

    def test_a_small_budget_changes_little(self, exact: str) -> None:
        """Features that are not held in memory are computed again, and selected in a stream."""
        images = [plate(seed, SIZE) for seed in range(20)]
        whole = fitted(exact, images)
        stream = fitted(exact, images, replace(SETTING, memory_budget=1))
        outputs = [run(d.graph().SerializeToString(), NEW + DEFECTIVE)["score"] for d in (whole, stream)]
        np.testing.assert_allclose(outputs[0], outputs[1], rtol=0.1)
        left_out = [held_out(d, np.arange(20)) for d in (whole, stream)]
        if left_out[0] is not None and left_out[1] is not None:
            np.testing.assert_allclose(left_out[0].scores, left_out[1].scores, rtol=0.2)


class TestPatchCore:
    """What the graph computes, written down in plain numpy."""

    @pytest.mark.parametrize(("width", "height"), [(96, 96), (64, 128)])
    def test_reference(self, width: int, height: int) -> None:
        from blemish.detectors.patchcore import PatchCore

        images = [plate(seed, 128)[:height, :width] for seed in range(4)]
        setting = replace(SETTING, width=width, height=height)
        detector = PatchCore(setting).fit(images)
        queries = [plate(50, 128, defect=True)[:height, :width], images[1]]
        found = run(detector.graph().SerializeToString(), queries)
        bank = detector.bank.rows.astype(np.float64)  # (M, d)
        extracted = detector.features.extract(queries, "cpu")
        for number, patches in enumerate(extracted):  # (P, d)
            squared = ((patches[:, None].astype(np.float64) - bank) ** 2).sum(axis=-1)  # (P, M)
            grid = np.sqrt(squared.min(axis=1)).reshape(height // 8, width // 8)
            expected = self.blurred(grid, 4 / 256 * np.sqrt(width * height) / 8)
            # A distance that is zero exactly is the square root of what float32 leaves of its cancelling terms.
            np.testing.assert_allclose(found["anomaly_map"][number], expected, rtol=1e-4, atol=0.06)
            np.testing.assert_array_less(np.abs(found["anomaly_map"][number] - expected)[expected > 1], 1e-3)
            assert found["score"][number] == pytest.approx(expected.max(), rel=1e-4, abs=0.06)

    def blurred(self, grid: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
        """Weighted mean of all cells by their distance, cell by cell."""
        out = np.empty_like(grid)
        rows, columns = np.indices(grid.shape)
        for row, column in product(*map(range, grid.shape)):
            weights = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
            out[row, column] = (weights * grid).sum() / weights.sum()
        return out

    def test_a_whole_bank_scores_training_images_zero(self) -> None:
        from blemish.detectors.patchcore import PatchCore, PatchCoreParameters

        detector = PatchCore(SETTING, PatchCoreParameters(coreset_ratio=1.0)).fit(GOOD[:3])
        scores = run(detector.graph().SerializeToString(), GOOD[:3] + NEW)["score"]
        assert scores[:3].max() < 0.02 * scores[3:].min()

    def test_the_bank_has_the_rows_that_were_asked_for(self) -> None:
        from blemish.detectors.patchcore import PatchCore, PatchCoreParameters

        patches = len(GOOD) * (SIZE // 8) ** 2
        for parameters, rows in (({}, 512), ({"coreset_ratio": 0.7}, round(0.7 * patches)), ({"max_rows": 40}, 40)):
            bank = PatchCore(SETTING, PatchCoreParameters(**parameters)).fit(GOOD).bank
            assert len(bank) == pytest.approx(rows, abs=1)
            assert set(bank.images.tolist()) == set(range(len(GOOD)))
            assert bank.cells.min() >= 0 and bank.cells.max() < (SIZE // 8) ** 2

    def test_left_out_is_a_search_without_the_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a bank whose holes are refilled: from all patches where these are at hand, else from spare ones."""
        from dataclasses import replace

        from blemish.detectors.patchcore import PatchCore

        monkeypatch.setattr("blemish.detectors.patchcore.LEAST_CHUNK", 3)
        parts = np.array([0, 1, 0, 2, 2, 2, 3, 4])
        for setting in (SETTING, replace(SETTING, memory_budget=1)):
            detector = PatchCore(setting).fit(GOOD)
            features = list(detector.features.extract(GOOD, "cpu"))
            found = held_out(detector, parts)
            assert found is not None
            for i, patches in enumerate(features):
                own = parts[detector.bank.images] == parts[i]
                masked = detector.bank.rows[~own].astype(np.float64)
                others = np.concatenate([features[j] for j in range(len(GOOD)) if parts[j] != parts[i]])
                refilled = self.refilled(masked, others.astype(np.float64), int(own.sum()))
                # both in the metric that there is without the part, as all eight images have a say in it
                change = detector._changed(parts)(int(parts[i]))
                assert change is not None
                mapped = patches @ change
                expected, most = (self.score_against(rows @ change, mapped) for rows in (refilled, masked))
                if setting is SETTING:
                    assert found.scores[i] == pytest.approx(expected, rel=1e-3)
                else:
                    assert 0.999 * expected <= found.scores[i] <= 1.001 * most

    def score_against(self, rows: np.ndarray, patches: np.ndarray) -> float:
        nearest = np.sqrt(((patches[:, None].astype(np.float64) - rows) ** 2).sum(axis=-1).min(axis=1))
        return float(self.blurred(nearest.reshape(SIZE // 8, SIZE // 8), 4 / 256 * SIZE / 8).max())

    @staticmethod
    def refilled(rows: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
        """The rows and, one by one, the patch of the others that is farthest from all."""
        away = ((others[:, None] - rows) ** 2).sum(axis=-1).min(axis=1)
        for _ in range(count):
            farthest = others[away.argmax()]
            rows = np.vstack([rows, farthest])
            away = np.minimum(away, ((others - farthest) ** 2).sum(axis=-1))
        return rows

    def test_noise_share_drops_what_is_odd(self) -> None:
        from blemish.detectors.patchcore import PatchCore, PatchCoreParameters

        images = [plate(seed, SIZE, defect=seed in (3, 11)) for seed in range(40)]
        clean = PatchCore(SETTING, PatchCoreParameters(noise_share=0.05)).fit(images)
        plain = PatchCore(SETTING).fit(images)
        bad, good = ([plate(seed, SIZE, defect) for seed in range(60, 66)] for defect in (True, False))
        gaps = []
        for detector in (plain, clean):
            model = detector.graph().SerializeToString()
            gaps.append(run(model, bad)["score"].mean() / run(model, good)["score"].mean())
        assert gaps[1] > 1.2 * gaps[0]

    def test_calls_out_of_order_say_so(self) -> None:
        from blemish.detectors.patchcore import PatchCore
        from blemish.errors import UsageError

        with pytest.raises(UsageError, match="fit PatchCore first"):
            PatchCore(SETTING).graph()
