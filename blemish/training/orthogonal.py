"""Gradient descent with orthogonal steps: Muon (Jordan et al. 2024), in the keys of plain gradient descent.

The gradient of a kernel has a few directions that are far longer than all others, and plain descent learns along
little else. Here each kernel's momentum is replaced by the nearest orthogonal matrix, whose directions are all equally
long: one step learns along all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Newton-Schulz iteration: a polynomial that pulls all singular values from (0, 1] near 1 in a few rounds.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 4
SMALLEST_NORM = 1e-12


def orthogonal_descent(
    network: nn.Module, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimiser of all parameters of `network`, with Nesterov's momentum.

    A kernel's step has the size `learning_rate * (1 - momentum)`, relative to the kernel: with momentum, a gradient
    counts about 1 / (1 - momentum) times, so `learning_rate` is how far one gradient leads altogether. Biases and
    batch normalisations, which are no matrices, take plain steps.
    """
    import torch

    class Orthogonal(torch.optim.Optimizer):
        def __init__(self) -> None:
            super().__init__(network.parameters(), {"lr": learning_rate})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
            for group in self.param_groups:
                for weights in group["params"]:
                    self._move(weights, group["lr"])

        def _move(self, weights: Tensor, rate: float) -> None:
            kept = self.state[weights].setdefault("momentum", torch.zeros_like(weights))
            kept.mul_(momentum).add_(weights.grad)
            step = weights.grad + momentum * kept
            weights.mul_(1 - rate * weight_decay)
            if weights.ndim > 1:
                rate *= 1 - momentum
                step = orthogonalised(step.flatten(1)).view_as(weights)
                step *= weights.norm() / step.norm().clamp_min(SMALLEST_NORM)
            weights.sub_(step, alpha=rate)

    return Orthogonal()


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest matrix `(m, n)` with singular values that are all alike, some 0.7 to 1.2."""
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x: Tensor = wide / wide.norm().clamp_min(SMALLEST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is matrix else x.T
