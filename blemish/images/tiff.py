"""The chain of frames in a TIFF or BigTIFF file, read from its directories alone (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import islice
from typing import BinaryIO

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_VALUES = 64  # of one tag that is looked at; strips and tiles are counted on demand
_MOST_FRAMES = 20_000
_MOST_PLACES = 1 << 28
_LONG_OF_BIG = 16


class Tag(IntEnum):
    """What decides how a frame is read."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    SAMPLES = 277
    STRIP_SIZES = 279
    PLANES = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_SIZES = 325
    SUB_DIRECTORIES = 330
    EXTRA = 338
    SAMPLE_FORMAT = 339


_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I"}
_BIG_INTEGERS = {**_INTEGERS, _LONG_OF_BIG: "Q", 18: "Q"}
_PLACES = frozenset((Tag.STRIP_OFFSETS, Tag.STRIP_SIZES, Tag.TILE_OFFSETS, Tag.TILE_SIZES))
_KNOWN = frozenset(Tag)
_REDUCED, _MASK = 1, 4  # bits of NEW_SUBFILE_TYPE
_OLD_REDUCED = 2


@dataclass(frozen=True)
class Frame:
    """One directory: where it lies, the values of its tags, and where in the file those stand.

    Of the tags that say where strips and tiles lie, only place and type of the values are known.
    """

    offset: int
    values: Mapping[int, Sequence[int]]
    places: Mapping[int, int]
    arrays: Mapping[int, tuple[int, str]]

    def first(self, tag: Tag, default: int) -> int:
        """The first value of a tag."""
        values = self.values.get(tag)
        return values[0] if values else default

    @property
    def width(self) -> int:
        return self.first(Tag.WIDTH, 0)

    @property
    def height(self) -> int:
        return self.first(Tag.HEIGHT, 0)

    @property
    def tile(self) -> tuple[int, int]:
        """Width and height of a tile; 1 x 1 where the frame has none."""
        return self.first(Tag.TILE_WIDTH, 1), self.first(Tag.TILE_HEIGHT, 1)

    @cached_property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        bits, samples = self.values.get(Tag.BITS) or (1,), self.first(Tag.SAMPLES, 1)
        return tuple(bits) if len(bits) > 1 else tuple(bits) * min(max(samples, 1), _MOST_VALUES)

    @property
    def white_is_zero(self) -> bool:
        return self.first(Tag.PHOTOMETRIC, -1) == 0

    @property
    def separate_planes(self) -> bool:
        return self.first(Tag.PLANES, 1) == 2 and self.first(Tag.SAMPLES, 1) > 1

    @property
    def alpha_at(self) -> int | None:
        """Position of the value that declares unassociated alpha."""
        return self.places[Tag.EXTRA] if self.values.get(Tag.EXTRA, (0,))[0] == 2 else None

    @property
    def is_part(self) -> bool:
        """Whether it is a picture of its own: no thumbnail, no level of a pyramid, no mask of another frame."""
        kind = self.first(Tag.NEW_SUBFILE_TYPE, 0)
        return not kind & (_REDUCED | _MASK) and self.first(Tag.SUBFILE_TYPE, 0) != _OLD_REDUCED

    def ends(self, data: bytes) -> Iterator[int]:
        """Where in the file each strip and tile ends."""
        for starts, sizes in ((Tag.STRIP_OFFSETS, Tag.STRIP_SIZES), (Tag.TILE_OFFSETS, Tag.TILE_SIZES)):
            if starts in self.arrays and sizes in self.arrays:
                pairs = zip(self._array(starts, data), self._array(sizes, data), strict=False)
                yield from (start + size for start, size in pairs)

    def _array(self, tag: Tag, data: bytes) -> Sequence[int]:
        place, code = self.arrays[tag]
        return struct.unpack_from(code, data, place)


@dataclass(frozen=True)
class Directory:
    """The pages of a file: its frames without thumbnails and masks, unless there is nothing else.

    `is_broken` says that the chain leads out of the file or into what is no directory: there was more once.
    """

    pages: tuple[Frame, ...]
    is_broken: bool
    hides_raw: bool  # there are previews alone, of a picture in a directory that is not in the chain


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


