"""The chain check: every detector trains, is evaluated, exported and predicts, by the commands that users type."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blemish.config import packaged_configs
from blemish.datasets import generate_sample
from blemish.datasets.files import write_whole
from blemish.detectors import detector_class
from blemish.engines import installed_engines
from blemish.errors import UsageError, did_you_mean
from blemish.evaluation.files import RESULT
from blemish.metrics.rates import rate_text
from blemish.training import require_torch

TOLERANCE = 1e-4  # of a score, or of one where it is smaller
_EVALUATION = "evaluation"
NEEDED = ("train", "export")  # without which the steps after it have nothing to work on

Scores = dict[str, float]  # by input


@dataclass(frozen=True)
class Mode:
    """How much is done: size of the sample, keys of the run file, batch sizes, and `blemish run` beside the verbs."""

    sample: dict[str, int]
    overrides: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    by_run_file: bool = False


_SHORT = (
    "Train.epochs_iters=4",
    "Train.batch_size=2",
    "Train.warmup_steps=1",
    "Model.width=64",
    "Model.height=64",
)
MODES = {
    "lite": Mode({"train": 6, "good": 2, "per_defect": 1, "size": 64}, _SHORT, (1, 2)),
    "whole": Mode({"train": 60, "good": 8, "per_defect": 4, "size": 256}, (), (1, 2, 8, 32), by_run_file=True),
}


@dataclass(frozen=True)
class Step:
    """One step of a detector's chain; `failure` is the last line that the command wrote to stderr."""

    name: str
    command: str
    seconds: float
    failure: str | None = None

    def line(self) -> str:
        """As FastFlow-Paddle's chain check words it."""
        if self.failure is None:
            return f"Run successfully with command - {self.command}"
        return f"Run failed with command - {self.command} - {self.failure}"


@dataclass
class Chain:
    """The steps of one detector; `missing` says what to install where it could not be run.

    `found` is what it finds of the sample's defects at its false-alarm rate, as `7 of 12 at 1.6 %`.
    """

    model: str
    steps: list[Step] = field(default_factory=list)
    missing: str | None = None
    found: str | None = None

    @property
    def failed(self) -> bool:
        return any(step.failure is not None for step in self.steps)


def selftest(models: Sequence[str], mode: str, output: Path, say: Callable[[str], None]) -> list[Chain]:
    """Run the chain of each detector on a generated sample, all inside `<output>/<mode>`.

    `mode` is `lite` (seconds a detector) or `whole` (default schedules). Every command is a process of its own; each
    step is told to `say` as soon as it is done, and everything told is kept in `results.log`.

    Raises `UsageError` for an unknown detector or mode.
    """
    if mode not in MODES:
        raise UsageError(f"there is no mode `{mode}`.{did_you_mean(mode, MODES)} There are {', '.join(MODES)}.")
    names = [detector_class(name).card.name for name in models]
    place = output / mode
    data = generate_sample(place / "data", **MODES[mode].sample)
    chains = [Chain(name, missing=_missing(name)) for name in names]
    told: list[str] = []
    for chain in chains:
        if chain.missing is not None:
            told.append(f"Not run: {chain.missing}")
            say(told[-1])
            continue
        for step in _steps(chain.model, MODES[mode], data, place / chain.model):
            chain.steps.append(step)
            if step.name == "evaluate" and step.failure is None:
                chain.found = _found(place / chain.model)
            told.append(step.line())
            say(told[-1])
    write_whole(place / "results.log", "\n".join([*told, table(chains), ""]).encode())
    return chains


