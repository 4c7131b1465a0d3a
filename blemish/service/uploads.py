"""A model folder that came as a zip file: bounds are checked before a byte is unpacked, and nothing is executed."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from pathlib import PurePosixPath

from blemish.errors import ModelError

_FILES = {"model.onnx": 1 << 30, "model.json": 16 << 20, "inference.yml": 64 << 10, "good_patches.zip": 128 << 20}
_OPTIONAL = {"good_patches.zip"}
_MOST_MEMBERS = 64
_MOST_BYTES = 1 << 30
_LARGEST_RATIO = 200  # weights hardly shrink; what shrinks more is made to fill a disk
_SMALL = 1 << 20  # bytes for which the ratio does not matter
_LINK, _KIND = 0o120000, 0o170000


def read_model_zip(data: bytes) -> dict[str, bytes]:
    """The files of a model folder, at the top of a zip file or in one folder of it.

    Raises `ModelError` for anything else: too many or too large members, a ratio that no model has, links, encryption,
    names that lead out of the folder, two files of one name. Other files are passed over.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _checked(archive.infolist())
            return {name: member_content(archive, member, _FILES[name]) for name, member in members.items()}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ModelError("the upload is no zip file that can be read") from error
    except (ValueError, UnicodeError, LookupError) as error:
        raise ModelError("the upload is a damaged zip file") from error


def _checked(members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The model's files among the members."""
    if len(members) > _MOST_MEMBERS or sum(member.file_size for member in members) > _MOST_BYTES:
        raise ModelError(f"the upload holds more than {_MOST_MEMBERS} files or {_MOST_BYTES} bytes")
    found: dict[str, zipfile.ZipInfo] = {}
    folders: set[PurePosixPath] = set()
    for member in members:
        check_member(member)
        path = PurePosixPath(member.filename)
        if path.name in _FILES and not member.is_dir():
            if path.name in found:
                raise ModelError(f"the upload holds two files called {path.name}")
            found[path.name] = member
            folders.add(path.parent)
    missing = sorted(set(_FILES) - _OPTIONAL - set(found))
    if missing:
        raise ModelError(f"the upload is no model folder: {', '.join(missing)} is missing")
    if len(folders) > 1:
        raise ModelError("the upload's model files lie in several folders")
    return found


def check_member(member: zipfile.ZipInfo) -> None:
    """Raise `ModelError` for a member that leads out of its folder, is a link, encrypted, or packed to fill a disk."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or len(member.filename) > 500:
        raise ModelError("the upload holds a name that leads out of its folder")
    if (member.external_attr >> 16) & _KIND == _LINK or member.flag_bits & 1:
        raise ModelError("the upload holds a link or is encrypted")
    if member.file_size > _SMALL and member.file_size > _LARGEST_RATIO * max(1, member.compress_size):
        raise ModelError("the upload is compressed more than any model or image is")


def member_content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """The member's bytes, at most so many; what its header says of their number is not believed."""
    if member.file_size > most:
        raise ModelError(f"{PurePosixPath(member.filename).name} is larger than the limit of {most} bytes")
    try:
        with archive.open(member) as file:
            content = file.read(member.file_size + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise ModelError("the upload is a damaged zip file") from error
    if len(content) != member.file_size:
        raise ModelError("the upload is a damaged zip file")
    return content
