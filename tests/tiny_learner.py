"""The smallest thing that the training loop can train; also a program, for tests that kill it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from blemish.training.loop import Outcome, train
from blemish.training.plan import Plan


class Tiny:
    """Learns to double eight numbers; dropout and batch normalisation make it depend on all of torch's state."""

    count = 12
    ignorance = 10.0

    def __init__(self, pause: float = 0.0, poison: int | None = None) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))
        self.data = torch.from_numpy(np.random.default_rng(0).normal(size=(self.count, 4)).astype(np.float32))
        self.pause, self.poison, self.calls = pause, poison, 0

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), learning_rate, momentum=0.9)

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        return self.data[rows]

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        time.sleep(self.pause)
        self.calls += 1
        factor = float("nan") if self.calls == self.poison else 1.0
        return factor * (self.network(batch) - 2 * batch).square().mean()

    def criterion(self) -> float:
        with torch.no_grad():
            return float((self.network(self.data) - 2 * self.data).square().mean())


def tiny_plan(folder: Path | None, **others: object) -> Plan:
    settings = {"iterations": 40, "batch_size": 5, "learning_rate": 0.05, "warmup": 5, "eval_interval": 4}
    return Plan(folder=folder, **{**settings, **others})  # type: ignore[arg-type]


def run(learner: Tiny, plan: Plan) -> Outcome:
    return train(learner, plan, lambda done, total, detail: None)


if __name__ == "__main__":
    torch.set_num_threads(1)
    target = Path(sys.argv[1])
    resume = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    run(Tiny(pause=0.15), tiny_plan(target, resume=resume))
