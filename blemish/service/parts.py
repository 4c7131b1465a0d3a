"""Parts whose images come with requests: one request, or several that name the same part.

A part is complete when as many of its images were judged as it has. Until then it may be anomalous, and is never
normal. What is open is in memory only: a restart leaves the part without a verdict.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from blemish.errors import UsageError
from blemish.pipeline import PartResult, Result
from blemish.pipeline.parts import PartTally
from blemish.service.errors import ServiceError

if TYPE_CHECKING:
    from blemish.service.core import Picture
    from blemish.service.registry import Version

_MOST_OPEN = 1000
_IDLE_S = 600.0  # after which an image of the same name begins another part


@dataclass(frozen=True)
class Named:
    """What a request says of its part: `images` show it altogether, `is_last` that these are the last of them.

    `source` is where they come from, None where the request does not tell.
    """

    part: str
    source: str | None = None
    images: int | None = None
    is_last: bool = False


@dataclass(eq=False)
class OpenPart:
    """What has come of one part. `expected` images show it; `key` tells it from others of the same name.

    `digests` are the images that were judged or wait for it; `failures` has the errors of those that got no verdict.
    """

    name: str
    expected: int
    tally: PartTally
    limit: object
    key: str = field(default_factory=lambda: uuid4().hex)
    touched: float = field(default_factory=time.monotonic)
    digests: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)
    failures: dict[str, str | None] = field(default_factory=dict)
    stated: int | None = None
    is_closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def announce(self, digests: set[str], named: Named) -> None:
        """Images that are about to be judged, and what their request says of the part. From any thread.

        A number holds until another one is stated. Where the last images have come, those that failed are among the
        part's images, and only further ones take their places.
        """
        with self.lock:
            if self.is_complete:  # an image whose answer was lost
                return
            self.digests |= digests
            if named.images not in (None, self.stated):
                assert named.images is not None
                self.expected = self.stated = named.images
                self.is_closed = False
            if named.is_last:
                here = len(self.digests)
                known = self.expected if self.is_closed else here + len(self.failures.keys() - self.digests)
                self.expected = max(here, known if self.stated is None else min(known, self.stated))
                self.is_closed = True

    def add(self, result: Result, digest: str) -> bool:
        """Take a result, once for each image; whether the image is new. From any thread."""
        with self.lock:
            if digest in self.judged:
                return False
            if result.score is None:
                self.failures.setdefault(digest, result.error)
                self.digests.discard(digest)  # it may be taken again
                return False
            try:
                self.tally.add(result, self.name)
            except UsageError as error:
                raise ServiceError(409, "threshold_changed", f"{error}: send them again") from None
            self.judged.add(digest)
            self.failures.pop(digest, None)
            return True

    @property
    def is_complete(self) -> bool:
        """Whether all its images were judged."""
        return len(self.judged) >= self.expected

    def record(self) -> dict[str, Any]:
        """The verdict so far, as `blemish predict --json` has it, with `expected` and `complete`.

        While images are missing, it is anomalous or nothing.
        """
        with self.lock:
            found = self.tally.results()
            known = (found[0] if found else PartResult(part=self.name, images=0)).to_dict()
            if not self.is_complete and not known["is_anomalous"]:
                known |= {"is_anomalous": None, "label": None, "error": next(iter(self.failures.values()), None)}
            return known | {"expected": self.expected, "complete": self.is_complete}


class OpenParts:
    """The parts of one service that named images make; every call may come from any thread."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[object, ...], OpenPart] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: str, version: Version, pictures: Sequence[Picture], named: Named | None) -> list[Picture]:
        """The pictures with the part that each shows: the named one, or what the model's pattern finds in its name.

        Parts by the pattern begin and end with the request. Of a named part, the same bytes from the same `source`
        count once, since a client sends them again where an answer was lost.
        """
        least, most = version.predictor.calibration.images_per_part
        if named is None:
            part_of = version.predictor.grouping.part_of
            names = [part_of(picture.ref) for picture in pictures]
            counts = Counter(names)
            parts = {name: _opened(version, name, max(least, count)) for name, count in counts.items() if name}
            return [
                picture if name is None else replace(picture, part=parts[name], digest=str(number))
                for number, (picture, name) in enumerate(zip(pictures, names, strict=True))
            ]
        digests = _digests(pictures, named.source)
        with self._lock:
            part = self._part(model, version, named, most, set(digests))
            part.announce(set(digests), named)
        return [replace(picture, part=part, digest=digest) for picture, digest in zip(pictures, digests, strict=True)]

    def _part(self, model: str, version: Version, named: Named, expected: int, digests: set[str]) -> OpenPart:
        now, key = time.monotonic(), (model, version.digest, named.part)
        part = self._open.pop(key, None)
        is_old = part is None or now - part.touched > _IDLE_S or part.limit != version.limit
        if part is None or is_old or (part.is_complete and not digests <= part.digests):
            part = _opened(version, named.part, expected)
        part.touched = now
        self._open[key] = part  # the last one touched is the last one
        while len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return part


def parts_of(pictures: Sequence[Picture]) -> list[OpenPart]:
    """The parts of a request, in the order of their first images."""
    return list(dict.fromkeys(picture.part for picture in pictures if picture.part is not None))


def _opened(version: Version, name: str, expected: int) -> OpenPart:
    return OpenPart(name, expected, PartTally(version.predictor.calibration), version.limit)


def _digests(pictures: Sequence[Picture], source: str | None) -> list[str]:
    """What tells the images of a part from each other; without a source, every one is another.

    The n-th of several equal images in a request is the n-th in every request, wherever it stands.
    """
    seen, digests = Counter[str](), list[str]()
    for picture in pictures:
        if source is None or picture.data is None:
            digests.append(uuid4().hex)
            continue
        content = f"{hashlib.sha256(picture.data).hexdigest()}[{picture.ref.page_index}]"
        digests.append(f"{source}[{seen[content]}]{content}")
        seen[content] += 1
    return digests
