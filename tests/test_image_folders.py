"""What a folder gives: every image by its name, links to folders, and a word on whatever is left out."""

from __future__ import annotations

import io
import logging
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from blemish.images import expand, is_image_name, left_out_line, list_images, look_through, unread_kind

PNG = cv2.imencode(".png", np.full((4, 5, 3), 90, np.uint8))[1].tobytes()


def put(path: Path, data: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


ALIASES = "jfif jpe jif jfi jpg JPEG tif TIFF pnm gif jp2 j2k jpx jpf avif apng dib webp"


@pytest.mark.parametrize("suffix", ALIASES.split())
def test_plain_aliases_are_images(suffix: str) -> None:
    assert is_image_name(f"a.{suffix}") and unread_kind(f"a.{suffix}") is None


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.heic", ".heic"), ("A.HEIF", ".heif"), ("x/y.JXL", ".jxl"), ("a.b.tga", ".tga"), ("scan.dcm", ".dcm"),
        ("a.npy", ".npy"), ("a.raw", ".raw"), ("a.CR2", ".cr2"), ("a.dng", ".dng"), ("a.psd", ".psd"),
        ("a.exr", ".exr"), ("a.svg", ".svg"), ("head.nii.gz", ".nii.gz"),
        ("a.nef", ".nef"), ("a.arw", ".arw"), ("a.pfm", ".pfm"),
        ("a.txt", None), ("a.json", None), ("heic", None), (".heic", None), ("a", None), ("a.gz", None),
        ("a.mp4", None),
    ],
)  # fmt: skip
def test_unread_pictures_are_known_by_their_suffix(name: str, kind: str | None) -> None:
    assert unread_kind(name) == kind and not is_image_name(name)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.jfif")
    for name in ("1.heic", "2.HEIC", "sub/3.heic", "4.npy", "5.dcm"):
        put(tmp_path / name, b"\0" * 9)
    put(tmp_path / "camera.img7")
    put(tmp_path / "IMG0001", cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    put(tmp_path / "a.jxltmp", b"\xff\x0a" + bytes(20))
    for name, data in {
        "notes.txt": b"text", "labels.json": b"{}", "half.part": PNG, "x.tmp": PNG, "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "readme": b"BM is a fine beginning of a text", ".hidden": PNG, "movie.mp4": b"\0\0\0\x18ftypisom" + bytes(50),
        "empty": b"", "report.docx": b"PK\3\4" + bytes(40), "a_res.json": b"{}",
    }.items():  # fmt: skip
        put(tmp_path / name, data)
    put(tmp_path / "a_res.npy")
    found = look_through(tmp_path)
    assert found.images == list_images(tmp_path) == [tmp_path / "a.png", tmp_path / "b.jfif"]
    by_content = "(images by their content; rename them)"
    assert found.left_out == Counter({
        ".heic": 3, ".npy": 1, ".dcm": 1, f".img7 {by_content}": 1, f"without a suffix {by_content}": 1,
        f".jxltmp {by_content}": 1,
    })  # fmt: skip
    assert left_out_line(found.left_out).startswith("3 .heic, 1 .dcm, 1 .img7")


def test_a_bitmap_without_its_suffix_is_told_from_a_text(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "BMP")
    put(tmp_path / "frame.7", stream.getvalue())
    put(tmp_path / "letter", b"BMW sells cars, and so on until the end of it all")
    assert left_out_line(look_through(tmp_path).left_out) == "1 .7 (images by their content; rename them)"


def test_expanding_a_folder_says_what_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.heic", b"\0" * 9)
    with caplog.at_level(logging.WARNING, "blemish"):
        assert len(list(expand(tmp_path))) == 1
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}: left out: 1 .heic"]
    (tmp_path / "a.png").unlink()
    (ref,) = expand(tmp_path)
    with pytest.raises(Exception, match=r"the folder holds no images .*; left out: 1 \.heic"):
        ref.read()


def test_a_folder_without_anything_else_is_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "labels.json", b"{}")
    assert len(list(expand(tmp_path))) == 1 and not caplog.records


class TestLinks:
    def test_linked_folders_are_followed(self, tmp_path: Path) -> None:
        for number in range(3):
            put(tmp_path / "far" / "cam" / f"{number}.png")
        put(tmp_path / "set" / "cam0" / "0.png")
        (tmp_path / "set" / "cam1").symlink_to(tmp_path / "far" / "cam")
        found = [path.relative_to(tmp_path / "set").as_posix() for path in list_images(tmp_path / "set")]
        assert found == ["cam0/0.png", "cam1/0.png", "cam1/1.png", "cam1/2.png"]

    def test_a_given_folder_may_be_a_link(self, tmp_path: Path) -> None:
        put(tmp_path / "real" / "sub" / "a.png")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert list_images(tmp_path / "link") == [tmp_path / "link" / "sub" / "a.png"]

    def test_loops_end_and_lead_nowhere_else(self, tmp_path: Path) -> None:
        put(tmp_path / "outside.png")
        put(tmp_path / "set" / "a.png")
        put(tmp_path / "set" / "sub" / "b.png")
        (tmp_path / "set" / "self").symlink_to(tmp_path / "set")
        (tmp_path / "set" / "sub" / "up").symlink_to("..")
        (tmp_path / "set" / "above").symlink_to(tmp_path)
        (tmp_path / "set" / "dangling").symlink_to("nowhere")
        one, two = tmp_path / "one", tmp_path / "two"
        one.mkdir()
        two.mkdir()
        (one / "two").symlink_to(two)
        (two / "one").symlink_to(one)
        put(two / "c.png")
        (tmp_path / "set" / "ring").symlink_to(one)
        found = [path.relative_to(tmp_path / "set").as_posix() for path in list_images(tmp_path / "set")]
        assert found == ["a.png", "ring/two/c.png", "sub/b.png"]

    def test_every_folder_is_read_once_and_under_its_own_name_if_it_has_one(self, tmp_path: Path) -> None:
        put(tmp_path / "set" / "z" / "a.png")
        put(tmp_path / "far" / "deep" / "b.png")
        for name in ("a", "b"):
            (tmp_path / "set" / name).symlink_to(tmp_path / "set" / "z")
            (tmp_path / "set" / f"far_{name}").symlink_to(tmp_path / "far")
        (tmp_path / "set" / "inner").symlink_to(tmp_path / "far" / "deep")
        found = [path.relative_to(tmp_path / "set").as_posix() for path in list_images(tmp_path / "set")]
        assert found == ["far_a/deep/b.png", "z/a.png"]

    def test_hidden_links_stay_hidden_but_may_be_targets(self, tmp_path: Path) -> None:
        put(tmp_path / "set" / ".store" / "v1" / "a.png")
        (tmp_path / "set" / "current").symlink_to(tmp_path / "set" / ".store" / "v1")
        (tmp_path / "set" / ".other").symlink_to(tmp_path / "set" / ".store" / "v1")
        assert list_images(tmp_path / "set") == [tmp_path / "set" / "current" / "a.png"]

    @pytest.mark.skipif(os.name == "nt", reason="needs links")
    def test_linked_files_are_images_as_before(self, tmp_path: Path) -> None:
        put(tmp_path / "far.png")
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "a.png").symlink_to(tmp_path / "far.png")
        assert list_images(tmp_path / "set") == [tmp_path / "set" / "a.png"]
