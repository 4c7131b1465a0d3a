"""Scalars for TensorBoard, where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

FOLDER = "tensorboard"


@contextmanager
def scalar_writer(folder: Path | None, start: int) -> Iterator[Callable[[str, float, int], None]]:
    """A callable `(name, value, step)` that writes to `folder/tensorboard`; does nothing without TensorBoard.

    Scalars after `start` that a crashed training has left there are dropped.
    """
    if folder is None or find_spec("tensorboard") is None:
        yield lambda name, value, step: None  # noqa: ARG005
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / FOLDER), purge_step=start + 1)
    try:
        yield writer.add_scalar
    finally:
        writer.close()
