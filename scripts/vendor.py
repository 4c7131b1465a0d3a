"""Renews what browsers run: onnxruntime-web for `blemish export --format browser`, htmx and Swagger UI for the pages.

The files lie in the repository, so that neither a build nor an installation fetches anything. This is for whoever takes
another version: change the name and the SHA-512 of the package in the first two lines of its list, then `make vendor`.
It needs npm, takes the files from npm's package, and writes their SHA-256 into the list.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "blemish"
PAGES = PACKAGE / "service" / "pages"
BROWSER = PACKAGE / "exporting" / "browser"
# the list of a package, and where its files go: into a folder, or into an archive where they are large
PLACES = {
    PAGES / "htmx.txt": PAGES / "static" / "vendor",
    PAGES / "swagger.txt": PAGES / "static" / "vendor_swagger",
    BROWSER / "runtime.txt": BROWSER / "onnxruntime-web.tar.xz",
}


def main() -> None:
    """Renew the files of every package, and the hashes in its list."""
    if shutil.which("npm") is None:
        sys.exit("vendor: npm is missing; it is needed for nothing but this")
    for stated, place in PLACES.items():
        name, digest, *listed = stated.read_text("utf-8").splitlines()
        names = [line.split(maxsplit=1)[1] for line in listed]
        files = taken(fetched(name.replace(" ", "@"), digest), names)
        write(place, files)
        sums = [f"{hashlib.sha256(content).hexdigest()}  {file}" for file, content in files.items()]
        stated.write_text("\n".join([name, digest, *sums, ""]), "utf-8")


def fetched(package: str, digest: str) -> bytes:
    """The archive of a package of npm, which must have that SHA-512."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", scratch, package], check=True, stdout=sys.stderr
        )
        (file,) = Path(scratch).iterdir()
        content = file.read_bytes()
    if hashlib.sha512(content).hexdigest() != digest:
        sys.exit(f"vendor: {package} is not the file that is stated: {hashlib.sha512(content).hexdigest()}")
    return content


def taken(archive: bytes, names: list[str]) -> dict[str, bytes]:
    """These files of it, by their paths in the package."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        return {name: package.extractfile(f"package/{name}").read() for name in names}  # type: ignore[union-attr]


def write(place: Path, files: dict[str, bytes]) -> None:
    """Into a folder, or as an archive with the paths of npm's; nothing in it tells when and by whom it was made."""
    if place.suffix != ".xz":
        place.mkdir(exist_ok=True)
        for name, content in files.items():
            (place / Path(name).name).write_bytes(content)
        return
    with tarfile.open(place, "w:xz", preset=9) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