def read_directory(stream: BinaryIO, most: int = _MOST_FRAMES) -> Directory:
    """The pages in file order, `most` of them; a loop in the chain ends it quietly."""
    chain, frames, parts = _Chain(stream), list[Frame](), list[Frame]()
    for frame in islice(chain, _MOST_FRAMES):
        frames.append(frame)
        if frame.is_part:
            parts.append(frame)
        if len(parts) == most:
            break
    hides_raw = bool(frames) and not parts and any(Tag.SUB_DIRECTORIES in frame.values for frame in frames)
    return Directory(tuple(parts or frames), chain.is_broken, hides_raw)


def starting_at(data: bytes, frame: Frame) -> bytes:
    """The same file with this frame as its first one."""
    layout = _layout(data[:4])
    there = data[layout.first : layout.first + layout.offset.size]
    here = layout.offset.pack(frame.offset)
    return data if there == here else data[: layout.first] + here + data[layout.first + len(here) :]


def without_alpha(data: bytes, frame: Frame) -> bytes:
    """The same file with its alpha declared a sample of no meaning, so that libtiff does not multiply colours by it."""
    if frame.alpha_at is None:
        return data
    return data[: frame.alpha_at] + b"\0\0" + data[frame.alpha_at + 2 :]


class _Chain(Iterator[Frame]):
    """The frames one by one."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.layout = _layout(stream.read(4))
        self.is_broken = False
        self._position = self.layout.first
        self._seen: set[int] = set()

    def __next__(self) -> Frame:
        try:
            offset = self._offset()
        except struct.error:  # some writers end a file before its last number, which is zero
            offset = 0
        if not offset or offset in self._seen:
            raise StopIteration
        self._seen.add(offset)
        try:
            return self._read(offset)
        except (struct.error, OverflowError, ValueError):
            self.is_broken = True
            raise StopIteration from None

    def _offset(self) -> int:
        """Where the next directory lies; 0 behind the last."""
        self.stream.seek(self._position)
        return _unpack(self.layout.offset, self.stream)

    def _read(self, offset: int) -> Frame:
        layout, stream = self.layout, self.stream
        stream.seek(offset)
        count = _unpack(layout.count, stream)
        entries = stream.read(count * layout.entry_size) if 0 < count <= 65_535 else b""
        if not entries or len(entries) != count * layout.entry_size:
            raise ValueError("there is no directory")
        self._position = offset + layout.count.size + len(entries)
        return _frame(offset, entries, layout, stream)


def _layout(signature: bytes) -> _Layout:
    if signature not in TIFF_SIGNATURES:
        raise ValueError("it is not a TIFF file")
    return _Layout(order="<" if signature[:1] == b"I" else ">", big=b"+" in signature)


def _unpack(field: struct.Struct, stream: BinaryIO) -> int:
    value: int = field.unpack(stream.read(field.size))[0]
    return value


def _frame(offset: int, entries: bytes, layout: _Layout, stream: BinaryIO) -> Frame:
    values: dict[int, tuple[int, ...]] = {}
    places: dict[int, int] = {}
    arrays: dict[int, tuple[int, str]] = {}
    for at in range(0, len(entries), layout.entry_size):
        tag, kind = struct.unpack_from(layout.order + "HH", entries, at)
        if tag not in _KNOWN or tag in places:  # libtiff keeps the first of doubled tags
            continue
        field = _field(entries[at : at + layout.entry_size], kind, layout)
        if field is None:
            continue
        inside = offset + layout.count.size + at + layout.entry_size - layout.offset.size
        outside = layout.offset.unpack_from(entries, at + layout.entry_size - layout.offset.size)[0]
        places[tag] = inside if field.size <= layout.offset.size else outside
        if tag in _PLACES:
            arrays[tag] = places[tag], field.format
        elif len(content := _content(stream, places[tag], field.size)) == field.size:
            values[tag] = field.unpack(content)
    return Frame(offset, values, places, arrays)


def _field(entry: bytes, kind: int, layout: _Layout) -> struct.Struct | None:
    """How a tag's values are stored; None where they are no integers."""
    code = (_BIG_INTEGERS if layout.big else _INTEGERS).get(kind)
    tag = struct.unpack_from(layout.order + "H", entry)[0]
    number = struct.unpack_from(layout.order + ("Q" if layout.big else "I"), entry, 4)[0]
    if code is None or not 0 < number <= (_MOST_PLACES if tag in _PLACES else _MOST_VALUES):
        return None
    return struct.Struct(f"{layout.order}{number}{code}")


def _content(stream: BinaryIO, place: int, size: int) -> bytes:
    stream.seek(place)
    return stream.read(size)
