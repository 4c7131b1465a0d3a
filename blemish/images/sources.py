"""From whatever a user gives (path, folder, URL, array, list, dict) to single images, one at a time."""

from __future__ import annotations

import io
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.images import pdf, tiff
from blemish.images.decode import array_to_rgb, decode_image
from blemish.images.fetch import fetch
from blemish.images.folders import left_out_line, look_through
from blemish.images.kinds import image_format
from blemish.images.limits import DEFAULT_LIMITS, Limits, refusal
from blemish.images.names import ONE_IMAGE, PAGED, accepted, is_image_name, suffix_of
from blemish.sample_range import FULL, BitDepth, SampleRange

_URL = re.compile(r"[a-z][a-z0-9+.-]+://|(?:file|ftp|data):", re.IGNORECASE)
_MOST_PAGES = 10_000
_DEEPEST_LIST = 32
_ACCEPTED = 'a path, a folder, an http(s) URL, a numpy array, a list of these or {"img": one of these}'

log = logging.getLogger("blemish")

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ImageRef:
    """One image that is not read yet.

    `input_path` is what the user named (None for arrays), `page_index` the page of a file with several, else None,
    and `name` the relative path under which results of this image are kept. `failed` says that `read` will raise.
    """

    input_path: str | None
    page_index: int | None
    name: PurePosixPath
    decode: Callable[[SampleRange], RGB] = field(repr=False, compare=False)
    failed: bool = False

    def read(self, bit_depth: BitDepth = FULL) -> RGB:
        """The image as RGB uint8 (H, W, 3); `bit_depth` says which 16-bit samples are black and white.

        Raises `ImageError` naming the input for whatever cannot be read.
        """
        return self.decode(SampleRange.of(bit_depth))


def expand(inputs: object, limits: Limits = DEFAULT_LIMITS) -> Iterator[ImageRef]:
    """The images of any input, lazily and in order.

    An input that fails (missing, unsupported, of a wrong type) becomes an `ImageRef` whose `read` raises, so that one
    bad input never stops the others.
    """
    return _expand(inputs, limits, count(1), depth=0)


