"""What `model.json` holds, as typed records that refuse everything else."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from blemish import __version__
from blemish.errors import UsageError
from blemish.images import Area, Frame, InputGeometry, Tiling
from blemish.models.calibration_info import CalibrationInfo
from blemish.models.record import (
    MOST_ENTRIES,
    Channels,
    Count,
    Pair,
    Pixels,
    Record,
    Sha256,
    ShortHash,
    Text,
)
from blemish.sample_range import FULL, SampleRange

FileName = Literal["model.onnx", "inference.yml", "good_patches.zip"]
NETWORK: Literal["model.onnx"] = "model.onnx"
SUMMARY: Literal["inference.yml"] = "inference.yml"
GOOD_PATCHES: Literal["good_patches.zip"] = "good_patches.zip"
NO_CHECKSUM = "0" * 64
MOST_HASHES = 150_000  # of images that a writer lists, 20 bytes each: a model of more does not tell its images
MOST_LEARNED_ONLY = 30_000  # files that a writer lists, 66 bytes each and more
_LARGEST_WHOLE = 16384
_MAX_UPDATES = 10_000
_IDENTITY = "identity"  # among the versions: the rule that makes a model's version, "1" since there is one
# What differs between equal models: when and with what they were made, and what follows from that.
PASSING = {"created", "blemish_version", "versions", "format_version", "checksum"}
_PASSING_OF_UPDATES = {"history": {"__all__": {"when", "blemish_version"}}}


class DetectorInfo(Record):
    """The detector and the parameters it was fitted with."""

    name: Text
    parameters: dict[Text, JsonValue]


class TilesInfo(Record):
    """`columns` x `rows` tiles of the network's input size; the next begins `step_x` or `step_y` pixels further."""

    columns: Annotated[int, Field(ge=1, le=99)]
    rows: Annotated[int, Field(ge=1, le=99)]
    step_x: Pixels
    step_y: Pixels


class AreaInfo(Record):
    """What the model looks at, as the COCO RLE of a mask over the input, all tiles together; `size` is [H, W]."""

    size: Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    counts: Annotated[str, Field(max_length=8 << 20, pattern=r"^[0-o]+$")]


class InputInfo(Record):
    """The image the network takes: size in pixels, and what the training images were.

    `aspect` is width / height of the training images; an image of another aspect is letterboxed. Without it, all images
    are stretched to the input. `bit_depth` says which samples of 16-bit image files become black and white among the 8
    bits that the network takes.
    """

    width: Pixels
    height: Pixels
    aspect: Annotated[float, Field(gt=0)] | None = None
    bit_depth: SampleRange = FULL
    colour: Literal["RGB"] = "RGB"
    resize: Literal["area"] = "area"
    tiles: TilesInfo | None = None
    area: AreaInfo | None = None

    @classmethod
    def of(cls, frame: Frame, bit_depth: SampleRange) -> InputInfo:
        """The record of a frame."""
        tiling, area = frame.tiling, frame.area
        tiles = TilesInfo(columns=tiling.columns, rows=tiling.rows, step_x=tiling.step_x, step_y=tiling.step_y)
        return cls(
            width=tiling.width,
            height=tiling.height,
            aspect=frame.geometry.aspect,
            bit_depth=bit_depth,
            tiles=tiles if tiling.count > 1 else None,
            area=None if area is None else AreaInfo(**area.to_rle()),
        )

    @cached_property
    def frame(self) -> Frame:
        """How the model sees an image."""
        grid = {} if self.tiles is None else self.tiles.model_dump()
        tiling = Tiling(self.width, self.height, **grid)
        area = None if self.area is None else Area.from_rle(self.area.model_dump())
        return Frame(InputGeometry(*tiling.size, self.aspect), tiling, area)

    @property
    def least_version(self) -> Literal[1, 2, 5, 7]:
        """The format version that can hold it.

        Tiles and area came with the second, windows with the fifth, stretching with the seventh.
        """
        if self.aspect is None:
            return 7
        if self.bit_depth.bits is None:
            return 5
        return 1 if self.tiles is None and self.area is None else 2

    @model_validator(mode="after")
    def _area_fits(self) -> InputInfo:
        if self.tiles is not None and (self.tiles.step_x > self.width or self.tiles.step_y > self.height):
            raise ValueError("has tiles with gaps between them")
        try:
            frame = self.frame
        except UsageError as error:
            raise ValueError(f"has an area that is none: {error}") from None
        width, height = frame.tiling.size
        if max(width, height) > _LARGEST_WHOLE:
            raise ValueError(f"has tiles of {width}x{height} pixels together, more than {_LARGEST_WHOLE} a side")
        if frame.area is not None and frame.area.mask.shape != (height, width):
            raise ValueError(f"has an area of another size than {width}x{height} pixels, that of all tiles together")
        return self


class OutputInfo(Record):
    """Size of the anomaly map in pixels."""

    map_height: Pixels
    map_width: Pixels


class BackboneInfo(Record):
    """The frozen network inside; `mean` and `std` refer to RGB in 0..1, `sha256` to the weights file."""

    name: Text
    source: Text
    sha256: Sha256
    licence: Text
    mean: Channels
    std: Channels
    taps: list[Text]


