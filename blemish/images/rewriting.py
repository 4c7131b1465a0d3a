"""Files rewritten for OpenCV where it would read them otherwise than they are meant; the pixels stay as they are."""

from __future__ import annotations

import struct

_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))
_EXIF_PREFIX = b"Exif\0\0"


def without_animation(png: bytes) -> bytes:
    """A PNG file's still picture alone: where there is one beside the animation, viewers show it."""
    if b"acTL" not in png:
        return png
    parts, at, found = [png[:8]], 8, False
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        is_animation = png[at + 4 : at + 8] in _ANIMATION
        found = found or is_animation
        if not is_animation:
            parts.append(png[at:end])
        at = end
    return b"".join(parts) if found else png


def with_plain_exif(webp: bytes) -> bytes:
    """A WebP file whose EXIF chunk begins with the TIFF header, as it should; some put JPEG's prefix before it."""
    at = 12
    while at + 8 <= len(webp):
        name, size = webp[at : at + 4], struct.unpack_from("<I", webp, at + 4)[0]
        end = at + 8 + size + size % 2
        if name == b"EXIF" and webp.startswith(_EXIF_PREFIX, at + 8):
            content = webp[at + 8 + len(_EXIF_PREFIX) : at + 8 + size]
            chunk = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
            body = webp[8:at] + chunk + webp[end:]
            return webp[:4] + struct.pack("<I", len(body)) + body
        at = end
    return webp
