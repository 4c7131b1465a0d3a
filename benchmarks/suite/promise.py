"""False alarms on new good parts beside the stated rate, where several pictures show one part.

Each fit draws parts of one set, and pictures of each as one kind has them: one a part, two that moved a little, two in
other light, two that were turned, three to six frames. It learns from 6 to 200 of them, finds the parts by itself, and
judges one picture each of up to 60 other parts. Where so few parts do not support a rate, the smallest counts that they
do support. Fits that warn that parts may not be told are counted among all, and beside them the others alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.process import fresh
from benchmarks.record import Figures
from benchmarks.world import World

if TYPE_CHECKING:
    import numpy.typing as npt

    from benchmarks.images import Image

SIDE = 224  # pixels of an image as the network takes it
NEW, LEAST_NEW = 60, 10  # other parts that are judged
RATES = (0.01, 0.05, 0.1)
DRAWS = 20_000  # of what may happen by chance


@dataclass(frozen=True)
class Kind:
    """How pictures of a part differ: pixels of 320 moved, degrees turned, grey levels of noise, share of light."""

    pictures: tuple[int, int]  # of a part, the least and the most
    moved: float = 0
    turned: float = 0
    noise: float = 0
    light: float = 0


KINDS = {
    "one picture a part": Kind((1, 1)),
    "two, moved": Kind((2, 2), moved=6, turned=2, noise=3),
    "two, in other light": Kind((2, 2), moved=2, turned=1, noise=1, light=0.1),
    "two, turned": Kind((2, 2), moved=3, turned=10, noise=1),
    "three to six frames": Kind((3, 6), moved=4, turned=3, noise=2),
}


@dataclass(frozen=True)
class Fit:
    """What came of a fit: alarms and the stated rate's law at each of `RATES`, and how pictures were linked."""

    kind: str
    alarms: tuple[int, ...]
    judged: int
    laws: tuple[tuple[int, int], ...]  # the false-alarm rate at each is distributed as Beta(a, b), of true single parts
    uppers: tuple[float, ...]
    parts: tuple[int, int]  # true and found
    linked: tuple[int, int, int, int]  # pairs: of one part, of these linked, of different parts, of these linked
    warned: bool  # that images may be of one part that are not linked


def measure(world: World, fits: int = 300, folders: str = "", seed: int = 0) -> Iterator[Figures]:
    """`folders` are folders of good images, separated by commas; without it, those of the data set."""
    chosen = [Path(folder) for folder in folders.split(",") if folder] or [world.png / "train" / "good"]
    world.note(f"good images of {', '.join('/'.join(folder.parts[-3:]) for folder in chosen)}.")
    done: list[Fit] = []
    for number, folder in enumerate(chosen):
        share = fits // len(chosen) + (number < fits % len(chosen))
        done += fresh(1, fitted, folder, share, seed + number)
    for kind in KINDS:
        yield figures([fit for fit in done if fit.kind == kind], kind)
    yield figures(done, "all")
    yield figures([fit for fit in done if not fit.warned], "all without a warning")


def figures(fits: list[Fit], name: str) -> Figures:
    """The alarms beside what may be by chance: the 99 % band of their sum, were all parts told."""
    if not fits:
        return {}
    random = np.random.default_rng(0)
    judged = sum(fit.judged for fit in fits)
    found: Figures = {f"{name}: fits, count": len(fits)}
    for i, rate in enumerate(RATES):
        each = np.array([random.binomial(fit.judged, random.beta(*fit.laws[i], DRAWS)) for fit in fits])
        low, high = np.quantile(each.sum(axis=0), [0.005, 0.995])
        bounds = np.array([fit.uppers[i] * fit.judged for fit in fits])
        within = np.quantile((each <= bounds[:, None]).mean(axis=0), 0.005)
        shown = f"{name}: at {100 * rate:g} %"
        found[f"{shown}: alarms, %"] = 100 * sum(fit.alarms[i] for fit in fits) / judged
        found[f"{shown}: 99 % band from, %"] = 100 * float(low) / judged
        found[f"{shown}: 99 % band to, %"] = 100 * float(high) / judged
        held = np.array([fit.alarms[i] for fit in fits]) <= bounds
        found[f"{shown}: fits within the 95 % bound, %"] = 100 * float(held.mean())
        # so few parts are judged that a true bound is passed by chance as well
        found[f"{shown}: 99 % band of these from, %"] = 100 * float(within)
    one, one_linked, other, other_linked = np.array([fit.linked for fit in fits]).sum(axis=0)
    if one:
        found[f"{name}: pairs of one part linked, %"] = 100 * float(one_linked / one)
    found[f"{name}: pairs of different parts linked, %"] = 100 * float(other_linked / max(1, other))
    return found


