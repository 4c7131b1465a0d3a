"""A new process, from its start to its end: the first result of a PNG file of 900x900 pixels, and `blemish --help`.

Python's bytecode is there, as an installation leaves it: a run that is not counted writes it. Without, as where
`PYTHONDONTWRITEBYTECODE` is set and the package comes from its sources, each start compiles what it imports.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.process import blemish
from benchmarks.record import Figures
from benchmarks.world import World

FIRST = "PatchCore fast, first result"
BOUNDS = {f"{FIRST}, CPU s": 0.5, f"{FIRST}, s": 0.5, f"{FIRST}: peak memory, MB": 200.0, "--help, s": 0.3}


def measure(world: World) -> Iterator[Figures]:
    from blemish.engines import installed_engines

    model = world.model("PatchCore", "Model.preset=fast")
    first: dict[str, tuple[object, ...]] = {FIRST: ("predict", model, world.image)}
    for engine in installed_engines():
        if engine != "onnxruntime":
            first[f"PatchCore fast with {engine}, first result"] = (*first[FIRST], "--engine", engine)
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(world.work / "bytecode")}
    for number in range(1 + 2 * world.repeats):
        for name, arguments in {**first, "--help": ("--help",)}.items():
            figures = blemish(name, *arguments, environment=bytecode)
            if number:
                yield figures
