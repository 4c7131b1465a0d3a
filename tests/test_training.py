"""The training loop: schedule, batches, checkpoints, exact resume, and what stops a training."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import UsageError
from blemish.training.plan import Plan

torch = pytest.importorskip("torch")
from tiny_learner import Tiny, run, tiny_plan  # noqa: E402

from blemish.training.checkpoints import checkpoints, read_checkpoint  # noqa: E402
from blemish.training.loop import TrainingError  # noqa: E402

HERE = Path(__file__).resolve().parent


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_round_holds_every_image_once(count: int, size: int, seed: int) -> None:
    plan = Plan(batch_size=size, seed=seed)
    size = min(size, count)
    stream = np.concatenate([plan.rows(step, count) for step in range(3 * count)])
    for turn in range(3 * size):
        assert sorted(stream[turn * count : (turn + 1) * count]) == list(range(count))


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    plan = Plan(iterations=100, learning_rate=0.4, warmup=10)
    rates = [plan.rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.4 / 11) and rates[10] == 0.4 and max(rates) == 0.4
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_a_warm_up_longer_than_the_training_is_cut_to_its_half() -> None:
    rates = [Plan(iterations=10, learning_rate=1.0, warmup=100).rate(step) for step in range(10)]
    assert max(rates) == rates[5] == 1.0


def test_a_time_budget_ends_the_training_and_its_schedule(tmp_path: Path) -> None:
    outcome = run(Tiny(pause=0.01), tiny_plan(tmp_path, iterations=100_000, time_budget=0.3))
    assert 1 <= outcome.state.step < 200 and [outcome.state.step] == list(outcome.state.criteria)[-1:]
    assert Plan(iterations=1000, warmup=0, time_budget=10).rate(1, 10) == pytest.approx(0, abs=1e-12)


def test_killed_at_any_moment_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(Tiny(), tiny_plan(whole))
    program = [sys.executable, str(HERE / "tiny_learner.py"), str(cut)]
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"}
    with subprocess.Popen(program, env=environment) as process:
        deadline = time.monotonic() + 120
        while not list(cut.glob("iter_8")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.35)  # some batches after the checkpoint
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = checkpoints(cut)[0]
    assert 8 <= int(last.name[5:]) < 40
    outcome = run(Tiny(), tiny_plan(cut, resume=last))
    for name in ("model.safetensors", "optimiser.safetensors"):
        assert (cut / "iter_40" / name).read_bytes() == (whole / "iter_40" / name).read_bytes()
    assert sorted(outcome.state.criteria) == list(range(4, 41, 4))


def test_the_last_five_checkpoints_stay(tmp_path: Path) -> None:
    run(Tiny(), tiny_plan(tmp_path))
    assert [path.name for path in checkpoints(tmp_path)] == ["iter_40", "iter_36", "iter_32", "iter_28", "iter_24"]
    assert json.loads((tmp_path / "iter_24" / "state.json").read_text())["step"] == 24


def test_another_training_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    run(Tiny(), tiny_plan(tmp_path, identity={"Train.learning_rate": 0.4, "Global.seed": 0}))
    with pytest.raises(UsageError, match=r"Train\.learning_rate was 0\.4 and is 0\.1"):
        read_checkpoint(tmp_path / "iter_40", {"Train.learning_rate": 0.1, "Global.seed": 0})


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    run(Tiny(), tiny_plan(tmp_path, iterations=4))
    file = tmp_path / "iter_4" / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UsageError, match="damaged"):
        run(Tiny(), tiny_plan(tmp_path, iterations=4, resume=tmp_path / "iter_4"))


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint"):
        run(Tiny(), tiny_plan(None, resume=tmp_path))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    program = f"""
import resource, signal, sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
from pathlib import Path
from tiny_learner import Tiny, run, tiny_plan
run(Tiny(), tiny_plan(Path({str(tmp_path)!r}), iterations=4))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    run(Tiny(), tiny_plan(Path({str(tmp_path)!r}), iterations=8))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UsageError checkpoint" in done.stdout and "Earlier checkpoints are whole" in done.stdout, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "tensorboard") == ["iter_4"]
    assert run(Tiny(), tiny_plan(None, iterations=4, resume=tmp_path / "iter_4")).state.step == 4


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    with pytest.raises(TrainingError, match=r"loss is nan at iteration 3: set Train\.learning_rate lower"):
        run(Tiny(poison=3), tiny_plan(None))


