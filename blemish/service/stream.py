"""The images that one version of a model judges: their drift alarm, and when what happened."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.drift import DriftAlarm, ImageStatistics
from blemish.errors import UsageError
from blemish.store.inspection import iso


@dataclass(frozen=True)
class State:
    """What is told of a stream: `alarm` is None or has `raised`, `began` (ISO times), `cause`, `explanation` and
    `evidence`; the rest as in `DriftAlarm`.
    """

    version: str
    observed: int
    evidence: float
    alarm: dict[str, Any] | None


class Stream:
    """What is known of a stream, and kept over a restart. Not for several threads at once.

    Attributes:
        version: the model's, by its short id.
        reference: `small_grey` of the first image; None before there is one.
        announced: whether the sinks were told of the alarm.
        unsaved: observations since the state was last kept.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.reference: npt.NDArray[np.uint8] | None = None  # (h, w)
        self.announced = False
        self.unsaved = 0
        self._drift = DriftAlarm()
        self._started: datetime | None = None
        self._raised: datetime | None = None
        self._times: dict[int, datetime] = {}  # of the observations at which a change may have begun

    @property
    def has_alarm(self) -> bool:
        """Whether an alarm stands."""
        return self._drift.alarm is not None

    def observe(self, score: float, statistics: ImageStatistics, time: datetime) -> bool:
        """Take in one image; whether it raises the alarm."""
        if self.has_alarm or not np.isfinite(score):
            return False
        self._started = self._started or time
        self._times[self._drift.observed] = time
        raised = self._drift.observe(score, statistics) is not None
        beginnings = self._drift.beginnings
        self._times = {at: moment for at, moment in self._times.items() if at in beginnings}
        self._raised = time if raised else None
        self.unsaved += 1
        return raised

    def reset(self, accept: bool) -> None:
        """See `DriftAlarm.reset`; with `accept`, positions too are compared with the image that comes next."""
        self._drift.reset(accept)
        self._started = self._raised = None
        self._times.clear()
        self.announced = False
        if accept:
            self.reference = None

    def alarm(self) -> dict[str, Any] | None:
        """The standing alarm as JSON, with times in the place of numbers."""
        alarm = self._drift.alarm
        if alarm is None or self._raised is None:
            return None
        known = asdict(alarm) | {"raised": iso(self._raised), "began": iso(self._times[alarm.began])}
        return {name: known[name] for name in ("raised", "began", "cause", "explanation", "evidence")}

    def state(self) -> State:
        """What is told of it."""
        return State(self.version, self._drift.observed, self._drift.evidence, self.alarm())

    def key(self, model: str) -> str:
        """Of the message about the alarm: the same even if the alarm was forgotten in a crash and is raised again."""
        return f"drift-{model}-{self.version}-{'' if self._started is None else iso(self._started)}"

    def to_json(self) -> dict[str, Any]:
        """The whole state, JSON-able."""
        return {
            "version": self.version,
            "announced": self.announced,
            "drift": self._drift.to_json(),
            "started": None if self._started is None else iso(self._started),
            "raised": None if self._raised is None else iso(self._raised),
            "times": [[at, iso(moment)] for at, moment in self._times.items()],
            "reference": None if self.reference is None else _packed(self.reference),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Stream:
        """The inverse of `to_json`. Raises `UsageError` for what is no such state."""
        try:
            self = cls(str(data["version"]))
            self.announced = bool(data["announced"])
            self._drift = DriftAlarm.from_json(data["drift"])
            self._started, self._raised = (_moment(data[name]) for name in ("started", "raised"))
            self._times = {int(at): datetime.fromisoformat(moment) for at, moment in data["times"]}
            self.reference = None if data["reference"] is None else _unpacked(data["reference"])
            self.alarm()
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is no state of a stream: {error}") from error
        return self


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _packed(grey: npt.NDArray[np.uint8]) -> dict[str, Any]:
    return {"shape": list(grey.shape), "pixels": base64.b64encode(grey.tobytes()).decode()}


def _unpacked(data: dict[str, Any]) -> npt.NDArray[np.uint8]:
    height, width = data["shape"]
    return np.frombuffer(base64.b64decode(data["pixels"]), np.uint8).reshape(height, width)
