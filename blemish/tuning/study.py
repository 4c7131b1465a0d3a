"""The trials of a study, one after the other: proposed, trained, measured, written down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blemish import __version__
from blemish.config import RunConfig
from blemish.detectors import Progress
from blemish.errors import BlemishError, UsageError
from blemish.fitting import fit
from blemish.learning import identity, weight_file
from blemish.models import data_fingerprint
from blemish.models.run_folder import read_result
from blemish.pipeline import open_model
from blemish.training.checkpoints import checkpoints
from blemish.tuning.criterion import Yardstick
from blemish.tuning.proposals import Proposals, digest, open_proposals, require_optuna
from blemish.tuning.question import Question, Values
from blemish.tuning.table import Table
from blemish.tuning.trials import Trial, known_trials, next_folder

log = logging.getLogger("blemish")

Say = Callable[[str], None]
PICTURES = "planted.png"
_REPEATS = 50  # proposals in a row of values that were tried before: a sampler that has converged


def tune(  # noqa: PLR0917
    data: Path, output: Path, question: Question, progress: Progress, tuning_split: Path | None = None, say: Say = print
) -> Table:
    """Train under every setting that the question asks for, and compare them on images that none has learned from.

    Every trial has its folder `<output>/trials/NNN`. A call with the same question goes on where the last one ended,
    in the middle of a training too if the detector has checkpoints; finished trials are not repeated. A trial that
    fails is in the table, and the others go on. Writes `tune.csv`, `tune.json` and `planted.png`.
    Raises `UsageError` if the folder holds trials that these could not be compared with.
    """
    require_optuna()
    config = question.config(question.first())
    weight_file(config)
    _make(output)
    yardstick = Yardstick(data, tuning_split, config, progress)
    same = _identity(config, question, yardstick)
    with open_proposals(output, question, same, config.Global.seed) as proposals:
        if not (output / PICTURES).exists():
            yardstick.save_pictures(output / PICTURES)
        run = _Run(output, question, yardstick, digest(same), progress, say)
        for _ in run.trials(proposals):
            run.table(done=False).save(output)
        table = run.table(done=True)
        table.save(output)
    return table


class _Run:
    """What all trials of a call share."""

    def __init__(  # noqa: PLR0917
        self, output: Path, question: Question, yardstick: Yardstick, key: str, progress: Progress, say: Say
    ) -> None:
        self.folder, self.question, self.yardstick, self.key = output / "trials", question, yardstick, key
        self.progress, self.say = progress, say

    def table(self, *, done: bool) -> Table:
        """All trials of this question so far."""
        trials = [trial for trial in known_trials(self.folder, self.key) if trial.state != "running"]
        split = bool(self.yardstick.split_hashes)
        return Table(list(self.question.varied), trials, done, split, self.yardstick.failed)

    def trials(self, proposals: Proposals) -> Iterator[Trial]:
        """The trials that are missing."""
        if self.question.sampler == "grid":
            for values in self.question.combinations():
                if not self._is_done(values):
                    yield self._run(proposals.next(values), proposals)
            return
        repeats = 0
        while len(self._done()) < self.question.trials and repeats < _REPEATS:
            values = proposals.next()
            if self._is_done(values):
                repeats += 1
                proposals.tell(self._find(values).criterion)  # type: ignore[union-attr]
            else:
                repeats = 0
                yield self._run(values, proposals)

    def _run(self, values: Values, proposals: Proposals) -> Trial:
        begun = self._find(values)
        trial = begun or Trial(next_folder(self.folder), self.key, dict(values)).write()
        shown = ", ".join(f"{key}={text}" for key, text in values.items())
        self.say(f"trial {trial.number} ({len(self._done()) + 1} of {self.question.trials}): {shown}")
        start = time.perf_counter()
        try:
            figures = self._figures(trial)
            seconds = figures.pop("fit_seconds")
            criterion = figures["planted_auroc"] if figures["tuning_auroc"] is None else figures["tuning_auroc"]
            trial = replace(trial, state="finished", criterion=criterion, figures=figures, seconds=seconds)
        except Exception as error:  # whatever it is, the others shall be tried
            text = str(error) if isinstance(error, BlemishError) else f"{type(error).__name__}: {error}"
            trial = replace(
                trial, state="failed", error=" ".join(text.split()), seconds=round(time.perf_counter() - start, 2)
            )
            self.say(f"trial {trial.number} failed: {trial.error}")
            log.debug("trial %s", trial.number, exc_info=True)
        trial.write()
        proposals.tell(trial.criterion)
        return trial

    def _figures(self, trial: Trial) -> dict[str, Any]:
        """Train and measure."""
        config = self._config(trial)
        start = time.perf_counter()
        report = fit(config, self.progress, self.yardstick.good, keeps=False)
        seconds = round(time.perf_counter() - start, 2)
        self.progress("measuring", 0, 1)
        figures = self.yardstick.measure(open_model(report.folder, config.Global.device))
        self.progress("measuring", 1, 1)
        return {**asdict(figures), "held_out_loss": _held_out_loss(trial.folder), "fit_seconds": seconds}

    def _config(self, trial: Trial) -> RunConfig:
        """The run file of a trial; one that was interrupted goes on from its newest checkpoint."""
        config = self.question.config(trial.values)
        begun = checkpoints(trial.folder)
        config.Global.dataset_dir, config.Global.output = str(self.yardstick.good.root), str(trial.folder)
        config.Train.resume_path = str(begun[0]) if begun else None
        return config

    def _find(self, values: Values) -> Trial | None:
        return next((trial for trial in known_trials(self.folder, self.key) if trial.values == values), None)

    def _is_done(self, values: Values) -> bool:
        found = self._find(values)
        return found is not None and found.state != "running"

    def _done(self) -> list[Trial]:
        return [trial for trial in known_trials(self.folder, self.key) if trial.state != "running"]


def _held_out_loss(folder: Path) -> float | None:
    """The loss of the kept weights on the good images that the training itself held out; None where there is none."""
    loss = read_result(folder)["models"]["best"].get("score")
    return loss if isinstance(loss, float) and loss == loss else None  # noqa: PLR0124  (NaN: nothing was held out)


def _identity(config: RunConfig, question: Question, yardstick: Yardstick) -> dict[str, Any]:
    """All that must be equal for two trials to be compared, by dotted key; the varied keys by name alone."""
    same = identity(config, yardstick.hashes)
    return {
        "the good images": same.pop("the training images"),
        **{key: value for key, value in same.items() if key not in question.varied},
        "the keys that vary": sorted(question.varied),
        "the tuning split": data_fingerprint(yardstick.split_hashes),
        "the version of Blemish": __version__,
    }


def _make(output: Path) -> None:
    try:
        (output / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the output folder {output} cannot be made: {error.strerror}") from None