def table(chains: Sequence[Chain]) -> str:
    """A line for each detector: what it finds, and for each step its seconds, or that it failed or was not reached."""
    columns = list(dict.fromkeys(step.name for chain in chains for step in chain.steps))
    rows = [["detector", "found at its rate", *columns]]
    for chain in chains:
        cells = {step.name: "FAILED" if step.failure else f"{step.seconds:.1f} s" for step in chain.steps}
        missed = "-" if chain.missing is None else "not run"
        rows.append([chain.model, chain.found or missed, *(cells.get(column, missed) for column in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _missing(name: str) -> str | None:
    """What a detector needs and is not installed, with the command that installs it."""
    if not detector_class(name).learns:
        return None
    try:
        require_torch(name)
    except UsageError as error:
        return str(error)
    return None


def _steps(model: str, mode: Mode, data: Path, place: Path) -> Iterator[Step]:
    """The steps of one detector as they are done, up to one without which the others cannot be."""
    exported = place / "exported"
    for name, arguments in _commands(model, mode, data, place, exported).items():
        step, _ = _run(name, arguments, place)
        yield step
        if step.failure is not None and name in NEEDED:
            return
    predictions: dict[str, Scores] = {}
    for engine in installed_engines():
        for size in mode.batch_sizes:
            name = f"{engine} x{size}"
            command = [
                "predict",
                exported,
                data / "test",
                "--json",
                "--device",
                "cpu",
                "--batch-size",
                size,
                "--engine",
                engine,
            ]
            step, stdout = _run(name, command, place)
            yield step
            if step.failure is None:
                predictions[name] = _scores(stdout)
    yield _agreement(predictions)


def _commands(model: str, mode: Mode, data: Path, place: Path, exported: Path) -> dict[str, list[object]]:
    """What comes before the predictions, by the name of the step."""
    run, cpu = place / "run", ("--device", "cpu")
    commands: dict[str, list[object]] = {
        "train": ["train", data, "--model", model, "--output", run, *cpu, *_overrides(mode.overrides)],
        "evaluate": ["evaluate", run, data, "--output", place / _EVALUATION, *cpu],
        "export": ["export", run, "--format", "onnx", "--output", exported],
    }
    return {**commands, **(_run_files(model, data, place, run) if mode.by_run_file else {})}


def _run_files(model: str, data: Path, place: Path, run: Path) -> dict[str, list[object]]:
    """The modes of the run file; the training is short, since that of the verb was not."""
    output, trained = place / "by_run_file", run / "best_model"
    keys = {
        "check_dataset": (),
        "train": _SHORT,
        "evaluate": (f"Evaluate.weight_path={run}",),
        "export": (f"Export.weight_path={run}",),
        "predict": (f"Predict.model_dir={trained / 'inference'}", f"Predict.input={data / 'test' / 'good'}"),
    }
    common = (f"Global.model={model}", f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu")
    packaged = ["-c", model] if model in packaged_configs() else []
    return {
        f"run {mode}": ["run", *packaged, *_overrides((f"Global.mode={mode}", *common, *own))]
        for mode, own in keys.items()
    }


def _overrides(keys: Sequence[str]) -> list[object]:
    return [word for key in keys for word in ("-o", key)]


def _run(name: str, arguments: Sequence[object], place: Path) -> tuple[Step, str]:
    """One command in a process of its own, with what it printed; all its output is kept in a log."""
    words = [str(argument) for argument in arguments]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "blemish", *words],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    seconds = time.perf_counter() - start
    command = shlex.join(["blemish", *words])
    write_whole(place / "logs" / f"{name.replace(' ', '_')}.log", f"{command}\n{done.stdout}{done.stderr}".encode())
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Step(name, command, seconds, last if done.returncode else None), done.stdout


def _found(place: Path) -> str:
    """What the evaluation of a detector says of the defects at the rate in force."""
    told = json.loads((place / _EVALUATION / RESULT).read_text(encoding="utf-8"))["found_at_rates"]
    point = next(point for point in told["points"] if point["in_force"])
    count, total = point["found"]["count"], point["found"]["total"]
    rate = point["false_alarm_rate"]
    return f"{count} of {total} {'without a rate' if rate is None else f'at {rate_text(rate)}'}"


def _scores(stdout: str) -> Scores:
    return {row["input_path"]: row["score"] for row in map(json.loads, stdout.splitlines())}


def _agreement(predictions: dict[str, Scores]) -> Step:
    """Whether every engine and batch size gives the scores of the first."""
    start = time.perf_counter()
    names = list(predictions)
    gaps = [
        (_gap(predictions[names[0]], scores, path), f"{name} on {path}")
        for name, scores in predictions.items()
        for path in predictions[names[0]].keys() | scores.keys()
    ]
    largest, where = max(gaps, default=(float("inf"), "there is nothing to compare"))
    command = f"compare the scores of {', '.join(names) or 'no prediction'} (largest difference {largest:.1e})"
    failure = None if largest <= TOLERANCE else f"more than {TOLERANCE:g}: {where}"
    return Step("agreement", command, time.perf_counter() - start, failure)


def _gap(expected: Scores, found: Scores, path: str) -> float:
    """How far two scores of an input are apart; infinitely where one of them is missing."""
    if path not in expected or path not in found:
        return float("inf")
    return abs(found[path] - expected[path]) / max(1.0, abs(expected[path]))
