"""Images that came as a zip file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

from blemish.datasets.layouts.learned import learned_of
from blemish.datasets.layouts.recogniser import recognise
from blemish.datasets.tree import File, tree_of
from blemish.errors import DatasetError, ImageError, ModelError
from blemish.images import is_image_name
from blemish.service.uploads import check_member, member_content

SIGNATURE = b"PK\x03\x04"
_MOST_MEMBERS, _MOST_BYTES = 20_000, 8 << 30
_MOST_IMAGE, _MOST_TEXT = 1 << 30, 32 << 20  # bytes of a member that are unpacked
_TITLE = "the upload"


def read_image_zip(data: bytes, most: int) -> tuple[str, Iterator[tuple[str, bytes]]]:
    """What is taken of a zip file, for a person, and names and bytes of its good images, each of at most `most` bytes.

    The zip file is recognised as a folder of the same files is. Raises `ImageError` for names that lead out of the
    folder, links, encryption, a ratio that no image has, too many or too large members, and where not all images are
    surely good or surely not; the iterator raises it at a member that is damaged.
    """
    with _refusing():
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = _checked(archive.infolist())
        tree = tree_of(_TITLE, "", (_file(archive, member) for member in members))
        try:
            found = recognise(tree)
        except DatasetError as error:
            raise ImageError(f"{error}. Or put the good images alone into the zip file") from None
        if not found.train:
            raise ImageError(f"{_TITLE} holds no good image{f': {found.no_good}' if found.no_good else ''}")
        if large := next((one.file for one in found.train if one.file.size > most), None):
            raise ImageError(f"{large.name.name} is larger than the limit of {most} bytes")
    return learned_of(found), _contents(archive, [one.file for one in found.train], most)


def _contents(archive: zipfile.ZipFile, files: Sequence[File], most: int) -> Iterator[tuple[str, bytes]]:
    with _refusing(), archive:
        for file in files:
            yield file.name.as_posix(), file.read(most)


@contextmanager
def _refusing() -> Iterator[None]:
    """What a hostile or damaged zip file raises, as one line."""
    try:
        yield
    except (ModelError, DatasetError) as error:
        raise ImageError(str(error)) from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ImageError("the upload is no zip file that can be read") from error
    except (ValueError, UnicodeError, LookupError) as error:
        raise ImageError("the upload is a damaged zip file") from error


def _checked(members: Sequence[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The files among the members, within all bounds."""
    if len(members) > _MOST_MEMBERS or sum(member.file_size for member in members) > _MOST_BYTES:
        raise ImageError(f"the upload holds more than {_MOST_MEMBERS} files or {_MOST_BYTES >> 30} GB")
    for member in members:
        check_member(member)
    files = [member for member in members if not member.is_dir()]
    if len({member.filename.replace("\\", "/") for member in files}) < len(files):
        raise ImageError("the upload holds two files of one name")
    if not files:
        raise ImageError("the upload holds no image")
    return files


def _file(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> File:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    largest = _MOST_IMAGE if is_image_name(name.name) else _MOST_TEXT
    return File(name, member.file_size, lambda most: member_content(archive, member, min(most, largest)))
