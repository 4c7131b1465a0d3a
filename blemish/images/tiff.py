"""The chain of frames in a TIFF or BigTIFF file, read from its directories alone (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA = _TAGS = (256, 257, 262, 277, 284, 338)
_INTEGERS = {3: "H", 4: "I"}
_BIG_INTEGERS = {**_INTEGERS, 16: "Q"}


@dataclass(frozen=True)
class Frame:
    """One frame: where its directory lies, its size in pixels, and what decides how its samples are read."""

    offset: int
    width: int
    height: int
    white_is_zero: bool
    lab: bool
    separate_planes: bool
    alpha_at: int | None  # position of the value that declares unassociated alpha


@dataclass(frozen=True)
class _Layout:
    """Byte order and field sizes; `big` is BigTIFF with 64-bit offsets."""

    order: str
    big: bool

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry_size(self) -> int:
        return 20 if self.big else 12

    @property
    def first(self) -> int:
        """Position of the offset of the first directory."""
        return 8 if self.big else 4


def frames(stream: BinaryIO) -> Iterator[Frame]:
    """The frames in file order; ends quietly where the chain breaks, loops or leaves the file."""
    layout = _layout(stream.read(4))
    position = layout.first
    seen: set[int] = set()
    while True:
        try:
            stream.seek(position)
            offset = _unpack(layout.offset, stream)
            if not offset or offset in seen:
                return
            seen.add(offset)
            stream.seek(offset)
            count = _unpack(layout.count, stream)
            entries = stream.read(count * layout.entry_size) if count <= 65_535 else b""
        except (struct.error, OverflowError, ValueError):
            return
        if not count or len(entries) != count * layout.entry_size:
            return
        yield _frame(offset, entries, layout)
        position = offset + layout.count.size + len(entries)


def starting_at(data: bytes, frame: Frame) -> bytes:
    """The same file with this frame as its first one."""
    layout = _layout(data[:4])
    return data[: layout.first] + layout.offset.pack(frame.offset) + data[layout.first + layout.offset.size :]


def without_alpha(data: bytes, frame: Frame) -> bytes:
    """The same file with its alpha declared a sample of no meaning, so that libtiff does not multiply colours by it."""
    if frame.alpha_at is None:
        return data
    return data[: frame.alpha_at] + b"\0\0" + data[frame.alpha_at + 2 :]


def _layout(signature: bytes) -> _Layout:
    if signature not in TIFF_SIGNATURES:
        raise ValueError("it is not a TIFF file")
    return _Layout(order="<" if signature[:1] == b"I" else ">", big=b"+" in signature)


def _unpack(field: struct.Struct, stream: BinaryIO) -> int:
    value: int = field.unpack(stream.read(field.size))[0]
    return value


def _frame(offset: int, entries: bytes, layout: _Layout) -> Frame:
    values: dict[int, int] = {}
    places: dict[int, int] = {}
    integers = _BIG_INTEGERS if layout.big else _INTEGERS
    for at in range(0, len(entries), layout.entry_size):
        tag, kind = struct.unpack_from(layout.order + "HH", entries, at)
        if tag in _TAGS and tag not in values and kind in integers:  # libtiff keeps the first of doubled tags
            place = at + layout.entry_size - layout.offset.size
            values[tag] = struct.unpack_from(layout.order + integers[kind], entries, place)[0]
            places[tag] = offset + layout.count.size + place
    colours = values.get(_PHOTOMETRIC)
    return Frame(
        offset,
        values.get(_WIDTH, 0),
        values.get(_HEIGHT, 0),
        white_is_zero=colours == 0,
        lab=colours in (8, 9, 10),
        separate_planes=values.get(_PLANES) == 2 and values.get(_SAMPLES, 1) > 1,
        alpha_at=places[_EXTRA] if values.get(_EXTRA) == 2 else None,
    )
