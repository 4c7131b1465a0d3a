"""What good looks like: the patches beside the memory bank, and the nearest of them for a region."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import fitted, model_of
from textures import plate, write_all
from tiny_model import tiny_info, tiny_network

from blemish.errors import BlemishError, ModelError, UsageError
from blemish.exporting import export_model
from blemish.fitting import FitReport
from blemish.good_patches import cut_good_patches
from blemish.images import Frame, InputGeometry, Inputs, Tiling, cut_patch
from blemish.models import (
    FileInfo,
    GoodPatches,
    ModelInfo,
    bring_back,
    encode_patch,
    load_model,
    pack_patches,
    patch_side,
    save_model,
    set_false_alarm_rate,
)
from blemish.pipeline import Predictor, Region, open_model
from blemish.service.uploads import read_model_zip
from blemish.training_images import TrainingImages
from blemish.updating import update

Image = npt.NDArray[np.uint8]

TILES = ("Model.tiles=2x1", "Model.width=64", "Model.height=96", "Model.overlap=0.5")
PATCHES = "good_patches.zip"


@pytest.fixture(scope="session")
def tiled(good: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    return fitted(good, tmp_path_factory.mktemp("tiled") / "out", *TILES)


@pytest.fixture
def run(usual: FitReport, tmp_path: Path) -> Path:
    """A run's folder that a test may change."""
    return Path(shutil.copytree(usual.output, tmp_path / "run"))


def of_before(info: ModelInfo) -> ModelInfo:
    """The record of a model whose thresholds are not interpolated."""
    return info.model_copy(update={"calibration": info.calibration.model_copy(update={"interpolated": False})})


def bgr(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


def raw_distances(model: bytes, inputs: Image) -> npt.NDArray[np.float32]:
    """The network's own distances to the nearest row before they are blurred, (tiles, h, w)."""
    proto = onnx.load_model_from_string(model)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("distances", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["distances"], {"image": inputs})[0])


def patches_of(folder: Path) -> GoodPatches:
    data = load_model(folder).good_patches
    assert data is not None
    return GoodPatches(data)


def one_pixel(x: int, y: int) -> Region:
    return Region((x, y, 1, 1), 1, 0.0, 0.0, (x + 0.5, y + 0.5))


