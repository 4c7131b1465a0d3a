"""What the pipeline says of one image."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from blemish.images.rle import encode_mask
from blemish.pipeline.record import Record, finite, one_line
from blemish.pipeline.regions import Region, find_regions
from blemish.pipeline.saving import ResultNamer, image_suffix, named_file, safe_stem, write_image, write_text

if TYPE_CHECKING:
    from PIL.Image import Image

_Text: TypeAlias = str  # inside the class, `str` is the property
_PathLike: TypeAlias = "_Text | os.PathLike[_Text]"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(Record):
    """One image's score, verdict and anomaly map; a read-only mapping whose keys are attributes too.

    Nothing is upsampled, segmented or drawn before it is asked for; then it is kept.

    `name` says where the result is saved below a folder: the input's path in the mirrored sub-folders.
    `size` is (width, height) of the original image, `timings` are in milliseconds.
    `grid_map` is the model's map (h, w) and `full_map` turns it into the map (H, W) of the original image.
    `image` is the decoded image (H, W, 3), uint8 RGB, or None where it was not kept.
    `namer` is shared by the results of one call and keeps their files apart.
    A result whose `error` is not None stands for an input that failed: it has no score, no verdict and no map. It has
    its `size` where the image was read, and the model gave no finite numbers for it.
    `part` is the part that the image shows, None where nothing says it.
    `supported_rate` is the rate that the thresholds keep, larger than the stated `false_alarm_rate` where the good
    images are too few for that.
    """

    KEYS: ClassVar[tuple[_Text, ...]] = (
        "input_path",
        "page_index",
        "part",
        "score",
        "p_value",
        "threshold",
        "is_anomalous",
        "label",
        "false_alarm_rate",
        "supported_rate",
        "pixel_threshold",
        "model_name",
        "size",
        "anomaly_map",
        "pred",
        "regions",
        "timings",
        "error",
    )

    name: PurePosixPath
    input_path: str | None = None
    page_index: int | None = None
    part: str | None = None
    score: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    pixel_threshold: float | None = None
    false_alarm_rate: float | None = None
    supported_rate: float | None = None
    model_name: str | None = None
    size: tuple[int, int] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    grid_map: npt.NDArray[np.float32] | None = None
    full_map: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] | None = None
    image: npt.NDArray[np.uint8] | None = None
    namer: ResultNamer = field(default_factory=ResultNamer)

    @property
    def was_read(self) -> bool:
        """Whether the image could be read, with or without a verdict."""
        return self.size is not None

    @property
    def is_anomalous(self) -> bool | None:
        """Whether the score exceeds the threshold; None for a failed input, and where the score is no finite number."""
        if self.score is None or self.threshold is None or not math.isfinite(self.score):
            return None
        return bool(self.score > self.threshold)

    @property
    def label(self) -> str | None:
        """`Normal` or `Anomaly`; None for a failed input."""
        return None if self.is_anomalous is None else "Anomaly" if self.is_anomalous else "Normal"

    @cached_property
    def anomaly_map(self) -> npt.NDArray[np.float32] | None:
        """The raw anomaly map in the original image's pixels, (H, W), read-only."""
        if self.grid_map is None or self.full_map is None:
            return None
        full = self.full_map(self.grid_map)  # (H, W)
        full.flags.writeable = False
        return full

    @cached_property
    def pred(self) -> npt.NDArray[np.uint8] | None:
        """The mask (H, W), 255 where the map exceeds the pixel threshold, else 0; read-only."""
        if self.anomaly_map is None or self.pixel_threshold is None:
            return None
        mask: npt.NDArray[np.uint8] = np.where(self.anomaly_map > self.pixel_threshold, np.uint8(255), np.uint8(0))
        mask.flags.writeable = False
        return mask

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The places above the pixel threshold, largest first."""
        if self.grid_map is None or self.pixel_threshold is None or self.grid_map.max() <= self.pixel_threshold:
            return ()  # interpolation exceeds no value of the grid, so a calm map need not be upsampled
        return () if self.anomaly_map is None else find_regions(self.anomaly_map, self.pixel_threshold)

    def to_dict(self, mask: bool = True) -> dict[str, Any]:
        """The flat JSON-able record: every key but `anomaly_map`, the mask as COCO RLE under `pred` if asked for.

        Numbers are plain Python numbers; one that is not finite becomes None.
        """
        return {
            "input_path": self.input_path,
            "page_index": self.page_index,
            "part": self.part,
            "score": finite(self.score),
            "p_value": finite(self.p_value),
            "threshold": finite(self.threshold),
            "is_anomalous": self.is_anomalous,
            "label": self.label,
            "false_alarm_rate": finite(self.false_alarm_rate),
            "supported_rate": finite(self.supported_rate),
            "pixel_threshold": finite(self.pixel_threshold),
            "model_name": self.model_name,
            "size": None if self.size is None else list(self.size),
            "regions": [region.to_dict() for region in self.regions],
            **({"pred": None if self.pred is None else encode_mask(self.pred)} if mask else {}),
            "timings": {step: round(float(ms), 3) for step, ms in self.timings.items()},
            "error": self.error,
        }

    @cached_property
    def img(self) -> dict[str, Image]:
        """`{"res": overlay, "heat_map": heat map}` at the original size; empty for a failed input.

        Without the decoded image, `res` is the heat map too.
        """
        if self.anomaly_map is None or self.pixel_threshold is None:
            return {}
        from PIL import Image

        from blemish.pipeline.drawing import draw_heat_map, draw_overlay

        heat_map = Image.fromarray(draw_heat_map(self.anomaly_map, self.pixel_threshold))
        if self.image is None:
            return {"res": heat_map, "heat_map": heat_map}
        overlay = Image.fromarray(draw_overlay(self.image, self.anomaly_map, self.pixel_threshold))
        return {"res": overlay, "heat_map": heat_map}

    @property
    def str(self) -> str:
        """The result as one line: `<path>  Normal - score:  0.614`; a page of a document as `<path>[<page>]`."""
        path = self.input_path if self.input_path is not None else self.name.as_posix()
        page = "" if self.page_index is None else f"[{self.page_index}]"
        reason = (self.error or "").removeprefix(f"{path}{page}: ")
        verdict = f"Error - {reason}" if self.label is None else f"{self.label} - score:  {self.score:.3f}"
        return one_line(f"{path}{page}  {verdict}")

    def save_to_json(self, save_path: _PathLike, indent: int | None = 4, ensure_ascii: bool = False) -> Path:
        """Write the flat record; returns the file.

        `save_path` is that file when it ends in `.json`, otherwise a folder, which gets `<stem>_res.json` in the
        mirrored sub-folders (`<stem>_<page>_res.json` for a page). Raises `UsageError` when it cannot be written.
        """
        path = self._target(Path(save_path), ".json")
        write_text(path, self.json_text(indent, ensure_ascii) + "\n")
        return path

    def save_to_img(self, save_path: _PathLike) -> Path | None:
        """Write the overlay; returns the file, or None for a failed input, which has no picture.

        `save_path` is that file when it ends in `.png`, `.jpg`, `.jpeg`, `.bmp`, `.tif`, `.tiff` or `.webp`, otherwise
        a folder as in `save_to_json`; the picture then has the input's suffix, or `.png` where that is none of these.
        Raises `UsageError` when it cannot be written.
        """
        if not self.img:
            return None
        path = self._target(Path(save_path), image_suffix(self.name))
        write_image(path, self.img["res"])
        return path

    def save_all(self, save_path: _PathLike) -> None:
        """Write the record and the overlay; where `save_path` is a file, the other one gets the same stem."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)

    @cached_property
    def _stems(self) -> dict[Path, PurePosixPath]:
        """The stem of this result's files below each folder that it was saved in."""
        return {}

    def _target(self, save_path: Path, suffix: _Text) -> Path:
        """The file to write for a path that the user gave."""
        file = named_file(save_path, suffix)
        if file is not None:
            return file
        folder = save_path.absolute()
        if folder not in self._stems:
            owner = None if self.input_path is None else (self.input_path, self.page_index)
            self._stems[folder] = self.namer.stem(save_path, safe_stem(self.name, self.page_index), owner)
        stem = self._stems[folder]
        return save_path / stem.with_name(f"{stem.name}_res{suffix}")
