"""What a run of one benchmark leaves behind: a JSON file of this schema."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

Figures = dict[str, float]  # one row: "what was measured, unit" -> value
MORE_IS_BETTER = ("images/s", "requests/s", "accepted", "AUROC", "share")  # units


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Record):
    """What the figures depend on; neither its name nor any path."""

    cpu: str = Field(description="the processor's model")
    cores: int = Field(ge=1, description="cores that the run could have used")
    memory_gb: float = Field(gt=0, description="of the machine, 10^9 bytes")
    system: str = Field(description="operating system and architecture")
    python: str = Field(description="its version")
    packages: dict[str, str] = Field(description="package -> version, of those that compute")
    load_before: float = Field(ge=0, description="load average of one minute when the run began")
    load_after: float = Field(ge=0, description="the same when it ended")


class Figure(_Record):
    """One figure: all its values, and what is made of them."""

    name: str = Field(description="what was measured")
    unit: str = Field(
        description="CPU s and CPU ms are user and system time of all threads; s and ms pass on the clock"
    )
    values: list[float] = Field(min_length=1, description="in the order in which they were measured")
    median: float = Field(description="of the values")
    q1: float = Field(description="the quartile below the median")
    q3: float = Field(description="the quartile above the median")
    bound: float | None = Field(
        None, description="what was promised: at most this; at least this for units of which more is better"
    )

    @model_validator(mode="after")
    def _is_their_summary(self) -> Figure:
        if (self.q1, self.median, self.q3) != quartiles(self.values):
            raise ValueError(f"{self.name}: the median and the quartiles are not those of the values")
        return self

    @property
    def kept(self) -> bool | None:
        """Whether the median keeps the bound; None where nothing was promised."""
        if self.bound is None:
            return None
        return self.median >= self.bound if self.unit in MORE_IS_BETTER else self.median <= self.bound


class Run(_Record):
    """One run of one benchmark."""

    schema_version: int = Field(1, ge=1, le=1, description="of this format")
    benchmark: str = Field(pattern=r"^[a-z_0-9]+$", description="its name, which is the file's too")
    date: str = Field(description="when the run began, UTC, ISO 8601")
    cores: int = Field(ge=1, description="cores that each measurement was pinned to")
    threads: int = Field(ge=1, description="threads that every library was kept to")
    repeats: int = Field(ge=1, description="as given; a benchmark says how often it repeats what")
    settings: dict[str, float | int | str] = Field(description="the benchmark's own settings")
    data: str = Field(description="the images, in words")
    machine: Machine
    figures: list[Figure] = Field(min_length=1)
    notes: list[str] = Field(description="what else one must know to read the figures")


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def summarised(rows: Iterable[Figures], bounds: dict[str, float]) -> list[Figure]:
    """The figures of all rows, in the order in which they first came."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            columns.setdefault(key, []).append(float(f"{value:.6g}"))
    return [_figure(key, values, bounds.get(key)) for key, values in columns.items()]


def _figure(key: str, values: list[float], bound: float | None) -> Figure:
    name, _, unit = key.rpartition(", ")
    low, middle, high = quartiles(values)
    return Figure(name=name, unit=unit, values=values, median=middle, q1=low, q3=high, bound=bound)


def write_run(run: Run, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.benchmark}.json"
    path.write_text(json.dumps(run.model_dump(), indent=1) + "\n", encoding="utf-8")
    return path


def read_runs(folder: Path) -> dict[str, Run]:
    """The runs of a folder by benchmark; raises pydantic's `ValidationError` for a file of another schema."""
    return {path.stem: Run.model_validate_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))}
