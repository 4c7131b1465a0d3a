"""What is learned of a data set and what is left out, for a person, in one line."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from blemish.datasets.files import some
from blemish.datasets.recogniser import KINDS
from blemish.datasets.samples import Dataset, Sample


def learned(dataset: Dataset) -> str:
    """`learned: 30 images of train/ok; left out: 12 of Fail, 3 .heic`."""
    good = Counter(_place(sample) for sample in dataset.train if sample.is_good)
    rest = Counter(_place(sample) for sample in dataset.train if not sample.is_good)
    rest += Counter(_place(sample) for sample in dataset.test)
    rest += Counter({place: len(names) for place, names in dataset.left_out.items()})
    first, *others = [f"{count} of {place}" for place, count in sorted(good.items())] or ["0"]
    count, of, place = first.partition(" of ")
    line = f"learned: {some([f'{count} {_images(count)}{of}{place}', *others])}"
    left = [f"{count}{_of(place)}{place}" for place, count in sorted(rest.items())]
    return f"{line}; left out: {some(left)}" if left else line


def _images(count: str) -> str:
    return "image" if count == "1" else "images"


def _of(place: str) -> str:
    """Suffixes and kinds of pictures are counted, folders hold what is counted."""
    return " " if place.startswith(".") or place in KINDS else " of "


def _place(sample: Sample) -> str:
    """The folder of a sample: as recognised, or where its path says so."""
    if sample.place:
        return sample.place
    folder = PurePosixPath(sample.name).parent.as_posix()
    return "the folder itself" if folder == "." else folder
