"""The kinds of work there are. Each further kind is a module here, named for it, and a line in `KINDS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from blemish.service.core import Service

# told how far the work is, 0 to 1 or None for what is not known, and what is done at the moment
Tell: TypeAlias = Callable[[float | None, str], None]


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes:
        module: of `blemish.service.jobs`. Its `run(parameters, tell)` does the work in the child process and returns a
            JSON-able result. It may be killed at any moment, and is then called again with the same parameters. If
            there is a `finish(service, parameters, result)`, the service calls it afterwards, in its own process and
            with the models' changes, and keeps what it returns as the result.
    """

    module: str

    def run(self, parameters: Any, tell: Tell) -> Any:
        """Do the work; in the child process."""
        return self._loaded().run(parameters, tell)

    def finish(self, service: Service, parameters: Any, result: Any) -> Any:
        """Put the result into use; in the service's process."""
        finish = getattr(self._loaded(), "finish", None)
        return result if finish is None else finish(service, parameters, result)

    def _loaded(self) -> Any:
        return importlib.import_module(f"blemish.service.jobs.{self.module}")


KINDS: Mapping[str, Kind] = {}
