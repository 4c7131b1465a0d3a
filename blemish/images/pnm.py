"""PNM files by the maximum value that they state (netpbm's pbm(5), pgm(5) and ppm(5))."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from blemish.images.scaling import Samples, Stored

_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_HEADER = re.compile(rb"P([1-6])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})(?:" + _GAP + rb"(\d{1,9}))?")
_COMMENT = re.compile(rb"#[^\n\r]*")
_BILEVEL, _TEXT, _COLOUR = (1, 4), (1, 2, 3), (3, 6)
_MOST = 65_535


class Header:
    """Of a PNM file; `ValueError` where it is malformed.

    Attributes:
        kind: the digit behind the P.
        width, height: in pixels.
        largest: the maximum value of a sample, 1 for bilevel files.
        start: where the samples begin.
    """

    def __init__(self, data: bytes) -> None:
        match = _HEADER.match(data[:4096])
        if not match:
            raise ValueError("the header is malformed")
        self.kind = int(match[1])
        self.width, self.height = int(match[2]), int(match[3])
        self.start = match.end(3 if self.is_bilevel else match.lastindex or 3) + 1
        if not self.is_bilevel and match[4] is None:
            raise ValueError("the header is malformed: there is no maximum value")
        self.largest = 1 if self.is_bilevel else int(match[4])
        if not 1 <= self.largest <= _MOST:
            raise ValueError(f"its maximum value {self.largest} is not between 1 and {_MOST}")

    @property
    def is_bilevel(self) -> bool:
        return self.kind in _BILEVEL

    @property
    def is_text(self) -> bool:
        """Whether the samples are decimal numbers."""
        return self.kind in _TEXT

    @property
    def channels(self) -> int:
        return 3 if self.kind in _COLOUR else 1

    @property
    def count(self) -> int:
        """Samples of the first image."""
        return self.width * self.height * self.channels

    @property
    def size(self) -> int:
        """Bytes of the samples; of text, the least that they take."""
        if self.kind == 1:
            return self.count
        if self.kind == 4:
            return self.height * ((self.width + 7) // 8)
        return 2 * self.count - 1 if self.is_text else self.count * (1 if self.largest < 256 else 2)


def decode_pnm(data: bytes) -> Stored:
    """Grey or colour samples as BGR (H, W, 3), uint8 up to a maximum value of 255, else uint16.

    A sample above the maximum value counts as the maximum. Raises `ValueError`, as in "name: REASON", for samples that
    are missing.
    """
    header = Header(data)
    if header.is_bilevel:
        white = 1 - (_digits(data, header) if header.is_text else _bits(data, header))
        return Stored.of(np.repeat((white * 255)[..., None], 3, axis=2))
    samples = _numbers(data, header) if header.is_text else _bytes(data, header)
    pixels = samples.reshape(header.height, header.width, header.channels)
    bgr = pixels[..., ::-1] if header.channels == 3 else np.repeat(pixels, 3, axis=2)
    return Stored(np.ascontiguousarray(bgr), header.largest)


def _bits(data: bytes, header: Header) -> npt.NDArray[np.uint8]:
    """1 where a pixel is black, (H, W)."""
    rows = np.frombuffer(data, np.uint8, header.size, header.start).reshape(header.height, -1)
    return np.unpackbits(rows, axis=1, count=header.width)


def _digits(data: bytes, header: Header) -> npt.NDArray[np.uint8]:
    """The same of text, whose digits need no space between them."""
    digits = _text(data, header).translate(None, b" \t\r\n\v\f")
    black = np.frombuffer(digits[: header.count], np.uint8) - ord("0")
    if len(black) < header.count:
        raise ValueError(f"is cut short: it has {len(black)} of {header.count} samples")
    if black.max(initial=0) > 1:
        raise ValueError("has samples that are neither 0 nor 1")
    return black.reshape(header.height, header.width)


def _bytes(data: bytes, header: Header) -> Samples:
    samples = np.frombuffer(data, np.uint8 if header.largest < 256 else ">u2", header.count, header.start)
    return _typed(samples, header)


def _numbers(data: bytes, header: Header) -> Samples:
    text = _text(data, header)
    if text.translate(None, b"0123456789 \t\r\n\v\f"):
        raise ValueError("has samples that are no numbers")
    # 8 bytes a sample, where a list of words takes 60
    numbers = np.fromstring(text, np.int64, sep=" ")[: header.count]
    if len(numbers) < header.count:
        raise ValueError(f"is cut short: it has {len(numbers)} of {header.count} samples")
    return _typed(numbers, header)


def _text(data: bytes, header: Header) -> bytes:
    """The samples without comments."""
    text = data[header.start :]
    return _COMMENT.sub(b" ", text) if b"#" in text else text


def _typed(samples: npt.NDArray[np.integer], header: Header) -> Samples:
    known = np.minimum(samples, header.largest)
    return np.asarray(known, np.uint8) if header.largest < 256 else np.asarray(known, np.uint16)
