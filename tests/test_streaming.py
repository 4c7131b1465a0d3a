"""Streams: order, policies, latency, bounds, a clean end, and what becomes of a camera that goes away."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from runs import fitted
from test_video import Camera, camera  # noqa: F401 - a fixture
from textures import plate, write_all

from blemish.engines import Engine, open_engine
from blemish.errors import DeviceError, UsageError
from blemish.models import LoadedModel, load_model
from blemish.pipeline import Predictor, Result, open_model

SIZE = 96


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    data = write_all(tmp_path_factory.mktemp("good"), [plate(seed, SIZE) for seed in range(12)])
    return load_model(fitted(data, tmp_path_factory.mktemp("run") / "out", "Calibrate.false_alarm_rate=0.1").output)


@pytest.fixture(scope="module")
def predictor(model: LoadedModel) -> Predictor:
    return open_model(model.folder, "cpu")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_all(tmp_path / "in", [plate(100 + number, SIZE, defect=number % 2 == 1) for number in range(9)])


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    deadline = time.monotonic() + 60
    left = {"?"}
    while left and time.monotonic() < deadline:
        left = {thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("blemish")}
        time.sleep(0.01)
    assert not left


class Slow:
    """An engine that takes its time for every image, and counts."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine, self._seconds = engine, seconds
        self.calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        self.calls.append(len(image))
        time.sleep(self._seconds * len(image))
        return self._engine.run(image)


def slow(model: LoadedModel, seconds: float, batch_size: int = 1) -> tuple[Predictor, Slow]:
    engine = Slow(open_engine(model.model, "cpu"), seconds)
    return Predictor(model, [engine], batch_size), engine


def frames(asked: list[float] | None = None, pause: float = 0.0) -> Iterator[npt.NDArray[np.uint8]]:
    """Endless arrays; notes when each was asked for."""
    picture = plate(3, SIZE)
    while True:
        if asked is not None:
            asked.append(time.monotonic())
        time.sleep(pause)
        yield picture


class Gate(SimpleQueue[bool]):
    """A source that has a picture whenever the gate is opened, until it ends."""

    def frames(self) -> Iterator[npt.NDArray[np.uint8]]:
        picture = plate(3, SIZE)
        while self.get():
            yield picture

    def open(self) -> None:
        self.put(True)

    def end(self) -> None:
        self.put(False)


class TestEvery:
    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_a_folder_gives_what_predict_gives(self, predictor: Predictor, images: Path, batch_size: int) -> None:
        (images / "004.png").write_text("no image")
        wanted = list(predictor.predict(images))
        with predictor.stream(images, batch_size=batch_size) as stream:
            found = list(stream)
        assert [r.input_path for r in found] == [r.input_path for r in wanted]
        assert [r.error for r in found] == [r.error for r in wanted]
        right = [n for n in range(9) if n != 4]
        np.testing.assert_allclose([found[n].score for n in right], [wanted[n].score for n in right], rtol=1e-4)
        assert [r.frame_index for r in found] == list(range(9)) and stream.dropped == 0

    def test_results_tell_their_moment(self, predictor: Predictor, images: Path) -> None:
        start = time.time()
        found = list(predictor.stream(images))
        assert all(isinstance(result, Result) for result in found)
        stamps = [result.time_stamp for result in found]
        assert stamps == sorted(stamps) and start <= stamps[0] <= stamps[-1] <= time.time()
        for result in found:
            assert 0 < result.age < 1e3 * (time.time() - start)
            record = result.to_dict(mask=False)
            assert list(record)[-3:] == ["frame_index", "time_stamp", "age"] == list(result)[-3:]
            assert (result["frame_index"], len(result)) == (result.frame_index, len(list(result)))
            assert result["score"] == result.score

    def test_the_source_waits_for_the_results(self, model: LoadedModel) -> None:
        asked: list[float] = []
        predictor, _ = slow(model, 0.02)
        with predictor.stream(frames(asked)) as stream:
            for count, result in enumerate(islice(stream, 15)):
                assert result.frame_index == count
                assert len(asked) <= count + 10
        assert stream.dropped == 0

    def test_another_threshold(self, predictor: Predictor, images: Path) -> None:
        with predictor.stream(images, threshold=-1.0) as stream:
            assert {(result.threshold, result.label) for result in stream} == {(-1.0, "Anomaly")}


class TestLatest:
    def test_stale_frames_are_dropped_and_counted(self, model: LoadedModel) -> None:
        asked: list[float] = []

        class Slower(Slow):
            """Every image takes it as long as five more frames take to come."""

            def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
                goal = len(asked) + 5
                while len(asked) < goal:
                    time.sleep(0.001)
                return super().run(image)

        engine = Slower(open_engine(model.model, "cpu"), 0)
        predictor = Predictor(model, [engine])
        with predictor.stream(frames(asked, 0.002), policy="latest") as stream:
            found = list(islice(stream, 8))
        numbers = [result.frame_index for result in found]
        assert numbers == sorted(set(numbers)) and numbers[-1] > 20
        assert stream.dropped >= numbers[-1] - 8 and stream.dropped <= len(asked)
        assert sum(engine.calls) <= 10, "a dropped frame was scored"

    def test_nothing_is_dropped_where_frames_come_slowly(self, predictor: Predictor) -> None:
        gate = Gate()
        with predictor.stream(gate.frames(), policy="latest") as stream:
            for number in range(4):
                gate.open()
                assert next(stream).frame_index == number
            gate.end()
        assert stream.dropped == 0

    def test_a_failure_is_not_dropped(self, model: LoadedModel) -> None:
        predictor, _ = slow(model, 0.05)
        source = ["nowhere.png" if number == 5 else plate(1, SIZE) for number in range(40)]
        found = list(predictor.stream(source, policy="latest"))
        assert [result.frame_index for result in found if result.error] == [5]
        assert found[-1].frame_index == 39 and len(found) < 40


