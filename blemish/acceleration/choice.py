"""The fastest engine for a model on this machine, timed once and remembered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.acceleration.machine import fingerprint
from blemish.acceleration.timing import TOLERANCE, disagreement, median_times, probe_images
from blemish.cache import cache_home
from blemish.engines import Engine, engines_for
from blemish.errors import BlemishError, DeviceError
from blemish.models import LoadedModel

_LIMIT = 64 << 10  # bytes of a remembered choice
REFERENCE = "onnxruntime"


@dataclass(frozen=True)
class Choice:
    """The engine that was chosen, and the median milliseconds of each that was timed."""

    name: str
    times: dict[str, float]
    dropped: tuple[str, ...] = ()  # one line for each engine that is installed and was not taken part
    remembered: bool = False


def choose(
    model: LoadedModel, names: Sequence[str], device: str, num_threads: int | None
) -> tuple[Choice, list[Engine]]:
    """The fastest of the named engines that agrees with float32 ONNX Runtime, opened; `DeviceError` if none does."""
    place = cache_home() / "engines" / f"{fingerprint([model.info.checksum, device, num_threads, *names])}.json"
    known = _remembered(place, names)
    if known is not None:
        try:
            return known, engines_for(model.model, device, num_threads=num_threads, name=known.name)
        except BlemishError:
            pass  # it was there when it was remembered; look again
    choice, engines = _timed(model, names, device, num_threads)
    _remember(place, choice)
    return choice, engines


def _timed(
    model: LoadedModel, names: Sequence[str], device: str, num_threads: int | None
) -> tuple[Choice, list[Engine]]:
    images = probe_images(model.info.input.height, model.info.input.width)
    opened: dict[str, list[Engine]] = {}
    dropped = []
    reference = engines_for(model.model, "cpu", num_threads=num_threads, name=REFERENCE)[0]
    for name in names:
        try:
            engines = engines_for(model.model, device, num_threads=num_threads, name=name)
            away = disagreement(engines[0], reference, images)
        except BlemishError as error:
            dropped.append(f"{name}: {error}")
            continue
        if not away <= TOLERANCE:
            dropped.append(f"{name}: its results differ by {away:.1e} from float32 ONNX Runtime (bound {TOLERANCE:g})")
            continue
        opened[name] = engines
    if not opened:
        raise DeviceError(f"no engine can be used on `{device}`: {'; '.join(dropped)}")
    times = median_times({name: engines[0] for name, engines in opened.items()}, images)
    best = min(times, key=lambda name: times[name])
    return Choice(best, times, tuple(dropped)), opened[best]


def _remembered(place: Path, names: Sequence[str]) -> Choice | None:
    """What was found before; None where nothing was, or where the file is damaged."""
    try:
        with place.open("rb") as file:
            record = json.loads(file.read(_LIMIT))
        times = {str(name): float(ms) for name, ms in record["times_ms"].items()}
        name = record["engine"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    sound = name in names and set(times) <= set(names) and all(math.isfinite(ms) and ms > 0 for ms in times.values())
    return Choice(name, times, remembered=True) if sound and name in times else None


def _remember(place: Path, choice: Choice) -> None:
    """Write what was found; a cache that cannot be written is only slower the next time."""
    temporary = place.with_suffix(".tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"engine": choice.name, "times_ms": choice.times}), encoding="utf-8")
        temporary.replace(place)
    except OSError:
        return
