"""A JPEG file's markers, read without decoding (ITU T.81, annex B)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_END = b"\xff\xd9"
_NO_FRAMES = frozenset((0xC4, 0xC8, 0xCC))
_LOSSLESS, _HIERARCHICAL = frozenset((0xC3, 0xCB)), frozenset((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF))
_JPEG_LS = 0xF7


@dataclass(frozen=True)
class JpegFrame:
    """What the frame header (SOFn) says, and where the first scan begins."""

    marker: int
    bits: int
    width: int
    height: int
    components: int
    scan: int

    @property
    def why_unsupported(self) -> str | None:
        """Why such a file is not decoded, as in "name: REASON"."""
        if self.marker == _JPEG_LS:
            kind = "JPEG-LS"
        elif self.marker in _LOSSLESS:
            kind = "lossless JPEG"
        elif self.marker in _HIERARCHICAL:
            kind = "hierarchical JPEG"
        elif self.bits != 8:
            kind = f"{self.bits}-bit JPEG"
        elif self.components not in (1, 3, 4):
            kind = f"JPEG of {self.components} components"
        else:
            return None
        return f"is a {kind}, which is not supported; save it as PNG or as 8-bit JPEG"


def jpeg_frame(data: bytes) -> JpegFrame:
    """The frame of a file; thumbnails inside segments are stepped over. `ValueError` for a cut or malformed header."""
    frame, at = 0, 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise ValueError("the header is cut short")
        marker = data[at + 1]
        if marker == 0xDA:
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a length
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES) or marker == _JPEG_LS:
            frame = frame or at
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    if not frame:
        raise ValueError("the header is malformed")
    bits, height, width, components = struct.unpack_from(">BHHB", data, frame + 4)
    return JpegFrame(data[frame + 1], bits, width, height, components, at)


def has_end(data: bytes) -> bool:
    """Whether there is an end marker behind the first scan, where decoders may otherwise fill up with grey."""
    return data.rfind(_END, jpeg_frame(data).scan) >= 0
