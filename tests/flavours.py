"""Flavours of image files, each with the pixels that it shows, or with the words of its refusal.

What is shown is known from the pixels that were written, or, where a codec loses something, from what the writer's own
library decodes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import imagecodecs
import numpy as np
import tifffile
from image_writers import (
    png_chunk,
    run_lengths,
    write_bmp,
    write_png,
    write_pnm,
    write_sun,
    write_tiff,
)
from PIL import Image

HEIGHT, WIDTH = 61, 50  # no multiple of 4 or 8 in width
Pixels = np.ndarray


class Flavour(NamedTuple):
    """One file; `want` is what it shows (H, W, 3) within `tolerance` grey levels, or None where `words` refuse it."""

    name: str
    data: bytes
    want: Pixels | None
    tolerance: int = 1
    words: str = ""


def _picture() -> Pixels:
    """Colours that differ along every axis, corners that differ, texture: whatever is turned or garbled shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rgb = np.stack([x * 255 / WIDTH, y * 255 / HEIGHT, (x + 2 * y) % 97 * 255 / 97], -1)
    rgb[8:22, 4:15], rgb[38:52, 28:47] = (230, 30, 60), (20, 200, 90)
    return np.clip(rgb + np.random.default_rng(3).integers(-12, 13, rgb.shape), 0, 255).astype(np.uint8)