class TestLatency:
    def test_a_batch_grows_only_while_the_target_holds(self, model: LoadedModel) -> None:
        for target, largest in ((10_000.0, 16), (75.0, 3), (10.0, 1)):
            predictor, engine = slow(model, 0.02)
            with predictor.stream(frames(), policy="latest", max_latency=target) as stream:
                list(islice(stream, 40))
            assert max(engine.calls) <= largest, target
            assert largest < 16 or max(engine.calls) > 3

    def test_a_target_shortens_the_queue(self, model: LoadedModel) -> None:
        asked: list[float] = []
        predictor, _ = slow(model, 0.05)
        with predictor.stream(frames(asked), max_latency=20) as stream:
            for count, _ in enumerate(islice(stream, 6)):
                assert len(asked) <= count + 5

    def test_batches_do_not_wait_for_what_is_not_there(self, model: LoadedModel) -> None:
        predictor, engine = slow(model, 0.0, batch_size=8)
        gate = Gate()
        with predictor.stream(gate.frames()) as stream:
            for _ in range(4):
                gate.open()
                next(stream)
            gate.end()
        assert set(engine.calls) == {1}


class TestEnd:
    def test_closing_ends_the_iteration(self, predictor: Predictor) -> None:
        stream = predictor.stream(frames(pause=0.001))
        next(stream)
        stream.close()
        assert list(stream) == []
        stream.close()

    @pytest.mark.parametrize("policy", ["every", "latest"])
    def test_an_abandoned_stream_ends_itself(self, predictor: Predictor, policy: Any) -> None:
        stream = predictor.stream(frames(pause=0.001), policy=policy)
        next(stream)
        del stream

    def test_closing_while_nothing_comes(self, predictor: Predictor) -> None:
        release = threading.Event()

        def silent() -> Iterator[npt.NDArray[np.uint8]]:
            yield plate(1, SIZE)
            release.wait(20)

        stream = predictor.stream(silent())
        next(stream)
        threading.Timer(0.1, release.set).start()
        stream.close()
        assert list(stream) == []

    def test_a_faulty_source_is_heard_of_after_its_frames(self, predictor: Predictor) -> None:
        def faulty() -> Iterator[npt.NDArray[np.uint8]]:
            yield from [plate(1, SIZE)] * 2
            raise ZeroDivisionError

        stream = predictor.stream(faulty())
        assert [next(stream).frame_index, next(stream).frame_index] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(stream)

    def test_a_faulty_engine_is_heard_of(self, model: LoadedModel) -> None:
        class Broken(Slow):
            def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
                raise DeviceError("the device is gone")

        predictor = Predictor(model, [Broken(open_engine(model.model, "cpu"), 0)])
        with pytest.raises(DeviceError, match="gone"):
            list(predictor.stream(frames()))

    @pytest.mark.parametrize(
        "setting", [{"policy": "lastest"}, {"max_latency": 0}, {"max_latency": float("nan")}, {"batch_size": 0}]
    )
    def test_senseless_settings_are_refused_at_once(self, predictor: Predictor, setting: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=r"policy|max_latency|batch"):
            predictor.stream([], **setting)

    def test_nothing_at_all(self, predictor: Predictor) -> None:
        assert list(predictor.stream([])) == []


class TestCamera:
    def test_it_goes_away_and_returns(self, predictor: Predictor, camera: Camera) -> None:  # noqa: F811
        """By default frames are dropped, never the failure; after it, no frame of before comes."""
        found: list[Result] = []
        with predictor.stream(camera.address) as stream:
            found += islice(stream, 3)
            camera.stop()
            for result in stream:
                found.append(result)
                if result.error is not None:
                    break
            camera.start(200)
            after = list(islice(stream, 3))
        assert [result.error is None for result in found[-2:]] == [True, False]
        assert "trying to open it again" in str(found[-1].error)
        assert all(result.error is None and abs(int(result.image[0, 0, 0]) - 200) < 5 for result in after)
        assert after[0].time_stamp > found[-1].time_stamp

    def test_a_video_file_from_end_to_end(self, predictor: Predictor, tmp_path: Path) -> None:
        import cv2

        path = tmp_path / "belt.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (SIZE, SIZE))
        for number in range(6):
            writer.write(plate(number, SIZE, defect=number == 4)[..., ::-1])
        writer.release()
        found = list(predictor.predict(str(path)))
        assert [result.page_index for result in found] == list(range(6))
        assert max(found, key=lambda result: result.score or 0).page_index == 4
        assert [r.score for r in predictor.stream(str(path))] == pytest.approx([r.score for r in found], rel=1e-4)
        for result in found:
            result.save_all(tmp_path / "out")
        assert (tmp_path / "out" / "belt_4_res.png").exists() and len(list((tmp_path / "out").iterdir())) == 12


def test_many_frames_leave_nothing_behind(predictor: Predictor) -> None:
    """A stream of many small frames holds no more objects at its end than at its beginning."""
    tiny = plate(1, 32)
    held = {}
    with predictor.stream(tiny for _ in range(300)) as stream:
        for count, _ in enumerate(stream):
            if count in (100, 290):
                gc.collect()
                held[count] = len(gc.get_objects())
    assert held[290] < held[100] + 500
