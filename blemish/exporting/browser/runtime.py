"""onnxruntime-web: the few files of it that a page needs, from the package or from wherever the user has it."""

from __future__ import annotations

import tarfile
import zlib
from contextlib import suppress
from pathlib import Path

from blemish.errors import UsageError

VENDORED = Path(__file__).parent / "onnxruntime-web.tar.xz"  # 41 MB in 5; `make vendor` writes it
FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
_LIMIT = 256 << 20  # bytes of a file


def runtime_version() -> str:
    """`onnxruntime-web` and the version that Blemish is tested with, as npm writes them."""
    name, version = (Path(__file__).parent / "runtime.txt").read_text("utf-8").split()[:2]
    return f"{name}@{version}"


def runtime_files(given: Path | None = None) -> dict[str, bytes]:
    """The contents of `FILES` from a folder or .tgz of onnxruntime-web, by default from the package.

    Raises `UsageError`, which says how to get them, where one is missing or damaged.
    """
    source = VENDORED if given is None else given
    way_out = f"; install Blemish again, or `npm pack {runtime_version()}` and give its file as --runtime"
    if given is None and not source.exists():
        raise UsageError(f"the format browser needs onnxruntime-web, and {source} is missing{way_out}")
    try:
        return _from_folder(source) if source.is_dir() else _from_archive(source)
    except _damages() as error:
        raise UsageError(f"{source} cannot be read as onnxruntime-web: {error}{'' if given else way_out}") from error


def _damages() -> tuple[type[Exception], ...]:
    """What reading a damaged archive raises."""
    found: list[type[Exception]] = [OSError, tarfile.TarError, EOFError, zlib.error]
    with suppress(ImportError):  # some Pythons were built without it; to tarfile that is a damaged archive
        import lzma

        found.append(lzma.LZMAError)
    return tuple(found)


def _from_folder(folder: Path) -> dict[str, bytes]:
    """From the files themselves, or from the folder of the unpacked package."""
    places = [folder, folder / "dist", folder / "package" / "dist"]
    found = next((place for place in places if (place / FILES[0]).is_file()), folder)
    missing = [name for name in FILES if not (found / name).is_file()]
    if missing:
        raise _incomplete(folder, missing[0])
    return {name: (found / name).read_bytes() for name in FILES}


def _from_archive(file: Path) -> dict[str, bytes]:
    """From the package as `npm pack` or `scripts/vendor.py` writes it; nothing is unpacked to the disk."""
    contents: dict[str, bytes] = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name = member.name.removeprefix("package/dist/")
            if name in FILES and member.isreg() and member.size <= _LIMIT and (stream := archive.extractfile(member)):
                contents[name] = stream.read()
    missing = [name for name in FILES if name not in contents]
    if missing:
        raise _incomplete(file, missing[0])
    return {name: contents[name] for name in FILES}


def _incomplete(given: Path, missing: str) -> UsageError:
    return UsageError(
        f"{given} is not a whole onnxruntime-web: {missing} is missing; get it by `npm pack {runtime_version()}`"
    )
