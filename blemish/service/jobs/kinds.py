"""The kinds of work there are. Each further kind is a module here, named for it, and a line in `KINDS`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from blemish.service.core import Service


class Tell(Protocol):
    """Told how far the work is, 0 to 1 or None for what is not known, what is done at the moment, and, where there is
    more to show until the end, a JSON-able `so_far` in the place of the result.
    """

    def __call__(self, progress: float | None, message: str, so_far: Any = None) -> None:
        """Tell it."""


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes:
        module: of `blemish.service.jobs`. Its `run(parameters, tell)` does the work in the child process and returns a
            JSON-able result. It may be killed at any moment, and is then called again with the same parameters. If
            there is a `finish(service, parameters, result)`, the service calls it afterwards, in its own process and
            with the models' changes, and keeps what it returns as the result. If there is a `clear(parameters)`, it
            is called last, however the work ended, to remove what it left on the disk.
        is_quick: short work that somebody waits for; it is not kept waiting by long work.
    """

    module: str
    is_quick: bool = False

    def run(self, parameters: Any, tell: Tell) -> Any:
        """Do the work; in the child process."""
        return self._loaded().run(parameters, tell)

    def finish(self, service: Service, parameters: Any, result: Any) -> Any:
        """Put the result into use; in the service's process."""
        finish = getattr(self._loaded(), "finish", None)
        return result if finish is None else finish(service, parameters, result)

    def clear(self, parameters: Any) -> None:
        """Remove what the work needs no longer; in the service's process."""
        clear = getattr(self._loaded(), "clear", None)
        if clear is not None:
            clear(parameters)

    def _loaded(self) -> Any:
        return importlib.import_module(f"blemish.service.jobs.{self.module}")


KINDS: Mapping[str, Kind] = {
    "check": Kind("check", is_quick=True),
    "train": Kind("train"),
    "compare": Kind("compare"),
    "update": Kind("update"),
}
