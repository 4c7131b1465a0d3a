"""Every kind of input, alone, nested and failing."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections import deque
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from PIL import Image

from blemish.errors import ImageError, UsageError
from blemish.images import ImageRef, Limits, expand, list_images
from blemish.images.limits import DEFAULT_LIMITS

RGB = np.random.default_rng(5).integers(0, 256, (9, 14, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray = RGB) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # through memory, since OpenCV chooses the encoder by a suffix in lower case
    path.write_bytes(cv2.imencode(path.suffix.lower(), image[..., ::-1])[1].tobytes())
    return path


def names(refs: list[ImageRef]) -> list[str]:
    return [str(ref.name) for ref in refs]


def only(inputs: object, limits: Limits = DEFAULT_LIMITS) -> ImageRef:
    (ref,) = expand(inputs, limits)
    return ref


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file(tmp_path: Path, kind: type) -> None:
    path = save(tmp_path / "deep" / "part 1.PNG")
    ref = only(kind(path))
    assert (ref.input_path, ref.page_index, ref.name) == (str(path), None, PurePosixPath("part 1.PNG"))
    assert np.array_equal(ref.read(), RGB)
    with pytest.raises(UsageError, match="bit depth"):
        ref.read(bit_depth=8)


SUFFIXES = "apng avif bmp dib gif j2k jfi jfif jif jp2 jpe jpeg jpf jpg jpx png webp pbm pgm ppm pnm sr ras tiff tif"


@pytest.mark.parametrize("suffix", SUFFIXES.split())
def test_every_suffix_is_accepted_in_any_case(tmp_path: Path, suffix: str) -> None:
    for spelling in (suffix, suffix.upper(), suffix.title()):
        path = tmp_path / f"x.{spelling}"
        path.write_bytes(cv2.imencode(".png", RGB)[1].tobytes())
        assert list_images(tmp_path) == [path]
        assert only(path).read().shape == RGB.shape  # the content decides the format
        path.unlink()


def test_a_folder_is_mirrored_in_the_names_sorted_and_without_hidden_files(tmp_path: Path) -> None:
    for name in (
        "good/010.png",
        "good/000.png",
        "crack/000.png",
        "a.png",
        "good/deep/x.tif",
        ".hidden.png",
        ".git/y.png",
    ):
        save(tmp_path / "set" / name)
    (tmp_path / "set" / "notes.txt").write_text("not an image")
    want = ["a.png", "crack/000.png", "good/000.png", "good/010.png", "good/deep/x.tif"]
    refs = list(expand(tmp_path / "set"))
    assert names(refs) == want
    assert [ref.input_path for ref in refs] == [str(tmp_path / "set" / name) for name in want]
    assert list_images(tmp_path / "set") == [tmp_path / "set" / name for name in want]
    assert all(np.array_equal(ref.read(), RGB) for ref in refs)


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path: Path) -> None:
    save(tmp_path / ".cache" / "a.png")
    assert names(list(expand(tmp_path / ".cache"))) == ["a.png"]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    ref = only(tmp_path)
    with pytest.raises(ImageError, match=f"{tmp_path}: the folder holds no images .*png"):
        ref.read()


def test_arrays_are_numbered_over_the_whole_call() -> None:
    bgr = RGB[..., ::-1]
    refs = list(expand([bgr, [bgr, {"img": bgr}], (bgr,), deque([bgr])]))
    assert names(refs) == [f"array_{i:04d}.png" for i in range(1, 6)]
    assert all(ref.input_path is None and np.array_equal(ref.read(), RGB) for ref in refs)


def test_an_array_is_not_changed_and_not_shared() -> None:
    bgr = RGB[..., ::-1].copy()
    image = only(bgr).read()
    image[:] = 0
    assert np.array_equal(bgr, RGB[..., ::-1])


def test_lists_dicts_and_generators_nest(tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.png"), save(tmp_path / "set" / "good" / "b.png")
    inputs = ({"img": item} for item in [[str(a), [tmp_path / "set"]], {"img": [str(a)]}, RGB])
    assert names(list(expand(inputs))) == ["a.png", "good/b.png", "a.png", "array_0001.png"]
    assert b.exists()


def test_expansion_is_lazy(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")

    def endless() -> object:
        while True:
            yield str(path)

    refs = expand(endless())
    assert [next(refs).name.name for _ in range(3)] == ["a.png"] * 3


def test_frames_of_a_tiff_are_single_images(tmp_path: Path) -> None:
    pages = [RGB, RGB[:4, :5], RGB[::-1]]
    path = tmp_path / "stack.tif"
    Image.fromarray(pages[0]).save(path, save_all=True, append_images=[Image.fromarray(p) for p in pages[1:]])
    refs = list(expand(path))
    assert [ref.page_index for ref in refs] == [0, 1, 2]
    assert names(refs) == ["stack.tif"] * 3
    assert all(np.array_equal(ref.read(), page) for ref, page in zip(refs, pages, strict=True))


def test_a_tiff_whose_frames_run_in_a_circle_ends(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    Image.fromarray(RGB).save(path)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    after = first + 2 + 12 * entries
    data[after : after + 4] = first.to_bytes(4, "little")
    path.write_bytes(data)
    assert np.array_equal(only(path).read(), RGB)


def pdf(path: Path, pages: int) -> Path:
    sheets = [Image.new("RGB", (60, 40), colour) for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)][:pages]]
    sheets[0].save(path, "PDF", save_all=True, append_images=sheets[1:], resolution=72)
    return path


def test_pages_of_a_pdf_are_single_images(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    refs = list(expand(pdf(tmp_path / "sheets.pdf", 3)))
    assert [ref.page_index for ref in refs] == [0, 1, 2]
    for channel, ref in enumerate(refs):
        image = ref.read()
        assert image.shape == (80, 120, 3)
        assert image[40, 60].argmax() == channel and image[40, 60, channel] > 240
    assert only(pdf(tmp_path / "one.pdf", 1)).page_index is None
    assert next(expand(tmp_path / "sheets.pdf", Limits(pdf_scale=1.0))).read().shape == (40, 60, 3)


def test_a_large_or_damaged_pdf_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    path = pdf(tmp_path / "x.pdf", 1)
    with pytest.raises(ImageError, match="120x80 pixels are more than the limit"):
        only(path, Limits(max_pixels=9599)).read()
    with pytest.raises(ImageError, match="pixels are more than the limit"):
        only(path, Limits(pdf_scale=1e6)).read()
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match=r"x\.pdf: is a damaged"):
        only(path).read()


def test_without_its_package_a_pdf_gives_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-1.7\n")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ImageError, match=r'pip install "blemish\[pdf\]"'):
        only(path).read()


def test_one_bad_input_never_stops_the_others(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png")
    text, empty = tmp_path / "text.png", tmp_path / "empty.png"
    text.write_text("hello")
    empty.write_bytes(b"")
    (tmp_path / "x.txt").write_text("hello")
    (tmp_path / "cut.tif").write_bytes(b"II*\0\x08")
    directory = struct.pack("<HHHIII", 1, 256, 16, 1, 0, 0)  # a width of 64 bits, which only BigTIFF knows
    (tmp_path / "wide.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + directory)
    (tmp_path / "folder.png").mkdir()
    nested: list[object] = []
    nested.append(nested)
    bad: list[tuple[object, str]] = [
        (tmp_path / "missing.png", r"missing\.png: no such file or folder"),
        (tmp_path / "x.txt", r"x\.txt: is not an image file by its suffix \(apng, avif, .*tiff, webp\)"),
        (text, r"text\.png: is not an image"),
        (empty, r"empty\.png: is empty"),
        (tmp_path / "cut.tif", r"cut\.tif: is a damaged TIFF"),
        (tmp_path / "wide.tif", r"wide\.tif: has no pixels"),
        (tmp_path / "folder.png", r"folder\.png: the folder holds no images"),
        (os.devnull, "is not a regular file"),
        ("", "no such file or folder"),
        ("a\0b.png", "no such file or folder"),
        ("line\nbreak.png", r"line\\nbreak\.png: no such file"),
        ("x" * 5000 + ".png", "xxx.*no such file or folder"),
        (None, "a NoneType is not an image; give a path"),
        (3, "a int is not an image"),
        (b"bytes", "a bytes is not an image"),
        ({"image": good}, "under the key \"img\"; its keys: 'image'"),
        ({}, "its keys: none"),
        (nested, "nested more than 32 deep"),
        (RGB.astype(np.float64), r"array_0001\.png: an array of .*float64 is not an image"),
    ]
    refs = list(expand([item for pair in bad for item in (pair[0], good)]))
    assert len(refs) == 2 * len(bad)
    for ref, (_, message) in zip(refs[::2], bad, strict=True):
        with pytest.raises(ImageError, match=message) as caught:
            ref.read()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert all(np.array_equal(ref.read(), RGB) for ref in refs[1::2])


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(ImageError, match="1099511627776 bytes are more than the limit"):
        only(path).read()


def test_a_file_that_vanishes_is_an_image_error(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    ref = only(path)
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.png: cannot be read: No such file"):
        ref.read()


def test_references_can_be_sent_to_another_process(tmp_path: Path) -> None:
    refs = list(expand([save(tmp_path / "a.png"), RGB[..., ::-1]]))
    assert all(np.array_equal(ref.read(), RGB) for ref in pickle.loads(pickle.dumps(refs)))


@pytest.mark.parametrize(
    "url, name",
    [
        ("http://h.example/a/b.png?x=/c.jpg", "b.png"),
        ("http://h.example/a/..%2F..%2Fetc.png", ".._.._etc.png"),
        ("http://h.example/%5Cx.png", "_x.png"),
        ("HTTP://h.example/x.PNG", "x.PNG"),
    ],
)
def test_result_names_of_urls_stay_inside_the_folder(url: str, name: str) -> None:
    assert str(only(url).name) == name


def test_result_names_of_urls_without_a_file_name() -> None:
    limits = Limits(allow_urls=False)
    assert str(only("http://cam.example/", limits).name) == "cam.example"
    assert str(only("http://cam.example/..", limits).name) == "cam.example"
    assert str(only("http://cam.example/%2e%2e", limits).name) == "cam.example"
