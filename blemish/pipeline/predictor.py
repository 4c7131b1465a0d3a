"""A model at work: decode ahead, resize, run in batches, judge."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration
from blemish.engines import Engine, engines_for
from blemish.errors import ImageError, ModelError, UsageError
from blemish.images import ImageRef, Limits, expand, keep_freed_memory, read, refusal, work_ahead
from blemish.models import LARGEST, LoadedModel, load_model, output_fault
from blemish.pipeline.clipping import ClipWatch
from blemish.pipeline.parts import Grouping, PartResult, PartTally
from blemish.pipeline.result import Result
from blemish.pipeline.saving import ResultNamer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from blemish.config import HpiConfig
    from blemish.pipeline.nearest_good import GoodPatch, NearestGood
    from blemish.pipeline.regions import Region
    from blemish.pipeline.streaming import Policy, Stream

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_AHEAD = 4  # images decoded before they are needed

log = logging.getLogger("blemish")


@dataclass(frozen=True)
class Limit:
    """What decides: scores above `score` are anomalous, map values above `pixel` are regions."""

    score: float
    pixel: float
    rate: float | None  # the false-alarm rate of the thresholds, None where they were given or nothing is calibrated
    supported_rate: float | None = None  # the one that they keep, larger where the good images are too few for `rate`


@dataclass(frozen=True)
class Item:
    """One input on its way: the decoded image, or the error in its place."""

    ref: ImageRef
    image: Image | ImageError
    inputs: Image | None  # what the network takes of it, (tiles, height, width, 3)
    timings: dict[str, float]  # ms


class Predictor:
    """Scores images with one model; each call of `predict` is a generator of results in the order of the inputs."""

    def __init__(
        self,
        model: LoadedModel,
        engines: Sequence[Engine],
        batch_size: int = 1,
        limit: Limit | None = None,
        limits: Limits | None = None,
        *,
        fitted: LoadedModel | None = None,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"a batch holds one image or more, not {batch_size}")
        info = model.info
        self.model, self.engines, self.batch_size = model, engines, batch_size
        self.frame = info.input.frame
        self._bit_depth = info.input.bit_depth.metered(ClipWatch(f"the model {model.folder}"))
        self.calibration = info.calibration.loaded()
        self.limit = limit or limit_at(self.calibration)
        self.grouping = Grouping.of_model(self.calibration)
        self.limits = limits or Limits()
        self.fitted = fitted or model  # before precision was lowered

    @property
    def model_name(self) -> str:
        """The detector's name."""
        return self.model.info.detector.name

    def __call__(self, inputs: object, batch_size: int | None = None, **settings: Any) -> Iterator[Result]:
        return self.predict(inputs, batch_size, **settings)

    def predict(
        self,
        input: object,
        batch_size: int | None = None,
        *,
        false_alarm_rate: float | None = None,
        threshold: float | None = None,
        group_by: str | None = None,
    ) -> Iterator[Result]:
        """Results of whatever `blemish.images.expand` takes, one for each image, lazily and in order.

        An input that cannot be read gives a result with `error`, and so does one for which the model gives no finite
        numbers; the others go on. `false_alarm_rate` or `threshold` replace the verdict's threshold for this call.
        `group_by` is a pattern that finds the part in every image's name, and empty for none; without it, the model's
        own finds what it can. `parts` makes verdicts of parts.
        Raises `UsageError` for settings that make no sense, and for the first name in which `group_by` finds nothing.
        """
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise UsageError(f"a batch holds one image or more, not {size}")
        limit = choose_limit(self.calibration, false_alarm_rate, threshold) or self.limit
        grouping = self.grouping if group_by is None else Grouping.given(group_by)
        return self._results(grouping.refs(expand(input, self.limits)), size, limit, grouping)

    def predict_refs(self, refs: Iterable[ImageRef]) -> Iterator[Result]:
        """Results of images that `blemish.images.expand` has found, as `predict` gives them."""
        return self._results(refs, self.batch_size, self.limit)

    def parts(
        self, results: Iterable[Result], *, group_by: str | None = None, part: str | None = None
    ) -> list[PartResult]:
        """A verdict of each part, in the order in which their first images come; images of a part need not be adjacent.

        The part is the result's own, or what the pattern `group_by` finds in the image's name, or for all of them
        `part`. Raises `UsageError` for a result of which nothing says the part.
        """
        tally = PartTally(self.calibration)
        grouping = None if group_by is None else Grouping.given(group_by)
        for result in results:
            tally.add(result, part if grouping is None else grouping.part_of(result))
        return tally.results()

    def nearest_good(self, image: object, regions: Sequence[Region] | None = None, most: int = 5) -> list[GoodPatch]:
        """For the `most` largest regions, the patch of a good training image that is nearest to the region's peak.

        `image` is a result of this model, or one image as `predict` takes it; `regions` replace the result's own.
        Without regions, and where the model holds no patches (a detector without a memory bank, `Model.good_patches:
        false`), the list is empty. Raises `UsageError` for a result without its image, and `ModelError` where the
        model's file of patches is damaged or was replaced since the model was opened.
        """
        result = image if isinstance(image, Result) else next(self.predict(image), None)
        if result is None or result.error is not None:
            raise UsageError("there is no image" if result is None else str(result.error))
        return self._nearest_good.find(result, regions, most)

    @cached_property
    def _nearest_good(self) -> NearestGood:
        from blemish.pipeline.nearest_good import NearestGood

        return NearestGood(self.fitted)

    def stream(
        self,
        source: object,
        *,
        policy: Policy | None = None,
        max_latency: float | None = None,
        batch_size: int | None = None,
        false_alarm_rate: float | None = None,
        threshold: float | None = None,
    ) -> Stream:
        """Results of a camera, a video or anything that `predict` takes, as they come, until the stream is closed.

        `policy` says what happens when frames come faster than they are scored: `latest` drops the oldest and counts
        them (the default for cameras and network streams), `every` lets the source wait. Under `max_latency`, in
        milliseconds from a frame's coming to its result, batches grow while the target holds; without it they hold at
        most `batch_size`. Raises `UsageError` for settings that make no sense.
        """
        from blemish.pipeline.streaming import Stream

        limit = choose_limit(self.calibration, false_alarm_rate, threshold) or self.limit
        return Stream(self, source, limit, policy=policy, max_latency=max_latency, batch_size=batch_size)

    def _results(
        self, refs: Iterable[ImageRef], size: int, limit: Limit, grouping: Grouping | None = None
    ) -> Iterator[Result]:
        items = work_ahead(self.prepare, refs, _size, depth=_AHEAD)
        yield from self.judge(iter(lambda: list(islice(items, size)), []), limit, grouping)

    def judge(self, batches: Iterator[list[Item]], limit: Limit, grouping: Grouping | None = None) -> Iterator[Result]:
        """The results of prepared images, in order; `grouping` instead of the model's own."""
        part_of, namer = (grouping or self.grouping).part_of, ResultNamer()
        for batch, found, ms in _in_turn(self.engines, batches):
            answers = iter(found)
            for item in batch:
                judged = item.inputs is not None
                result = self._judged(item, next(answers), ms, limit) if judged else self._failure(item)
                yield replace(result, namer=namer, part=part_of(item.ref))

    def prepare(self, ref: ImageRef) -> Item:
        """One image read and brought to the model's inputs, or the error in its place; may be called in any thread."""
        _, image, seconds = read(ref, self._bit_depth)
        start = time.perf_counter()
        if not isinstance(image, ImageError):
            reason = self.frame.refusal(image.shape[1], image.shape[0])
            image = image if reason is None else refusal(ref.input_path or str(ref.name), reason)
        inputs = None if isinstance(image, ImageError) else self.frame.inputs(image)
        return Item(ref, image, inputs, {"read": 1e3 * seconds, "resize": 1e3 * (time.perf_counter() - start)})

    def _judged(self, item: Item, found: _Answer, ms: float, limit: Limit) -> Result:
        """The result of an image; without numbers there is no verdict, but an error."""
        assert not isinstance(item.image, ImageError)
        height, width = item.image.shape[:2]
        fault = str(found) if isinstance(found, ModelError) else output_fault(*found, self.model.info.output)
        if fault is None and not isinstance(found, ModelError):
            score, grid_map = self.frame.judge(*found, width, height)
            fault = output_fault(np.array([score]), grid_map[None])  # the sum of tiles may be none
            if fault is None:
                return self._result(item, score, grid_map, ms, limit)
        error = refusal(item.ref.input_path or str(item.ref.name), f"gets no verdict: {fault}")
        failure = self._failure(replace(item, image=error))
        return replace(failure, size=(width, height), timings={**item.timings, "network": ms})

    def _result(self, item: Item, score: float, grid_map: Floats, ms: float, limit: Limit) -> Result:
        assert not isinstance(item.image, ImageError)
        height, width = item.image.shape[:2]
        return Result(
            name=item.ref.name,
            input_path=item.ref.input_path,
            page_index=item.ref.page_index,
            score=score,
            p_value=self.calibration.p_value(score),
            threshold=limit.score,
            pixel_threshold=limit.pixel,
            false_alarm_rate=limit.rate,
            supported_rate=limit.supported_rate,
            model_name=self.model_name,
            size=(width, height),
            timings={**item.timings, "network": ms},
            grid_map=grid_map,
            full_map=partial(self.frame.full_map, width=width, height=height, limit=limit.pixel),
            image=item.image,
        )

    def _failure(self, item: Item) -> Result:
        return Result(
            name=item.ref.name,
            input_path=item.ref.input_path,
            page_index=item.ref.page_index,
            error=str(item.image),
            model_name=self.model_name,
            timings=item.timings,
        )


