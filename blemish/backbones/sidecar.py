"""What the author of an ONNX file says about it: in `<file>.json`, or in the file's own metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blemish.errors import BackboneError, did_you_mean

_MAX_BYTES = 64 << 10
_Mean = Annotated[float, Field(ge=0, le=1)]
_Deviation = Annotated[float, Field(gt=0, le=1)]


class Sidecar(BaseModel):
    """Origin and input scaling of a network; mean and std are ImageNet's unless stated (RGB in 0..1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[_Mean, _Mean, _Mean] = (0.485, 0.456, 0.406)
    std: tuple[_Deviation, _Deviation, _Deviation] = (0.229, 0.224, 0.225)
    licence: str = "unknown (user's file)"
    source: str = "user's file"
    taps: tuple[str, ...] = ()

    @property
    def states_scaling(self) -> bool:
        """Whether both mean and std were given."""
        return {"mean", "std"} <= self.model_fields_set


def read_sidecar(path: Path, metadata: dict[str, str]) -> Sidecar:
    """The statements about the ONNX file `path`; those in `<path>.json` win over those in its metadata."""
    stated: dict[str, Any] = {key: _value(key, text) for key, text in metadata.items() if key in Sidecar.model_fields}
    file = Path(f"{path}.json")
    if file.exists():
        stated |= _read_json(file)
    for key in stated:
        if key not in Sidecar.model_fields:
            known = list(Sidecar.model_fields)
            raise BackboneError(f"{file}: unknown key `{key}`.{did_you_mean(key, known)} Known: {', '.join(known)}")
    try:
        return Sidecar.model_validate(stated)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise BackboneError(f"{path}: what is stated about it is wrong: {place}: {problem['msg']}") from None


def _value(key: str, text: str) -> object:
    """ONNX metadata are strings: numbers and lists in them are written as JSON."""
    if key in ("licence", "source"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise BackboneError(f"{file}: larger than {_MAX_BYTES >> 10} KiB")
        stated = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{file}: not a readable JSON file ({error})") from None
    if not isinstance(stated, dict):
        raise BackboneError(f"{file}: expected a JSON object")
    return stated
