"""The quicker decoder gives what OpenCV gives, to the bit, and leaves to OpenCV what is damaged or special."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blemish.errors import ImageError
from blemish.images import decode_image, quick_decode
from blemish.images.quick_decode import decode_quickly

kornia = pytest.importorskip("kornia_rs", reason="the extra `decode` is not installed")
RNG = np.random.default_rng(0)
RGB = cv2.GaussianBlur(RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8), (5, 5), 0)
PICTURE = Image.fromarray(RGB)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def deep(channels: int) -> bytes:
    shape = (37, 53, channels) if channels > 1 else (37, 53)
    return cv2.imencode(".png", RNG.integers(0, 65536, shape, dtype=np.uint16))[1].tobytes()


def with_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG file with one chunk more, behind its header."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk + data[33:]


def oriented(kind: str, orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PICTURE, kind, exif=exif)


PNG = encoded(PICTURE, "PNG")
GREY = Image.fromarray(RGB[..., 0])
QUICK = {
    "png rgb": PNG,
    "png grey": encoded(GREY, "PNG"),
    "png rgba": encoded(Image.fromarray(np.dstack([RGB, RGB[..., 0]])), "PNG"),
    "png 16-bit grey": deep(1),
    "png 16-bit rgb": deep(3),
    "png with a transparent colour": encoded(PICTURE, "PNG", transparency=tuple(RGB[0, 0].tolist())),
    "png with gamma": with_chunk(PNG, b"gAMA", struct.pack(">I", 100000)),
    "png with significant bits": with_chunk(PNG, b"sBIT", b"\5\5\5"),
    "png with a profile": with_chunk(PNG, b"iCCP", b"x\0\0" + zlib.compress(b"no profile")),
    "jpeg": encoded(PICTURE, "JPEG", quality=90),
    "jpeg 4:4:4": encoded(PICTURE, "JPEG", subsampling=0),
    "jpeg 4:2:2": encoded(PICTURE, "JPEG", subsampling=1),
    "jpeg progressive": encoded(PICTURE, "JPEG", progressive=True),
    "jpeg progressive 4:4:4": encoded(PICTURE, "JPEG", progressive=True, subsampling=0),
    "jpeg grey": encoded(GREY, "JPEG"),
    "jpeg of rgb components": encoded(PICTURE, "JPEG", keep_rgb=True),
    "jpeg with restarts": encoded(PICTURE, "JPEG", restart_marker_blocks=2),
}
LEFT = {
    "png palette": encoded(PICTURE.quantize(200), "PNG"),
    "png palette of 4 bits": encoded(PICTURE.quantize(16), "PNG"),
    "png of one bit": encoded(GREY.convert("1"), "PNG"),
    "png grey with alpha": encoded(GREY.convert("LA"), "PNG"),
    "png 16-bit rgba": deep(4),
    "png exif": oriented("PNG"),
    "png animated": encoded(PICTURE, "PNG", save_all=True, append_images=[GREY.convert("RGB")]),
    "png of an unknown chunk": with_chunk(PNG, b"cICP", b"\1\1\0\1"),
    "jpeg cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "jpeg exif": oriented("JPEG"),
    "bmp": encoded(PICTURE, "BMP"),
}
KINDS = {"png": "PNG", "jpe": "JPEG", "bmp": "BMP"}


@pytest.fixture
def by_opencv(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], npt.NDArray[np.uint8] | str]:
    """What comes without the quicker decoder: the image, or the refusal."""

    def decode(data: bytes, bit_depth: int = 16) -> npt.NDArray[np.uint8] | str:
        with monkeypatch.context() as patch:
            patch.setattr(quick_decode, "_kornia", lambda: None)
            return outcome(data, bit_depth)

    return decode


def outcome(data: bytes, bit_depth: int = 16) -> npt.NDArray[np.uint8] | str:
    try:
        return decode_image(data, "x", bit_depth=bit_depth)
    except ImageError as error:
        return str(error)


def equal(one: npt.NDArray[np.uint8] | str, other: npt.NDArray[np.uint8] | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    return one.shape == other.shape and one.dtype == other.dtype == np.uint8 and bool((one == other).all())


@pytest.mark.parametrize("name", [*QUICK, *LEFT])
@pytest.mark.parametrize("bit_depth", [12, 16])
def test_the_same_pixels_with_it_and_without_it(name: str, bit_depth: int, by_opencv: Callable[..., object]) -> None:
    data = (QUICK | LEFT)[name]
    found = outcome(data, bit_depth)
    assert equal(found, by_opencv(data, bit_depth)) and isinstance(found, np.ndarray)
    assert found.flags.writeable and found.flags.c_contiguous


@pytest.mark.parametrize("name", QUICK)
def test_the_proven_kinds_are_decoded_quickly(name: str) -> None:
    assert decode_quickly(QUICK[name], KINDS[name[:3]], 53, 37) is not None


@pytest.mark.parametrize("name", LEFT)
def test_the_others_are_left_to_opencv(name: str) -> None:
    assert decode_quickly(LEFT[name], KINDS[name[:3]], 53, 37) is None


def test_large_images_do_not_hold_the_interpreter() -> None:
    large = cv2.imencode(".png", np.zeros((2001, 2000, 3), np.uint8))[1].tobytes()
    assert decode_quickly(large, "PNG", 2000, 2001) is None


@settings(max_examples=150)
@given(
    st.sampled_from(["png rgb", "png grey", "png 16-bit rgb", "jpeg", "jpeg progressive", "jpeg grey"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3),
    st.booleans(),
)
def test_damage_is_judged_alike(name: str, damage: list[tuple[float, int]], cut: bool) -> None:
    data = bytearray(QUICK[name])
    for place, value in damage:
        data[8 + int(place * (len(data) - 8))] = value
    if cut:
        del data[8 + int(damage[0][0] * (len(data) - 8)) :]
    found = outcome(bytes(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_decode, "_kornia", lambda: None)
        assert equal(found, outcome(bytes(data)))
