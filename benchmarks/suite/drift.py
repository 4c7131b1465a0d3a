"""Delay of the drift alarm after a change of real good images, and its false alarms where nothing changes.

PatchCore (preset fast) learns from some of the good images. The others, with those of the test set, are the stream: in
random orders, drawn with replacement. After 100 images it is darker, blurred or shifted, or stays as it is; the alarm
compares the stream with itself. Where no alarm comes, the delay is given as the 400 images that followed.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.images import Image, read
from benchmarks.process import fresh
from benchmarks.record import Figures
from benchmarks.world import World, fit_quietly

if TYPE_CHECKING:
    from blemish.drift import ImageStatistics

    Observed = tuple[float, ImageStatistics]  # what the alarm is told of an image: its score, its statistics

BEFORE, AFTER, QUIET = 100, 400, 2000  # images of the stream
UNCHANGED = "no change"


def measure(world: World, learned: int = 100, orders: int = 40) -> Iterator[Figures]:
    import numpy as np

    good = sorted((world.png / "train" / "good").iterdir())
    good = [good[i] for i in np.random.default_rng(0).permutation(len(good))]
    model = fitted(good[:learned], world.work / "drift")
    others = good[learned:] + sorted((world.png / "test" / "good").iterdir())
    usual = fresh(1, observed, model, others, UNCHANGED)
    for name in changes():
        changed = usual if name == UNCHANGED else fresh(1, observed, model, others, name)
        rows, causes = delays(name, usual, changed, orders)
        yield from rows
        world.note(f"{name}, causes named: {', '.join(f'{cause} {number}' for cause, number in causes.most_common())}.")


def changes() -> dict[str, Callable[[Image], Image]]:
    """What can become of an image, by name."""
    return {
        UNCHANGED: lambda image: image,
        **{f"brightness x {factor}": partial(darker, factor) for factor in (0.95, 0.9, 0.8)},
        **{f"blur by {sigma} px of 512": partial(blurred, sigma) for sigma in (1, 2)},
        **{f"shift by {percent} %": partial(shifted, percent) for percent in (2, 5)},
    }


def darker(factor: float, image: Image) -> Image:
    import cv2
    import numpy as np

    return np.asarray(cv2.convertScaleAbs(image, alpha=factor), np.uint8)


def blurred(sigma: float, image: Image) -> Image:
    import cv2
    import numpy as np

    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * image.shape[1] / 512), np.uint8)


def shifted(percent: float, image: Image) -> Image:
    import cv2
    import numpy as np

    by = np.array([[1, 0, percent / 100 * image.shape[1]], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(image, by, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


def fitted(good: list[Path], folder: Path) -> Path:
    """A model of these images alone."""
    (folder / "good").mkdir(parents=True)
    for path in good:
        shutil.copy(path, folder / "good")
    fresh(1, fit_quietly, "PatchCore", folder / "good", folder / "model", ("Model.preset=fast",))
    return folder / "model"


def observed(model: Path, paths: list[Path], name: str) -> list[Observed]:
    """What the alarm is told of each image under a change."""
    import numpy as np

    from blemish.drift import image_statistics, small_grey
    from blemish.pipeline import open_model

    predictor, change = open_model(model, "cpu"), changes()[name]
    reference = small_grey(np.ascontiguousarray(read(paths[0])[..., ::-1]))
    told = []
    for image in (change(read(path)) for path in paths):  # BGR, as arrays are given to the pipeline
        score = next(predictor.predict(image)).score
        assert score is not None
        told.append((score, image_statistics(np.ascontiguousarray(image[..., ::-1]), reference)))
    return told


def delays(
    name: str, usual: list[Observed], changed: list[Observed], orders: int
) -> tuple[list[Figures], Counter[str]]:
    """Figures of a change in all orders, and how often which cause was named."""
    import numpy as np

    from blemish.drift import DriftAlarm

    rows: list[Figures] = []
    causes: Counter[str] = Counter()
    for order in range(orders):
        draw, alarm = np.random.default_rng(order), DriftAlarm(seed=order)
        stream = [usual[i] for i in draw.integers(len(usual), size=BEFORE)]
        stream += [changed[i] for i in draw.integers(len(changed), size=QUIET if name == UNCHANGED else AFTER)]
        found = next((told for told in (alarm.observe(*one) for one in stream) if told), None)
        causes["no alarm" if found is None else str(found.cause or "none")] += 1
        if name == UNCHANGED:
            rows.append({f"{name}: alarms in {QUIET} images, alarms": float(found is not None)})
        else:
            delay = AFTER if found is None else found.raised + 1 - BEFORE
            rows.append({f"{name}: delay, images": delay, f"{name}: alarmed, share": float(found is not None)})
    return rows, causes
