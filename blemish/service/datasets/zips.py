"""Images that came as a zip file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from blemish.errors import ImageError, ModelError
from blemish.images import is_image_name
from blemish.service.uploads import check_member, member_content

SIGNATURE = b"PK\x03\x04"
_MOST_MEMBERS, _MOST_BYTES = 20_000, 8 << 30
_GOOD = "train/good/"
_NOT_GOOD = {"test", "val", "ground_truth", "annotations", "masks"}


def read_image_zip(data: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the image files in a zip file, one at a time, of at most `most` bytes each.

    Of a data set with `train/good`, these are its images. Other files are passed over. Raises `ImageError` before the
    first one for names that lead out of the folder, links, encryption, a ratio that no image has, too many or too large
    members, and folders of which some are not of good images; at a member that is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in _images(archive.infolist(), most):
                yield member.filename, member_content(archive, member, most)
    except ModelError as error:
        raise ImageError(str(error)) from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ImageError("the upload is no zip file that can be read") from error
    except (ValueError, UnicodeError, LookupError) as error:
        raise ImageError("the upload is a damaged zip file") from error


def _images(members: Sequence[zipfile.ZipInfo], most: int) -> list[zipfile.ZipInfo]:
    """The members that are good images by their names."""
    if len(members) > _MOST_MEMBERS or sum(member.file_size for member in members) > _MOST_BYTES:
        raise ImageError(f"the upload holds more than {_MOST_MEMBERS} files or {_MOST_BYTES >> 30} GB")
    for member in members:
        check_member(member)
    images = [member for member in members if not member.is_dir() and _is_image(member.filename)]
    good = [member for member in images if _GOOD in f"/{member.filename}".replace("\\", "/")]
    folders = {part.lower() for member in images for part in PurePosixPath(member.filename).parts[:-1]}
    if not good and folders & _NOT_GOOD:
        raise ImageError("the upload holds images that are not good ones; put the good ones alone into the zip file")
    if not images:
        raise ImageError("the upload holds no image")
    if large := next((member for member in good or images if member.file_size > most), None):
        raise ImageError(f"{PurePosixPath(large.filename).name} is larger than the limit of {most} bytes")
    return good or images


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return bool(parts) and not hidden and is_image_name(parts[-1])