def open_model(
    model_dir: str | Path,
    device: str = "auto",
    batch_size: int = 1,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    *,
    engine: str | HpiConfig | None = None,
    copies: int = 1,
    say: Callable[[str], None] = log.info,
) -> Predictor:
    """A predictor of the model in a folder, or in a run's output folder.

    `engine` is an engine's name, or how to choose one; `say` then gets the choice. `copies` of an engine that is not
    chosen so share the cores of a CPU. Raises `ModelError` for a folder
    that is refused, `DeviceError` for a device or engine that is not there, `UsageError` for a rate or threshold that
    makes no sense. A threshold that nobody calibrated is a warning in the log.
    """
    keep_freed_memory()
    fitted = load_model(model_dir)
    model, engines = _opened(fitted, device, engine, copies, say)
    calibration = model.info.calibration.loaded()
    limit = choose_limit(calibration, false_alarm_rate, threshold)
    if not calibration.is_calibrated and threshold is None:
        log.warning("%s: %s", model_dir, calibration.statement())
    return Predictor(model, engines, batch_size, limit, fitted=fitted)


def _opened(
    model: LoadedModel, device: str, engine: str | HpiConfig | None, copies: int, say: Callable[[str], None]
) -> tuple[LoadedModel, Sequence[Engine]]:
    """The model, at its precision, and what runs it."""
    if engine is None or isinstance(engine, str):
        return model, engines_for(model.model, device, name=engine, copies=copies)
    from blemish.acceleration import accelerate  # what calibrates is not loaded where nothing is calibrated

    accelerated = accelerate(model, device, engine, say)
    return accelerated.model, accelerated.engines


