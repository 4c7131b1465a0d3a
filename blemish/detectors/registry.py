"""Detectors by name: ours and those that other packages bring, all through the entry points `blemish.detectors`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from blemish.detectors.base import Detector, ModelCard
from blemish.errors import UsageError, did_you_mean

GROUP = "blemish.detectors"


def detector_class(name: str) -> type[Detector]:
    """The class of a detector by its name in any case; `UsageError` with a suggestion for an unknown one."""
    known = {point.name.lower(): point for point in entry_points(group=GROUP)}
    if name.lower() not in known:
        names = sorted(point.name for point in known.values())
        raise UsageError(
            f"there is no detector `{name}`.{did_you_mean(name, names)} There is {', '.join(names) or 'none'}."
        )
    return _load(known[name.lower()])


def list_models() -> list[ModelCard]:
    """The cards of all detectors, by name."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name.lower())
    return [_load(point).card for point in points]


def _load(point: EntryPoint) -> type[Detector]:
    found = point.load()
    if not (isinstance(found, type) and issubclass(found, Detector)):
        raise UsageError(f"the entry point {GROUP}:{point.name} is not a detector class but {found!r}")
    return found
