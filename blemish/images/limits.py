"""What is read at most, and the one-line refusal of an input."""

from __future__ import annotations

from dataclasses import dataclass

from blemish.errors import ImageError

_LONGEST_NAME = 300


@dataclass(frozen=True)
class Limits:
    """Bounds on what one input may cost; whatever exceeds them is refused with an `ImageError`.

    `max_pixels` bounds the decoded width x height, read from the header before anything is decoded. `max_bytes`
    bounds a file, `url_max_bytes` a download, `url_timeout_s` its whole time in seconds, redirects included.
    Without `allow_private_urls` every address that a URL or a redirect leads to must be a public one.
    Without `allow_streams` no camera and no network stream is opened.
    `pdf_scale` is pixels per PDF point: 2.0 renders at 144 dpi.
    """

    max_pixels: int = 178_956_970
    max_bytes: int = 1 << 30
    url_timeout_s: float = 30.0
    url_max_bytes: int = 128 << 20
    max_redirects: int = 5
    allow_urls: bool = True
    allow_private_urls: bool = True
    allow_streams: bool = True
    pdf_scale: float = 2.0


DEFAULT_LIMITS = Limits()


def refusal(name: str, reason: str) -> ImageError:
    """The error `name: reason` on one line, however long or strange the name is."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
    if len(shown) > _LONGEST_NAME:
        shown = shown[:_LONGEST_NAME] + "..."
    return ImageError(f"{shown}: {reason}")


def another_size(name: str, size: tuple[int, int]) -> ImageError:
    """The error for a file whose pixels are not those that its header (width, height) promised."""
    return refusal(name, f"is damaged: its header says {size[0]}x{size[1]} pixels, its data another size")


def check_pixels(name: str, width: int, height: int, limits: Limits) -> None:
    """Refuse an empty or too large picture before it is decoded."""
    if width < 1 or height < 1:
        raise refusal(name, f"has no pixels ({width}x{height})")
    if width * height > limits.max_pixels:
        raise refusal(name, f"{width}x{height} pixels are more than the limit of {limits.max_pixels}")
