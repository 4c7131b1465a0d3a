"""What is learned of a data set and what is left out, for a person, in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import PurePosixPath

from blemish.datasets.files import some
from blemish.datasets.layouts.folder_roles import HERE
from blemish.datasets.layouts.recogniser import KINDS, Recognised
from blemish.datasets.leaving_out import BY_NAME
from blemish.datasets.samples import Dataset, Sample

UNREAD = "not readable"  # of what is left out


def learned(dataset: Dataset, unread: Collection[str] = ()) -> str:
    """`learned: 30 images of train/ok; left out: 12 of Fail, 3 .heic`; `unread` are names of unreadable images."""
    good = Counter(_place(sample) for sample in dataset.train if sample.is_good)
    rest = Counter(_place(sample) for sample in (*dataset.train, *dataset.test)) - good
    read = Counter(_place(sample) for sample in dataset.train if sample.is_good and sample.name not in unread)
    left = Counter({place: len(names) for place, names in dataset.left_out.items()})
    return _line(read, rest + left + Counter({UNREAD: len(unread)}))


def learned_of(found: Recognised) -> str:
    """The same of what was recognised."""
    rest = Counter(one.place for one in found.test)
    left = Counter({place: len(names) for place, names in found.left_out.items()})
    return _line(Counter(one.place for one in found.train), rest + left)


def _line(good: Counter[str], rest: Counter[str]) -> str:
    taken = [f"{count} of {place}" for place, count in sorted(good.items())]
    if taken:
        count, _, place = taken[0].partition(" of ")
        taken[0] = f"{count} {'image' if count == '1' else 'images'} of {place}"
    left = [f"{count}{_of(place)}{place}" for place, count in sorted(rest.items())]
    return f"learned: {some(taken) or 'nothing'}" + (f"; left out: {some(left)}" if left else "")


def _of(place: str) -> str:
    """Suffixes and kinds of pictures are counted themselves, folders hold what is counted."""
    return " " if place.startswith(".") or place in (*KINDS, BY_NAME, UNREAD) else " of "


def _place(sample: Sample) -> str:
    """The folder of a sample: as recognised, or where its path says so."""
    folder = PurePosixPath(sample.name).parent.as_posix()
    return sample.place or (HERE if folder == "." else folder)
