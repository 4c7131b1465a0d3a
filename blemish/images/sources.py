"""From whatever a user gives (path, folder, URL, array, list, dict) to single images, one at a time."""

from __future__ import annotations

import io
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
from blemish.images import headers, pdf, tiff
from blemish.images.decode import array_to_rgb, check_bit_depth, decode_image
from blemish.images.fetch import fetch
from blemish.images.limits import DEFAULT_LIMITS, Limits, refusal

_ONE_IMAGE_SUFFIXES = frozenset(("bmp", "dib", "jpeg", "jpg", "png", "webp", "pbm", "pgm", "ppm", "pnm", "sr", "ras"))
_PAGED_SUFFIXES = frozenset(("tiff", "tif", "pdf"))
_SUFFIXES = _ONE_IMAGE_SUFFIXES | _PAGED_SUFFIXES
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|(?:file|ftp|data):", re.IGNORECASE)
_MOST_PAGES = 10_000
_DEEPEST_LIST = 32
_ACCEPTED = 'a path, a folder, an http(s) URL, a numpy array, a list of these or {"img": one of these}'

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
    decode: Callable[[int], RGB] = field(repr=False, compare=False)
    failed: bool = False

    def read(self, bit_depth: int = 16) -> RGB:
        """The image as RGB uint8 (H, W, 3); `bit_depth` (10..16) is the significant bits of 16-bit samples.

        Raises `ImageError` naming the input for whatever cannot be read.
        """
        check_bit_depth(bit_depth)
        return self.decode(bit_depth)


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


def list_images(folder: Path) -> list[Path]:
    """Paths of all image files under a folder, recursive, sorted.

    Hidden files and folders are left out, and so are pictures of results, which have their JSON file beside them.
    """
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        results = {Path(name).stem for name in files if name.endswith("_res.json")}
        images = (name for name in files if not name.startswith(".") and is_image_name(name))
        found += [Path(parent, name) for name in images if Path(name).stem not in results]
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return _suffix(name) in _SUFFIXES


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
    paths = list_images(folder)
    if not paths:
        yield failing(str(folder), folder.name, "the folder holds no images (" + _suffixes() + ")")
    for path in paths:
        yield from _expand_file(path, PurePosixPath(path.relative_to(folder).as_posix()), limits)


def _expand_file(path: Path, name: PurePosixPath, limits: Limits) -> Iterator[ImageRef]:
    if not is_image_name(path.name):
        yield failing(str(path), str(name), "is not an image file by its suffix (" + _suffixes() + ")")
        return
    pages: Sequence[int | None] = [None]
    if _suffix(path.name) in _PAGED_SUFFIXES:
        try:
            pages = _pages(_read_file(path, limits), str(path))
        except ImageError as error:
            yield ImageRef(str(path), None, name, partial(_raise, str(error)))
            return
    for page in pages:
        yield ImageRef(str(path), page, name, partial(_decode_file, path, page, limits))


def _expand_url(url: str, limits: Limits) -> Iterator[ImageRef]:
    name = _url_name(url)
    if _suffix(name) in _ONE_IMAGE_SUFFIXES:
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
    kind = headers.image_format(data)
    number = 1
    if kind == "PDF":
        number = pdf.page_count(data, name)
    elif kind == "TIFF":
        number = sum(1 for _ in islice(tiff.frames(io.BytesIO(data)), _MOST_PAGES + 1))
    if number > _MOST_PAGES:
        raise refusal(name, f"has more than {_MOST_PAGES} pages")
    return range(number) if number > 1 else [None]


def _decode_file(path: Path, page: int | None, limits: Limits, bit_depth: int) -> RGB:
    return _decode_bytes(_read_file(path, limits), str(path), page, limits, bit_depth)


def _decode_url(url: str, limits: Limits, bit_depth: int) -> RGB:
    return _decode_bytes(fetch(url, limits), url, None, limits, bit_depth)


def _decode_bytes(data: bytes, name: str, page: int | None, limits: Limits, bit_depth: int) -> RGB:
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


def _raise(message: str, _bit_depth: int) -> RGB:
    raise ImageError(message)


def _url_name(url: str) -> str:
    """The last path segment without query, or the host, safe as a file name."""
    try:
        parts = urlsplit(url)
        last = re.sub(r"[/\\\0]", "_", unquote(parts.path.rsplit("/", 1)[-1]))
        return last if last.strip(".") else parts.hostname or "url"
    except ValueError:
        return "url"


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix[1:].lower()


def _suffixes() -> str:
    return ", ".join(sorted(_SUFFIXES))
