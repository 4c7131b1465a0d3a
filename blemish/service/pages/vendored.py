"""htmx and Swagger UI, without which the pages show buttons that do nothing: a service without them does not start."""

from __future__ import annotations

import hashlib
from pathlib import Path

from blemish.errors import UsageError

_HERE = Path(__file__).parent
# The list of a package of npm, and the folder of its files. A list has the package's name and version, its SHA-512,
# and the SHA-256 and path of each file; `make vendor` writes it.
LISTS = {
    _HERE / "htmx.txt": _HERE / "static" / "vendor",
    _HERE / "swagger.txt": _HERE / "static" / "vendor_swagger",
}


def check_vendored() -> None:
    """Raise `UsageError` for the first file that is missing or not the one that is listed."""
    for stated, folder in LISTS.items():
        for line in _read(stated).decode("utf-8", "replace").splitlines()[2:]:
            digest, name = line.split(maxsplit=1)
            file = folder / Path(name).name
            if hashlib.sha256(_read(file)).hexdigest() != digest:
                raise _incomplete(file, "is not the file that Blemish comes with")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise _incomplete(file, "is missing") from None
    except OSError as error:
        raise _incomplete(file, f"cannot be read ({error.strerror})") from error


def _incomplete(file: Path, what: str) -> UsageError:
    return UsageError(f"{file} {what}, and without it the pages do not work; install Blemish again")
