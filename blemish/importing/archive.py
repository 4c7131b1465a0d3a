"""The plain files of a tar archive, read in memory: nothing is unpacked to the disk."""

from __future__ import annotations

from blemish.errors import BackboneError

_BLOCK = 512
_MAX_MEMBERS = 200
_FILES, _FOLDER, _EXTENSIONS = b"0\0", b"5", b"xgL"  # kinds of members; extensions only refine names and times


def read_tar(data: bytes) -> dict[str, memoryview]:
    """The files by the last part of their names, as views into `data`.

    Raises `BackboneError` for compressed or damaged archives, for links, devices and other special members, and for two
    files of one name.
    """
    view, position, members = memoryview(data), 0, 0
    files: dict[str, memoryview] = {}
    while position + _BLOCK <= len(view) and any(header := view[position : position + _BLOCK]):
        members += 1
        size, kind = _size(header), bytes(header[156:157])
        start, end = position + _BLOCK, position + _BLOCK + size
        if members > _MAX_MEMBERS or end > len(view):
            raise _refusal("it is cut off" if end > len(view) else f"it has more than {_MAX_MEMBERS} members")
        if kind in _FILES:
            name = _name(header)
            if name in files:
                raise _refusal(f"it holds two files called {name}")
            files[name] = view[start:end]
        elif kind not in _FOLDER + _EXTENSIONS:
            raise _refusal("it holds links or special files")
        position = end + -size % _BLOCK
    if not files:
        raise _refusal("it holds no files, or is compressed")
    return files


def _size(header: memoryview) -> int:
    """The size in a header whose checksum is right."""
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _octal(header[148:156]) != total:
        raise _refusal("it is damaged, or compressed")
    return _octal(header[124:136])


def _octal(digits: memoryview) -> int:
    text = bytes(digits).strip(b" \0")
    if not text or any(digit not in b"01234567" for digit in text):
        raise _refusal("it is damaged, or compressed")
    return int(text, 8)


def _name(header: memoryview) -> str:
    """The last part of a member's name; only these are asked for, so longer paths do not matter."""
    name = bytes(header[:100]).split(b"\0")[0].decode("ascii", "replace")
    return "".join(c if c.isprintable() else "?" for c in name.rpartition("/")[2])


def _refusal(what: str) -> BackboneError:
    return BackboneError(f"the .tar archive is refused: {what}")
