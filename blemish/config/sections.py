"""The sections of the run file, in PaddleX's dialect: every key has a type, bounds and a default.

A validator's message completes the sentence "`key` is `value`, but should ...".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from blemish.config.sizes import parse_size
from blemish.sample_range import FULL, SampleRange

# Files of weights beside which a training puts the fitted model.
_WEIGHTS = (".safetensors", ".pdparams")
_LONGEST_PATTERN = 1000
MODES = ("check_dataset", "train", "evaluate", "export", "predict")


class Section(BaseModel):
    """A group of keys: strict types, no unknown key, no infinite number."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, data: Any) -> Any:
        """A section whose keys are all commented out is null in YAML; it has its defaults."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or not cls.is_section(key)}

    @classmethod
    def is_section(cls, key: str) -> bool:
        """Whether `key` is a section of its own rather than a value."""
        annotation = cls.model_fields[key].annotation if key in cls.model_fields else None
        return isinstance(annotation, type) and issubclass(annotation, Section)


def _checked_size(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    parse_size(str(value))
    return str(value)


def _checked_pattern(value: str | None) -> str | None:
    """A pattern that a model folder can keep, too."""
    try:
        re.compile(value or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"be a regular expression ({error})") from None
    if value is not None and (len(value) > _LONGEST_PATTERN or not value.isprintable()):
        raise ValueError(f"be a regular expression of at most {_LONGEST_PATTERN} printable characters")
    return value


def _checked_grid(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[1-9][0-9]?x[1-9][0-9]?", value):
        raise ValueError("be columns x rows of tiles, each 1 to 99, for example 3x2")
    return value


def _names(value: object) -> object:
    """Names with commas between them as several."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value or []


def _checked_area(value: object) -> object:
    """A path as it is; one polygon or several as several."""
    if value is None or (isinstance(value, str) and value):
        return value
    polygons = value if _depth(value) == 3 else [value]
    if not (isinstance(polygons, list) and polygons and all(map(_is_polygon, polygons))):
        raise ValueError(
            "be the path of a mask, or a polygon [[x, y], [x, y], [x, y], ...] or a list of such, with x and y as "
            "shares of the image's width and height, 0 to 1"
        )
    return [[[float(x), float(y)] for x, y in polygon] for polygon in polygons]


def _depth(value: object) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0


def _is_polygon(points: object) -> bool:
    """At least three points [x, y] inside the image."""
    return isinstance(points, list) and len(points) >= 3 and all(map(_is_point, points))


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(isinstance(x, (int, float)) and not isinstance(x, bool) and 0 <= x <= 1 for x in point)
    )


Text = Annotated[str, Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_names)]
Grid = Annotated[str | None, AfterValidator(_checked_grid)]
AreaSource = Annotated[str | list[list[list[float]]] | None, BeforeValidator(_checked_area)]
Percent = Annotated[float, Field(gt=0, lt=100)]
Side = Annotated[int, Field(ge=32, le=4096)]  # a multiple of what the backbone needs, as is seen once that is known
Size = Annotated[str, BeforeValidator(_checked_size)]
Pattern = Annotated[str | None, AfterValidator(_checked_pattern)]


class GlobalSection(Section):
    """What to do, with which data, where."""

    model: Text = "PatchCore"
    mode: str = "train"
    dataset_dir: Text | None = None
    good: Names = Field(default_factory=list)
    leave_out: Names = Field(default_factory=list)
    device: Text = "auto"
    output: Text = "output"
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, mode: str) -> str:
        if mode not in MODES:
            raise ValueError(f"be one of {', '.join(MODES)}")
        return mode


class Convert(Section):
    """Conversion of another annotation format before the check."""

    enable: bool = False
    src_dataset_type: Text | None = None


class Split(Section):
    """A new split into training and validation lists."""

    enable: bool = False
    train_percent: Percent | None = None
    val_percent: Percent | None = None


class CheckDatasetSection(Section):
    """The data check."""

    convert: Convert = Convert()
    split: Split = Split()


