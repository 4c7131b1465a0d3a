"""The `model.json` of an export: that of the model, but `files` lists the files of the export."""

from __future__ import annotations

from pathlib import Path

from blemish.models.files import read_plain_file, sha256, write_synced
from blemish.models.info import FileInfo, ModelInfo
from blemish.models.info_file import read_files, write_info

INFO = "model.json"
_LIMIT = 16 << 20


def describe_export(folder: Path, info: ModelInfo) -> Path:
    """Write `model.json` into a folder that holds everything else of an export, sub-folders too; returns `folder`."""
    files: dict[str, FileInfo] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = FileInfo(sha256=sha256(content), bytes=len(content))
    write_synced(folder / INFO, write_info(info, files.items()))
    return folder


def exported_files(folder: Path) -> set[str]:
    """The files of an export or of a model folder, `model.json` among them; `ModelError` if it is neither."""
    return {INFO, *read_files(read_plain_file(folder / INFO, _LIMIT))}
