"""What a study has found: the table of its trials, as text and files, and the best of them."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish import __version__
from blemish.datasets.files import write_whole
from blemish.tuning.trials import Trial

BEST = "*"
MEANING = {
    "tuning_auroc": "image AUROC on the tuning split",
    "planted_auroc": "image AUROC of defects planted into held-out good images",
}


@dataclass(frozen=True)
class Table:
    """The trials of a study.

    Attributes:
        keys: that vary.
        trials: finished and failed ones, by number.
        done: whether all that were asked for are there.
        split: whether a tuning split decides, rather than planted defects.
        failed_images: one line for each good image that cannot be read.
    """

    keys: Sequence[str]
    trials: Sequence[Trial]
    done: bool
    split: bool
    failed_images: Sequence[str] = ()

    @property
    def criterion(self) -> str:
        """The figure that decides; larger is better."""
        return "tuning_auroc" if self.split else "planted_auroc"

    @property
    def finished(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.criterion is not None]

    @property
    def failed(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.criterion is None]

    @property
    def best(self) -> Trial | None:
        """The trial with the largest criterion; of equal ones the first."""
        return max(self.finished, key=lambda trial: trial.criterion or 0.0, default=None)

    @property
    def rivals(self) -> list[Trial]:
        """Other trials inside of the best one's 95 % interval: so many images do not tell them apart."""
        best = self.best
        low = best.figures[f"{self.criterion.removesuffix('_auroc')}_ci95"][0] if best is not None else 0.0
        return [trial for trial in self.finished if trial is not best and (trial.criterion or 0.0) >= low]

    def text(self) -> str:
        """A line for each trial, the best marked."""
        figures = ["tuning_auroc"] * self.split + ["planted_auroc", "held_out_loss"]
        names = {"tuning_auroc": "tuning AUROC", "planted_auroc": "planted AUROC", "held_out_loss": "held-out loss"}
        lines = [["", "trial", *self.keys, *(names[figure] for figure in figures), "seconds"]]
        for trial in self.trials:
            shown = [_number(trial.figures.get(figure)) for figure in figures]
            shown = shown if trial.criterion is not None else ["failed", *["-"] * (len(figures) - 1)]
            mark = BEST * (trial is self.best)
            lines.append([mark, trial.folder.name, *_values(trial, self.keys), *shown, f"{trial.seconds or 0:.1f}"])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
        )

    def csv(self) -> str:
        """The same with intervals and errors."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        figures = ["tuning_auroc"] * self.split + ["planted_auroc", "held_out_loss"]
        writer.writerow(
            ["trial", *self.keys, "state", "criterion", "low", "high", *figures, "seconds", "error", "best"]
        )
        for trial in self.trials:
            interval = trial.figures.get(f"{self.criterion.removesuffix('_auroc')}_ci95") or ("", "")
            writer.writerow(
                [trial.folder.name, *_values(trial, self.keys), trial.state, trial.criterion, *interval]
                + [trial.figures.get(figure) for figure in figures]
                + [trial.seconds, trial.error, trial is self.best]
            )
        return text.getvalue()

    def json(self) -> str:
        """Everything, for programs."""
        content = {
            "done_flag": self.done,
            "blemish_version": __version__,
            "criterion": f"{MEANING[self.criterion]}; larger is better",
            "keys": list(self.keys),
            "best": None if self.best is None else self.best.number,
            "trials": [
                {
                    "trial": trial.number,
                    "folder": f"trials/{trial.folder.name}",
                    "values": dict(trial.values),
                    "state": trial.state,
                    "criterion": trial.criterion,
                    **trial.figures,
                    "seconds": trial.seconds,
                    "error": trial.error,
                }
                for trial in self.trials
            ],
            "failed_images": list(self.failed_images),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def save(self, output: Path) -> None:
        """Write `tune.csv` and `tune.json`."""
        for name, text in (("tune.csv", self.csv()), ("tune.json", self.json())):
            write_whole(output / name, text.encode("utf-8", "backslashreplace"))

    def command(self, data: Path, arguments: Sequence[str]) -> str | None:
        """What trains with the best values, from all good images."""
        if self.best is None:
            return None
        # the model's own run file belongs to it, and --model takes it along
        named = [
            ["--model", text] if key == "Global.model" else ["-o", f"{key}={text}"]
            for key, text in self.best.values.items()
        ]
        return shlex.join(["blemish", "train", str(data), *arguments, *(part for pair in named for part in pair)])


def _values(trial: Trial, keys: Sequence[str]) -> list[str]:
    return [trial.values.get(key, "") for key in keys]


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-"
