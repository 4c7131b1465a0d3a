"""TIFF files of kinds that no library here writes, uncompressed, from samples of any number of bits."""

from __future__ import annotations

import struct
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
