"""Find the benchmarks, run them, keep what they found."""

from __future__ import annotations

import inspect
import pkgutil
from datetime import datetime, timezone
from importlib import import_module
from types import ModuleType
from typing import Any

from benchmarks import suite
from benchmarks.machine import load, machine
from benchmarks.record import Run, summarised
from benchmarks.world import World


def benchmarks() -> dict[str, ModuleType]:
    """All benchmarks by name, which is that of their file."""
    names = [module.name for module in pkgutil.iter_modules(suite.__path__)]
    return {name: import_module(f"{suite.__name__}.{name}") for name in names}


def settings_of(benchmark: ModuleType) -> dict[str, Any]:
    """A benchmark's own settings with their defaults: the keywords of its `measure`."""
    parameters = inspect.signature(benchmark.measure).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def settled(benchmark: ModuleType, given: dict[str, str]) -> dict[str, Any]:
    """The settings with those that were given, as text, in place of their defaults."""
    settings = settings_of(benchmark)
    unknown = set(given) - set(settings)
    if unknown:
        raise ValueError(f"no such setting: {', '.join(sorted(unknown))}; there are: {', '.join(settings) or 'none'}")
    return settings | {key: type(settings[key])(text) for key, text in given.items()}


def run_benchmark(name: str, world: World, given: dict[str, str]) -> Run:
    """Measure, and say on what."""
    benchmark = benchmarks()[name]
    settings = settled(benchmark, given)
    began, before, cores = datetime.now(timezone.utc), load(), getattr(benchmark, "CORES", 1)
    world.notes = []
    figures = summarised(benchmark.measure(world, **settings), getattr(benchmark, "BOUNDS", {}))
    return Run(
        schema_version=1,
        benchmark=name,
        date=began.isoformat(timespec="seconds"),
        cores=cores,
        threads=cores,
        repeats=world.repeats,
        settings=settings,
        data=world.in_words if getattr(benchmark, "ON_DATA", True) else "generated",
        machine=machine(before),
        figures=figures,
        notes=world.notes,
    )
