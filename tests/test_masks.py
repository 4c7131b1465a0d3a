"""Masks as tools write them: what they mark, how they lie over images that are turned, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from plates import write

from blemish.datasets import Sample, read_mask
from blemish.datasets.masks.levels import marked_of
from blemish.datasets.masks.orientation import file_orientation
from blemish.datasets.masks.reading import mask_of, read_masks_of
from blemish.errors import DatasetError

SIZE = (60, 80)  # rows, columns
CLASSES = np.zeros(SIZE, np.uint8)  # two defects of class 1 and 2, off the middle so that no turn hides
cv2.circle(CLASSES, (30, 20), 9, 1, -1)
cv2.rectangle(CLASSES, (55, 35), (70, 50), 2, -1)
TRUTH = CLASSES > 0
MARK = TRUTH.astype(np.uint8) * 255


def of_classes(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """The mask with the values of background, class 1 and class 2."""
    return np.array(values, dtype)[CLASSES]


def palette(path: Path, *colours: tuple[int, int, int], order: tuple[int, ...] = (0, 1, 2), **options: object) -> Path:
    """A palette file: the indices of background, class 1 and class 2 are `order`."""
    image = Image.frombytes("P", SIZE[::-1], np.array(order, np.uint8)[CLASSES].tobytes())
    image.putpalette([*np.array(colours, np.uint8).ravel(), *[0] * (768 - 3 * len(colours))])
    image.save(path, **options)
    return path


def sample_of(*masks: Path, image: Path = Path("no image"), kind: str = "hole") -> Sample:
    return Sample(image, image.name, "test", kind, masks)


def codes(*masks: Path, image: Path = Path("no image"), kind: str = "hole", size: tuple[int, int] = SIZE) -> list[str]:
    return [remark.code for remark in read_masks_of(sample_of(*masks, image=image, kind=kind), size).remarks]


class TestLevels:
    @pytest.mark.parametrize(
        "stored",
        [
            MARK,
            of_classes(0, 1, 1),
            of_classes(0, 1, 2),
            of_classes(0, 1, 255),
            of_classes(0, 85, 170),
            of_classes(0, 100, 250),
            of_classes(0, 236, 255),
            of_classes(0, 254, 255),
            of_classes(0, 1, 1, dtype=np.uint16),
            of_classes(0, 3, 400, dtype=np.uint16),
            of_classes(0, 300, 60_000, dtype=np.uint16),
            of_classes(0, 65_535, 65_535, dtype=np.uint16),
        ],
        ids=lambda stored: f"{np.unique(stored)[1:].tolist()} of {stored.dtype}",
    )
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sharp_levels_are_classes_and_all_marked(self, stored, suffix, tmp_path):
        file = write(tmp_path / f"mask{suffix}", stored)
        assert np.array_equal(read_mask(file), TRUTH)
        assert codes(file) == []

    @pytest.mark.parametrize("values", [[50, 100, 150, 200, 250], [85, 170, 255], [1, 255], list(range(40, 250, 7))])
    @pytest.mark.parametrize("seed", range(5))
    def test_maps_of_touching_and_crossing_classes(self, values, seed):
        random = np.random.default_rng(seed)
        levels = np.zeros((300, 400), np.uint8)
        for i in range(30):
            centre, end = (tuple(map(int, random.integers(0, 300, 2))) for _ in range(2))
            value = values[i % len(values)]
            if i % 2:
                cv2.circle(levels, centre, int(random.integers(2, 30)), value, -1)
            else:
                cv2.line(levels, centre, end, value, int(random.integers(1, 5)))
        found = marked_of(levels)
        assert found.cut is None and found.is_sure and np.array_equal(found.pixels, levels > 0)

    @pytest.mark.parametrize(
        "soften",
        [
            lambda mask: cv2.GaussianBlur(mask, (0, 0), 0.6),
            lambda mask: cv2.GaussianBlur(mask, (0, 0), 2),
            lambda mask: cv2.resize(cv2.resize(mask, (56, 42), interpolation=cv2.INTER_AREA), SIZE[::-1]),
            lambda mask: cv2.warpAffine(
                mask, np.float32([[1, 0, 0.4], [0, 1, 0.4]]), SIZE[::-1], flags=cv2.INTER_CUBIC
            ),
            lambda mask: cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0),
            lambda mask: cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], 0),
            lambda mask: cv2.imdecode(cv2.imencode(".webp", mask, [cv2.IMWRITE_WEBP_QUALITY, 50])[1], 0),
        ],
        ids=["narrow blur", "blur", "resized", "shifted", "jpeg 60", "jpeg 95", "webp"],
    )
    def test_soft_edges_are_cut_at_half(self, soften, tmp_path):
        soft = soften(MARK)
        assert len(np.unique(soft)) > 2
        file = write(tmp_path / "mask.png", soft)
        assert np.array_equal(read_mask(file), soft > 127)
        assert codes(file) == ["mask_not_binary"]
        assert (read_mask(file) != TRUTH).mean() < 0.02

    def test_soft_edges_of_two_classes_keep_both(self, tmp_path):
        soft = cv2.GaussianBlur(of_classes(0, 90, 255), (0, 0), 0.8)
        file = write(tmp_path / "mask.png", soft)
        assert (read_mask(file) != TRUTH).mean() < 0.02
        assert "above 45 of 255 counts" in read_masks_of(sample_of(file), SIZE).remarks[0].message

    @pytest.mark.parametrize("quality", [20, 75, 98, 100])
    def test_jpeg_is_never_a_map_of_classes(self, quality, tmp_path):
        Image.fromarray(MARK).save(tmp_path / "mask.jpg", quality=quality)
        assert (read_mask(tmp_path / "mask.jpg") != TRUTH).mean() < 0.005

    def test_values_that_are_fractions_or_of_32_bits(self, tmp_path):
        write(tmp_path / "fraction.tif", TRUTH.astype(np.float32))
        write(tmp_path / "soft.tif", cv2.GaussianBlur(TRUTH.astype(np.float32), (0, 0), 1))
        Image.fromarray(CLASSES.astype(np.int32) * 70_000).save(tmp_path / "long.tif")
        for name in ("fraction.tif", "long.tif"):
            assert np.array_equal(read_mask(tmp_path / name), TRUTH), name
        assert (read_mask(tmp_path / "soft.tif") != TRUTH).mean() < 0.005
        write(tmp_path / "nan.tif", np.where(TRUTH, np.nan, 0).astype(np.float32))
        with pytest.raises(DatasetError, match=r"nan\.tif: the mask cannot be read: holds values that are no numbers"):
            read_mask(tmp_path / "nan.tif")

    def test_one_bit(self, tmp_path):
        one_bit = Image.fromarray(MARK).convert("1")
        one_bit.save(tmp_path / "1.png")
        one_bit.save(tmp_path / "group4.tif", compression="group4")
        one_bit.save(tmp_path / "white_is_zero.tif", tiffinfo={262: 0})
        for name in ("1.png", "group4.tif", "white_is_zero.tif"):
            assert np.array_equal(read_mask(tmp_path / name), TRUTH), name


class TestPalettes:
    @pytest.mark.parametrize(
        "colours",
        [
            [(0, 0, 0), (128, 0, 0), (0, 128, 0)],
            [(0, 0, 0)] * 3,
            [(0, 0, 0), (85, 85, 85), (255, 255, 255)],
            [(255, 255, 255), (255, 0, 0), (0, 255, 0)],
            [(128, 128, 128), (255, 0, 0), (0, 255, 0)],
            [(200, 10, 10), (255, 255, 255), (0, 255, 0)],
        ],
        ids=["VOC", "all black", "grey", "on white", "on grey", "on red"],
    )
    @pytest.mark.parametrize("suffix", [".png", ".gif", ".tif", ".bmp"])
    def test_index_0_is_the_background(self, colours, suffix, tmp_path):
        file = palette(tmp_path / f"mask{suffix}", *colours)
        assert np.array_equal(read_mask(file), TRUTH) and codes(file) == []

    def test_where_index_0_is_not_black_but_black_is_used_it_is_said_what_was_taken(self, tmp_path):
        black_defect = palette(tmp_path / "defect.png", (255, 255, 255), (0, 0, 0), (255, 0, 0))
        black_ground = palette(tmp_path / "ground.png", (255, 0, 0), (0, 255, 0), (0, 0, 0), order=(2, 0, 1))
        for file in (black_defect, black_ground):
            assert np.array_equal(read_mask(file), TRUTH) and codes(file) == ["mask_background"]

    def test_transparency_of_an_index(self, tmp_path):
        ground = palette(tmp_path / "a.png", (0, 0, 0), (0, 255, 0), (0, 90, 0), transparency=0)
        last = palette(tmp_path / "b.png", (0, 255, 0), (0, 9, 0), (9, 9, 9), order=(2, 0, 1), transparency=2)
        faint = palette(tmp_path / "c.png", (0, 0, 0), (0, 255, 0), (0, 9, 0), transparency=bytes([255, 128, 64]))
        for file in (ground, last, faint):
            assert np.array_equal(read_mask(file), TRUTH), file.name

    def test_a_grey_gif_has_soft_edges_too(self, tmp_path):
        Image.fromarray(cv2.GaussianBlur(MARK, (0, 0), 1)).save(tmp_path / "mask.gif")
        assert (read_mask(tmp_path / "mask.gif") != TRUTH).mean() < 0.01
        assert codes(tmp_path / "mask.gif") == ["mask_not_binary"]


class TestTransparencyAndColours:
    @pytest.mark.parametrize("ground", [0, 90, 255])
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
    def test_transparency_that_varies_is_the_mask(self, ground, mode, suffix, tmp_path):
        channels = [np.full(SIZE, ground, np.uint8)] * (len(mode) - 1) + [MARK]
        options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
        Image.fromarray(np.dstack(channels), mode).save(tmp_path / f"mask{suffix}", **options)
        assert np.array_equal(read_mask(tmp_path / f"mask{suffix}"), TRUTH)

    @pytest.mark.parametrize("opacity", [0, 77, 255])
    def test_transparency_that_does_not_vary_is_none(self, opacity, tmp_path):
        rgba = np.dstack([MARK, MARK * 0, MARK, np.full(SIZE, opacity, np.uint8)])
        Image.fromarray(rgba).save(tmp_path / "mask.png")
        assert np.array_equal(read_mask(tmp_path / "mask.png"), TRUTH)

    def test_a_half_transparent_colour_on_opaque_black_is_a_colour(self, tmp_path):
        rgba = np.dstack([MARK, MARK * 0, MARK * 0, np.where(TRUTH, 128, 255).astype(np.uint8)])
        Image.fromarray(rgba).save(tmp_path / "mask.png")
        assert np.array_equal(read_mask(tmp_path / "mask.png"), TRUTH)

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".webp"])
    @pytest.mark.parametrize("ground", [0, 255, 200])
    def test_colours_on_black_and_on_another_background(self, ground, suffix, tmp_path):
        colours = np.array([(ground,) * 3, (255, 0, 0), (0, 0, 160)], np.uint8)[CLASSES]  # RGB
        file = tmp_path / f"mask{suffix}"
        Image.fromarray(colours).save(file, **({"lossless": True} if suffix == ".webp" else {}))
        assert (read_mask(file) != TRUTH).mean() < (0.02 if suffix == ".jpg" else 1e-9)
        assert ("mask_background" in codes(file)) == (ground > 0)

    def test_a_defect_along_the_whole_border_is_no_background(self, tmp_path):
        framed = np.zeros((*SIZE, 3), np.uint8)
        framed[:, :, 2] = 255  # red
        framed[5:-5, 5:-5] = 0
        assert np.array_equal(read_mask(write(tmp_path / "mask.png", framed)), framed[..., 2] > 0)

    def test_grey_without_a_zero_has_the_background_of_its_border(self, tmp_path):
        file = write(tmp_path / "mask.png", of_classes(255, 100, 150))
        assert np.array_equal(read_mask(file), TRUTH) and codes(file) == ["mask_background"]


class TestFiles:
    def test_what_cannot_be_read_is_named_with_the_reason(self, tmp_path):
        palette(tmp_path / "p.png", (0, 0, 0), (9, 0, 0), (0, 9, 0))
        Image.fromarray(np.dstack([MARK] * 4)).save(tmp_path / "alpha.png")
        Image.fromarray(MARK).save(tmp_path / "grey.gif")
        for whole in list(tmp_path.iterdir()):
            (tmp_path / f"cut_{whole.name}").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
            whole.unlink()
        (tmp_path / "text.png").write_text("no picture")
        (tmp_path / "empty.png").write_bytes(b"")
        for file in [*tmp_path.iterdir(), tmp_path / "missing.png"]:
            with pytest.raises(DatasetError, match=f"{file.name}: the mask cannot be read: "):
                read_mask(file)

    def test_a_bomb_is_refused_before_it_is_decoded(self, tmp_path):
        image = Image.new("P", (20_000, 20_000))
        image.save(tmp_path / "bomb.png")
        with pytest.raises(DatasetError, match="20000x20000 pixels are more than the limit"):
            read_mask(tmp_path / "bomb.png")

    def test_several_masks_count_together(self, tmp_path):
        first, second = (write(tmp_path / f"{name}.png", MARK * (name == CLASSES)) for name in (1, 2))
        sample = sample_of(first, second)
        assert np.array_equal(mask_of(sample, SIZE), TRUTH)
        write(second, MARK[:-1])
        assert codes(first, second) == ["mask_size"]
        with pytest.raises(DatasetError, match=r"2\.png: the mask has 80x59 pixels, its image 80x60"):
            mask_of(sample, SIZE)
        second.unlink()
        assert codes(first, second) == ["missing_file"]

    @pytest.mark.parametrize(
        ("kind", "mask", "expected"),
        [
            ("good", MARK, ["good_image_with_mask"]),
            ("good", MARK * 0, []),
            ("hole", MARK * 0, ["empty_mask"]),
            ("hole", 255 - MARK, ["inverted_mask"]),
            ("hole", MARK, []),
        ],
    )
    def test_what_is_marked(self, kind, mask, expected, tmp_path):
        assert codes(write(tmp_path / "mask.png", mask), kind=kind) == expected


class TestTurnedImages:
    @staticmethod
    def image(folder: Path, orientation: int, size: tuple[int, int], suffix: str = ".png") -> Path:
        """An image of (rows, columns) as stored, with an EXIF orientation."""
        exif = Image.Exif()
        exif[274] = orientation
        file = folder / f"image{suffix}"
        Image.new("RGB", size[::-1], (120, 90, 60)).save(file, exif=exif)
        return file

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
    def test_a_mask_that_fits_the_stored_pixels_only_is_turned(self, orientation, suffix, tmp_path):
        image = self.image(tmp_path, orientation, SIZE, suffix)
        assert file_orientation(image) == orientation
        file = write(tmp_path / "mask.png", MARK)
        exif = Image.Exif()
        exif[274] = orientation
        stored = Image.fromarray(MARK)
        stored.info["exif"] = exif.tobytes()
        stored.getexif()[274] = orientation
        shown = np.array(ImageOps.exif_transpose(stored)) > 0  # Pillow's own turn
        assert shown.shape == SIZE[::-1]
        assert np.array_equal(mask_of(sample_of(file, image=image), shown.shape), shown)
        assert codes(file, image=image, size=shown.shape) == ["turned_mask"]

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_a_mask_that_fits_the_shown_pixels_only_stays(self, orientation, tmp_path):
        image = self.image(tmp_path, orientation, SIZE[::-1])
        file = write(tmp_path / "mask.png", MARK)
        assert np.array_equal(mask_of(sample_of(file, image=image), SIZE), TRUTH) and codes(file, image=image) == []

    @pytest.mark.parametrize(("orientation", "size"), [(2, SIZE), (3, SIZE), (4, SIZE), (6, (60, 60)), (8, (60, 60))])
    def test_where_both_fit_it_is_said(self, orientation, size, tmp_path):
        image = self.image(tmp_path, orientation, size)
        file = write(tmp_path / "mask.png", MARK[:, : size[1]])
        assert np.array_equal(mask_of(sample_of(file, image=image), size), TRUTH[:, : size[1]])
        assert codes(file, image=image, size=size) == ["oriented_image"]

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
    @pytest.mark.parametrize("orientation", [3, 6])
    def test_a_mask_with_an_orientation_of_its_own_needs_none_of_its_image(self, orientation, suffix, tmp_path):
        size = (60, 60)
        image = self.image(tmp_path, orientation, size)
        exif = Image.Exif()
        exif[274] = orientation
        for mode in ("L", "P"):
            if suffix == ".jpg" and mode == "P":
                continue
            file = tmp_path / f"mask_{mode}{suffix}"
            square = MARK[:, :60]
            stored = Image.fromarray(square) if mode == "L" else Image.frombytes("P", size, square.tobytes())
            if mode == "P":
                stored.putpalette([0, 0, 0] * 255 + [9, 9, 9])
            stored.save(file, exif=exif, **({"quality": 100} if suffix == ".jpg" else {}))
            shown = np.rot90(square > 0, {3: 2, 6: 3}[orientation])
            assert np.array_equal(mask_of(sample_of(file, image=image), size), shown)
            assert "oriented_image" not in codes(file, image=image, size=size)

    def test_another_size_is_another_size_however_it_is_turned(self, tmp_path):
        image = self.image(tmp_path, 6, SIZE)
        assert codes(write(tmp_path / "mask.png", MARK[:-1]), image=image, size=SIZE[::-1]) == ["mask_size"]
