"""The arguments that several commands share, each explained in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli.logs import be_verbose
from blemish.errors import UsageError

if TYPE_CHECKING:
    from blemish.config import HpiConfig


def _rate(text: str) -> float:
    """A share as people write it: 0.05, 0,05 or 5%; whether it makes sense is seen where it is used."""
    number = str(text).strip().replace(",", ".")
    try:
        return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"--false-alarm-rate is `{text}`; write a share such as 0.05 or 5%.") from None


Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=be_verbose, help="Say more about what is done, on stderr.")
]
# What stands after `default:` in the help is the default itself where the verb gives one, or else what happens without.
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, gpu:0, ...", metavar="DEVICE")]
Output = Annotated[Path, typer.Option(help="The folder for what is written.", metavar="DIR")]
SavePath = Annotated[
    Path | None,
    typer.Option(
        "--save_path",
        help="Save a picture and a JSON file per image there.",
        metavar="DIR",
        show_default="nothing is saved",
    ),
]
RunFile = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--config",
        help="A run file, or a packaged one by name.",
        metavar="FILE",
        show_default="the detector's packaged one",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        help="Set one key of the run file; repeatable.",
        metavar="Section.key=value",
        show_default="no key is changed",
    ),
]
Model = Annotated[str, typer.Argument(help="A model folder, or the output folder of a training.", metavar="MODEL")]
ScoreThreshold = Annotated[
    float | None,
    typer.Option(help="An anomaly has a score above this.", metavar="T", show_default="by the false-alarm rate"),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="A pattern that finds the part in a name; '' for none.",
        metavar="REGEX",
        show_default="that of the training",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="How many images are computed at once.", metavar="N")]
Engine = Annotated[
    str | None,
    typer.Option(
        help="onnxruntime, openvino, tensorrt, or auto for the fastest.", metavar="NAME", show_default="onnxruntime"
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(help="fp32, or bf16 or int8, which calibrate again.", metavar="P", show_default="fp32"),
]
GoodImages = Annotated[
    Path | None,
    typer.Option(
        "--good-images",
        help="Good images to calibrate with again.",
        metavar="DIR",
        show_default="the training images",
    ),
]
Good = Annotated[
    list[str] | None,
    typer.Option(
        "--good",
        help="A folder of good parts, whatever it is called; repeatable.",
        metavar="NAME",
        show_default="told by their names",
    ),
]

LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-out",
        help="Leave out images: a name, a pattern or @FILE; repeatable.",
        metavar="NAME",
        show_default="all are taken",
    ),
]


def rate_option(default: str) -> Any:
    """The option `--false-alarm-rate` of a verb; `default` is the rate without it."""
    text = "Share of good images that may raise an alarm, as 0.01 or 1%."
    return typer.Option(help=text, metavar="RATE", parser=_rate, show_default=default)


def detector_option(text: str, metavar: str) -> Any:
    """The option `--model` of a verb that trains."""
    return typer.Option(help=text, metavar=metavar, show_default="PatchCore, or the run file's")


ModelRate = Annotated[float | None, rate_option("that of the training")]


def good_override(good: list[str] | None) -> list[str]:
    """What `--good` sets of the run file."""
    return [f"Global.good={json.dumps(good, ensure_ascii=False)}"] if good else []


def names_left_out(given: list[str] | None) -> list[str]:
    """What `--leave-out` names, files of names read."""
    if not given:
        return []
    from blemish.datasets.leaving_out import read_names

    return read_names(given)


def engine_of(engine: str | None, precision: str | None, good: Path | None) -> str | HpiConfig | None:
    """What `--engine`, `--precision` and `--good-images` choose together."""
    if engine is None and precision is None and good is None:
        return None  # nothing to choose, and the configuration takes a tenth of the time to a first result to load
    from blemish.config import choose_engine

    if precision in (None, "fp32"):
        if good is not None:
            raise UsageError("--good-images is for calibrating again; add --precision bf16 or int8.")
        return choose_engine(engine, False, None)
    hpi = {"precision": precision, "backend": engine or "auto"}
    return choose_engine("auto", True, hpi if good is None else {**hpi, "good": str(good)})