def fitted(folder: Path, fits: int, seed: int) -> list[Fit]:
    """So many fits on random draws of a folder's images."""
    from blemish.errors import ImageError
    from blemish.images import expand, read_ahead
    from blemish.sample_range import FULL, SampleRange

    read = read_ahead(expand([str(folder)]), SampleRange.of(FULL))
    images = [resized(image, 320) for _, image, _ in read if not isinstance(image, ImageError)]
    random = np.random.default_rng(seed)
    return [fit(images, list(KINDS)[number % len(KINDS)], random) for number in range(fits)]


def fit(images: list[Image], kind: str, random: np.random.Generator) -> Fit:
    from blemish.calibration import Calibration, find_parts, left_out, scores_of
    from blemish.detectors import Setting
    from blemish.detectors.patchcore import PatchCore
    from blemish.images import Frame, InputGeometry, Inputs

    how = KINDS[kind]
    order = random.permutation(len(images))
    wanted = int(np.exp(random.uniform(np.log(6), np.log(201))))
    truth: list[int] = []
    for part in range(len(images) - LEAST_NEW):
        if len(truth) >= wanted:
            break
        truth += [part] * int(random.integers(how.pictures[0], how.pictures[1] + 1))
    learned = [picture(images[order[part]], how, random) for part in truth]
    new = [picture(images[i], how, random) for i in order[max(truth) + 1 :][:NEW]]

    frame = Frame.whole(InputGeometry(SIDE, SIDE, 1.0))
    detector = PatchCore(Setting(SIDE, SIDE, preset="fast", device="cpu")).fit(learned)
    told = find_parts(detector.sketches)
    parts = told.parts
    inputs = Inputs(learned, frame, [(320, 320)] * len(learned))
    held = left_out(detector, inputs, parts, lambda *_: None)
    scores = scores_of(detector, Inputs(new, frame, [(320, 320)] * len(new)), "cpu").scores
    if held is None:  # all linked: no rate is stated
        return Fit(
            kind, (0,) * 3, 0, ((1, 1),) * 3, (1.0,) * 3, (max(truth) + 1, 1), pairs(np.array(truth), parts), True
        )
    calibration = Calibration(held.scores, held.peaks, parts)
    true = len(set(truth))
    return Fit(
        kind,
        tuple(int((scores > calibration.threshold(rate)).sum()) for rate in RATES),
        len(scores),
        tuple(law(rate, true) for rate in RATES),
        tuple(calibration.upper_rate(rate) for rate in RATES),
        (true, calibration.part_count),
        pairs(np.array(truth), parts),
        told.unsure,
    )


def law(rate: float, parts: int) -> tuple[int, int]:
    """The Beta law of the false-alarm rate that so many parts keep at a stated rate."""
    rank = max(1, int(rate * (parts + 1) + 1e-9))
    return rank, parts + 1 - rank


def pairs(truth: npt.NDArray[np.int64], parts: npt.NDArray[np.int64]) -> tuple[int, int, int, int]:
    """How many pairs of pictures show one part, and how many of these are linked; and of all others."""
    upper = np.triu_indices(len(truth), 1)
    one = (truth[:, None] == truth)[upper]
    linked = (parts[:, None] == parts)[upper]
    return int(one.sum()), int((one & linked).sum()), int((~one).sum()), int((~one & linked).sum())


def picture(image: Image, kind: Kind, random: np.random.Generator) -> Image:
    """The part once more, at the network's size."""
    import cv2

    centre, angle = (160, 160), random.uniform(-kind.turned, kind.turned)
    turn = np.asarray(cv2.getRotationMatrix2D(centre, angle, 1), np.float64)
    turn[:, 2] += random.uniform(-kind.moved, kind.moved, 2)
    moved = np.asarray(cv2.warpAffine(image, turn, (320, 320), borderMode=cv2.BORDER_REPLICATE), np.float64)
    lit = moved * (1 + random.uniform(-kind.light, kind.light)) + random.normal(0, kind.noise, moved.shape)
    return resized(np.clip(lit, 0, 255).astype(np.uint8), SIDE)


def resized(image: Image, side: int) -> Image:
    import cv2

    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
