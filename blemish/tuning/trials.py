"""The record of a trial: what was tried, and what came of it; one folder each, `trials/NNN`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from blemish.datasets.files import write_whole

RECORD = "trial.json"


@dataclass(frozen=True)
class Trial:
    """One training of the study.

    Attributes:
        folder: the run's folder.
        question: digest of what must be equal for two trials to be compared.
        values: of the varied keys, as they were written.
        state: `running` (or interrupted), `finished` or `failed`.
        criterion: larger is better; None unless finished.
        figures: everything that was measured.
        seconds: wall time of the fit; of a fit that went on after an interruption, of its last part.
        error: why it failed.
    """

    folder: Path
    question: str
    values: Mapping[str, str]
    state: Literal["running", "finished", "failed"] = "running"
    criterion: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    error: str | None = None

    @property
    def number(self) -> int:
        return int(self.folder.name)

    def write(self) -> Trial:
        """Save it; a record is whole or not there."""
        content = {key: value for key, value in asdict(self).items() if key != "folder"}
        text = json.dumps(content, indent=2, ensure_ascii=False)
        write_whole(self.folder / RECORD, text.encode("utf-8", "backslashreplace"), synced=True)
        return self


def known_trials(folder: Path, question: str) -> list[Trial]:
    """The trials of this question below a folder, by number; what cannot be read was never a trial."""
    found = []
    for path in sorted(folder.glob("*/" + RECORD)):
        try:
            trial = Trial(path.parent, **json.loads(path.read_text(encoding="utf-8")))
            if trial.question == question and trial.number >= 0:
                found.append(trial)
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda trial: trial.number)


def next_folder(folder: Path) -> Path:
    """`trials/NNN` with a number that no folder has."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    return folder / f"{max(numbers, default=-1) + 1:03}"
