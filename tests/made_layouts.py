"""Data sets as people and publishers lay them out, of small pictures whose truth is known; and what is read of them.

`python tests/made_layouts.py` prints the table of all layouts that `dev/LOG.md` holds.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from plates import plate, scratched

from blemish.datasets import Dataset, find_good_images, load_dataset
from blemish.errors import DatasetError

ROWS, COLUMNS = 40, 48
_LOOKS = 60  # different pictures of each sort


@dataclass
class Made:
    """A data set that is being laid out below `root`, and what is true of its files.

    Paths are patterns for a number: `train/good/{:03}.png`. What a layout has to be read as, perhaps after its question
    was answered, is what was written: good parts to learn, good parts and defects to test with, and what is neither.
    """

    root: Path
    learned: set[str] = field(default_factory=set)
    tested: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  # by name, the kind and the masks
    left: set[str] = field(default_factory=set)
    count: int = 0

    def learn(self, pattern: str, many: int = 4, masks: str = "", **how: int) -> None:
        """Good parts to learn from; `masks` are black."""
        self.learned |= {name for name, _ in self._images(pattern, many, (masks,), good=True, **how)}

    def good(self, pattern: str, many: int = 3, masks: str = "", **how: int) -> None:
        """Good parts to test with; `masks` are black."""
        for name, _ in self._images(pattern, many, (masks,), good=True, **how):
            self.tested[name] = ("good", frozenset())

    def bad(self, pattern: str, many: int = 2, *, kind: str = "defect", masks: Sequence[str] | str = "", **how: int):
        """Defects to test with, and the masks of each."""
        patterns = (masks,) if isinstance(masks, str) else tuple(masks)
        for name, marked in self._images(pattern, many, patterns, good=False, **how):
            self.tested[name] = (kind, marked)

    def spare(self, pattern: str, many: int = 2, *, is_good: bool = True, masks: str = "", **how: int) -> None:
        """Pictures that are neither learned nor judged."""
        self.left |= {name for name, _ in self._images(pattern, many, (masks,), good=is_good, **how)}

    def mask(self, pattern: str, many: int = 2, first: int = 0) -> None:
        """Masks that belong to no image that is judged."""
        for number in range(first, first + many):
            self.put(pattern.format(number), drawn("mask", number))
            self.left.add(pattern.format(number))

    def text(self, name: str, content: str = "") -> None:
        """Any other file."""
        self.put(name, content.encode())

    def put(self, name: str, content: bytes | np.ndarray) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, path.suffix))

    def _images(self, pattern: str, many: int, masks: Sequence[str], *, good: bool, first: int = 0):
        for number in range(first, first + many):
            self.count += 1
            name = pattern.format(number)
            self.put(name, drawn("good" if good else "bad", self.count, Path(name).suffix))
            marked = [mask.format(number) for mask in masks if mask]
            for part, mask in enumerate(marked):
                self.put(
                    mask, drawn("black" if good else f"mask {part} of {len(marked)}", self.count, Path(mask).suffix)
                )
            yield name, frozenset(marked)

    def below(self, folder: str, prefix: str = "") -> Made:
        """The same for one folder of it."""
        cut = len(folder) + 1
        inner = [name for name in (*self.learned, *self.tested, *self.left) if name.startswith(f"{folder}/")]
        return Made(
            self.root / folder,
            {name[cut:] for name in inner if name in self.learned},
            {
                name[cut:]: (kind, frozenset(mask[cut:] for mask in masks))
                for name, (kind, masks) in self.tested.items()
                if name in inner
            },
            {name[cut:] for name in inner if name in self.left},
        )


def drawn(what: str, number: int, suffix: str = ".png") -> bytes:
    """A picture as a file: `good`, `bad`, `black`, `mask`, or a part of a mask such as `mask 0 of 2`."""
    return _drawn(what, number % _LOOKS, suffix)


@lru_cache(maxsize=4096)
def _drawn(what: str, number: int, suffix: str) -> bytes:
    start = (number * 7 % 20, number * 5 % 18)
    cut = np.s_[:ROWS, :COLUMNS]
    if what == "good":
        return encoded(plate(number)[cut], suffix)
    if what == "black":
        return encoded(np.zeros((ROWS, COLUMNS), np.uint8), suffix)
    picture, mask = (each[cut] for each in scratched(1000 + number, start))
    if what == "bad":
        return encoded(picture, suffix)
    if what.startswith("mask "):
        part, parts = (int(word) for word in re.findall(r"\d+", what))
        rows = np.arange(ROWS)[:, None] - start[1]
        mask = np.where((rows * parts // 24).clip(0, parts - 1) == part, mask, 0).astype(np.uint8)
    return encoded(mask, suffix)


def encoded(picture: np.ndarray, suffix: str) -> bytes:
    known = suffix.lower() if suffix.lower() not in (".jfif", ".jpe") else ".jpg"
    return cv2.imencode(known, picture)[1].tobytes()


@dataclass(frozen=True)
class Layout:
    """A layout, filled by `fill`; `refused` and `asked` are patterns of the line that refuses to learn, or to judge.

    `way` is a way out that the line offers: `--good NAME`, `FOLDER` to name instead, `--from TOOL` to convert, or
    `move` where the user has to put files elsewhere.
    """

    name: str
    fill: Callable[[Made], None]
    refused: str = ""
    asked: str = ""
    way: str = ""

    def make(self, root: Path) -> Made:
        made = Made(root)
        root.mkdir(parents=True, exist_ok=True)
        self.fill(made)
        return made


LAYOUTS: list[Layout] = []


def layout(name: str = "", *, refused: str = "", asked: str = "", way: str = ""):
    """Registers a maker."""

    def register(fill: Callable[[Made], None]) -> Callable[[Made], None]:
        LAYOUTS.append(Layout(name or fill.__name__.replace("_", " "), fill, refused, asked, way))
        return fill

    return register


def wrong(made: Made, dataset: Dataset) -> list[str]:
    """What was read otherwise than it is; empty where everything was read right."""
    learned = {sample.name for sample in dataset.train}
    tested = {sample.name: sample for sample in dataset.test}
    found = [f"learned: {name}" for name in sorted(learned - made.learned)]
    found += [f"not learned: {name}" for name in sorted(made.learned - learned)]
    found += [f"tested: {name}" for name in sorted(tested.keys() - made.tested.keys())]
    found += [f"not tested: {name}" for name in sorted(made.tested.keys() - tested.keys())]
    for name, (kind, masks) in sorted(made.tested.items()):
        sample = tested.get(name)
        if sample is None:
            continue
        own = {mask.relative_to(made.root).as_posix() for mask in sample.masks}
        if sample.kind != kind:
            found.append(f"{name} is {sample.kind}, not {kind}")
        if kind != "good" and own != masks:
            found.append(f"{name} has masks {sorted(own)}, not {sorted(masks)}")
    return found


def silently_wrong(made: Made, dataset: Dataset) -> list[str]:
    """What no user would notice: something learned that is not good, or a test image judged as what it is not."""
    goods = made.learned | {name for name, (kind, _) in made.tested.items() if kind == "good"}
    bads = {name for name, (kind, _) in made.tested.items() if kind != "good"}
    found = [f"learned: {one.name}" for one in dataset.train if one.is_good and one.name not in goods]
    for sample in () if dataset.question else dataset.test:
        if (sample.name in bads) == sample.is_good or sample.name in made.left:
            found.append(f"judged as {sample.kind}: {sample.name}")
    return found


def offers(message: str, way: str, root: Path) -> bool:
    """Whether a line that refuses offers a way out, and names the folders that it takes."""
    if way == "move":
        return "train/good" in message
    if way.startswith("--good "):
        return "--good " in message and all(name in message or name in ("none", ".") for name in good_names(way))
    if way.startswith("--from "):
        return f"blemish convert {shlex.quote(str(root))} {way}" in message
    return shlex.quote(f"{root}/{way}") in message


def good_names(way: str) -> list[str]:
    return [word for word in shlex.split(way) if word != "--good"]


def followed(made: Made, way: str) -> tuple[Made, Dataset]:
    """What is read once a way out was taken: `--good NAME`, or a folder."""
    if way.startswith("--good "):
        return made, load_dataset(made.root, good=good_names(way))
    inner = made.below(way)
    return inner, load_dataset(inner.root)


def verdict_of(made: Made, good: Sequence[str] = ()) -> tuple[Dataset | None, str]:
    """What is read, and the line that refuses to learn from it, if any."""
    try:
        find_good_images(made.root, good)
    except DatasetError as error:
        refused = str(error)
    else:
        refused = ""
    try:
        return load_dataset(made.root, good=good), refused
    except DatasetError as error:
        return None, refused or str(error)


def told(made: Made) -> tuple[str, bool]:
    """A cell of the table, and whether anything was silently wrong."""
    dataset, refused = verdict_of(made)
    if dataset is None:
        return f"refused: {refused}", False
    good = sum(sample.is_good for sample in dataset.test)
    text = f"read ({len(dataset.train)} learned, {good} good + {len(dataset.test) - good} defects to test)"
    if dataset.question:
        text += f", asks before figures: {dataset.question}"
    if refused and refused not in text:
        text += f", nothing to learn: {refused}"
    return text, bool(silently_wrong(made, dataset))


def main() -> None:
    import tempfile

    import peoples_layouts  # noqa: F401 - registers its layouts
    import published_layouts  # noqa: F401

    bad = 0
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as work:
        for number, each in enumerate(LAYOUTS):
            made = each.make(Path(work, str(number), "up", "set"))
            text, is_wrong = told(made)
            bad += is_wrong
            shown = text.replace(str(made.root), "DIR").replace("|", "\\|") + " **silently wrong**" * is_wrong
            rows.setdefault(shown, []).append(each.name)
    print("| layouts | verdict |\n|---|---|")
    for verdict, names in rows.items():
        print(f"| {'; '.join(names)} | {verdict} |")
    print(f"\n{len(LAYOUTS)} layouts, {bad} silently wrong.")


if __name__ == "__main__":
    import made_layouts

    made_layouts.main()
