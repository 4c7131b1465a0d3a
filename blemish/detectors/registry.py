"""Detectors by name: ours and those that other packages bring, all through the entry points `blemish.detectors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from blemish.backbones import EMBEDDED
from blemish.config import validate_section
from blemish.config.sections import ModelSection
from blemish.detectors.base import Detector, ModelCard, Setting
from blemish.errors import UsageError, did_you_mean
from blemish.framing import check_sides

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


def recorded_detector(
    name: str, parameters: Mapping[str, Any], setting: Setting
) -> tuple[type[Detector], Setting, Any]:
    """What a model's record says of its detector: the class, the setting with its preset and seed, and its parameters.

    Raises `UsageError` as `detector_class`, and for parameters that it does not take.
    """
    cls, own = detector_class(name), dict(parameters)
    shared: dict[str, Any] = {key: own.pop(key) for key in ("preset", "seed") if key in own}
    return cls, replace(setting, **shared), validate_section(cls.Parameters, own, "Model")


def check_settings(name: str, section: ModelSection) -> None:
    """Raise `UsageError` where a run file's `Model` section holds what a training with this detector refuses.

    The sides of the input are looked at for the embedded backbone alone: another one may first have to be exported.
    """
    cls = detector_class(name)
    validate_section(cls.Parameters, section.detector_parameters(), "Model")
    if section.backbone == EMBEDDED:
        check_sides(section, cls.sides(EMBEDDED))


def list_models() -> list[ModelCard]:
    """The cards of all detectors, by name."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name.lower())
    return [_load(point).card for point in points]


def _load(point: EntryPoint) -> type[Detector]:
    found = point.load()
    if not (isinstance(found, type) and issubclass(found, Detector)):
        raise UsageError(f"the entry point {GROUP}:{point.name} is not a detector class but {found!r}")
    return found
