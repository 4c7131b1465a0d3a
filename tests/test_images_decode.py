"""Every decoding rule on real files, with Pillow and integer arithmetic as oracles."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_writers import write_pnm, write_tiff
from PIL import Image, ImageOps

from blemish.errors import ImageError, UsageError
from blemish.images import Limits, decode_image, decode_samples, expand_bytes
from blemish.images.decode import array_to_rgb
from blemish.images.headers import image_size
from blemish.images.kinds import image_format

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
SMOOTH = cv2.resize(RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8), (90, 70))


def encoded(image: np.ndarray | Image.Image, kind: str, mode: str | None = None, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def by_opencv(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def three(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


def eight_bits(samples: np.ndarray, bit_depth: int = 16) -> np.ndarray:
    top = 2**bit_depth - 1
    return np.minimum((samples.astype(np.int64) * 510 + top) // (2 * top), 255).astype(np.uint8)


def tiff16(samples: np.ndarray, photometric: int = 1, planes: int = 1) -> bytes:
    """A little-endian 16-bit TIFF written by hand, for kinds that no encoder here writes."""
    height, width, channels = np.atleast_3d(samples).shape
    raw = (np.moveaxis(samples, 2, 0) if planes == 2 else samples).tobytes()
    strips = channels if planes == 2 else 1
    tail_at = 8 + len(raw)
    tail = struct.pack(f"<{channels}H", *[16] * channels)
    at = [8 + i * (len(raw) // strips) for i in range(strips)]
    tail += struct.pack(f"<{strips}I", *at) + struct.pack(f"<{strips}I", *[len(raw) // strips] * strips)
    bits, offsets, lengths = tail_at, tail_at + 2 * channels, tail_at + 2 * channels + 4 * strips
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, 16 if channels == 1 else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, strips, at[0] if strips == 1 else offsets),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, strips, len(raw) if strips == 1 else lengths),
        (284, 3, 1, planes),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", tail_at + len(tail)) + raw + tail + directory


FILES = {
    "png": encoded(SMOOTH, "PNG"),
    "bmp": encoded(SMOOTH, "BMP"),
    "tiff": encoded(SMOOTH, "TIFF"),
    "tiff-lzw": encoded(SMOOTH, "TIFF", compression="tiff_lzw"),
    "bigtiff": encoded(SMOOTH, "TIFF", big_tiff=True),
    "webp": encoded(SMOOTH, "WEBP", lossless=True),
    "ppm": encoded(SMOOTH, "PPM"),
    "sun": by_opencv(SMOOTH[..., ::-1], ".ras"),
    "jpeg": encoded(SMOOTH, "JPEG", quality=95),
    "jpeg-progressive": encoded(SMOOTH, "JPEG", quality=95, progressive=True),
    "webp-lossy": encoded(SMOOTH, "WEBP", quality=95),
    "tiff-jpeg": encoded(SMOOTH, "TIFF", compression="jpeg"),
}
LOSSY = {"jpeg", "jpeg-progressive", "webp-lossy", "tiff-jpeg"}


@pytest.mark.parametrize("kind", FILES)
def test_each_format_gives_the_colours_that_were_written(kind: str) -> None:
    image = decode_image(FILES[kind], "x")
    assert image.dtype == np.uint8 and image.shape == SMOOTH.shape and image.flags.c_contiguous
    difference = np.abs(image.astype(int) - SMOOTH)
    assert difference.max() == 0 if kind not in LOSSY else difference.mean() < 4


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_each_format_cut_short_is_refused(kind: str, part: float) -> None:
    data = FILES[kind]
    with pytest.raises(ImageError, match=r"part\.x: "):
        decode_image(data[: int(len(data) * part)], "part.x")


def test_a_jpeg_with_a_trailer_behind_its_end_is_read() -> None:
    assert decode_image(FILES["jpeg"] + b"\xff\xda trailer", "x").shape == SMOOTH.shape


def test_a_cut_jpeg_is_not_saved_by_the_end_marker_of_its_thumbnail() -> None:
    data = FILES["jpeg"]
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    whole = data[:2] + thumbnail + data[2:]
    assert decode_image(whole, "x").shape == SMOOTH.shape
    with pytest.raises(ImageError, match="the end of the JPEG data is missing"):
        decode_image(whole[:-200], "x")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encoded(SMOOTH, kind, exif=exif, **options)
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    image = decode_image(data, "x")
    assert image.shape == want.shape
    assert np.abs(image.astype(int) - want).max() <= 2


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_to_16_bit_files(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    data = encoded(DEEP, kind, exif=exif)
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode_image(data, "x"), three(eight_bits(want)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "BMP"])
def test_alpha_is_dropped_not_blended(kind: str) -> None:
    rgba = np.dstack([RGB, GREY])
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = by_opencv(rgba[..., [2, 1, 0, 3]], ".bmp") if kind == "BMP" else encoded(rgba, kind, **options)
    assert np.array_equal(decode_image(data, "x"), RGB)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha_is_its_grey(kind: str) -> None:
    picture = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)])
    assert np.array_equal(decode_image(encoded(picture, kind), "x"), three(GREY))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    assert np.array_equal(decode_image(encoded(GREY, kind), "x"), three(GREY))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_a_palette_is_expanded_to_its_colours(kind: str) -> None:
    picture = Image.fromarray(SMOOTH).quantize(16)
    assert np.array_equal(decode_image(encoded(picture, kind), "x"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_bilevel_is_black_and_white(kind: str) -> None:
    data = encoded(np.where(GREY > 127, 255, 0).astype(np.uint8), kind, mode="1")
    assert np.array_equal(decode_image(data, "x"), three(np.where(GREY > 127, 255, 0)))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted(kind: str) -> None:
    options = {"quality": 100} if kind == "JPEG" else {}
    image = decode_image(encoded(SMOOTH, kind, mode="CMYK", **options), "x")
    assert np.abs(image.astype(int) - SMOOTH).max() <= 4


@pytest.mark.parametrize("bit_depth", range(10, 17))
def test_16_bit_samples_are_scaled_by_the_stated_rule(bit_depth: int) -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    want = three(eight_bits(every, bit_depth))
    for data in (by_opencv(every, ".png"), by_opencv(every, ".tiff"), by_opencv(every, ".pgm")):
        assert np.array_equal(decode_image(data, "x", bit_depth=bit_depth), want)
    assert np.array_equal(array_to_rgb(every, "x", bit_depth), want)
    assert np.array_equal(decode_image(encoded(GREY, "PNG"), "x", bit_depth=bit_depth), three(GREY))


@pytest.mark.parametrize("bit_depth", [0, 8, 9, 17])
def test_an_impossible_bit_depth_is_refused(bit_depth: int) -> None:
    with pytest.raises(UsageError, match="bit depth"):
        decode_image(FILES["png"], "x", bit_depth=bit_depth)


def test_16_bit_tiff_with_white_as_zero_is_turned_round() -> None:
    assert np.array_equal(decode_image(tiff16(DEEP, photometric=1), "x"), three(eight_bits(DEEP)))
    assert np.array_equal(decode_image(tiff16(DEEP, photometric=0), "x"), three(255 - eight_bits(DEEP)))


def test_16_bit_tiff_with_separate_planes_is_refused_rather_than_mixed_up() -> None:
    colours = RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    assert np.array_equal(decode_image(tiff16(colours, photometric=2), "x"), eight_bits(colours))
    with pytest.raises(ImageError, match="16-bit TIFF file with separate colour planes"):
        decode_image(tiff16(colours, photometric=2, planes=2), "x")


@pytest.mark.parametrize(
    "data",
    [
        encoded(DEEP.astype(np.float32), "TIFF"),
        encoded(DEEP.astype(np.int32), "TIFF"),
        encoded(SMOOTH, "TIFF", mode="LAB"),
        b"P5\n30 20\n0\n" + GREY.tobytes(),
        b"P2\n3 2\n255\n1 2 3 4 5 x\n",
        b"P1\n3 2\n0 1 2 0 1 0\n",
        b"plain text",
        b"<html><body>not found</body></html>",
        b"BM and so on, a text that begins like a bitmap",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"II*\0",
        b"II+\0\x08\0\0\0",
        b"P6\n",
        b"RIFF\0\0\0\0WEBP",
        b"",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_cannot_be_read_rightly_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data, "bad.png")
    assert str(caught.value).startswith("bad.png: ") and "\n" not in str(caught.value)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def bombs() -> dict[str, bytes]:
    side = 30_000
    bitmap = bytearray(FILES["bmp"])
    bitmap[18:26] = struct.pack("<ii", side, -side)
    jpeg = bytearray(FILES["jpeg"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    webp = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (side - 1).to_bytes(3, "little") * 2 + bytes(40)
    tiff = bytearray(tiff16(DEEP))
    directory = struct.unpack_from("<I", tiff, 4)[0]
    struct.pack_into("<I", tiff, directory + 2 + 8, side)
    struct.pack_into("<I", tiff, directory + 2 + 12 + 8, side)
    return {
        "png": png_header(side, side),
        "bmp": bytes(bitmap),
        "jpeg": bytes(jpeg),
        "webp": webp,
        "tiff": bytes(tiff),
        "ppm": b"P6\n# a comment\n30000 30000\n255\n" + bytes(100),
        "sun": struct.pack(">8I", 0x59A66A95, side, side, 24, 0, 1, 0, 0),
    }


@pytest.mark.parametrize("kind", bombs())
def test_a_decompression_bomb_is_refused_by_its_header(kind: str) -> None:
    data = bombs()[kind]
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="30000x30000 pixels are more than the limit of 178956970"):
            decode_image(data, "bomb")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_pixel_limit_is_inclusive() -> None:
    data = encoded(RGB, "PNG")
    assert decode_image(data, "x", Limits(max_pixels=600)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="limit of 599"):
        decode_image(data, "x", Limits(max_pixels=599))
    with pytest.raises(ImageError, match="bytes are more"):
        decode_image(data, "x", Limits(max_bytes=len(data) - 1))


@pytest.mark.parametrize("kind", FILES)
def test_header_size_is_the_size_that_pillow_sees(kind: str) -> None:
    data = FILES[kind]
    found = image_format(data)
    assert found is not None
    assert image_size(data, found) == Image.open(io.BytesIO(data)).size


def test_frames_of_a_tiff_are_pages() -> None:
    pictures = [SMOOTH, RGB, SMOOTH[:9, :11]]
    for big in (False, True):
        rest = [Image.fromarray(p) for p in pictures[1:]]
        data = encoded(SMOOTH, "TIFF", save_all=True, append_images=rest, big_tiff=big)
        for page, picture in enumerate(pictures):
            assert np.array_equal(decode_image(data, "x", page=page), picture)
        with pytest.raises(ImageError, match="frame 3"):
            decode_image(data, "x", page=3)
    with pytest.raises(ImageError, match="no page 1"):
        decode_image(FILES["png"], "x", page=1)


def test_opencv_keeps_silent_and_its_log_level_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    log = getattr(cv2.utils, "logging", cv2)
    before = log.getLogLevel()
    for kind in ("tiff", "bmp", "webp", "png", "jpeg"):
        with pytest.raises(ImageError):
            decode_image(FILES[kind][:-40], "x")
    assert capfd.readouterr().err == ""
    assert log.getLogLevel() == before


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_mutated_files_raise_nothing_but_image_errors(kind: str, data: st.DataObject) -> None:
    mutated = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        # half of the changes hit the header, where the structure is
        last = data.draw(st.sampled_from([60, len(mutated) - 1]))
        mutated[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del mutated[data.draw(st.integers(0, len(mutated))) :]
    try:
        image = decode_image(bytes(mutated), "fuzz", Limits(max_pixels=1_000_000), page=data.draw(st.integers(0, 1)))
    except ImageError as error:
        assert str(error).startswith("fuzz: ")
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"\xff\xd8\xff", b"II*\0", b"MM\0+", b"BM", b"P5 ", b"RIFF____WEBPVP8 ", b"%PDF-1.4\n"]
    ),
    rest=st.binary(max_size=200),
)
def test_random_bytes_raise_nothing_but_image_errors(start: bytes, rest: bytes) -> None:
    with suppress(ImageError):
        decode_image(start + rest, "fuzz", Limits(max_pixels=1_000_000))


def test_arrays_are_bgr_as_documented() -> None:
    bgr = RGB[..., ::-1]
    alpha = np.dstack([bgr, GREY])
    assert np.array_equal(array_to_rgb(bgr, "x"), RGB)
    assert np.array_equal(array_to_rgb(alpha, "x"), RGB)
    assert np.array_equal(array_to_rgb(GREY, "x"), three(GREY))
    assert np.array_equal(array_to_rgb(GREY[..., None], "x"), three(GREY))
    assert np.array_equal(array_to_rgb(np.dstack([DEEP] * 3), "x"), three(eight_bits(DEEP)))
    assert np.array_equal(array_to_rgb(DEEP.astype(">u2"), "x"), three(eight_bits(DEEP)))
    assert np.array_equal(array_to_rgb(bgr[::2, ::-3], "x"), RGB[::2, ::-3])


@pytest.mark.parametrize(
    "array",
    [RGB.astype(np.float32), RGB.astype(np.int16), RGB > 3, RGB[..., :2], RGB[0, 0], RGB[None], RGB[:0], np.array(3)],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_refused_with_what_is_accepted(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"array_0001\.png: .*accepted are .*BGR.*uint8 or uint16"):
        array_to_rgb(array, "array_0001.png")


def test_what_a_decoder_would_allocate_is_bounded_before_it_is_asked() -> None:
    png = bytearray(FILES["png"])
    at = png.index(b"IDAT") - 4
    png[at : at + 4] = b"\xff\0\0\0"
    with pytest.raises(ImageError, match="a chunk is longer than the file"):
        decode_image(bytes(png), "x")
    tags = [(322, 4, [60_000]), (323, 4, [60_000]), (324, 4, [8]), (325, 4, [4])]
    with pytest.raises(ImageError, match="60000x60000 pixels are more than the limit"):
        decode_image(write_tiff(GREY, more=tags), "x")


def test_thumbnails_pyramids_and_masks_of_a_tiff_are_no_pages() -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(RGB, photometric="rgb", subifds=1)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)  # in the directory below the one before
        writer.write(GREY > 9, photometric=4, subfiletype=4)
        writer.write(RGB[::3, ::3], photometric="rgb", subfiletype=1)
        writer.write(RGB[::-1], photometric="rgb", subfiletype=2)  # a page of several
    refs = list(expand_bytes(stream.getvalue(), "x.tif"))
    assert [ref.page_index for ref in refs] == [0, 1]
    assert np.array_equal(refs[0].read(), RGB) and np.array_equal(refs[1].read(), RGB[::-1])
    assert image_size(stream.getvalue(), "TIFF") == (30, 20)
    with pytest.raises(ImageError, match="has no frame 2, it has 2"):
        decode_image(stream.getvalue(), "x", page=2)


@pytest.mark.parametrize("more", [[(254, 4, [1])], [(254, 4, [4])], [(255, 3, [2])], [(254, 4, [3])]])
def test_a_lone_frame_is_a_picture_whatever_it_calls_itself(more: list[tuple[int, int, list[int]]]) -> None:
    (ref,) = expand_bytes(write_tiff(RGB, more=more), "x.tif")
    assert ref.page_index is None and np.array_equal(ref.read(), RGB)


def test_a_preview_of_a_camera_raw_is_not_taken_for_the_picture() -> None:
    raw = write_tiff(RGB, more=[(254, 4, [1]), (330, 4, [8])])
    with pytest.raises(ImageError, match="holds a preview alone; the picture is camera raw data"):
        decode_image(raw, "x")


def test_pages_that_are_missing_at_the_end_are_not_forgotten() -> None:
    data = encoded(SMOOTH, "TIFF", save_all=True, append_images=[Image.fromarray(SMOOTH)] * 2)
    refs = list(expand_bytes(data[: len(data) // 2], "x.tif"))
    assert np.array_equal(refs[0].read(), SMOOTH) and len(refs) > 1
    with pytest.raises(ImageError, match="cut short after"):
        refs[-1].read()
    garbage = encoded(RGB, "TIFF")
    assert len(list(expand_bytes(garbage + b"trailing", "x.tif"))) == 1


def test_masks_keep_the_values_that_were_stored() -> None:
    samples = (GREY % 5).astype(np.uint8)
    for data in (write_pnm(samples, 5, 4), write_pnm(samples, 2, 4), encoded(samples, "GIF"), encoded(samples, "BMP")):
        assert np.array_equal(decode_samples(data, "x"), three(samples))
    for data in (write_pnm(DEEP, 5, 65535), by_opencv(DEEP, ".png")):
        assert np.array_equal(decode_samples(data, "x"), three(DEEP))