class DataInfo(Record):
    """The training images: how many, of how many parts, and which (`fingerprint`); `sizes` counts 'WxH'.

    `hashes` are the images' short hashes, sorted, so that an evaluation can tell images that the model has seen; None
    where the model does not tell, as one of more than `MOST_HASHES` images. `learned_only` has those that an update
    learned without letting them calibrate: by the file's short hash, the score and the peak that each of its images had
    when it was new to the model.
    """

    images: Count
    parts: Count
    fingerprint: Sha256
    folder: Text
    sizes: dict[Text, Count]
    hashes: Annotated[list[ShortHash], Field(max_length=MOST_ENTRIES)] | None = None
    learned_only: (
        Annotated[
            dict[ShortHash, Annotated[list[Pair], Field(min_length=1)]],
            Field(min_length=1, max_length=MOST_ENTRIES),
        ]
        | None
    ) = None


def listed_hashes(short: Iterable[str]) -> list[str] | None:
    """The short hashes of images as `DataInfo.hashes` has them; None where they are too many to list."""
    listed = sorted(short)
    return listed if len(listed) <= MOST_HASHES else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class UpdateInfo(Record):
    """One update of the model with more good images: which, and what it changed.

    `version_before` is the version of the model that was updated. `images` and `parts` are those that came in,
    `fingerprint` and `folder` theirs as in `data`. The pairs are before and after: the `size` of what the detector
    holds of its images, null where it tells none; the `threshold` in force; and the new images above it,
    `false_alarms`: by the scores of the model before, then by those with an image's own part left out. `calibrated`
    tells whether the images joined the calibration; null in a record from before that could be chosen, when they did.
    """

    when: Text = Field(default_factory=_now)
    blemish_version: Text = __version__
    version_before: Sha256
    images: Count
    parts: Count
    fingerprint: Sha256
    folder: Text
    size: Annotated[list[Count], Field(min_length=2, max_length=2)] | None
    threshold: Pair
    false_alarms: Annotated[list[Count], Field(min_length=2, max_length=2)]
    calibrated: bool | None = None


class FileInfo(Record):
    """Hash and size of a file of the folder."""

    sha256: Sha256
    bytes: Count


def _versions() -> dict[str, str]:
    """From the modules, since packages of several names install them (onnxruntime-gpu, opencv-python)."""
    modules = {"numpy": "numpy", "opencv": "cv2", "onnxruntime": "onnxruntime", "onnx": "onnx"}
    versions = {key: str(import_module(module).__version__) for key, module in modules.items()}
    return {"python": platform.python_version(), **versions, _IDENTITY: "1"}


class ModelInfo(Record):
    """All of `model.json`. Whoever fits a model gives what has no default; `save_model` fills in `files`
    and `checksum`."""

    format: Literal["blemish-model"] = "blemish-model"
    format_version: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 1
    created: Text = Field(default_factory=_now)
    blemish_version: Text = __version__
    detector: DetectorInfo
    input: InputInfo
    output: OutputInfo
    backbone: BackboneInfo | None
    calibration: CalibrationInfo
    data: DataInfo
    versions: dict[Text, Text] = Field(default_factory=_versions)
    history: Annotated[list[UpdateInfo], Field(min_length=1, max_length=_MAX_UPDATES)] | None = None
    files: dict[FileName, FileInfo] = Field(default_factory=dict)
    checksum: Sha256 = NO_CHECKSUM

    @property
    def tells_what_calibrates(self) -> bool:
        """Whether it tells images that calibrate from images that were learned alone."""
        return self.data.learned_only is not None or any(one.calibrated is not None for one in self.history or ())

    @property
    def version(self) -> str:
        """What tells this model from others, 64 hexadecimal digits: equal trainings and updates give equal ones.

        Only for a model that was read, as its `checksum`. Models of before have that as their version too.
        """
        if _IDENTITY not in self.versions:
            return self.checksum
        exclude: Any = {**dict.fromkeys(PASSING, True), **_PASSING_OF_UPDATES}
        # what is not in the file is left out, so that keys of a later Blemish change no version
        record = self.model_dump(mode="json", exclude_unset=True, exclude=exclude)
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    @model_validator(mode="after")
    def _version_can_hold_it(self) -> ModelInfo:
        if self.format_version < 8 and self.calibration.least_version == 8:
            raise ValueError("has a counted or interpolated calibration, which format versions 1 to 7 do not know")
        if self.format_version < self.calibration.least_version:
            raise ValueError("has a pattern of parts or sessions, which format versions 1 to 5 do not know")
        if self.format_version < 6 and self.tells_what_calibrates:
            raise ValueError("tells which images calibrate, which format versions 1 to 5 do not know")
        if self.format_version < 7 and self.input.aspect is None:
            raise ValueError("has no aspect, which format versions 1 to 6 need")
        if self.format_version < 5 and self.input.bit_depth.bits is None:
            raise ValueError("has a window as its bit depth, which format versions 1 to 4 do not know")
        if self.format_version < self.input.least_version:
            raise ValueError("has tiles or an area, which format version 1 does not know")
        if self.format_version < 3 and self.history is not None:
            raise ValueError("has a history, which format versions 1 and 2 do not know")
        if self.format_version < 4 and GOOD_PATCHES in self.files:
            raise ValueError("has good patches, which format versions 1 to 3 do not know")
        return self


def printable(text: str) -> str:
    """Text fit for `model.json`, whatever a file name or a backbone's author wrote."""
    return "".join(c if c.isprintable() else "?" for c in text[:1000].encode("utf-8", "replace").decode())


def data_fingerprint(hashes: Mapping[str, str]) -> str:
    """SHA-256 over the sorted lines 'name<TAB>hash', from the images' relative names and the SHA-256 of their bytes."""
    lines = "".join(f"{name}\t{digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def short_hash(digest: str) -> str:
    """The first 64 bits of a SHA-256 in hexadecimal digits: enough to tell images apart."""
    return digest[:16]
