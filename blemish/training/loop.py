"""The training loop: it knows no detector, only something that has a network and a loss."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from blemish.errors import BlemishError
from blemish.training.checkpoints import State, read_checkpoint, write_checkpoint
from blemish.training.plan import Plan
from blemish.training.scalars import scalar_writer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger("blemish")

Advance = Callable[[int, int, str], None]  # done, total, detail

CLIP = 1.0  # largest norm of the gradient; a rate of 0.4 diverges now and then without
PATIENT_STEPS = 200  # a network that has learned nothing after so many batches will not,
FALLING = 0.98  # unless its criterion still falls at least to this share of the best before


class TrainingError(BlemishError):
    """A training that cannot come to a good end."""


class Learner(Protocol):
    """What the loop needs to know of a detector.

    Attributes:
        network: all that is learned; its state is the checkpoint.
        count: training images.
        ignorance: the criterion of a network that gives the same answer to everything.
    """

    network: nn.Module
    count: int
    ignorance: float

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """A new optimiser of the network's parameters."""

    def batch(self, rows: npt.NDArray[np.int64]) -> Any:
        """What `loss` needs of these images, on the network's device."""

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch, a scalar; computed in mixed precision where that is on."""

    def criterion(self) -> float:
        """Mean loss on the held-out good images, in float32 and with the network in evaluation mode."""


@dataclass(frozen=True)
class Outcome:
    """What a training has come to: its final state, and the state of the weights that it kept."""

    state: State
    kept_step: int


def train(learner: Learner, plan: Plan, advance: Advance) -> Outcome:
    """Learn as planned, from the start or from a checkpoint; leaves the kept weights in `learner.network`.

    Raises `TrainingError` for a loss that is not finite and for a network that has collapsed.
    """
    import torch

    torch.manual_seed(plan.seed)
    run = _Run(learner, plan)
    if plan.resume is not None:
        run.resume()
    if plan.batch_size > learner.count:
        log.warning("Train.batch_size %d: there are %d images to learn from", plan.batch_size, learner.count)
    run.learn(advance)
    return Outcome(run.state, run.finish())


class _Run:
    """One training from its first batch, or a checkpoint, to its end."""

    def __init__(self, learner: Learner, plan: Plan) -> None:
        self.learner, self.plan = learner, plan
        self.parameters = [value for value in learner.network.parameters() if value.requires_grad]
        self.optimiser = learner.optimiser(plan.learning_rate)
        self.state = State(run=plan.run)
        self.best: dict[str, Tensor] | None = None
        self.device = next(iter(self.parameters)).device
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self.began

    def resume(self) -> None:
        import torch

        if self.plan.resume is None:
            return
        self.state, weights, optimiser = read_checkpoint(self.plan.resume, self.plan.identity)
        self.learner.network.load_state_dict(weights)
        torch.set_rng_state(optimiser.pop("random"))
        self.best = {name[5:]: optimiser.pop(name) for name in list(optimiser) if name.startswith("best.")} or None
        state: dict[int, dict[str, Any]] = {}
        for name, value in optimiser.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        log.info("going on from %s", self.plan.resume)

    def learn(self, advance: Advance) -> None:
        self.learner.network.train()
        total, start = self.plan.iterations, self.state.step
        spent = self.seconds
        with scalar_writer(self.plan.folder, start) as write:
            for step in range(start, total):
                loss = self._step(step)
                done = step + 1
                speed = (done - start) * min(self.plan.batch_size, self.learner.count) / max(self.seconds - spent, 1e-9)
                last = done == total or self._is_late()
                if done % self.plan.log_interval == 0 or last:
                    self._note(done, loss, speed, write)
                advance(total if last else done, total, f"loss {loss:.4f}, {speed:.1f} images/s")
                if done % self.plan.eval_interval == 0 or last:
                    self._evaluate(done, loss, write)
                    if self._is_stuck():
                        log.info("no better criterion for %s evaluations: stopped", self.plan.patience)
                        break
                if last:
                    break

    def finish(self) -> int:
        """Put the kept weights into the network; returns their step."""
        self.learner.network.eval()
        if self.plan.keep == "best" and self.best is not None and self.state.best_step is not None:
            self.learner.network.load_state_dict(self.best)
            return self.state.best_step
        return self.state.step

    def _step(self, step: int) -> float:
        import torch

        rate = self.plan.rate(step, self.seconds)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = self.learner.batch(self.plan.share(step, self.learner.count))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.mixed_precision):
            loss = self.learner.loss(batch)
        value = self._shared(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at iteration {step + 1}: {_GENTLER}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimiser.step()
        return value

    def _shared(self, loss: Tensor) -> float:
        """The loss of the joint batch."""
        if self.plan.processes > 1:
            from torch import distributed

            distributed.all_reduce(loss)
        return float(loss) / self.plan.processes

    def _note(self, done: int, loss: float, speed: float, write: Callable[[str, float, int], None]) -> None:
        rate = self.plan.rate(done - 1, self.seconds)
        self.state.losses[done] = loss
        log.info(
            "[TRAIN] iter: %d/%d, loss: %.4f, lr: %.6f, ips: %.2f images/sec | ETA %s",
            *(done, self.plan.iterations, loss, rate, speed, self._time_left(done, speed)),
        )
        write("Train/loss", loss, done)
        write("Train/lr", rate, done)

    def _time_left(self, done: int, speed: float) -> str:
        """Hours, minutes and seconds to the last iteration, or to the end of the time budget if that comes first."""
        left = (self.plan.iterations - done) * min(self.plan.batch_size, self.learner.count) / max(speed, 1e-9)
        if self.plan.time_budget is not None:
            left = max(0.0, min(left, self.plan.time_budget - self.seconds))
        minutes, seconds = divmod(round(left), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"

    def _evaluate(self, done: int, loss: float, write: Callable[[str, float, int], None]) -> None:
        self.learner.network.eval()
        criterion = self.learner.criterion()
        self.learner.network.train()
        log.info("[EVAL] iter: %d, loss on held-out good images: %.5f", done, criterion)
        write("Evaluate/loss", criterion, done)
        self._refuse_collapse(done, loss, criterion)
        self.state.step, self.state.criteria[done] = done, criterion
        if self.plan.keep == "best" and self.state.best_step == done:
            self.best = {name: value.detach().clone() for name, value in self.learner.network.state_dict().items()}
        if self.plan.folder is not None:
            self._save(self.plan.folder)

    def _refuse_collapse(self, done: int, loss: float, criterion: float) -> None:
        if not math.isfinite(criterion):
            raise TrainingError(f"the loss on held-out images is {criterion} after {done} iterations: {_GENTLER}")
        learned = min(loss, criterion) < self.learner.ignorance  # one learned by heart has not collapsed
        learns = criterion < FALLING * min(self.state.criteria.values(), default=0.0)  # slowly, but it does
        if not learned and not learns and done >= self.plan.warmup + PATIENT_STEPS:
            raise TrainingError(
                f"the network has collapsed: after {done} iterations it tells images no better than one answer to "
                f"everything would (loss {criterion:.4f}, that answer {self.learner.ignorance:.4f}): {_GENTLER}"
            )
        if not learned and done == self.plan.iterations:
            log.warning("%d iterations were too few to learn anything: set Train.epochs_iters higher", done)

    def _save(self, folder: Any) -> None:
        import torch

        now = replace(self.state, seconds=self.seconds)
        optimiser = {
            f"{index}.{key}": torch.as_tensor(value)
            for index, values in self.optimiser.state_dict()["state"].items()
            for key, value in values.items()
            if value is not None
        }
        best = {f"best.{name}": value for name, value in (self.best or {}).items()}
        random = {"random": torch.get_rng_state()}
        write_checkpoint(
            folder, self.learner.network.state_dict(), {**optimiser, **best, **random}, now, self.plan.identity
        )

    def _is_late(self) -> bool:
        return self.plan.time_budget is not None and self.seconds >= self.plan.time_budget

    def _is_stuck(self) -> bool:
        best = self.state.best_step
        if self.plan.patience is None or best is None:
            return False
        return sum(step > best for step in self.state.criteria) >= self.plan.patience


_GENTLER = "set Train.learning_rate lower or Train.warmup_steps higher"
