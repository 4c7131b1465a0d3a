"""`model.json` as bytes: written with a checksum, read with suspicion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable
from typing import Any, NoReturn

from pydantic import ValidationError

from blemish.errors import ModelError
from blemish.models.info import GOOD_PATCHES, NO_CHECKSUM, FileInfo, ModelInfo

FORMAT = "blemish-model"
FORMAT_VERSION = 8


def write_info(info: ModelInfo, files: Iterable[tuple[str, FileInfo]]) -> bytes:
    """`model.json` as bytes, one line for each top-level key, with these files by name, and with its checksum.

    The format version is the least that can hold it, so that as many readers as possible take it.
    """
    listed = {name: file.model_dump() for name, file in files}
    version = _least_version(info, listed)
    record = {**info.model_dump(), "format_version": version, "files": listed, "checksum": NO_CHECKSUM}
    # readers of earlier versions refuse keys that they do not know
    if info.history is None:
        del record["history"]
    for key in ("group_by", "sessions", "counted"):
        if record["calibration"][key] is None:
            del record["calibration"][key]
    if not info.calibration.interpolated:
        del record["calibration"]["interpolated"]
    record["input"] = {key: value for key, value in record["input"].items() if value is not None}
    if info.data.learned_only is None:
        del record["data"]["learned_only"]
    for update in record.get("history", ()):
        if update["calibrated"] is None:
            del update["calibrated"]
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in record.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    head, _, tail = text.rpartition(NO_CHECKSUM)
    return f"{head}{hashlib.sha256(text.encode()).hexdigest()}{tail}".encode()


def _least_version(info: ModelInfo, files: Container[str]) -> int:
    least = 4 if GOOD_PATCHES in files else 1 if info.history is None else 3
    if info.tells_what_calibrates:
        least = 6
    return max(least, info.input.least_version, info.calibration.least_version)


def read_info(text: bytes) -> ModelInfo:
    """Verify the bytes of a `model.json`; `ModelError` says in one line what is wrong."""
    record = _parse_verified(text)
    _check_folder(record)
    try:
        info = ModelInfo.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ascii(".".join(map(str, first["loc"]))[:100])[1:-1]
        raise ModelError(f"model.json, `{where}`: {first['msg']}") from error
    missing = [
        *(ModelInfo.model_fields.keys() - info.model_fields_set - {"history"}),
        *({"model.onnx", "inference.yml"} - info.files.keys()),
    ]
    if missing:
        raise ModelError(f"model.json does not have `{min(missing)}`")
    return info


def read_files(text: bytes) -> list[str]:
    """The names under `files` in the bytes of a `model.json`, be it a model's or an export's; errors as `read_info`."""
    files = _parse_verified(text).get("files")
    if not isinstance(files, dict):
        raise ModelError("model.json does not have `files`")
    return list(files)


def _parse_verified(text: bytes) -> dict[str, Any]:
    record = _parse_json(text)
    _check_format(record)
    _check_checksum(text, record.get("checksum"))
    return record


def _parse_json(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(
            text.decode("utf-8"), parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_unique_keys
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ModelError(f"model.json is damaged: {reason}") from error
    if not isinstance(record, dict):
        raise ModelError("model.json is damaged: it is not a JSON object")
    return record


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) != float("inf") else _not_finite(text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return record


def _check_format(record: dict[str, Any]) -> None:
    number = record.get("format_version")
    if record.get("format") != FORMAT or not isinstance(number, int):
        raise ModelError(f"model.json is not of a Blemish model (`format` must be `{FORMAT}`)")
    if number > FORMAT_VERSION:
        raise ModelError(
            f"the model was written by a newer Blemish (format {str(number)[:10]}, not {FORMAT_VERSION}); "
            "install a newer one to read it"
        )


def _check_folder(record: dict[str, Any]) -> None:
    """An export for another runtime has no network that Blemish runs; say so rather than name a missing key."""
    files = record.get("files")
    if isinstance(files, dict) and files and "inference.yml" not in files and files.keys() != {"model.onnx"}:
        main = ascii(min(files)[:50])[1:-1]
        raise ModelError(f"it is an export for other programs ({main}); give the model that it was made from")


def _check_checksum(text: bytes, stated: object) -> None:
    """The checksum is that of the file with zeros in the checksum's own place."""
    digits = stated.encode(errors="replace") if isinstance(stated, str) and len(stated) == len(NO_CHECKSUM) else b""
    head, _, tail = text.rpartition(digits or b"\0")
    if hashlib.sha256(head + NO_CHECKSUM.encode() + tail).hexdigest().encode() != digits:
        raise ModelError("model.json has been changed or damaged: its checksum does not match")
