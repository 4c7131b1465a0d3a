"""FastFlow: the flow is a bijection with the Jacobian that it states, learns, and becomes an equal graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plates import plate, scratched, write_set
from pydantic import ValidationError

from blemish.config import load_config
from blemish.detectors import Setting, detector_class
from blemish.detectors.fastflow import FastFlow, FastFlowParameters, distances, flowed, new_flows
from blemish.errors import UsageError
from blemish.training import Plan

torch = pytest.importorskip("torch")

SIZE = 64


def plates(count: int, start: int = 0) -> list[np.ndarray]:
    return [np.ascontiguousarray(plate(number)[:SIZE, :SIZE, ::-1]) for number in range(start, start + count)]


def fitted(iterations: int = 30, memory: int = 10_000_000, parameters: Any = None, **plan: Any) -> FastFlow:
    whole = Plan(iterations=iterations, device="cpu", **{"batch_size": 4, "warmup": 3, "learning_rate": 1e-3, **plan})
    detector = FastFlow(Setting(SIZE, SIZE, plan=whole, device="cpu", memory_budget=memory), parameters)
    detector.watched = plates(3, 50)
    detector.fit(plates(8))
    return detector


@pytest.fixture(scope="module")
def trained() -> FastFlow:
    return fitted()


def random_flow(channels: int, **parameters: Any) -> Any:
    """A flow whose every parameter matters: new ones couple nothing yet."""
    torch.manual_seed(0)
    moments = [(torch.randn(channels), torch.rand(channels) + 0.5)]
    flows: Any = new_flows(moments, FastFlowParameters(**parameters))
    for value in flows.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return flows[0].double()


@pytest.mark.parametrize(
    "parameters",
    [{"flow_step": 1}, {"flow_step": 3, "conv3x3_only": False}, {"hidden_ratio": 0.16}, {"clamp": 0.5}],
    ids=str,
)
@pytest.mark.parametrize("channels", [4, 5])
def test_the_stated_jacobian_is_that_of_the_flow(channels: int, parameters: dict[str, Any]) -> None:
    flow = random_flow(channels, **parameters)
    x = torch.randn(1, channels, 3, 2, dtype=torch.double)
    _, stated = flowed(flow, x)
    jacobian = torch.autograd.functional.jacobian(lambda v: flowed(flow, v)[0], x).reshape(x.numel(), x.numel())
    standardised = 6 * float(flow.deviation.log().sum())  # constant, so no part of the loss
    assert stated.item() == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]) + standardised, rel=1e-9)


def test_a_new_flow_only_standardises_and_permutes() -> None:
    moments = [(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))]
    x = torch.randn(2, 4, 3, 3)
    ((z, log_det),) = new_flows(moments, FastFlowParameters())([x])
    expected = (x - moments[0][0][:, None, None]) / moments[0][1][:, None, None]
    assert torch.equal(z.flatten(1).sort(1)[0], expected.flatten(1).sort(1)[0]) and not log_det.any()


def test_every_parameter_is_used_and_no_scale_can_break() -> None:
    flow = random_flow(6, flow_step=2)
    z, log_det = flowed(flow, torch.randn(2, 6, 4, 4, dtype=torch.double))
    (z.square().mean() - log_det.mean()).backward()
    assert all(value.grad is not None and value.grad.any() for value in flow.parameters())
    for extreme in (-1e6, 1e6):
        with torch.no_grad():
            for step in flow:
                step.log_scale.fill_(extreme)
            z, log_det = flowed(flow, torch.randn(2, 6, 4, 4, dtype=torch.double))
        assert z.isfinite().all() and log_det.isfinite().all()


def test_far_features_keep_their_order_in_float32() -> None:
    """Where 1 - exp(-square / 2) has long become 1."""
    far = torch.tensor([20.0, 21.0, 1e4])[:, None, None, None].expand(3, 8, 1, 1)
    found = distances(far).flatten()
    assert found[0] < found[1] < found[2] and len({float(1 - (-d.exp() / 2).exp()) for d in found}) == 1
    assert torch.isfinite(distances(torch.zeros(1, 8, 2, 2))).all()


def test_the_flow_learns_and_a_scratch_stands_out(trained: FastFlow) -> None:
    assert trained.outcome is not None and trained.outcome.state.losses[30] < trained.outcome.state.losses[10] - 0.5
    picture, mask = scratched(3, (10, 10))
    maps, scores = trained.outputs(np.ascontiguousarray(picture[None, :SIZE, :SIZE, ::-1]))
    assert scores[0] > trained.outputs(np.stack(plates(6, 60)))[1].max()
    row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert mask[4 * row : 4 * row + 16, 4 * column : 4 * column + 16].any() or mask[4 * row, 4 * column]


def test_onnx_runtime_computes_what_torch_does(trained: FastFlow) -> None:
    import onnxruntime

    alternating = FastFlowParameters(conv3x3_only=False, flow_step=2, hidden_ratio=0.5, clamp=1.0)
    for detector in (trained, fitted(4, parameters=alternating)):
        session = onnxruntime.InferenceSession(detector.graph().SerializeToString())
        pixels = np.stack(plates(5, 70))
        maps, scores = session.run(["anomaly_map", "score"], {"image": pixels})
        expected_maps, expected_scores = detector.outputs(pixels)
        assert maps.shape == (5, SIZE // 4, SIZE // 4)
        np.testing.assert_allclose(maps, expected_maps, atol=1e-4 * expected_maps.max())
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-4)


def test_the_seed_decides_weights_and_permutations() -> None:
    first, second, other = (fitted(2, seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    permutations = [name for name in first if name.endswith("permutation")]
    assert len(permutations) == 12 and not any(torch.equal(first[name], other[name]) for name in permutations)


def test_features_that_do_not_fit_into_memory_are_computed_again() -> None:
    kept, computed = (fitted(3, memory).outcome for memory in (10_000_000, 1))
    assert kept is not None and computed is not None
    # kept features have 16 bits
    assert list(kept.state.criteria.values()) == pytest.approx(list(computed.state.criteria.values()), rel=0.02)


def test_an_image_always_has_the_same_noise(trained: FastFlow) -> None:
    """Whatever batch or process it comes in, so a training that goes on repeats it."""
    learner = trained.learner(plates(8), None)
    together, alone = learner.batch(np.array([5, 2])), learner.batch(np.array([2]))
    clean = learner._images.take(np.array([5, 2]))
    for two, one, bare, flow in zip(together, alone, clean, learner.network, strict=True):
        assert torch.equal(two[1:], one)
        noise = (two - bare) / flow.deviation
        assert noise.std().item() == pytest.approx(0.1, rel=0.1) and not torch.allclose(noise[0], noise[1])


def test_before_fit_the_way_out_is_said() -> None:
    with pytest.raises(UsageError, match="fit FastFlow first"):
        FastFlow(Setting(SIZE, SIZE)).graph()
    assert FastFlow(Setting(SIZE, SIZE)).plan.learning_rate == 1e-3


@pytest.mark.parametrize("wrong", [{"flow_step": 0}, {"clamp": 0}, {"hidden_ratio": -1}, {"steps": 4}], ids=str)
def test_parameters_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FastFlowParameters(**wrong)


def test_the_packaged_run_file_is_whole() -> None:
    config = load_config("FastFlow")
    assert config.Global.model == "FastFlow" and config.Train.learning_rate == 1e-3
    own = config.Model.detector_parameters()
    assert FastFlowParameters.model_validate(own) == FastFlowParameters() and set(own) == set(
        FastFlowParameters.model_fields
    )


def test_from_images_to_a_model_folder_and_on_from_a_checkpoint(tmp_path: Path) -> None:
    from blemish.fitting import fit

    assert detector_class("fastflow") is FastFlow
    data, output = write_set(tmp_path / "data", train=10), tmp_path / "output"
    overrides = [
        *(f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu", "Model.width=64"),
        *("Model.height=64", "Train.epochs_iters=4", "Train.eval_interval=2", "Train.batch_size=4"),
    ]
    report = fit(load_config("FastFlow", overrides))
    info = json.loads((report.folder / "model.json").read_text())
    assert info["calibration"]["kind"] == "held out: 2 of 10 images"
    before = (output / "best_model" / "model.safetensors").read_bytes()
    fit(load_config("FastFlow", [*overrides, f"Train.resume_path={output}/iter_2"]))
    assert (output / "best_model" / "model.safetensors").read_bytes() == before


def test_two_processes_learn_what_one_does() -> None:
    """Two CPU processes stand in for two devices."""

    def losses(processes: int) -> list[float]:
        detector = fitted(3, processes=processes, log_interval=1)
        assert detector.graph() and detector.outcome is not None
        return list(detector.outcome.state.losses.values())

    assert losses(2) == pytest.approx(losses(1), rel=1e-3)
