"""An inspection is in the store before it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol


class InspectionStore(Protocol):
    """What the service needs of a store: what is submitted is durable once the future is done."""

    def submit(self, inspections: Sequence[Any]) -> Future[list[int]]: ...

    def close(self) -> None: ...