class TestNearestGood:
    def test_a_defect_is_shown_beside_a_good_patch(self, usual: FitReport) -> None:
        predictor, image = open_model(usual.folder, "cpu"), plate(300, 300, defect=True)
        result = next(predictor.predict(bgr(image)))
        found = predictor.nearest_good(result)
        assert [patch.region for patch in found] == list(result.regions[:5]) != []
        first = found[0]
        assert np.hypot(first.place[0] - 180, first.place[1] - 120) < 25  # where the defect is
        assert first.here.dtype == first.good.dtype == np.uint8
        assert first.here.shape == first.good.shape == (64, 64, 3)
        assert first.here.min() < 40 < first.good.min()  # the dark spot is here, and not there

    @pytest.mark.parametrize("model", ["usual", "tiled"])
    def test_the_distance_is_the_value_of_the_map_before_its_blur(
        self, model: str, request: pytest.FixtureRequest
    ) -> None:
        """For every cell of the grid, so in every tile; where two tiles see a cell, for one of them."""
        folder = request.getfixturevalue(model).folder
        loaded, predictor, image = load_model(folder), open_model(folder, "cpu"), plate(301, 96, defect=True)
        frame = loaded.info.input.frame
        width, height = frame.tiling.size
        image = cv2.resize(image, (width, height))
        raw = raw_distances(loaded.model, frame.inputs(image))  # (tiles, h, w)
        places = [(x, y) for y in range(4, height, 24) for x in range(4, width, 8)]
        found = predictor.nearest_good(bgr(image), [one_pixel(x, y) for x, y in places], most=len(places))
        assert len(found) == len(places)
        tiles = set()
        for (x, y), patch in zip(places, found, strict=True):
            tile, inside_x, inside_y = frame.tiling.tile_at(x + 0.5, y + 0.5)
            tiles.add(tile)
            assert patch.distance == pytest.approx(raw[tile, int(inside_y) // 8, int(inside_x) // 8], rel=1e-3)
        assert tiles == set(range(frame.tiling.count))

    @pytest.mark.parametrize("model", ["usual", "tiled"])
    def test_a_training_image_finds_its_own_patches(
        self, model: str, plates: list[Image], request: pytest.FixtureRequest
    ) -> None:
        """At the origin of every fifth row, the nearest row is that one, its picture the image's own."""
        folder = request.getfixturevalue(model).folder
        predictor, patches = open_model(folder, "cpu"), patches_of(folder)
        frame = predictor.frame
        shown = 0
        for image in plates[:6]:
            whole = frame.fit(image)
            places = [(x, y) for y in range(4, whole.shape[0], 8) for x in range(4, whole.shape[1], 8)]
            ratio = image.shape[1] / whole.shape[1], image.shape[0] / whole.shape[0]
            regions = [one_pixel(int(x * ratio[0]), int(y * ratio[1])) for x, y in places]
            found = predictor.nearest_good(bgr(image), regions, most=len(regions))
            for patch in (patch for patch in found if patch.distance < 1e-2):
                shown += 1
                assert np.abs(patch.good.astype(int) - patch.here).mean() < 6  # JPEG
                assert (patch.good == patches.patch(patch.row)).all()
        assert shown > 20

    def test_letterboxed_images_and_areas(self, good: Path, tmp_path: Path) -> None:
        area = "Model.roi=[[0, 0], [1, 0], [1, 0.7], [0, 0.7]]"
        predictor = open_model(fitted(good, tmp_path / "run", area).folder, "cpu")
        found = predictor.nearest_good(bgr(plate(300, 300, defect=True)))
        assert found and np.hypot(found[0].place[0] - 180, found[0].place[1] - 120) < 25
        assert found[0].here.min() < 40

    def test_a_wide_image(self, usual: FitReport) -> None:
        """Mirrored below: the place and the cell are those of the content."""
        predictor = open_model(usual.folder, "cpu")
        wide = np.concatenate([plate(302, 200), plate(303, 200, defect=True)], axis=1)  # (200, 400, 3)
        found = predictor.nearest_good(bgr(wide))
        assert found and np.hypot(found[0].place[0] - 320, found[0].place[1] - 80) < 25
        assert found[0].here.min() < 60 < found[0].good.min()

    def test_most_bounds_the_answer(self, usual: FitReport) -> None:
        predictor = open_model(usual.folder, "cpu")
        regions = [one_pixel(10 * i, 10) for i in range(8)]
        assert len(predictor.nearest_good(bgr(plate(1)), regions)) == 5
        assert len(predictor.nearest_good(bgr(plate(1)), regions, most=7)) == 7
        assert predictor.nearest_good(bgr(plate(1)), []) == []

    def test_what_cannot_be_shown(self, usual: FitReport) -> None:
        predictor = open_model(usual.folder, "cpu")
        result = next(predictor.predict(bgr(plate(300, defect=True))))
        object.__setattr__(result, "image", None)
        with pytest.raises(UsageError, match="no image"):
            predictor.nearest_good(result)
        with pytest.raises(UsageError, match="nowhere"):
            predictor.nearest_good("nowhere.png")

    def test_a_model_without_a_bank_has_none(self, tmp_path: Path) -> None:
        folder = save_model(tmp_path / "model", tiny_network(), tiny_info())
        assert open_model(folder, "cpu").nearest_good(bgr(plate(1)), [one_pixel(1, 1)]) == []


class TestTheFile:
    def test_one_picture_for_each_row(self, usual: FitReport) -> None:
        with zipfile.ZipFile(usual.folder / PATCHES) as archive:
            names = archive.namelist()
            assert archive.testzip() is None
            picture = cv2.imdecode(np.frombuffer(archive.read("7.jpg"), np.uint8), cv2.IMREAD_COLOR)
        assert names == [f"{row}.jpg" for row in range(512)]
        assert picture is not None and picture.shape == (64, 64, 3)

    def test_the_same_seed_gives_the_same_file(self, usual: FitReport, good: Path, tmp_path: Path) -> None:
        again = fitted(good, tmp_path / "run", "Calibrate.false_alarm_rate=0.1")
        assert (again.folder / PATCHES).read_bytes() == (usual.folder / PATCHES).read_bytes()

    def test_images_that_are_read_again_give_the_same(
        self, usual: FitReport, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where the images do not fit into memory, but the features do, so that the bank is the same."""
        monkeypatch.setattr(TrainingImages, "_hold", lambda self, _image, _room: setattr(self, "_held", None))
        again = fitted(good, tmp_path / "run", "Calibrate.false_alarm_rate=0.1")
        assert load_model(again.folder).model == load_model(usual.folder).model
        assert (again.folder / PATCHES).read_bytes() == (usual.folder / PATCHES).read_bytes()

    def test_switched_off(self, good: Path, usual: FitReport, tmp_path: Path) -> None:
        folder = fitted(good, tmp_path / "run", "Model.good_patches=false", "Calibrate.false_alarm_rate=0.1").folder
        assert not (folder / PATCHES).exists()
        stated = json.loads((folder / "model.json").read_text())
        assert PATCHES not in stated["files"]
        assert open_model(folder, "cpu").nearest_good(bgr(plate(300, defect=True))) == []
        assert load_model(folder).model == load_model(usual.folder).model

    def test_only_a_folder_with_them_needs_a_reader_that_knows_them(self, usual: FitReport, tmp_path: Path) -> None:
        loaded, patches = load_model(usual.folder), (usual.folder / PATCHES).read_bytes()
        for pictures, version in ((None, 1), (patches, 4)):
            folder = save_model(tmp_path / str(version), loaded.model, of_before(loaded.info), pictures)
            assert json.loads((folder / "model.json").read_text())["format_version"] == version

    def test_taken_away_by_hand(self, run: Path) -> None:
        folder = run / "best_model" / "inference"
        (folder / PATCHES).unlink()
        predictor = open_model(run, "cpu")
        image = bgr(plate(300, defect=True))
        assert next(predictor.predict(image)).is_anomalous and predictor.nearest_good(image) == []

    def test_a_retrained_model_loses_the_old_file(self, run: Path) -> None:
        folder = run / "best_model" / "inference"
        loaded = load_model(folder)
        save_model(folder, loaded.model, loaded.info.model_copy(update={"files": {}}))
        assert sorted(path.name for path in folder.iterdir()) == ["inference.yml", "model.json", "model.onnx"]

    def test_changing_the_rate_keeps_it(self, run: Path) -> None:
        set_false_alarm_rate(run, 0.2)
        assert len(patches_of(run)) == 512

    def test_exports_do_not_carry_it(self, run: Path, tmp_path: Path) -> None:
        for name in ("onnx", "ort"):
            folder = export_model(run, name, tmp_path / name)
            stated = json.loads((folder / "model.json").read_text())
            assert not (folder / PATCHES).exists() and PATCHES not in stated["files"]
        with pytest.raises(ModelError, match="holds a model, which is not replaced"):
            export_model(tmp_path / "onnx", "ort", run / "best_model" / "inference")

    def test_large_banks_have_small_patches(self) -> None:
        assert [patch_side(rows) for rows in (1, 8192, 8193, 50_000)] == [64, 64, 32, 32]


class TestUpdates:
    def test_an_update_extends_it_and_undo_brings_it_back(self, run: Path, tmp_path: Path) -> None:
        before = load_model(run).good_patches
        darker = [(plate(seed) * 0.6).astype(np.uint8) for seed in range(400, 408)]
        record = update(run, write_all(tmp_path / "new", darker), calibrate=True, device="cpu").record
        assert record is not None and record.size is not None and record.size[1] > record.size[0]
        after = patches_of(run)
        assert before is not None and len(after) == record.size[1]
        old = GoodPatches(before)
        assert all(after.encoded(row) == old.encoded(row) for row in range(len(old)))
        assert after.patch(len(old)).mean() < old.patch(0).mean() - 20  # cut from the new, darker images
        found = open_model(run, "cpu").nearest_good(bgr(darker[0]), [one_pixel(48, 48)])
        assert found[0].row >= len(old)
        bring_back(run)
        assert load_model(run).good_patches == before

    def test_a_model_without_it_stays_so(self, run: Path, tmp_path: Path) -> None:
        (run / "best_model" / "inference" / PATCHES).unlink()
        update(run, write_all(tmp_path / "new", [plate(400), plate(401)]), device="cpu")
        assert load_model(run).good_patches is None


def _packed(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return packed.getvalue()


PATCH = encode_patch(plate(1, 64))
LARGE = encode_patch(plate(1, 65))
PNG = cv2.imencode(".png", plate(1, 16))[1].tobytes()


class TestHostileFiles:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"PK",
            b"no zip file at all" * 10,
            _packed({"0.jpg": PATCH})[:-5],
            _packed({"0.jpg": PATCH}, comment=b"x"),
            _packed({"0.jpg": PATCH, "2.jpg": PATCH}),
            _packed({"../0.jpg": PATCH}),
            _packed({"0.jpg": PATCH, "evil.sh": b"rm"}),
            _packed({"0.jpg": b"\0" * 20_000}, zipfile.ZIP_DEFLATED),
            _packed({"0.jpg": b"\0" * (33 << 10)}),
            _packed({"0.jpg": PATCH})[:-12] + b"\xff\xff" + _packed({"0.jpg": PATCH})[-10:],
            _packed({"0.jpg": PATCH})[:-10] + b"\xff\xff\xff\x7f" + _packed({"0.jpg": PATCH})[-6:],
            _packed({}),
        ],
        ids=lambda data: f"{len(data)} bytes",
    )
    def test_refused_in_one_line(self, data: bytes) -> None:
        with pytest.raises(ModelError) as caught:
            GoodPatches(data).patch(0)
        assert "\n" not in str(caught.value) and PATCHES in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", PATCH[:-200], LARGE, PNG, b"GIF89a" + b"\0" * 99])
    def test_pictures_that_are_none(self, content: bytes) -> None:
        patches = GoodPatches(_packed({"0.jpg": PATCH, "1.jpg": content}))
        assert patches.patch(0).shape == (64, 64, 3)
        with pytest.raises(ModelError) as caught:
            patches.patch(1)
        assert "\n" not in str(caught.value) and "1.jpg" in str(caught.value)

    @given(place=st.integers(0, 10**6), value=st.integers(0, 255))
    def test_a_changed_byte_never_escapes(self, place: int, value: int) -> None:
        data = bytearray(_packed({"0.jpg": PATCH, "1.jpg": PATCH}))
        data[place % len(data)] = value
        try:
            assert GoodPatches(bytes(data)).patch(1).shape == (64, 64, 3)
        except ModelError as error:
            assert "\n" not in str(error)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or changed"),
            (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "changed or damaged"),
            (lambda path: (path.rename(path.with_name("other")), path.symlink_to("other")), "is a link"),
        ],
    )
    def test_changed_files(self, run: Path, change: Callable[[Path], object], words: str) -> None:
        """What predicts does not look at them; what shows them refuses them."""
        change(run / "best_model" / "inference" / PATCHES)
        predictor, image = open_model(run, "cpu"), bgr(plate(300, defect=True))
        assert next(predictor.predict(image)).is_anomalous
        with pytest.raises(ModelError, match=words):
            predictor.nearest_good(image)

    def test_patches_of_another_bank(self, run: Path) -> None:
        loaded = load_model(run)
        save_model(run / "best_model" / "inference", loaded.model, loaded.info, pack_patches([PATCH] * 3))
        with pytest.raises(ModelError, match="does not belong"):
            open_model(run, "cpu").nearest_good(bgr(plate(300, defect=True)))

    def test_an_older_format_with_patches(self, run: Path) -> None:
        info = of_before(load_model(run).info)
        with pytest.raises(ValueError, match="format versions 1 to 3"):
            type(info).model_validate({**dict(info), "format_version": 3})
        with pytest.raises(ValueError, match="files"):
            type(info).model_validate({**dict(info), "files": {"x": FileInfo(sha256="0" * 64, bytes=1)}})


class TestUploads:
    def test_taken_with_and_without(self, usual: FitReport) -> None:
        files = {path.name: path.read_bytes() for path in usual.folder.iterdir()}
        assert read_model_zip(_packed(files)) == files
        without = {name: data for name, data in files.items() if name != PATCHES}
        assert read_model_zip(_packed(without)) == without

    def test_too_large(self, usual: FitReport) -> None:
        files = {path.name: path.read_bytes() for path in usual.folder.iterdir()}
        data = bytearray(_packed(files))
        entry = data.rfind(PATCHES.encode()) - 46  # in the directory: compressed and whole size at 20 and 24
        data[entry + 20 : entry + 28] = (200 << 20).to_bytes(4, "little") * 2
        with pytest.raises(ModelError):
            read_model_zip(bytes(data))

    def test_a_hostile_file_is_refused_at_the_door(self, run: Path, tmp_path: Path) -> None:
        from blemish.service.shelf import Shelf

        loaded = load_model(run)
        folder = save_model(tmp_path / "model", loaded.model, loaded.info, _packed({"../0.jpg": PATCH}))
        upload = _packed({path.name: path.read_bytes() for path in folder.iterdir()})
        with pytest.raises(BlemishError, match=r"is not called 0\.jpg"):
            Shelf(tmp_path / "service").keep(upload)


class _Bank:
    """A detector as far as patches go."""

    def __init__(self, origins: list[list[int]]) -> None:
        self.row_origins = np.array(origins, np.int32)


def test_patches_come_from_the_stated_cells() -> None:
    """Every pixel of an image tells its place: tile 1 begins at x = 48, its cell (2, 3) has its centre 28 further."""
    x, y = np.meshgrid(np.arange(112), np.arange(96))
    image = np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)
    frame = Frame(InputGeometry(112, 96, 112 / 96), Tiling(64, 96, 2, 1, 48, 48))
    inputs = Inputs([image * 0, image], frame, [(112, 96)] * 2)
    bank = _Bank([[3, 2, 3], [0, 0, 0], [2, 5, 1]])
    data = cut_good_patches(bank, inputs, (12, 8), lambda *_: None)  # type: ignore[arg-type]
    assert data is not None
    patches = GoodPatches(data)
    first = patches.patch(0).astype(int)
    assert np.abs(first[..., 0] - x[:64, 44:108]).max() < 8 and np.abs(first[..., 1] - y[:64, 44:108]).max() < 8
    assert patches.patch(1).max() < 3
    last = patches.patch(2).astype(int)
    assert np.abs(last[..., 0] - x[12:76, :64]).max() < 8 and np.abs(last[..., 1] - y[12:76, :64]).max() < 8


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.floats(0, 90), st.floats(0, 90)),
    st.integers(1, 64),
)
def test_a_cut_patch_lies_inside_and_holds_the_place(
    size: tuple[int, int], place: tuple[float, float], side: int
) -> None:
    height, width = size
    x, y = min(place[0], width - 1), min(place[1], height - 1)
    image = np.arange(height * width).reshape(height, width, 1)
    patch = cut_patch(image, x, y, side)  # type: ignore[arg-type]
    assert patch.shape[:2] == (min(side, height), min(side, width))
    assert image[int(y), int(x)] in patch


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0, 0.999), st.floats(0, 0.999))
def test_a_place_and_its_tile(columns: int, rows: int, x_share: float, y_share: float) -> None:
    """The place is inside the tile, and no other tile has it farther from its edges."""
    tiling = Tiling.of(64, 96, columns, rows, 0.4)
    x, y = x_share * tiling.size[0], y_share * tiling.size[1]
    tile, inside_x, inside_y = tiling.tile_at(x, y)
    assert 0 <= inside_x < 64 and 0 <= inside_y < 96
    left, top = tile % columns * tiling.step_x, tile // columns * tiling.step_y
    assert (left + inside_x, top + inside_y) == pytest.approx((x, y))
    cell = int(inside_y // 8), int(inside_x // 8)
    centre = tiling.centre_of(tile, cell, (12, 8))
    assert max(abs(centre[0] - x), abs(centre[1] - y)) <= 4 + 1e-9
    depth = min(inside_x, 64 - inside_x)
    assert all(min(x - i * tiling.step_x, i * tiling.step_x + 64 - x) <= depth + 1e-9 for i in range(columns))


def test_lower_precision_shows_the_patches_of_the_fitted_model(usual: FitReport) -> None:
    fitted_model = model_of(usual)
    lowered = type(fitted_model)(fitted_model.info.model_copy(update={"files": {}}), fitted_model.model, Path("cache"))
    predictor = open_model(usual.folder, "cpu")
    lower = Predictor(lowered, predictor.engines, fitted=fitted_model)
    image = bgr(plate(300, defect=True))
    assert [patch.row for patch in lower.nearest_good(image)] == [patch.row for patch in predictor.nearest_good(image)]
