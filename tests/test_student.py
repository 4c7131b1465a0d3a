"""STFPM's student and the orthogonal descent that teaches it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.graph import GraphBuilder

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from blemish.training.networks import load_teacher, normalised_planes  # noqa: E402
from blemish.training.orthogonal import orthogonal_descent, orthogonalised  # noqa: E402
from blemish.training.student import append_student, new_student  # noqa: E402


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_orthogonal_steps_have_the_directions_of_the_gradient_all_alike_in_length(m: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = min(m, n)
    left, right = (np.linalg.qr(rng.normal(size=(size, rank)))[0] for size in (m, n))
    matrix = (left * rng.uniform(0.1, 1, rank)) @ right.T
    found = orthogonalised(torch.from_numpy(matrix)).numpy()
    inner = left.T @ found @ right  # diagonal where the directions are the same
    assert np.all((np.diag(inner) > 0.6) & (np.diag(inner) < 1.3))
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-9)
    np.testing.assert_allclose(left @ inner @ right.T, found, atol=1e-9)


def test_a_step_has_the_size_that_the_learning_rate_says() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3)
    before = [value.detach().clone() for value in layer.parameters()]
    optimiser = orthogonal_descent(layer, 0.4, momentum=0.9, weight_decay=0.0)
    layer(torch.randn(2, 3, 9, 9)).square().sum().backward()
    optimiser.step()
    kernel, bias = (now.detach() - then for now, then in zip(layer.parameters(), before, strict=True))
    assert float(kernel.norm() / before[0].norm()) == pytest.approx(0.4 * 0.1, rel=1e-4)
    assert layer.bias is not None and layer.bias.grad is not None
    torch.testing.assert_close(bias, -0.4 * 1.9 * layer.bias.grad)  # Nesterov: the gradient once, and as momentum


def test_a_kernel_without_gradient_and_weight_decay() -> None:
    layer = nn.Linear(4, 4)
    optimiser = orthogonal_descent(layer, 0.1, momentum=0.9, weight_decay=0.5)
    before = layer.weight.detach().clone()
    (0 * layer(torch.ones(1, 4))).sum().backward()
    optimiser.step()
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.1 * 0.5))


def test_weak_directions_are_learned_too() -> None:
    """A linear map of inputs whose directions differ 30-fold in size: plain descent learns the large ones only."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 8, generator=random) * torch.logspace(0, -1.5, 8)
    wanted = torch.randn(8, 8, generator=random) / 8**0.5

    def error(make: object) -> float:
        torch.manual_seed(1)
        layer = nn.Linear(8, 8, bias=False)
        optimiser = make(layer)  # type: ignore[operator]
        for step in range(100):
            optimiser.param_groups[0]["lr"] = 0.4 * (1 - step / 100)
            loss = (layer(inputs) - inputs @ wanted).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float((layer.weight.T - wanted).detach().norm())

    ours = error(lambda layer: orthogonal_descent(layer, 0.4, momentum=0.9, weight_decay=0.0))
    plain = error(lambda layer: torch.optim.SGD(layer.parameters(), 0.4, momentum=0.9))
    assert ours < 0.6 * plain


def test_the_student_s_graph_is_the_student() -> None:
    import onnxruntime

    teacher = load_teacher("efficientnet_lite0", None, (4, 8, 16))
    torch.manual_seed(0)
    student = new_student([24, 40, 112])
    pixels = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8)
    planes = normalised_planes(pixels, teacher.record)
    student(planes)  # moves the batch normalisation's means and deviations
    expected = [level.detach().numpy() for level in student.eval()(planes)]
    assert [level.shape[1:] for level in expected] == [(24, 16, 24), (40, 8, 12), (112, 4, 6)]
    graph = GraphBuilder()
    levels = append_student(graph, student, teacher.record, graph.input("image", np.uint8, ["N", 64, 96, 3]))
    for number, level in enumerate(levels):
        graph.output(level, f"level{number}", np.float32, ["N", *expected[number].shape[1:]])
    session = onnxruntime.InferenceSession(graph.model("student").SerializeToString())
    for found, level in zip(session.run(None, {"image": pixels.numpy()}), expected, strict=True):
        np.testing.assert_allclose(found, level, atol=1e-5 * np.abs(level).max())