def limit_at(calibration: Calibration, rate: float | None = None) -> Limit:
    """The thresholds of a false-alarm rate (default: the one in force)."""
    stated = calibration.stated_rate if rate is None else rate
    supported = calibration.supported_rate(rate)
    return Limit(calibration.threshold(rate), calibration.pixel_threshold(rate), stated, supported)


def choose_limit(calibration: Calibration, rate: float | None, threshold: float | None) -> Limit | None:
    """The limit that a rate or a score threshold asks for, None where neither is given.

    A given score threshold moves the pixel threshold by as much.
    """
    if rate is not None and threshold is not None:
        raise UsageError("give a false-alarm rate or a threshold, not both")
    if threshold is None:
        return None if rate is None else limit_at(calibration, rate)
    if not abs(threshold) <= LARGEST:
        raise UsageError(f"a threshold is a finite number up to {LARGEST:g}, not {threshold}")
    usual = limit_at(calibration)
    return Limit(float(threshold), usual.pixel + float(threshold) - usual.score, None)


_Answer = tuple[Floats, Floats] | ModelError  # scores (tiles,) and maps (tiles, h, w) of an image, or why not
_Done = tuple[list[Item], list[_Answer], float]


def _in_turn(engines: Sequence[Engine], batches: Iterator[list[Item]]) -> Iterator[_Done]:
    """Every batch with its outputs and the milliseconds per image, in order; several engines work at the same time."""
    if len(engines) == 1:
        yield from (_run(engines[0], batch) for batch in batches)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(engines)) as pool:
        tasks = (pool.submit(_run, engines[i % len(engines)], batch) for i, batch in enumerate(batches))
        waiting: deque[Future[_Done]] = deque(islice(tasks, len(engines)))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(tasks, 1))


def _size(item: Item) -> int:
    """Bytes of a decoded image and of what the network takes of it; tiles may be as large again."""
    return 0 if item.inputs is None or isinstance(item.image, ImageError) else item.image.nbytes + item.inputs.nbytes


def _run(engine: Engine, batch: list[Item]) -> _Done:
    """What the network says of each readable image of a batch, and the milliseconds that one of them takes."""
    items = [item for item in batch if item.inputs is not None]
    start = time.perf_counter()
    answers = _answers(engine, items, len(batch))
    return batch, answers, 1e3 * (time.perf_counter() - start) / max(1, len(items))


def _answers(engine: Engine, items: Sequence[Item], size: int) -> list[_Answer]:
    """The answers for all images, `size` inputs at a time, whatever their tiles; where that fails, of each alone."""
    inputs = [tile for item in items if item.inputs is not None for tile in item.inputs]
    try:
        done = [engine.run(np.stack(inputs[first : first + size])) for first in range(0, len(inputs), size)]
    except ModelError as error:
        return [error] if len(items) == 1 else [_answers(engine, [item], size)[0] for item in items]
    if not done:
        return []
    outputs = (np.concatenate([values[name] for values in done]) for name in ("score", "anomaly_map"))
    ends = np.cumsum([0 if item.inputs is None else len(item.inputs) for item in items])[:-1]
    return list(zip(*(np.split(values, ends) for values in outputs), strict=True))