RGB = _picture()
GREY = (RGB[..., 0] // 2 + RGB[..., 1] // 3 + 20).astype(np.uint8)
ALPHA = (RGB[..., 2] // 2 + 60).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
GREYS = np.repeat(np.arange(256)[:, None], 3, 1)
BILEVEL = (GREY > 110).astype(np.uint8)
TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


def three(grey: Pixels) -> Pixels:
    return np.dstack([grey] * 3)


def deep(samples: Pixels, bits: int) -> Pixels:
    """8-bit samples in so many bits, rounded."""
    return (samples.astype(np.int64) * (2**bits - 1) + 127) // 255


def shown(samples: Pixels, largest: int) -> Pixels:
    """Samples up to a largest one in 8 bits, rounded."""
    return ((samples.astype(np.int64) * 510 + largest) // (2 * largest)).astype(np.uint8)


def by_pillow(picture: Pixels | Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def seen_by_pillow(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def by_tifffile(array: Pixels, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def tiff_bits() -> Iterator[Flavour]:
    """Samples of every size, both byte orders, grey, colour, palette, CMYK and alpha, with and without planes."""
    for bits in (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32):
        grey, colour = deep(GREY, bits), deep(RGB, bits)
        largest = 2**bits - 1
        few = f"{bits} bits per sample"
        for order in "<>":
            for white, words in ((0, few), (1, few)):
                want = shown(grey, largest)
                data = write_tiff(grey, bits, white, order=order)
                ok = bits in (1, 8, 10, 12, 14, 16)
                want = three(255 - want if white == 0 else want)
                yield Flavour(f"{order}grey{bits} {white}", data, want if ok else None, words=words)
            ok = bits in (8, 10, 12, 14, 16)
            for planes in (1, 2):
                words = "separate colour planes" if ok and planes == 2 else few
                data = write_tiff(colour, bits, 2, order=order, planes=planes)
                good = ok and (planes == 1 or bits == 8)
                yield Flavour(
                    f"{order}rgb{bits} planes {planes}", data, shown(colour, largest) if good else None, words=words
                )
            for extra in (0, 1, 2):
                data = write_tiff(np.dstack([colour, grey]), bits, 2, order=order, more=[(338, 3, [extra])])
                yield Flavour(f"{order}rgba{bits} {extra}", data, shown(colour, largest) if ok else None, words=few)
            data = write_tiff(np.dstack([grey, grey]), bits, 1, order=order, more=[(338, 3, [2])])
            want = three(shown(grey, largest)) if bits in (8, 16) else None
            yield Flavour(f"{order}grey alpha{bits}", data, want, words=f"{bits} bits per")
            data = write_tiff(np.dstack([colour, grey, grey]), bits, 2, order=order, more=[(338, 3, [0, 0])])
            yield Flavour(f"{order}five{bits}", data, None, words="5 samples per pixel")
            ink = np.dstack([largest - colour, np.zeros_like(grey)])
            yield Flavour(
                f"{order}cmyk{bits}", write_tiff(ink, bits, 5, order=order), RGB if bits == 8 else None, words=few
            )
            if bits <= 8:
                index = (GREY.astype(int) * 2**bits // 256).astype(int)
                table = np.random.default_rng(bits).integers(0, 256, (3, 2**bits)) * 257
                data = write_tiff(index, bits, 3, order=order, more=[(320, 3, table.ravel().tolist())])
                want = (table[:, index] // 257).transpose(1, 2, 0).astype(np.uint8)
                yield Flavour(f"{order}palette{bits}", data, want if bits in (1, 4, 8) else None, words=few)
        for form, word in ((2, "int"), (3, "float")):
            data = write_tiff(grey, bits, 1, more=[(339, 3, [form])])
            yield Flavour(f"{word}{bits}", data, None, words=f"{word}{bits} samples")


def tiff_codecs() -> Iterator[Flavour]:
    """What tifffile writes: compressions, predictors, strips, tiles, planes, BigTIFF."""
    read = {None, "lzw", "zlib", "adobe_deflate", "packbits", 32946}
    named = {
        "lzma": "LZMA", "zstd": "Zstandard", "webp": "WebP", "jpeg2000": "JPEG 2000", "jpegxl": "JPEG XL",
        "jpegxr": "JPEG XR", "lerc": "LERC", "png": "PNG", 50013: "PIXTIFF",
    }  # fmt: skip
    pictures = {
        "rgb8": RGB,
        "rgb16": deep(RGB, 16).astype(np.uint16),
        "grey8": GREY,
        "grey16": deep(GREY, 16).astype(np.uint16),
    }
    for compression in (*read, *named):
        for kind, picture in pictures.items():
            is_deep, is_grey = kind.endswith("16"), kind.startswith("grey")
            if (is_deep and compression in ("webp", 50013)) or (is_grey and compression == "webp"):
                continue
            for tile in (None, (64, 64), (16, 48)):
                for predictor in (
                    (False, True) if compression in ("lzw", "zlib", "packbits", "adobe_deflate") else (False,)
                ):
                    photometric = "minisblack" if is_grey else "rgb"
                    options = {"compression": compression, "tile": tile, "predictor": predictor or None}
                    data = by_tifffile(picture, photometric=photometric, **options)
                    words = f"compressed with {named.get(compression, '')}"
                    good = compression in read
                    if compression == "packbits" and predictor:
                        good, words = False, "a predictor without LZW or deflate"
                    if compression is None and tile == (16, 48) and kind == "grey8":
                        good, words = False, "uncompressed tiles of 48x16 pixels"
                    if compression is None and tile == (16, 48) and kind == "rgb8":
                        good, words = False, "uncompressed tiles of 48x16 pixels"
                    want = three(GREY) if is_grey else RGB
                    yield Flavour(f"{kind} {compression} {tile} {predictor}", data, want if good else None, words=words)
    for compression in (None, "lzw", "zlib"):
        for big in (False, True):
            for order in "<>":
                for strip in (1, 7, 64):
                    options = {"compression": compression, "bigtiff": big, "byteorder": order, "rowsperstrip": strip}
                    data = by_tifffile(RGB, photometric="rgb", **options)
                    yield Flavour(f"strips {compression} {big} {order} {strip}", data, RGB)
                planes = np.ascontiguousarray(np.moveaxis(RGB, 2, 0))
                data = by_tifffile(
                    planes,
                    photometric="rgb",
                    planarconfig="separate",
                    compression=compression,
                    bigtiff=big,
                    byteorder=order,
                )
                yield Flavour(f"planes {compression} {big} {order}", data, RGB)


def tiff_kinds() -> Iterator[Flavour]:
    """Lossy, bilevel and odd ones; every compression that there is, by its number."""
    for subsampling in ((1, 1), (2, 1), (2, 2)):
        for tile in (None, (64, 64)):
            data = by_tifffile(RGB, photometric="rgb", compression="jpeg", subsampling=subsampling, tile=tile)
            yield Flavour(f"jpeg {subsampling} {tile}", data, tifffile.imread(io.BytesIO(data)), 2)
    for quality in (50, 75, 100):
        data = by_pillow(RGB, "TIFF", compression="jpeg", quality=quality)
        yield Flavour(f"jpeg of Pillow {quality}", data, seen_by_pillow(data), 2)
        data = by_pillow(GREY, "TIFF", compression="jpeg", quality=quality)
        yield Flavour(f"grey jpeg of Pillow {quality}", data, seen_by_pillow(data), 2)
    ycbcr = Image.fromarray(RGB).convert("YCbCr")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield Flavour(f"ycbcr {compression}", by_pillow(ycbcr, "TIFF", compression=compression), RGB, 4)
        yield Flavour(f"rgb {compression}", by_pillow(RGB, "TIFF", compression=compression), RGB)
        cmyk = by_pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF", compression=compression)
        yield Flavour(f"cmyk {compression}", cmyk, RGB, 2)
        lab = by_pillow(Image.fromarray(RGB).convert("LAB"), "TIFF", compression=compression)
        yield Flavour(f"lab {compression}", lab, None, words="L*a*b* colour")
        palette = Image.fromarray(RGB).quantize(100)
        yield Flavour(
            f"palette {compression}",
            by_pillow(palette, "TIFF", compression=compression),
            np.asarray(palette.convert("RGB")),
        )
    bilevel = Image.fromarray(BILEVEL * 255).convert("1")
    for compression in ("raw", "tiff_ccitt", "group3", "group4", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        yield Flavour(
            f"bilevel {compression}", by_pillow(bilevel, "TIFF", compression=compression), three(BILEVEL * 255)
        )
    planes = write_tiff(np.asarray(ycbcr), 8, 6, planes=2, more=[(530, 3, [1, 1])])
    yield Flavour("ycbcr planes", planes, None, words="YCbCr TIFF file with separate colour planes")
    yield Flavour(
        "ycbcr strips", write_tiff(np.asarray(ycbcr), 8, 6, rows_per_strip=7, more=[(530, 3, [1, 1])]), RGB, 4
    )
    for number, word in (
        (6, "JPEG of the old kind"), (9, "JBIG"), (99, "JPEG"), (32771, "CCITT RLE"), (32809, "ThunderScan"),
        (32908, "Pixar"), (33003, "JPEG 2000 of Aperio"), (33005, "JPEG 2000 of Aperio"), (34661, "JBIG"),
        (34676, "SGI log"), (34712, "JPEG 2000"), (34713, "Nikon"), (34887, "LERC"), (34892, "lossy JPEG"),
        (34925, "LZMA"), (34926, "Zstandard"), (34927, "WebP"), (34933, "PNG"), (34934, "JPEG XR"),
        (50000, "Zstandard"), (50001, "WebP"), (50002, "JPEG XL"), (52546, "JPEG XL"), (50013, "PIXTIFF"),
        (12345, "method 12345"), (65000, "method 65000"),
    ):  # fmt: skip
        for picture in (RGB, GREY):
            name = f"compression {number} {picture.ndim}"
            yield Flavour(name, write_tiff(picture, compression=number), None, words=f"compressed with {word}")
    for number, word in (
        (4, "transparency mask"),
        (32803, "colour filter mosaic"),
        (32844, "LogLuv"),
        (34892, "linear raw"),
        (77, "kind 77"),
    ):
        yield Flavour(f"photometric {number}", write_tiff(GREY, 8, number), None, words=word)
    yield Flavour(
        "mixed bits", write_tiff(RGB, 8, 2, more=[(258, 3, [8, 8, 16])]), None, words="samples of 8, 8, 16 bits"
    )
    yield Flavour("one bit count", write_tiff(RGB, 8, 2, more=[(258, 3, [8])]), RGB)
    yield Flavour("two of rgb", write_tiff(RGB[..., :2], 8, 2), None, words="2 samples per pixel in RGB")
    grey3 = write_tiff(deep(RGB, 16), 16, 1, more=[(338, 3, [0, 0])])
    yield Flavour("grey and two more", grey3, None, words="3 samples of 16 bits per pixel in grey")
    mirrored = np.packbits(np.unpackbits(RGB.reshape(-1, 1), axis=1)[:, ::-1], axis=1).reshape(RGB.shape)
    yield Flavour("bits mirrored", write_tiff(mirrored, more=[(266, 3, [2])]), RGB)
    for bits in (8, 16):
        for order in "<>":
            for turn, turned in TURNS.items():
                data = write_tiff(deep(RGB, bits), bits, order=order, more=[(274, 3, [turn])])
                yield Flavour(f"orientation {turn} {bits} {order}", data, turned(RGB))


def png() -> Iterator[Flavour]:
    """Every legal colour type and number of bits, interlaced or not, with transparency and orientation."""
    for interlaced in (False, True):
        for bits in (1, 2, 4, 8, 16):
            grey, largest = deep(GREY, bits), 2**bits - 1
            for extra in ((), (png_chunk(b"tRNS", struct.pack(">H", 1)),)):
                data = write_png(grey, bits, 0, interlaced=interlaced, chunks=extra)
                yield Flavour(f"grey{bits} {interlaced} {len(extra)}", data, three(shown(grey, largest)))
            if bits <= 8:
                index = (GREY.astype(int) * 2**bits // 256).astype(int)
                table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)).astype(np.uint8)
                for extra in ((), (png_chunk(b"tRNS", bytes(range(2**bits))),)):
                    chunks = (png_chunk(b"PLTE", table.tobytes()), *extra)
                    data = write_png(index, bits, 3, interlaced=interlaced, chunks=chunks)
                    yield Flavour(f"palette{bits} {interlaced} {len(extra)}", data, table[index])
            if bits >= 8:
                colour, grey = deep(RGB, bits), deep(GREY, bits)
                yield Flavour(f"rgb{bits} {interlaced}", write_png(colour, bits, 2, interlaced=interlaced), RGB)
                data = write_png(np.dstack([colour, deep(ALPHA, bits)]), bits, 6, interlaced=interlaced)
                yield Flavour(f"rgba{bits} {interlaced}", data, RGB)
                data = write_png(np.dstack([grey, deep(ALPHA, bits)]), bits, 4, interlaced=interlaced)
                yield Flavour(f"grey alpha{bits} {interlaced}", data, three(GREY))
    for level in (0, 1, 9):
        yield Flavour(f"level {level}", by_pillow(RGB, "PNG", compress_level=level), RGB)
    for turn, turned in TURNS.items():
        yield Flavour(f"orientation {turn}", by_pillow(RGB, "PNG", exif=exif(turn)), turned(RGB), 0)
    frames = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1])]
    moving = by_pillow(RGB, "PNG", save_all=True, append_images=frames)
    yield Flavour("animation", moving, RGB, 0)
    still = by_pillow(RGB, "PNG", save_all=True, default_image=True, append_images=frames)
    yield Flavour("animation with a still before", still, RGB, 0)


def exif(turn: int) -> bytes:
    record = Image.Exif()
    record[0x112] = turn
    return record.tobytes()


def jpeg() -> Iterator[Flavour]:
    """Subsamplings, scans, colours and depths; the reference is Pillow's decoder."""
    grey, cmyk = Image.fromarray(GREY), Image.fromarray(RGB).convert("CMYK")
    for quality in (30, 75, 95, 100):
        for progressive in (False, True):
            for subsampling in (0, 1, 2):
                data = by_pillow(RGB, "JPEG", quality=quality, progressive=progressive, subsampling=subsampling)
                yield Flavour(f"{quality} {progressive} {subsampling}", data, seen_by_pillow(data))
            data = by_pillow(grey, "JPEG", quality=quality, progressive=progressive)
            yield Flavour(f"grey {quality} {progressive}", data, seen_by_pillow(data))
            data = by_pillow(cmyk, "JPEG", quality=quality, progressive=progressive)
            yield Flavour(f"cmyk {quality} {progressive}", data, seen_by_pillow(data), 2)
    for restart in (1, 4):
        data = by_pillow(RGB, "JPEG", restart_marker_blocks=restart)
        yield Flavour(f"restart {restart}", data, seen_by_pillow(data))
    data = by_pillow(RGB, "JPEG", keep_rgb=True, quality=95)
    yield Flavour("rgb components", data, seen_by_pillow(data))
    for turn, turned in TURNS.items():
        data = by_pillow(RGB, "JPEG", quality=100, subsampling=0, exif=exif(turn))
        yield Flavour(f"orientation {turn}", data, turned(seen_by_pillow(data)))
    twelve = deep(GREY, 12).astype(np.uint16)
    yield Flavour("12 bits", imagecodecs.jpeg8_encode(twelve, bitspersample=12), None, words="12-bit JPEG")
    yield Flavour("lossless", imagecodecs.ljpeg_encode(GREY), None, words="lossless JPEG")
    for picture in (GREY, RGB, deep(GREY, 16).astype(np.uint16)):
        yield Flavour(
            f"lossless {picture.shape} {picture.dtype}",
            imagecodecs.jpeg8_encode(picture, lossless=True),
            None,
            words="lossless JPEG",
        )
        yield Flavour(
            f"JPEG-LS {picture.shape} {picture.dtype}", imagecodecs.jpegls_encode(picture), None, words="JPEG-LS"
        )


def bmp() -> Iterator[Flavour]:
    """Headers of every age, run lengths, masks, palettes, either direction."""
    packed24 = RGB[..., 2].astype(np.uint32) | RGB[..., 1].astype(np.uint32) << 8 | RGB[..., 0].astype(np.uint32) << 16
    for top_down in (False, True):
        for header in (12, 40, 52, 56, 108, 124):
            if header == 12 and top_down:
                continue
            for bits in (1, 4, 8):
                index = (GREY.astype(int) * 2**bits // 256).astype(np.uint8)
                table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)).astype(np.uint8)
                data = write_bmp(index, bits, header=header, palette=table, top_down=top_down)
                yield Flavour(f"palette{bits} {header} {top_down}", data, table[index])
            yield Flavour(f"24 {header} {top_down}", write_bmp(packed24, 24, header=header, top_down=top_down), RGB)
            if header == 12:
                continue
            for name, (red, green, blue) in {"555": (5, 5, 5), "565": (5, 6, 5)}.items():
                r, g, b = (deep(RGB[..., i], n) for i, n in enumerate((red, green, blue)))
                want = np.dstack([shown(v, 2**n - 1) for v, n in ((r, red), (g, green), (b, blue))])
                value = (r << (green + blue) | g << blue | b).astype(np.uint16)
                masks = (((1 << red) - 1) << (green + blue), ((1 << green) - 1) << blue, (1 << blue) - 1)
                data = write_bmp(value, 16, header=header, compression=3, masks=masks, top_down=top_down)
                yield Flavour(f"{name} {header} {top_down}", data, want)
                if name == "555":
                    data = write_bmp(value, 16, header=header, top_down=top_down)
                    yield Flavour(f"{name} plain {header} {top_down}", data, want)
            for name, order in {"bgrx": (16, 8, 0), "rgbx": (0, 8, 16), "xbgr": (24, 16, 8)}.items():
                value = sum(RGB[..., i].astype(np.uint32) << shift for i, shift in enumerate(order))
                masks = tuple(0xFF << shift for shift in order)
                known = name in ("bgrx", "xbgr")
                data = write_bmp(value, 32, header=header, compression=3, masks=masks, top_down=top_down)
                yield Flavour(
                    f"{name} masks {header} {top_down}", data, RGB if known else None, words="bit masks ff, ff00"
                )
                if header >= 56:
                    opaque = 24 if name != "xbgr" else 0
                    data = write_bmp(
                        value | ALPHA.astype(np.uint32) << opaque, 32, header=header, compression=3,
                        masks=(*masks, 0xFF << opaque), top_down=top_down,
                    )  # fmt: skip
                    yield Flavour(f"{name} with alpha {header} {top_down}", data, RGB)
            data = write_bmp(packed24 | ALPHA.astype(np.uint32) << 24, 32, header=header, top_down=top_down)
            yield Flavour(f"32 plain {header} {top_down}", data, RGB)
    odd = write_bmp(packed24, 32, compression=3, masks=(0x3FF00000, 0xFFC00, 0x3FF))
    yield Flavour("10 bits a colour", odd, None, words="bit masks")
    for bits in (4, 8):
        index = (GREY.astype(int) * 2**bits // 256).astype(np.uint8)
        index[5:20, 3:40], index[30] = 3, 1
        table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)).astype(np.uint8)
        for padded in (False, True):
            for absolute in (False,) if padded else (False, True):  # ImageMagick writes no absolute runs
                rows = run_lengths(index, bits, padded=padded, absolute=absolute)
                data = write_bmp(index, bits, compression=1 if bits == 8 else 2, palette=table, rows=rows)
                yield Flavour(f"run lengths {bits} {padded} {absolute}", data, table[index], 0)
    for compression, word in ((4, "JPEG"), (5, "PNG"), (11, "CMYK"), (77, "the compression 77")):
        yield Flavour(
            f"compression {compression}",
            write_bmp(packed24, 24, compression=compression, rows=bytes(99)),
            None,
            words=word,
        )
    for bits in (2, 48, 64):
        yield Flavour(f"{bits} bits", write_bmp(GREY, bits, rows=bytes(99999)), None, words=f"{bits} bits per pixel")
    yield Flavour("Pillow's", by_pillow(RGB, "BMP"), RGB)
    yield Flavour(
        "Pillow's bilevel", by_pillow(Image.fromarray(BILEVEL * 255).convert("1"), "BMP"), three(BILEVEL * 255)
    )


def pnm() -> Iterator[Flavour]:
    """Every kind with maximum values of every size; comments."""
    for largest in (
        1,
        2,
        7,
        15,
        31,
        63,
        100,
        127,
        200,
        254,
        255,
        256,
        1000,
        1023,
        4095,
        9999,
        16383,
        32767,
        65534,
        65535,
    ):
        grey = ((GREY.astype(np.int64) * largest + 127) // 255).astype(int)
        colour = ((RGB.astype(np.int64) * largest + 127) // 255).astype(int)
        for kind in (2, 5):
            yield Flavour(f"P{kind} {largest}", write_pnm(grey, kind, largest), three(shown(grey, largest)))
        for kind in (3, 6):
            yield Flavour(f"P{kind} {largest}", write_pnm(colour, kind, largest), shown(colour, largest))
    for kind in (1, 4):
        yield Flavour(f"P{kind}", write_pnm(1 - BILEVEL, kind), three(BILEVEL * 255))
    for kind, samples in ((2, GREY), (5, GREY), (3, RGB), (6, RGB)):
        data = write_pnm(samples, kind, comment=b"# made by hand\n# 9 9\n")
        yield Flavour(f"P{kind} with comments", data, RGB if samples.ndim == 3 else three(GREY))
    yield Flavour("P7", b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0", None, words="is a PAM file")
    yield Flavour("Pf", b"Pf\n1 1\n-1.0\n" + bytes(4), None, words="floating-point PFM")


def sun() -> Iterator[Flavour]:
    """Depths and types of Sun rasters."""
    table = np.random.default_rng(8).integers(0, 256, (256, 3)).astype(np.uint8)
    for kind in (0, 1):
        yield Flavour(f"grey {kind}", write_sun(GREY, 8, kind), three(GREY))
        yield Flavour(f"palette {kind}", write_sun(GREY, 8, kind, table), table[GREY])
        yield Flavour(f"24 {kind}", write_sun(RGB, 24, kind), RGB)
        yield Flavour(f"bilevel {kind}", write_sun(BILEVEL, 1, kind), three(BILEVEL * 255))
    yield Flavour("rgb", write_sun(RGB, 24, 3), RGB)
    yield Flavour("run lengths", write_sun(RGB, 24, 2), RGB)
    yield Flavour("run lengths grey", write_sun(GREY, 8, 2), three(GREY))
    for kind in (0, 1, 3):
        yield Flavour(f"32 {kind}", write_sun(RGB, 32, kind), None, words="32 bits per pixel")
    yield Flavour("type 5", write_sun(RGB, 24, 5), None, words="type 5")


def webp() -> Iterator[Flavour]:
    """Lossy and lossless, alpha, animation, orientation with and without JPEG's prefix."""
    yield Flavour("lossless", by_pillow(RGB, "WEBP", lossless=True), RGB, 0)
    yield Flavour("lossless grey", by_pillow(GREY, "WEBP", lossless=True), three(GREY), 0)
    yield Flavour("lossless alpha", by_pillow(RGBA, "WEBP", lossless=True, exact=True), RGB, 0)
    for quality in (20, 80, 100):
        data = by_pillow(RGB, "WEBP", quality=quality)
        yield Flavour(f"lossy {quality}", data, seen_by_pillow(data))
        data = by_pillow(RGBA, "WEBP", quality=quality)
        yield Flavour(f"lossy alpha {quality}", data, np.asarray(Image.open(io.BytesIO(data)))[..., :3])
    moving = by_pillow(RGB, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    yield Flavour("animation", moving, RGB, 0)
    for turn, turned in TURNS.items():
        record = exif(turn).removeprefix(b"Exif\0\0")
        yield Flavour(f"orientation {turn}", by_pillow(RGB, "WEBP", lossless=True, exif=record), turned(RGB), 0)
        prefixed = by_pillow(RGB, "WEBP", lossless=True, exif=b"Exif\0\0" + record)
        yield Flavour(f"orientation {turn} with a prefix", prefixed, turned(RGB), 0)


def gif() -> Iterator[Flavour]:
    """Palettes, interlacing, transparency, animation."""
    for colours in (2, 5, 16, 100, 256):
        palette = Image.fromarray(RGB).quantize(colours)
        for interlace in (0, 1):
            data = by_pillow(palette, "GIF", interlace=interlace)
            yield Flavour(f"{colours} {interlace}", data, np.asarray(palette.convert("RGB")), 0)
        yield Flavour(
            f"{colours} transparent", by_pillow(palette, "GIF", transparency=1), np.asarray(palette.convert("RGB")), 0
        )
    yield Flavour("grey", by_pillow(GREY, "GIF"), three(GREY), 0)
    first, second = (Image.fromarray(a).quantize(64) for a in (RGB, RGB[::-1]))
    data = by_pillow(first, "GIF", save_all=True, append_images=[second])
    yield Flavour("animation", data, np.asarray(first.convert("RGB")), 0)


def j2k() -> Iterator[Flavour]:
    """JPEG 2000, boxed and bare."""
    for codec in ("jp2", "j2k"):
        for name, picture in {"grey": GREY, "rgb": RGB, "rgba": RGBA}.items():
            data = imagecodecs.jpeg2k_encode(picture, level=0, codecformat=codec)
            yield Flavour(f"{name} {codec}", data, three(GREY) if name == "grey" else RGB, 0)
        for bits in (10, 12, 16):
            data = imagecodecs.jpeg2k_encode(
                deep(GREY, bits).astype(np.uint16), level=0, codecformat=codec, bitspersample=bits
            )
            yield Flavour(f"grey{bits} {codec}", data, three(GREY))
            data = imagecodecs.jpeg2k_encode(
                deep(RGB, bits).astype(np.uint16), level=0, codecformat=codec, bitspersample=bits
            )
            yield Flavour(f"rgb{bits} {codec}", data, None, words=f"{bits} bits per sample in colour")
        for bits in (1, 4):
            data = imagecodecs.jpeg2k_encode(
                deep(GREY, bits).astype(np.uint8), level=0, codecformat=codec, bitspersample=bits
            )
            yield Flavour(f"grey{bits} {codec}", data, None, words=f"{bits} bits per sample in grey")
        data = imagecodecs.jpeg2k_encode(GREY.astype(np.int16), level=0, codecformat=codec)
        yield Flavour(f"signed {codec}", data, None, words="signed samples")
    for options in ({"irreversible": True, "quality_layers": [20]}, {"tile_size": (32, 32)}, {"num_resolutions": 2}):
        data = by_pillow(RGB, "JPEG2000", **options)
        yield Flavour(f"Pillow's {options}", data, seen_by_pillow(data))


def avif() -> Iterator[Flavour]:
    """AVIF of 8 to 12 bits, alpha, orientation."""
    for bits in (8, 10, 12):
        kind = np.uint8 if bits == 8 else np.uint16
        data = imagecodecs.avif_encode(deep(RGB, bits).astype(kind), level=100, pixelformat="444", bitspersample=bits)
        yield Flavour(f"rgb{bits}", data, RGB)
    yield Flavour("rgba", imagecodecs.avif_encode(RGBA, level=100, pixelformat="444"), RGB)
    yield Flavour("grey", imagecodecs.avif_encode(GREY, level=100, pixelformat="400"), three(GREY))
    for quality in (40, 90):
        for subsampling in ("4:2:0", "4:4:4"):
            data = by_pillow(RGB, "AVIF", quality=quality, subsampling=subsampling)
            yield Flavour(f"{quality} {subsampling}", data, seen_by_pillow(data))
    for turn, turned in TURNS.items():
        data = by_pillow(RGB, "AVIF", quality=100, subsampling="4:4:4", exif=exif(turn))
        plain = seen_by_pillow(by_pillow(RGB, "AVIF", quality=100, subsampling="4:4:4"))
        yield Flavour(f"orientation {turn}", data, turned(plain))


def others() -> Iterator[Flavour]:
    """What has a name, but is no image that is read."""
    dicom = bytes(128) + b"DICM" + bytes(50)
    numpy = io.BytesIO()
    np.save(numpy, GREY)
    for name, data, words in (
        ("JPEG XL", imagecodecs.jpegxl_encode(RGB), "a JPEG XL file"),
        ("JPEG XL codestream", imagecodecs.jpegxl_encode(RGB, usecontainer=False), "a JPEG XL file"),
        ("JPEG XR", imagecodecs.jpegxr_encode(RGB), "a JPEG XR file"),
        ("QOI", imagecodecs.qoi_encode(RGB), "a QOI file"),
        ("DICOM", dicom, "a DICOM file"),
        ("NumPy", numpy.getvalue(), "a NumPy array"),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(90), "a HEIC file"),
        ("video", b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(90), "a video"),
        ("icon", by_pillow(RGB, "ICO"), "an icon"),
        ("web page", b"<!DOCTYPE html><html></html>", "a web page"),
        ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("TGA", by_pillow(RGB, "TGA"), "is not an image that can be read"),
        ("PCX", by_pillow(RGB, "PCX"), "is not an image that can be read"),
        ("text", b"hello", "is not an image that can be read"),
        ("OpenEXR", b"v/1\x01" + bytes(90), "an OpenEXR file"),
        ("PSD", b"8BPS\0\1" + bytes(90), "a Photoshop file"),
    ):
        yield Flavour(name, data, None, words=words)


GROUPS: dict[str, Callable[[], Iterator[Flavour]]] = {
    "TIFF, bits": tiff_bits,
    "TIFF, codecs": tiff_codecs,
    "TIFF, kinds": tiff_kinds,
    "PNG": png,
    "JPEG": jpeg,
    "BMP": bmp,
    "PNM": pnm,
    "Sun raster": sun,
    "WebP": webp,
    "GIF": gif,
    "JPEG 2000": j2k,
    "AVIF": avif,
    "others": others,
}


@cache
def flavours(group: str) -> tuple[Flavour, ...]:
    """All of a group."""
    return tuple(GROUPS[group]())


WHOLE = {
    "JPEG": lambda: by_pillow(RGB, "JPEG", quality=95),
    "JPEG progressive": lambda: by_pillow(RGB, "JPEG", quality=95, progressive=True),
    "PNG": lambda: by_pillow(RGB, "PNG"),
    "PNG interlaced": lambda: write_png(RGB, 8, 2, interlaced=True),
    "TIFF of Pillow": lambda: by_pillow(RGB, "TIFF"),
    "TIFF of tifffile": lambda: by_tifffile(RGB, photometric="rgb", compression="zlib"),
    "TIFF with its directory at the end": lambda: write_tiff(RGB),
    "TIFF of tiles": lambda: by_tifffile(RGB, photometric="rgb", compression="lzw", tile=(32, 32)),
    "TIFF with JPEG": lambda: by_tifffile(RGB, photometric="rgb", compression="jpeg"),
    "BMP": lambda: by_pillow(RGB, "BMP"),
    "BMP of run lengths": lambda: write_bmp(GREY, 8, compression=1, palette=GREYS, rows=run_lengths(GREY, 8)),
    "WebP": lambda: by_pillow(RGB, "WEBP"),
    "WebP lossless": lambda: by_pillow(RGB, "WEBP", lossless=True),
    **{f"P{kind}": (lambda kind=kind, samples=samples: write_pnm(samples, kind)) for kind, samples in (
        (1, BILEVEL), (2, GREY), (3, RGB), (4, BILEVEL), (5, GREY), (6, RGB),
    )},
    "Sun raster": lambda: write_sun(RGB, 24),
    "GIF": lambda: by_pillow(GREY, "GIF"),
    "JPEG 2000": lambda: imagecodecs.jpeg2k_encode(RGB, level=0, codecformat="jp2"),
    "AVIF": lambda: by_pillow(RGB, "AVIF"),
}  # fmt: skip
