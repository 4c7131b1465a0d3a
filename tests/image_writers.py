"""Image files of kinds that no library here writes, from the formats' own descriptions."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_SIZES = {1: 1, 3: 2, 4: 4, 5: 8}
_CODES = {1: "B", 3: "H", 4: "I"}


def packed(rows: np.ndarray, bits: int, order: str = "<") -> bytes:
    """Rows of samples (H, n) as bytes, each row beginning at a byte, the first sample in the highest bits."""
    if bits in (8, 16, 32):
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    each = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1  # (H, n, bits)
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def write_tiff(
    samples: np.ndarray,
    bits: int = 8,
    photometric: int | None = None,
    *,
    order: str = "<",
    planes: int = 1,
    rows_per_strip: int | None = None,
    compression: int = 1,
    more: Sequence[tuple[int, int, Sequence[int]]] = (),
) -> bytes:
    """A TIFF of one frame from unsigned samples (H, W) or (H, W, channels); `more` are tags (number, type, values)."""
    pixels = samples[..., None] if samples.ndim == 2 else samples
    height, width, channels = pixels.shape
    photometric = (1 if channels < 3 else 2) if photometric is None else photometric
    parts = [pixels[..., i] for i in range(channels)] if planes == 2 else [pixels.reshape(height, -1)]
    step = rows_per_strip or height
    strips = [packed(part[y : y + step], bits, order) for part in parts for y in range(0, height, step)]
    starts = 8 + np.cumsum([0, *map(len, strips)])
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [compression]),
        262: (3, [photometric]),
        273: (4, [int(start) for start in starts[:-1]]),
        277: (3, [channels]),
        278: (4, [step]),
        279: (4, list(map(len, strips))),
        284: (3, [planes]),
        **{number: (kind, values) for number, kind, values in more},
    }
    body = b"".join(strips)
    at = 8 + len(body)
    tail, entries = b"", b""
    for number, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
        if len(content) > 4:
            place = struct.pack(f"{order}I", at + len(tail))
            tail += content + bytes(len(content) % 2)
        else:
            place = content.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", number, kind, len(values)) + place
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    signature = b"II*\0" if order == "<" else b"MM\0*"
    return signature + struct.pack(f"{order}I", at + len(tail)) + body + tail + directory


PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, steps


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Length, name, content and checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(
    samples: np.ndarray, bits: int, colour_type: int, *, interlaced: bool = False, chunks: Sequence[bytes] = ()
) -> bytes:
    """A PNG from samples (H, W) or (H, W, channels); `chunks` come before the pixels."""
    pixels = samples[..., None] if samples.ndim == 2 else samples
    height, width, _ = pixels.shape
    raw = b""
    for x, y, step_x, step_y in PASSES if interlaced else ((0, 0, 1, 1),):
        part = pixels[y::step_y, x::step_x]
        if part.size:
            raw += b"".join(b"\0" + packed(row.reshape(1, -1), bits, ">") for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(raw)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_bmp(
    samples: np.ndarray,
    bits: int,
    *,
    header: int = 40,
    compression: int = 0,
    masks: Sequence[int] = (),
    palette: np.ndarray | None = None,
    top_down: bool = False,
    rows: bytes | None = None,
) -> bytes:
    """A BMP from pixel values (H, W) of so many bits, or from `rows` that are coded already; the palette is RGB."""
    height, width = samples.shape
    ordered = samples if top_down else samples[::-1]
    if rows is None:
        lines = [packed(row.reshape(1, -1), bits) if bits < 24 else _pixels(row, bits) for row in ordered]
        rows = b"".join(line + bytes(-len(line) % 4) for line in lines)
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
        colours = b"" if palette is None else palette[:, ::-1].astype(np.uint8).tobytes()
    else:
        number = 0 if palette is None else len(palette)
        rest = (1, bits, compression, len(rows), 0, 0, number, 0)
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, *rest)
        shown = struct.pack(f"<{len(masks)}I", *masks)
        info = info + shown if header == 40 else (info + shown).ljust(header, b"\0")
        colours = b"" if palette is None else np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    start = 14 + len(info) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + colours + rows


def _pixels(row: np.ndarray, bits: int) -> bytes:
    return row.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def run_lengths(indices: np.ndarray, bits: int, *, padded: bool = False, absolute: bool = False) -> bytes:
    """BMP run lengths of (H, W), bottom row first; `padded` fills rows to four pixels, as ImageMagick does."""
    out = bytearray()
    for row in indices[::-1].tolist():
        line = row + [0] * (-len(row) % 4) if padded else row
        at = 0
        while at < len(line):
            if absolute and len(line) - at >= 4:
                values = line[at : at + 4]
                out += bytes((0, 4)) + (
                    bytes(values) if bits == 8 else bytes((values[0] << 4 | values[1], values[2] << 4 | values[3]))
                )
                at += 4
                continue
            length = 1
            while at + length < len(line) and length < 255 and line[at + length] == line[at]:
                length += 1
            out += bytes((length, line[at] if bits == 8 else line[at] << 4 | line[at]))
            at += length
        out += b"\0\0"
    return bytes(out + b"\0\1")


def write_sun(samples: np.ndarray, depth: int, kind: int = 1, palette: np.ndarray | None = None) -> bytes:
    """A Sun raster from grey or index samples (H, W), or from colours (H, W, 3)."""
    height, width = samples.shape[:2]
    if depth == 1:
        lines = [np.packbits(row == 0).tobytes() for row in samples]  # a set bit is black
    elif depth == 8:
        lines = [row.astype(np.uint8).tobytes() for row in samples]
    else:
        ordered = samples if kind == 3 else samples[..., ::-1]
        lines = [(np.pad(row, ((0, 0), (1, 0))) if depth == 32 else row).astype(np.uint8).tobytes() for row in ordered]
    body = b"".join(line + bytes(len(line) % 2) for line in lines)
    if kind == 2:
        body = b"".join(b"\x80\0" if value == 128 else bytes([value]) for value in body)
    colours = b"" if palette is None else palette.T.astype(np.uint8).tobytes()
    return (
        struct.pack(">8I", 0x59A66A95, width, height, depth, len(body), kind, bool(colours), len(colours))
        + colours
        + body
    )


def write_pnm(samples: np.ndarray, kind: int, largest: int = 255, comment: bytes = b"") -> bytes:
    """P1 to P6 from samples (H, W) or (H, W, 3); of bilevel files 1 is black."""
    height, width = samples.shape[:2]
    header = b"P%d\n%s%d %d\n" % (kind, comment, width, height) + (b"" if kind in (1, 4) else b"%d\n" % largest)
    if kind < 4:
        return (
            header
            + b"\n".join(b" ".join(b"%d" % value for value in row) for row in samples.reshape(height, -1))
            + b"\n"
        )
    if kind == 4:
        return header + np.packbits(samples.astype(np.uint8), axis=1).tobytes()
    return header + samples.astype(np.uint8 if largest < 256 else ">u2").tobytes()
