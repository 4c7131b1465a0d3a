"""What a study asks: which keys vary over which values, and what stays the same."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from blemish.config import RunConfig, find_config, load_config, packaged_configs
from blemish.config.yaml_text import parse_value
from blemish.detectors import check_settings
from blemish.errors import UsageError, did_you_mean

SAMPLERS = ("grid", "tpe")
MOST_TRIALS = 1000

# Keys that the study sets itself, and keys that say something of the images or the machine rather than of the training.
_OWN = ("Global.mode", "Global.dataset_dir", "Global.output", "Train.resume_path")
_FIXED = ("Global.device", "Model.bit_depth", "Calibrate.group_by", "Calibrate.near_duplicates")
_FIXED_SECTIONS = ("CheckDataset", "Evaluate", "Predict", "Export")

_WHOLE = re.compile(r"""\[[^\]]*\]|"[^"]*"|'[^']*'""")  # commas in there part nothing
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")

Values = Mapping[str, str]  # of the varied keys, as the user wrote them


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, whole ones where both ends are; drawn by their size if `log`."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def log(self) -> bool:
        """More than a decade is drawn by its logarithm."""
        return self.low > 0 and self.high > 10 * self.low

    def text(self, value: float) -> str:
        """A drawn number as it is tried and printed: four digits are plenty."""
        return str(round(value)) if self.whole else f"{value:.4g}"

    def probes(self) -> list[str]:
        """Some of its values, by which it is seen whether the key takes such numbers."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        inner = [self.low + 1] if self.whole and self.high > self.low + 1 else [middle] * (not self.whole)
        return [self.text(value) for value in (self.low, self.high, *inner)]


Choices = Sequence[str] | Range


@dataclass(frozen=True)
class Question:
    """What is varied (`varied`, key to values) in which run file, and how its values are tried.

    `config` gives the run file for certain values; `arguments` are those of `blemish train` for what stays the same.
    """

    varied: Mapping[str, Choices]
    sampler: str
    trials: int
    config: Callable[[Values], RunConfig]
    arguments: Sequence[str] = ()

    def first(self) -> dict[str, str]:
        """The first value of every key."""
        return {
            key: choices.probes()[0] if isinstance(choices, Range) else choices[0]
            for key, choices in self.varied.items()
        }

    def combinations(self) -> list[dict[str, str]]:
        """All of a grid; the last key changes fastest."""
        lists = [[] if isinstance(choices, Range) else choices for choices in self.varied.values()]
        return [dict(zip(self.varied, values, strict=True)) for values in product(*lists)]


def ask(
    overrides: Sequence[str],
    *,
    model: str | None = None,
    run_file: str | None = None,
    sampler: str = "grid",
    trials: int | None = None,
) -> Question:
    """The question that `-o Section.key=value,value` and the like ask; every value is validated.

    A value with commas outside of quotes and brackets is a list of values, `low..high` a range (for `tpe`). Raises
    `UsageError` for an unknown key, a value that the key does not take, and nothing to vary.
    """
    if sampler not in SAMPLERS:
        raise UsageError(f"--sampler is `{sampler}`; take grid or tpe.{did_you_mean(sampler, SAMPLERS)}")
    given = dict(map(_pair, overrides))
    read = {key: _choices(key, text) for key, text in given.items()}
    varied = {key: choices for key, choices in read.items() if isinstance(choices, Range) or len(choices) > 1}
    fixed = [f"{key}={text}" for key, text in given.items() if key not in varied]

    def config(values: Values) -> RunConfig:
        named = [f"Global.model={model}"] * (model is not None)
        settings = [*named, *fixed, *(f"{key}={text}" for key, text in values.items()), "Global.mode=train"]
        name = load_config(run_file, settings).Global.model
        found = load_config(run_file or _packaged(name), settings)
        check_settings(name, found.Model)
        return found

    arguments = _arguments(model, run_file, fixed)
    question = Question(varied, sampler, _count(varied, sampler, trials), config, arguments)
    _refuse_own(given, varied)
    if not varied:
        config({})  # a misspelt key is the likelier mistake
        raise UsageError("nothing to vary: give a key several values, such as -o Train.learning_rate=0.01,0.1,0.4")
    for key, choices in varied.items():
        for text in choices.probes() if isinstance(choices, Range) else choices:
            config({**question.first(), key: text})
    return question


def _pair(override: str) -> tuple[str, str]:
    key, equals, text = override.partition("=")
    if not equals or "." not in key:
        raise UsageError(f"-o {override}: write Section.key=value,value, for example Train.learning_rate=0.01,0.1.")
    return key.strip(), text


def _choices(key: str, text: str) -> Choices:
    """The values that a text lists; those that mean the same once."""
    ends = _RANGE.fullmatch(text)
    if ends is not None:
        low, high = (parse_value(end, f"-o {key}") for end in ends.groups())
        if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high):
            raise UsageError(f"-o {key}={text}: a range goes from a smaller number to a larger one, as 1e-4..1e-1.")
        return Range(low, high)
    held = _WHOLE.sub(lambda found: found.group().replace(",", "\0"), text)
    pieces = [piece.strip().replace("\0", ",") for piece in held.split(",")]
    if len(pieces) > 1 and not all(pieces):
        raise UsageError(f"-o {key}={text}: there is no value beside a comma; a value that holds one needs quotes.")
    meant: dict[str, str] = {}
    for piece in pieces:
        value: Any = parse_value(piece, f"-o {key}")
        meant.setdefault(repr(float(value)) if type(value) in (int, float) else repr(value), piece)
    return list(meant.values())


def _refuse_own(given: Mapping[str, str], varied: Mapping[str, Choices]) -> None:
    for key in given:
        if key in _OWN:
            raise UsageError(f"-o {key}: tune sets this key itself; where the study lies is said by --output.")
    for key in varied:
        if key in _FIXED or key.split(".")[0] in _FIXED_SECTIONS:
            raise UsageError(f"-o {key}: this key does not change what is learned; give it one value for all trials.")


def _count(varied: Mapping[str, Choices], sampler: str, trials: int | None) -> int:
    """How many trials there are to be."""
    ranges = [key for key, choices in varied.items() if isinstance(choices, Range)]
    combinations = math.prod(len(choices) for choices in varied.values() if not isinstance(choices, Range))
    if sampler == "grid":
        if ranges:
            raise UsageError(f"-o {ranges[0]}: a grid has no end in a range; list the values, or take --sampler tpe.")
        if trials is not None:
            raise UsageError("--trials is for --sampler tpe; a grid tries every combination.")
        if combinations > MOST_TRIALS:
            raise UsageError(f"{combinations} combinations are too many for a grid; take --sampler tpe --trials 50.")
        return combinations
    if trials is None:
        raise UsageError("--sampler tpe needs --trials N, the number of trainings.")
    return trials if ranges else min(trials, combinations)


def _arguments(model: str | None, run_file: str | None, fixed: Sequence[str]) -> list[str]:
    """What `blemish train` takes for the keys that stay the same."""
    named = ["--model", model] if model is not None else []
    file = ["-c", str(run_file)] if run_file is not None else []
    return [*named, *file, *(part for override in fixed for part in ("-o", override))]


def _packaged(model: str) -> str | None:
    """The packaged run file of a detector, whatever the case of its name."""
    found = {name.lower(): name for name in packaged_configs()}.get(model.lower())
    return None if found is None else str(find_config(found))