def test_a_collapsed_network_is_told(caplog: pytest.LogCaptureFixture) -> None:
    learner = Tiny()
    learner.ignorance = 0.0
    with pytest.raises(TrainingError, match="collapsed: after 208 iterations"):
        run(learner, tiny_plan(None, iterations=300))
    with caplog.at_level(logging.WARNING, "blemish"):
        run(learner, tiny_plan(None, iterations=20))
    assert "too few to learn anything" in caplog.text


def test_a_network_that_learns_by_heart_has_not_collapsed() -> None:
    learner = Tiny()
    learner.criterion = lambda: 2 * learner.ignorance  # type: ignore[method-assign]
    assert run(learner, tiny_plan(None, iterations=300)).state.step == 300


def test_a_network_that_learns_slowly_has_not_collapsed() -> None:
    learner = Tiny()
    learner.ignorance = 0.0
    fallen = iter(0.97**turn for turn in range(100))
    learner.criterion = lambda: next(fallen)  # type: ignore[method-assign]
    assert run(learner, tiny_plan(None, iterations=300)).state.step == 300


def test_a_batch_larger_than_the_set_takes_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "blemish"):
        assert run(Tiny(), tiny_plan(None, batch_size=100)).state.step == 40
    assert "there are 12 images to learn from" in caplog.text


def test_best_weights_are_kept_when_asked_for() -> None:
    learner = Tiny()
    values = iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.5])
    states = []

    def criterion() -> float:
        states.append({name: value.clone() for name, value in learner.network.state_dict().items()})
        return next(values)

    learner.criterion = criterion  # type: ignore[method-assign]
    outcome = run(learner, tiny_plan(None, keep="best"))
    assert outcome.kept_step == 8
    assert all(torch.equal(value, states[1][name]) for name, value in learner.network.state_dict().items())


def test_patience_stops_a_training_that_grows_no_better() -> None:
    learner = Tiny()
    learner.criterion = lambda: 1.0  # type: ignore[method-assign]
    assert run(learner, tiny_plan(None, patience=3)).state.step == 16


def test_a_gradient_of_any_size_moves_the_weights_by_no_more_than_the_rate() -> None:
    learner = Tiny()
    learner.data = learner.data * 1e4
    before = {name: value.detach().clone() for name, value in learner.network.named_parameters()}
    run(learner, tiny_plan(None, iterations=1, warmup=0, learning_rate=0.05))
    moved = torch.cat([(value - before[name]).flatten() for name, value in learner.network.named_parameters()])
    assert moved.norm().item() == pytest.approx(0.05, rel=1e-4)  # a gradient of the norm 1, times the rate


def test_the_log_says_loss_speed_and_time_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "blemish"):
        run(Tiny(), tiny_plan(None))
    pattern = r"\[TRAIN\] iter: 10/40, loss: \d+\.\d{4}, lr: 0\.\d{6}, ips: \d+\.\d\d images/sec \| ETA \d\d:\d\d:\d\d"
    assert re.search(pattern, caplog.text) and "[EVAL] iter: 40, loss on held-out good images:" in caplog.text


def test_the_time_left_is_that_of_the_budget_if_it_ends_first(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "blemish"):
        run(Tiny(pause=0.01), tiny_plan(None, iterations=10**9, time_budget=0.5))
    left = re.findall(r"ETA (\d+):(\d\d):(\d\d)", caplog.text)
    assert left and all(int(hours) == int(minutes) == 0 and int(seconds) <= 1 for hours, minutes, seconds in left)


def test_tensorboard_has_the_scalars_of_the_state(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    state = run(Tiny(), tiny_plan(tmp_path)).state
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()  # type: ignore[no-untyped-call]

    def scalars(name: str) -> dict[int, float]:
        return {event.step: event.value for event in events.Scalars(name)}

    assert scalars("Train/loss") == pytest.approx(state.losses) and sorted(state.losses) == [10, 20, 30, 40]
    assert scalars("Evaluate/loss") == pytest.approx(state.criteria)
    assert scalars("Train/lr")[40] == pytest.approx(tiny_plan(None).rate(39))


@pytest.mark.parametrize("enabled", [False, True])
def test_mixed_precision_is_on_for_the_loss_alone(enabled: bool) -> None:
    seen: dict[str, set[bool]] = {"loss": set(), "criterion": set()}

    class Watched(Tiny):
        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            seen["loss"].add(torch.is_autocast_enabled("cpu"))
            return super().loss(batch)

        def criterion(self) -> float:
            seen["criterion"].add(torch.is_autocast_enabled("cpu"))
            return super().criterion()

    run(Watched(), tiny_plan(None, iterations=4, mixed_precision=enabled))
    assert seen == {"loss": {enabled}, "criterion": {False}}
