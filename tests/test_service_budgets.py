"""What bounds memory and waiting, alone: first come, first served, and nothing is ever lost of a budget."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import tiny_folder

from blemish.images import expand
from blemish.pipeline import Result, open_model
from blemish.service import ModelSource, Settings
from blemish.service.batching import Worker
from blemish.service.budgets import Memory, Quota
from blemish.service.errors import ServiceError


@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=30))
def test_memory_is_bounded_fair_and_given_back(wanted: list[tuple[int, bool]]) -> None:
    async def scenario() -> None:
        memory, order = Memory(10), []

        async def use(number: int, size: int) -> None:
            async with memory.hold(size):
                order.append(number)
                assert memory.held <= memory.total
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(use(number, size)) for number, (size, _) in enumerate(wanted)]
        await asyncio.sleep(0)
        for task, (_, is_cancelled) in zip(tasks, wanted, strict=True):
            if is_cancelled:
                task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert memory.held == 0 and order == sorted(order)
        kept = {number for number, (_, is_cancelled) in enumerate(wanted) if not is_cancelled}
        assert kept <= set(order)

    asyncio.run(scenario())


def test_a_quota_refuses_what_is_too_much_and_keeps_count() -> None:
    quota = Quota(3, "full")
    with quota.hold(2):
        with pytest.raises(ServiceError, match="full") as refused, quota.hold(2):
            pass
        assert refused.value.status_code == 503 and refused.value.headers == {"Retry-After": "1"}
        assert quota.taken == 2
    assert quota.taken == 0


def test_what_waits_is_computed_together_and_closing_finishes_it(tmp_path: Path) -> None:
    predictor = open_model(tiny_folder(tmp_path / "model"))
    for level in range(20):
        cv2.imwrite(str(tmp_path / f"{level:02}.png"), np.full((8, 16, 3), level, np.uint8))
    items = [predictor.prepare(ref) for ref in expand([str(path) for path in sorted(tmp_path.glob("*.png"))])]
    sizes: list[int] = []
    worker = Worker(predictor, max_latency=1e9, depth=64, on_batch=lambda size, waited: sizes.append(size), most=16)
    first = worker.submit(items[0])
    assert first.result(30).score == 0  # from here on it knows how long an image takes
    answers = [worker.submit(item) for item in items]
    worker.close()
    assert [answer.result(0).score for answer in answers] == list(range(20))
    assert sum(sizes) == 21 and 1 < max(sizes) <= 16


def test_one_image_that_fails_does_not_take_its_batch_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blemish.pipeline import Predictor

    predictor = open_model(tiny_folder(tmp_path / "model"))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 16, 3), np.uint8))
    good = predictor.prepare(next(expand(str(tmp_path / "a.png"))))
    bad = predictor.prepare(next(expand(str(tmp_path / "a.png"))))
    judge = Predictor.judge

    def failing(self: Predictor, batches: object, limit: object) -> object:
        batch = next(iter(batches))  # type: ignore[call-overload]
        if any(item is bad for item in batch):
            raise MemoryError
        return judge(self, iter([batch]), limit)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "judge", failing)
    worker = Worker(predictor, max_latency=1e9, depth=64, on_batch=lambda size, waited: None, most=16)
    answers = [worker.submit(item) for item in (good, good, bad, good)]
    worker.close()
    assert [isinstance(answer.exception(0), MemoryError) for answer in answers] == [False, False, True, False]
    assert all(isinstance(answer.result(0), Result) for answer in answers if not answer.exception(0))


@pytest.mark.parametrize(
    "text, name",
    [
        ("runs/bottle", "bottle"),
        ("runs/bottle/best_model/inference", "bottle"),
        ("cap=runs/bottle", "cap"),
        ("runs/my bottle (2)", "my-bottle-2"),
        ("runs/瓶", "model"),
        ("a b=c", "a-b-c"),
    ],
)
def test_names_of_models(text: str, name: str) -> None:
    assert ModelSource.of(text).name == name


@pytest.mark.parametrize(
    "host, is_local",
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("a.example", False)],
)
def test_which_addresses_are_local(host: str, is_local: bool) -> None:
    assert Settings((), host=host).is_local is is_local