def expand_bytes(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[ImageRef]:
    """The images of a file that came as bytes: one, or the pages of a TIFF or PDF file; `name` is what the sender
    called it. Data that fails becomes an `ImageRef` whose `read` raises, as in `expand`.
    """
    try:
        pages = _pages(data, name)
    except ImageError as error:
        yield ImageRef(name, None, PurePosixPath(name), partial(_raise, str(error)), failed=True)
        return
    for page in pages:
        yield ImageRef(name, page, PurePosixPath(name), partial(_decode_bytes, data, name, page, limits))


def _expand(item: object, limits: Limits, numbers: Iterator[int], depth: int) -> Iterator[ImageRef]:
    if depth > _DEEPEST_LIST:
        yield failing(None, "input", f"lists are nested more than {_DEEPEST_LIST} deep")
    elif isinstance(item, np.ndarray):
        name = f"array_{next(numbers):04d}.png"
        yield ImageRef(None, None, PurePosixPath(name), partial(array_to_rgb, item, name))
    elif isinstance(item, str | os.PathLike):
        yield from _expand_text(os.fsdecode(item), limits)
    elif isinstance(item, Mapping):
        yield from _expand_mapping(item, limits, numbers, depth)
    elif isinstance(item, Sequence | Iterator) and not isinstance(item, bytes | bytearray | memoryview):
        for member in item:
            yield from _expand(member, limits, numbers, depth + 1)
    else:
        yield failing(None, "input", f"a {type(item).__name__} is not an image; give {_ACCEPTED}")


def _expand_mapping(
    item: Mapping[object, object], limits: Limits, numbers: Iterator[int], depth: int
) -> Iterator[ImageRef]:
    if "img" in item:
        yield from _expand(item["img"], limits, numbers, depth + 1)
    else:
        keys = ", ".join(map(repr, islice(item, 5))) or "none"
        yield failing(None, "input", f'a dict must hold the image under the key "img"; its keys: {keys}')


def _expand_text(text: str, limits: Limits) -> Iterator[ImageRef]:
    from blemish.images.video import is_video, video_frames

    if is_video(text) and not Path(text).is_dir():
        yield from video_frames(text, limits)
        return
    if _URL.match(text):
        yield from _expand_url(text, limits)
        return
    path = Path(text)
    try:
        mode = path.stat().st_mode if text else 0
    except (OSError, ValueError):
        mode = 0
    if stat.S_ISDIR(mode):
        yield from _expand_folder(path, limits)
    elif stat.S_ISREG(mode):
        yield from _expand_file(path, PurePosixPath(path.name), limits)
    else:
        yield failing(text, path.name, "is not a regular file" if mode else "no such file or folder")


def _expand_folder(folder: Path, limits: Limits) -> Iterator[ImageRef]:
    found = look_through(folder)
    left_out = left_out_line(found.left_out)
    if not found.images:
        also = f"; left out: {left_out}" if left_out else ""
        yield failing(str(folder), folder.name, f"the folder holds no images ({accepted()}){also}")
    elif left_out:
        log.warning("%s: left out: %s", folder, left_out)
    for path in found.images:
        yield from _expand_file(path, PurePosixPath(path.relative_to(folder).as_posix()), limits)


def _expand_file(path: Path, name: PurePosixPath, limits: Limits) -> Iterator[ImageRef]:
    if not is_image_name(path.name):
        yield failing(str(path), str(name), "is not an image file by its suffix (" + accepted() + ")")
        return
    pages: Sequence[int | None] = [None]
    if suffix_of(path.name) in PAGED:
        try:
            pages = _pages(_read_file(path, limits), str(path))
        except ImageError as error:
            yield ImageRef(str(path), None, name, partial(_raise, str(error)))
            return
    for page in pages:
        yield ImageRef(str(path), page, name, partial(_decode_file, path, page, limits))


def _expand_url(url: str, limits: Limits) -> Iterator[ImageRef]:
    name = _url_name(url)
    if suffix_of(name) in ONE_IMAGE:
        yield ImageRef(url, None, PurePosixPath(name), partial(_decode_url, url, limits))
        return
    try:
        data = fetch(url, limits)
        pages = _pages(data, url)
    except ImageError as error:
        yield ImageRef(url, None, PurePosixPath(name), partial(_raise, str(error)))
        return
    for page in pages:
        yield ImageRef(url, page, PurePosixPath(name), partial(_decode_bytes, data, url, page, limits))


def _pages(data: bytes, name: str) -> Sequence[int | None]:
    """The page numbers of a file with several pages, else one None."""
    kind = image_format(data)
    number = 1
    if kind == "PDF":
        number = pdf.page_count(data, name)
    elif kind == "TIFF":
        directory = tiff.read_directory(io.BytesIO(data))
        # what is missing at the end counts as a page, so that it is refused rather than unnoticed
        number = len(directory.pages) + (directory.is_broken and bool(directory.pages))
    if number > _MOST_PAGES:
        raise refusal(name, f"has more than {_MOST_PAGES} pages")
    return range(number) if number > 1 else [None]


def _decode_file(path: Path, page: int | None, limits: Limits, bit_depth: SampleRange) -> RGB:
    return _decode_bytes(_read_file(path, limits), str(path), page, limits, bit_depth)


def _decode_url(url: str, limits: Limits, bit_depth: SampleRange) -> RGB:
    return _decode_bytes(fetch(url, limits), url, None, limits, bit_depth)


def _decode_bytes(data: bytes, name: str, page: int | None, limits: Limits, bit_depth: SampleRange) -> RGB:
    return decode_image(data, name, limits, page=page or 0, bit_depth=bit_depth)


def _read_file(path: Path, limits: Limits) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limits.max_bytes:
                raise refusal(str(path), f"{size} bytes are more than the limit of {limits.max_bytes}")
            return file.read()
    except OSError as error:
        raise refusal(str(path), f"cannot be read: {error.strerror or error}") from error


def failing(input_path: str | None, name: str, reason: str) -> ImageRef:
    """A record whose `read` raises an `ImageError` that names the input."""
    shown = input_path if input_path is not None else "input"
    message = str(refusal(shown, reason))
    return ImageRef(input_path, None, PurePosixPath(name or "input"), partial(_raise, message), failed=True)


def _raise(message: str, _bit_depth: SampleRange) -> RGB:
    raise ImageError(message)


def _url_name(url: str) -> str:
    """The last path segment without query, or the host, safe as a file name."""
    try:
        parts = urlsplit(url)
        last = re.sub(r"[/\\\0]", "_", unquote(parts.path.rsplit("/", 1)[-1]))
        return last if last.strip(".") else parts.hostname or "url"
    except ValueError:
        return "url"
