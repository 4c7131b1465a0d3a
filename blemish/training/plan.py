"""What a training is to do, and the pure functions of its step: learning rate and batches.

Nothing here depends on what happened before the step, so a training that goes on after a crash repeats it exactly.
"""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def new_run() -> str:
    """A name for a training that no other has, and that tells when it began."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Plan:
    """The run file's `Train` section, resolved.

    Attributes:
        iterations: batches to learn from, not rounds through the images.
        time_budget: seconds after which the training ends instead, or None.
        batch_size: images a batch.
        learning_rate: the largest, reached after `warmup` batches; from there a half cosine leads to zero.
        log_interval, eval_interval: batches between two lines of the log, and between two checkpoints.
        mixed_precision: bfloat16 where the device computes faster in it.
        patience: evaluations without a better criterion after which to stop, or None.
        keep: `last` or `best`, the weights that become the model.
        device: as in `Global.device`.
        seed: start of every random choice.
        folder: where `iter_N` folders go; None keeps nothing.
        resume: an `iter_N` folder to go on from.
        processes, rank: how many devices share each batch, and which of them this process is.
        run: the name of this training in its checkpoints; one that goes on keeps the name that it has there.
        identity: all that must be the same for going on: dotted keys of the run file and the data's fingerprint.
    """

    iterations: int = 50
    time_budget: float | None = None
    batch_size: int = 1
    learning_rate: float = 0.4
    warmup: int = 100
    log_interval: int = 10
    eval_interval: int = 100
    mixed_precision: bool = False
    patience: int | None = None
    keep: str = "last"
    device: str = "auto"
    seed: int = 0
    weights: Path | None = None
    folder: Path | None = None
    resume: Path | None = None
    run: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    processes: int = 1
    rank: int = 0

    def without_files(self) -> Plan:
        """The same training, leaving nothing on the disk: for folds of a calibration."""
        return replace(self, folder=None, resume=None)

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """The learning rate of batch `step`, counted from 0, after `seconds` of training."""
        warmup = min(self.warmup, self.iterations // 2)
        if step < warmup:
            return self.learning_rate * (step + 1) / (warmup + 1)
        done = (step - warmup) / max(1, self.iterations - warmup)
        if self.time_budget is not None:
            done = max(done, min(1.0, seconds / self.time_budget))
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2

    def device_of(self, rank: int) -> str:
        """The device of one process: `gpu:3` of `gpu:1,3`; all share a `cpu`."""
        kind, _, numbers = self.device.partition(":")
        return f"{kind}:{numbers.split(',')[rank]}" if numbers else kind

    def share(self, step: int, count: int) -> npt.NDArray[np.int64]:
        """The images of batch `step` that this process takes."""
        return self.rows(step, count)[self.rank :: self.processes]

    def rows(self, step: int, count: int) -> npt.NDArray[np.int64]:
        """Which of `count` images batch `step` holds: every round a new order, no image left out, none twice."""
        size = min(self.batch_size, count)
        first = step * size
        rounds = range(first // count, (first + size - 1) // count + 1)
        order = np.concatenate([np.random.default_rng([self.seed, turn]).permutation(count) for turn in rounds])
        start = first - rounds.start * count
        return order[start : start + size]