class TrainSection(Section):
    """Training by gradient; a detector that does not learn by gradient reads none of these keys."""

    epochs_iters: int = Field(default=50, ge=1)
    num_classes: int = Field(default=1, ge=1)
    batch_size: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=0.4, gt=0)
    pretrain_weight_path: Text | None = None
    warmup_steps: int = Field(default=100, ge=0)
    resume_path: Text | None = None
    log_interval: int = Field(default=10, ge=1)
    eval_interval: int = Field(default=100, ge=1)
    amp: Literal["OFF", "O1", "O2"] = "OFF"
    time_budget: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["last", "best"] = "last"


class EvaluateSection(Section):
    """Evaluation on a test set."""

    weight_path: Text | None = None
    log_interval: int = Field(default=10, ge=1)


class KernelOption(Section):
    """PaddleX's inference options, which are read and have no effect."""

    run_mode: Text = "paddle"


class PredictSection(Section):
    """Prediction: which model, which images, where results go."""

    batch_size: int = Field(default=1, ge=1)
    model_dir: Text | None = None
    input: Text | None = None
    save_path: Text | None = None
    kernel_option: KernelOption = KernelOption()


class ExportSection(Section):
    """Export of a trained model."""

    weight_path: Text | None = None


class ModelSection(Section):
    """The detector: the dial, the backbone, the input, and the detector's own keys beside them."""

    model_config = ConfigDict(extra="allow")

    preset: Literal["fast", "balanced", "accurate"] = "balanced"
    backbone: Text = "efficientnet_lite0"
    backbone_weights: Text | None = None
    taps: Names = Field(default_factory=list)
    accept_licence: Text | None = None
    width: Side | None = None
    height: Side | None = None
    bit_depth: SampleRange = FULL
    memory_budget: Size = "2GB"
    tiles: Grid = None
    overlap: float = Field(default=0.1, ge=0, le=0.5)
    framing: Literal["auto", "letterbox", "stretch"] = "auto"
    roi: AreaSource = None
    ignore: AreaSource = None
    good_patches: bool = True

    def detector_parameters(self) -> dict[str, Any]:
        """The keys that belong to the detector itself, as given; the detector validates them."""
        return dict(self.model_extra or {})

    def tile_grid(self) -> tuple[int, int]:
        """Columns and rows of `tiles`; one of each where there are none."""
        columns, rows = (self.tiles or "1x1").split("x")
        return int(columns), int(rows)

    def memory_bytes(self) -> int:
        """`memory_budget` in bytes."""
        return parse_size(self.memory_budget)


class CalibrateSection(Section):
    """The threshold, set from good images alone."""

    false_alarm_rate: float = Field(default=0.01, gt=0, lt=1)
    group_by: Pattern = None
    sessions: Pattern = None
    holdout: Names = Field(default_factory=list)
    near_duplicates: bool = True
    held_out: float = Field(default=0.2, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2, le=100)


class RunConfig(Section):
    """The whole run file; a key that is absent has its default."""

    Global: GlobalSection = GlobalSection()
    CheckDataset: CheckDatasetSection = CheckDatasetSection()
    Train: TrainSection = TrainSection()
    Evaluate: EvaluateSection = EvaluateSection()
    Predict: PredictSection = PredictSection()
    Export: ExportSection = ExportSection()
    Model: ModelSection = ModelSection()
    Calibrate: CalibrateSection = CalibrateSection()

    def model_folder(self) -> Path:
        """The model folder to predict with: `Predict.model_dir`, or the one this run's output holds."""
        return Path(self.Predict.model_dir or Path(self.Global.output) / "best_model" / "inference")

    def evaluated_model(self) -> Path:
        """The model to evaluate: `Evaluate.weight_path`, or the one this run's output holds."""
        return self._model_at(self.Evaluate.weight_path)

    def exported_model(self) -> Path:
        """The model to export: `Export.weight_path`, or the one this run's output holds."""
        return self._model_at(self.Export.weight_path)

    def _model_at(self, weight_path: str | None) -> Path:
        """A model folder or a run's output folder.

        A path to a weights file of a training (`best_model/model.safetensors`, PaddleX's `model.pdparams`) means the
        model that lies in the folder `inference` beside it.
        """
        if weight_path is None:
            return Path(self.Global.output) / "best_model" / "inference"
        path = Path(weight_path).expanduser()
        return path.parent / "inference" if path.suffix in _WEIGHTS else path
