"""Training and test images, or good and defective ones, that come from different sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from plates import plate, scratched

from blemish.checking import Finding, check_dataset
from blemish.checking.stored import LOSSLESS, Stored, stored_as

Save = Callable[[Image.Image, Path, int], None]  # an image, its path without suffix, its number in the group


def jpeg(quality: int, **options: int) -> Save:
    return lambda image, path, _: image.save(path.with_suffix(".jpg"), quality=quality, **options)


def png(image: Image.Image, path: Path, _: int) -> None:
    image.save(path.with_suffix(".png"))


def changed(change: Callable[[Image.Image], Image.Image]) -> Save:
    return lambda image, path, number: png(change(image), path, number)


def some(count: int, save: Save, others: Save) -> Save:
    """The first images of a group otherwise than the rest."""
    return lambda image, path, number: (save if number < count else others)(image, path, number)


def findings(
    root: Path, train: Save, good: Save, defects: Save, counts: tuple[int, int, int] = (5, 3, 3)
) -> list[Finding]:
    """What the check says of groups of such files; there are too few images for a look at the pictures."""
    for folder, save, count, first in (
        ("train/good", train, counts[0], 0),
        ("test/good", good, counts[1], 100),
        ("test/scratch", defects, counts[2], 200),
    ):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            start = (10 + 8 * number, 10 + 5 * number)
            picture = scratched(first + number, start)[0] if first == 200 else plate(first + number)
            save(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)), root / folder / f"{number:03}", number)
    found = check_dataset(root, root.parent / "out").findings
    return [finding for finding in found if finding.code.startswith("mixed_")]


class TestGroups:
    @pytest.mark.parametrize(
        ("code", "train", "good", "defects", "said"),
        [
            (
                "mixed_compression",
                jpeg(95),
                jpeg(60),
                jpeg(60),
                ("3 of 3 good test", "about 60", "0 of 5 training", "about 95"),
            ),
            ("mixed_compression", jpeg(75), jpeg(75), png, ("3 of 3 defective", "lossless (PNG)", "about 75")),
            ("mixed_compression", png, png, jpeg(90, subsampling=0), ("quality about 90, colours 4:4:4",)),
            (
                "mixed_compression",
                jpeg(90, subsampling=0),
                jpeg(90, subsampling=2),
                jpeg(90, subsampling=2),
                ("4:2:0", "4:4:4"),
            ),
            (
                "mixed_format",
                png,
                png,
                lambda image, path, _: image.save(path.with_suffix(".bmp")),
                ("stored as BMP", "PNG"),
            ),
            ("mixed_sizes", png, png, changed(lambda image: image.resize((80, 60))), ("of 80x60 pixels", "160x120")),
            ("mixed_colour", png, changed(lambda image: image.convert("L")), png, ("are grey", "in colour")),
            ("mixed_transparency", png, png, changed(lambda image: image.convert("RGBA")), ("with transparency",)),
        ],
    )
    def test_the_difference_is_named_with_both_sides(self, code, train, good, defects, said, tmp_path):
        found = findings(tmp_path / "set", train, good, defects)
        assert {finding.code for finding in found} == {code}
        assert all(text in found[0].message for text in said), found[0].message
        assert "a detector finds that difference instead of defects" in found[0].message
        assert all(name.startswith("test/") for finding in found for name in finding.files)

    def test_most_of_a_group_is_enough(self, tmp_path):
        mostly_jpeg, mostly_png = some(18, jpeg(95), png), some(18, png, jpeg(95))
        # nine of ten images on each side
        for folder, save, count in (("train/good", mostly_jpeg, 20), ("test/scratch", mostly_png, 20)):
            (tmp_path / "set" / folder).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(
                    np.random.default_rng(len(folder) * 100 + number).integers(0, 255, (24, 32, 3), np.uint8)
                )
                save(image, tmp_path / "set" / folder / f"{number:03}", number)
        found = check_dataset(tmp_path / "set", tmp_path / "out").findings
        (finding,) = (one for one in found if one.code.startswith("mixed_"))
        assert finding.code == "mixed_compression" and "18 of 20 defective images are lossless" in finding.message
        assert "but 2 of 20 good images" in finding.message and len(finding.files) == 18

    @pytest.mark.parametrize(
        ("train", "good", "defects"),
        [
            (jpeg(90), jpeg(90), jpeg(90)),
            (some(2, jpeg(60), png), some(1, jpeg(60), png), some(1, jpeg(60), png)),
            (jpeg(90), jpeg(92), jpeg(94)),
            (png, png, some(1, jpeg(50), png)),
        ],
        ids=["alike", "the same mixture in each", "hardly different", "one of three"],
    )
    def test_what_groups_have_alike_is_not(self, train, good, defects, tmp_path):
        assert findings(tmp_path / "set", train, good, defects) == []

    def test_images_that_all_have_a_size_of_their_own_are_no_groups(self, tmp_path):
        def sized(first: int) -> Save:
            return lambda image, path, number: png(image.resize((100 + first + number, 60)), path, number)

        (finding,) = findings(tmp_path / "set", sized(0), sized(20), sized(40))
        assert finding.code == "mixed_sizes" and "instead of defects" not in finding.message


class TestStored:
    def test_the_quality_of_jpeg_within_one(self, tmp_path):
        picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
        for quality in range(1, 101):
            Image.fromarray(picture).save(tmp_path / "a.jpg", quality=quality)
            (tmp_path / "b.jpg").write_bytes(
                cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            )
            for name in ("a.jpg", "b.jpg"):
                assert abs(stored_as(tmp_path / name, "JPEG").quality - quality) <= 1, (name, quality)

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
    def test_the_colours_of_jpeg(self, subsampling, tmp_path):
        image = Image.new("RGB", (32, 32), (200, 30, 60))
        image.save(tmp_path / "a.jpg", subsampling=subsampling, progressive=True)
        assert stored_as(tmp_path / "a.jpg", "JPEG").chroma == subsampling
        image.convert("L").save(tmp_path / "grey.jpg")
        assert stored_as(tmp_path / "grey.jpg", "JPEG").chroma == ""

    def test_lossy_and_lossless_files(self, tmp_path):
        image, other = (Image.new("RGB", (32, 32), (level, 30, 60)) for level in (200, 100))
        exif = Image.Exif()
        exif[274] = 1
        for options in ({}, {"exif": exif}, {"save_all": True, "append_images": [other]}):
            for lossless in (True, False):
                image.save(tmp_path / "a.webp", lossless=lossless, **options)
                assert stored_as(tmp_path / "a.webp", "WEBP") == Stored("WEBP", LOSSLESS if lossless else 0), options
        for compression, quality in (("jpeg", 0), ("tiff_lzw", LOSSLESS), (None, LOSSLESS)):
            image.save(tmp_path / "a.tif", compression=compression)
            assert stored_as(tmp_path / "a.tif", "TIFF") == Stored("TIFF", quality)
        assert stored_as(tmp_path / "a.png", "PNG") == Stored("PNG", LOSSLESS)

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff\xd8",
            b"\xff\xd8" + b"\xff" * 100_000,
            b"\xff\xd8" + b"\xff\xe0\0\x02" * 100_000,
            b"\xff\xd8\xff\xdb\0\x02\xff\xda",
            b"RIFF\0\0\0\0WEBP" + b"XXXX\0\0\0\0" * 100_000,
            b"RIFF\0\0\0\0WEBP" + b"XXXX\xff\xff\xff\xff",
            b"II*\0\xff\xff\xff\xff",
        ],
    )
    def test_damaged_files_are_borne(self, data, tmp_path):
        (tmp_path / "a").write_bytes(data)
        for kind in ("JPEG", "WEBP", "TIFF"):
            stored_as(tmp_path / "a", kind)
