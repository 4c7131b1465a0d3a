"""Region of interest and ignored places: what is outside has no say, what is inside keeps its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import calibration, fitted
from textures import plate

from blemish.config import load_config
from blemish.detectors import list_models
from blemish.errors import ModelError, UsageError
from blemish.fitting import FitReport
from blemish.framing import frame_of
from blemish.images import Area, Sides, area_of, draw_polygons
from blemish.models import load_model, save_model
from blemish.models.info import AreaInfo
from blemish.pipeline import Predictor, open_model

SIZE = 192
LEFT = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


def bgr(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(image[..., ::-1])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for seed in range(10):
        cv2.imwrite(str(folder / f"{seed}.png"), bgr(plate(seed, SIZE)))
    return folder


@pytest.fixture(scope="module", params=["1x1", "2x2"])
def left(request: pytest.FixtureRequest, good: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    """A model that looks at the left half, but for an ignored spot in its upper part."""
    spot = [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2], [0.1, 0.2]]
    overrides = [f"Model.roi={LEFT}", f"Model.ignore={[spot]}", f"Model.tiles={request.param}"]
    return fitted(good, tmp_path_factory.mktemp("left"), *overrides)


@pytest.fixture(scope="module")
def predictor(left: FitReport) -> Predictor:
    return open_model(left.folder, "cpu")


class TestModel:
    @pytest.mark.parametrize("value", [0, 255])
    def test_what_is_outside_changes_nothing_inside(self, predictor: Predictor, value: int) -> None:
        image = plate(50, SIZE)
        changed = image.copy()
        changed[:, SIZE // 2 + 1 :] = value
        changed[25:35, 25:35] = value
        one, other = predictor.predict([bgr(image), bgr(changed)])
        assert one.score == other.score and one.regions == other.regions
        assert np.array_equal(one.anomaly_map, other.anomaly_map) and np.array_equal(one.pred, other.pred)

    def test_a_defect_outside_is_not_seen_and_one_inside_is(self, predictor: Predictor) -> None:
        image = plate(53, SIZE)
        outside, ignored, inside = (
            cv2.circle(image.copy(), centre, radius, (0, 0, 0), -1)
            for centre, radius in (((150, 100), 20), ((29, 29), 5), ((50, 120), 12))
        )
        plain, *defects = predictor.predict([bgr(image) for image in (image, outside, ignored, inside)])
        assert [defect.score == plain.score for defect in defects] == [True, True, False]
        assert not plain.is_anomalous and defects[2].is_anomalous
        x, y, width, height = defects[2].regions[0].box
        assert x <= 50 < x + width <= SIZE // 2 and y <= 120 < y + height
        row, column = np.unravel_index(defects[2].anomaly_map.argmax(), (SIZE, SIZE))
        assert abs(row - 120) <= 20 and abs(column - 50) <= 20

    def test_outside_the_map_is_at_its_lowest_and_nothing_is_marked(self, predictor: Predictor) -> None:
        (result,) = predictor.predict(bgr(plate(52, SIZE, defect=True)), threshold=-5.0)
        outside = np.ones((SIZE, SIZE), bool)
        outside[:, : SIZE // 2 + 1] = False
        assert result.anomaly_map is not None and result.pixel_threshold is not None
        assert (result.anomaly_map[outside] <= result.pixel_threshold).all()
        assert result.anomaly_map[outside].max() <= result.anomaly_map[100:, :40].min()
        assert not result.pred[outside].any() and result.pred[100, 40] == 255
        assert max(region.box[0] + region.box[2] for region in result.regions) <= SIZE // 2

    def test_the_score_is_the_largest_value_inside(self, predictor: Predictor) -> None:
        for result in predictor.predict([bgr(plate(seed, SIZE, defect=True)) for seed in range(60, 64)]):
            assert result.score == pytest.approx(result.grid_map.max())
            assert result.anomaly_map.max() <= result.score + 1e-4

    def test_good_images_were_calibrated_by_their_insides(self, good: Path, left: FitReport, tmp_path: Path) -> None:
        """Training images that are ruined outside give the very same calibration."""
        for path in good.iterdir():
            image = cv2.imread(str(path))
            image[:, SIZE // 2 + 1 :] = np.random.default_rng(int(path.stem)).integers(0, 256, 3)
            cv2.imwrite(str(tmp_path / path.name), image)
        tiles = load_model(left.folder).info.input.tiles
        spot = [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2], [0.1, 0.2]]
        grid = "1x1" if tiles is None else "2x2"
        overrides = [f"Model.roi={LEFT}", f"Model.ignore={[spot]}", f"Model.tiles={grid}"]
        again = fitted(tmp_path, tmp_path / "out", *overrides)
        assert calibration(again.folder).scores.tolist() == calibration(left.folder).scores.tolist()

    @pytest.mark.parametrize("size", [(SIZE, SIZE // 2), (300, 200)])
    def test_an_image_of_another_aspect_is_refused(self, predictor: Predictor, size: tuple[int, int]) -> None:
        results = list(predictor.predict([np.zeros((size[1], size[0], 3), np.uint8), bgr(plate(1, SIZE))]))
        assert "region of interest" in (results[0].error or "") and f"{size[0]}x{size[1]}" in results[0].error
        assert results[0].score is None and results[1].error is None

    def test_another_size_of_the_same_aspect_is_scaled(self, predictor: Predictor) -> None:
        image = cv2.circle(plate(53, 2 * SIZE), (300, 200), 40, (0, 0, 0), -1)
        (result,) = predictor.predict(bgr(image))
        assert not result.pred[:, SIZE + 2 :].any()

    def test_the_folder_says_what_it_needs(self, left: FitReport) -> None:
        info = load_model(left.folder).info
        assert info.format_version >= 2 and info.input.area is not None

    def test_an_area_of_another_size_is_refused(self, left: FitReport, tmp_path: Path) -> None:
        loaded = load_model(left.folder)
        area = AreaInfo(**Area(np.ones((10, 10), bool)).to_rle())
        wrong = loaded.info.model_copy(update={"input": loaded.info.input.model_copy(update={"area": area})})
        save_model(tmp_path / "m", loaded.model, wrong)
        with pytest.raises(ModelError, match="another size"):
            load_model(tmp_path / "m")


@pytest.mark.parametrize("name", [card.name for card in list_models()])
def test_every_detector_takes_tiles_and_an_area(name: str, good: Path, tmp_path: Path) -> None:
    """Fitted on tiles, calibrated by image: an image has one score, and its outside has no say in it."""
    learning = ["Train.epochs_iters=4", "Train.batch_size=4", "Train.learning_rate=0.001", "Train.warmup_steps=0"]
    overrides = [f"Global.model={name}", "Model.tiles=2x2", f"Model.roi={LEFT}", *learning]
    report = fitted(good, tmp_path, *overrides)
    info = load_model(report.folder).info
    assert info.data.images == 10 and len(info.calibration.scores) <= 10
    image = plate(70, SIZE)
    changed = image.copy()
    changed[:, SIZE // 2 + 1 :] = 255 - image[:, SIZE // 2 + 1 :]
    one, other = open_model(report.folder, "cpu").predict([bgr(image), bgr(changed)])
    assert one.score == other.score == pytest.approx(one.grid_map.max())
    assert one.anomaly_map.shape == (SIZE, SIZE) and np.array_equal(one.anomaly_map, other.anomaly_map)


class TestMask:
    @given(
        width=st.integers(8, 120),
        height=st.integers(8, 120),
        grow=st.sampled_from([1.0, 1.5, 2.0, 3.3]),
        seed=st.integers(0, 50),
    )
    def test_a_pixel_inside_averages_nothing_outside(self, width: int, height: int, grow: float, seed: int) -> None:
        """Whatever is painted outside the mask of an image, its area hides it after the resize."""
        from blemish.images import InputGeometry

        image_width, image_height = round(width * grow), round(height * grow)
        random = np.random.default_rng(seed)
        mask = np.zeros((image_height, image_width), np.uint8)
        centre = random.integers(0, image_width), random.integers(0, image_height)
        cv2.circle(mask, [int(c) for c in centre], max(4, min(mask.shape) // 3), 1, -1)
        try:
            area = area_of(mask.view(bool), None, width, height)
        except UsageError:
            return
        geometry = InputGeometry(width, height, image_width / image_height)
        image = random.integers(0, 256, (image_height, image_width, 3), np.uint8)
        other = np.where(mask.view(bool)[..., None], image, 255 - image)
        assert np.array_equal(area.fill(geometry.fit(image)), area.fill(geometry.fit(other)))

    def test_rle_and_back(self) -> None:
        mask = np.random.default_rng(0).random((30, 50)) > 0.5
        assert np.array_equal(Area.from_rle(Area(mask).to_rle()).mask, mask)

    def test_a_cell_outside_has_the_nearest_value_inside(self) -> None:
        mask = np.zeros((32, 64), bool)
        mask[8:16, 17:40] = True  # of cells of 8 pixels: row 1, columns 2 to 4
        grid = np.arange(32, dtype=np.float32).reshape(4, 8)
        inside = Area(mask).inside(grid)
        assert np.array_equal(inside, np.tile(grid[1, [2, 2, 2, 3, 4, 4, 4, 4]], (4, 1)))

    def test_polygons_are_shares_of_the_image(self) -> None:
        mask = draw_polygons([LEFT], 200, 100)
        assert mask[:, :99].all() and not mask[:, 101:].any()


class TestRefusals:
    SIZES = [(SIZE, SIZE)] * 3

    def frame(self, *overrides: str) -> object:
        config = load_config(None, ["Model.width=96", "Model.height=96", *overrides])
        return frame_of(config.Model, self.SIZES, Sides())

    def mask_file(self, path: Path, mask: npt.NDArray[np.uint8]) -> str:
        cv2.imwrite(str(path), mask)
        return f"Model.roi={path}"

    def test_a_mask_file(self, tmp_path: Path) -> None:
        mask = np.zeros((96, 96), np.uint8)
        mask[20:50, 30:60] = 255
        frame = self.frame(self.mask_file(tmp_path / "roi.png", mask))
        assert np.array_equal(frame.area.mask, mask > 0)

    @pytest.mark.parametrize("size", [(100, 192), (96, 95)])
    def test_a_mask_of_another_aspect(self, size: tuple[int, int], tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"roi.png has .* the training images 192x192"):
            self.frame(self.mask_file(tmp_path / "roi.png", np.full(size, 255, np.uint8)))

    def test_an_empty_mask(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="nothing of the image is left"):
            self.frame(self.mask_file(tmp_path / "roi.png", np.zeros((96, 96), np.uint8)))

    def test_all_ignored(self) -> None:
        with pytest.raises(UsageError, match="nothing of the image is left"):
            self.frame("Model.ignore=[[0, 0], [1, 0], [1, 1], [0, 1]]")

    def test_no_image_and_no_file(self, tmp_path: Path) -> None:
        from blemish.errors import DatasetError

        (tmp_path / "roi.png").write_text("not an image")
        with pytest.raises(DatasetError, match=r"roi.png: the mask cannot be read"):
            self.frame(f"Model.roi={tmp_path / 'roi.png'}")
        with pytest.raises(UsageError, match="no file"):
            self.frame(f"Model.ignore={tmp_path / 'missing.png'}")

    @pytest.mark.parametrize(
        "value", ["[]", "[[0, 0], [1, 1]]", "[[0, 0], [1, 0], [1, 2]]", "3.5", "[[0, 0], [1, 0], [1]]"]
    )
    def test_what_is_no_polygon(self, value: str) -> None:
        if value == "3.5":
            with pytest.raises(UsageError, match="no file"):
                self.frame(f"Model.roi={value}")
            return
        with pytest.raises(UsageError, match="polygon"):
            self.frame(f"Model.roi={value}")

    @pytest.mark.parametrize("value", ["0x2", "2", "2x", "100x1", "axb", "2 x 2"])
    def test_what_is_no_grid(self, value: str) -> None:
        with pytest.raises(UsageError, match="columns x rows"):
            self.frame(f"Model.tiles={value}")

    def test_tiles_that_would_enlarge_the_image(self) -> None:
        with pytest.raises(UsageError, match=r"Model.tiles is 3x3.*192x192 only"):
            self.frame("Model.tiles=3x3")

    def test_training_images_of_two_aspects(self, good: Path, tmp_path: Path) -> None:
        from blemish.errors import DatasetError

        for path in list(good.iterdir())[:5]:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((100, 190, 3), np.uint8))
        with pytest.raises(DatasetError, match=r"wide.png has 190x100"):
            fitted(tmp_path, tmp_path / "out", f"Model.roi={LEFT}")
