"""Which images show the same part.

Leaving out one image at a time promises too few false alarms when other images of the same part stay in: they
explain the one that was left out. Images of one part are therefore left out together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from blemish.calibration.name_pattern import NamePattern
from blemish.calibration.nearest_images import Halves, Ints, NearestImages, nearest_images
from blemish.calibration.sessions import Groups
from blemish.metrics.binomial import binomial_tail

FALSE_SHARE = 0.05  # of the groups that are linked, at most so many by chance in the long run
MOST_IMAGES = 16  # of a part; more frames of one look like a kind of product, in which parts differ as much
LEAST_IMAGES = 6  # of fewer, nothing can be told but that two have the same pixels
FLOOR = 0.01  # of a usual leap: a leap of less than one per cent is none
SOME = 256  # images that tell a usual leap
SURE = 1e-4  # chance of so many images that follow each other
# From which on more can be told by how many images are in groups.
FEW_IMAGES, TWIN_IMAGES, SOME_IMAGES, MANY_IMAGES = 12, 20, 30, 50
LIKELY = 0.3  # chance of a leap: a group of less is likelier a part
UNSURE_SHARE = 0.8  # of the share of images in groups from which on they are linked
UNSURE = 0.5  # of all groups: where so many seem to be parts, and fewer are linked, a person should look


def parts_from_names(names: Sequence[str], pattern: str) -> npt.NDArray[np.int64]:
    """Part numbers `(n,)` from names: images for which `pattern` finds the same text show the same part."""
    return groups_from_names(names, pattern, "Calibrate.group_by").numbers


def groups_from_names(names: Sequence[str], pattern: str, key: str) -> Groups:
    """Images for which `pattern` finds the same text are of one group, in the order in which the texts come.

    The text is the pattern's first group, or its whole match. Raises `UsageError`, which names the pattern by its
    `key` in the run file, for one that is not a regular expression or that a name does not match.
    """
    expression, known = NamePattern(pattern, key), dict[str, int]()
    numbers = [known.setdefault(expression.found_in(name), len(known)) for name in names]
    return Groups(np.array(numbers, np.int64), tuple(known))


@dataclass(frozen=True, eq=False)
class FoundParts:
    """The part that each image shows, int64 `(n,)`.

    `told` says that somebody has told the parts; `unsure` that images may be of one part that are not linked. `copies`
    is the number of each image's pixels `(n,)`, which copies share; None where they were not compared.
    """

    parts: Ints
    told: bool = False
    unsure: bool = False
    copies: Ints | None = None


def find_parts(sketches: Halves) -> FoundParts:
    """The parts of images, from the sketches of their patches `(n, p, d)`: by what other images explain of each.

    Without the image that is nearest to it, an image is a little farther from all others; without the other images of
    its part, much farther: their patches were the only ones like its own. So the leap of an image's distance to all
    others, once a group of images is left out, is compared with the leap once as many others are, the next nearest
    ones. For unrelated images in d dimensions, k times the logarithm of the (k + 1)-th distance over the k-th is
    distributed exponentially, whatever k and the density (Facco et al. 2017, "Estimating the intrinsic dimension of
    datasets by a minimal neighborhood information"), which says how large the ratio of the leaps is by chance. Groups
    are linked with a false discovery rate of 5 % (Benjamini and Hochberg 1995; Storey 2002 for the share of groups
    that are by chance).

    Images of the same pixels are always of one part; of fewer than six images, only these.
    """
    copies = _copies(sketches)
    different = np.unique(copies, return_index=True)[1]  # an image of each
    found = _found(sketches[different])
    parts = np.unique(found.parts[copies], return_inverse=True)[1]
    return FoundParts(parts, unsure=found.unsure, copies=copies)


def _copies(sketches: Halves) -> Ints:
    flat = np.ascontiguousarray(sketches).view(np.uint16).reshape(len(sketches), -1)
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in flat], np.int64)


def _found(sketches: Halves) -> FoundParts:
    """The parts of images that all differ."""
    total = len(sketches)
    parts = np.arange(total)
    if total < LEAST_IMAGES:
        return FoundParts(parts, unsure=total > 1)
    near = nearest_images(sketches)
    groups = _disjoint(near)
    if not groups:
        return FoundParts(parts)
    chances = np.array([group.chance for group in groups])
    by_chance = min(1.0, 2 * (1 + int((chances > 0.5).sum())) / len(groups))  # Storey's share, from those above 1/2
    accepted = np.flatnonzero(chances * by_chance <= FALSE_SHARE * np.arange(1, len(groups) + 1) / len(groups))
    linked = int(accepted[-1]) + 1 if len(accepted) else 0
    share = _share_in_groups(groups, total)
    if share > 1:
        linked = max(linked, int((chances < 0.5).sum()))
    for group in groups[:linked]:
        parts[list(group.members)] = group.members[0]
    unsure = by_chance < UNSURE and linked < (1 - by_chance) * len(groups) - 1
    unsure = unsure or UNSURE_SHARE < share <= 1 or (total < FEW_IMAGES and not linked)
    return FoundParts(np.unique(parts, return_inverse=True)[1], unsure=unsure or _follow(near, parts))


def _share_in_groups(groups: list[_Group], total: int) -> float:
    """How many images are in groups that leap more than chance has it, from 0 to 1, over the most that is so by chance.

    Of unrelated images, on average a fifth is in such groups, and a thirtieth in those of three or more. The more
    images, the nearer to that a set is.
    """
    if total < FEW_IMAGES:
        return 0.0
    sizes = np.array([len(group.members) for group in groups])
    chances = np.array([group.chance for group in groups])
    likely, several = chances < LIKELY, sizes > 2
    most = 0.5 if total < SOME_IMAGES else 0.4
    shares = [sizes[likely & several].sum() / most]
    if total >= TWIN_IMAGES:
        shares.append(sizes[likely].sum() / (most + 0.1))
    if total >= MANY_IMAGES:
        shares.append(sizes[(chances < 0.5) & several].sum() / 0.4)
    return float(max(shares) / total)


def _follow(near: NearestImages, parts: Ints) -> bool:
    """Whether most images are nearest to the one before or after them, as the frames of a video are.

    Frames of one part that moves on are a line in the space of images, as those of parts of any pose are: distances
    alone do not tell them apart, but the order does.
    """
    total = len(parts)
    other = parts[near.images] != parts[:, None]  # (n, k)
    lines = np.flatnonzero(other.any(axis=1))
    nearest = near.images[lines, other[lines].argmax(axis=1)]
    follows = int((np.abs(nearest - lines) == 1).sum())
    return follows > UNSURE * total and binomial_tail(follows, len(lines), 2 / total) < SURE


@dataclass(frozen=True)
class _Group:
    """Images that may show one part, and how likely a leap like theirs is by chance."""

    members: tuple[int, ...]
    chance: float


def _disjoint(near: NearestImages) -> list[_Group]:
    """The groups that are least likely by chance, none sharing an image with another; least likely first."""
    leaps = _Leaps(near)
    chances: dict[tuple[int, ...], float] = {}
    for halves in _merges(near):
        members = tuple(sorted(halves[0] + halves[1]))
        found = [chances.get(tuple(sorted(half)), 1.0) for half in halves]
        # What explains a pair explains a group around it too: that must leap once more, when the other half goes.
        if leaps.is_near(members) and (min(found) > FALSE_SHARE or leaps.chance(halves) <= FALSE_SHARE):
            chances[members] = leaps.chance([[image] for image in members])
    taken: set[int] = set()
    disjoint = []
    for members, chance in sorted(chances.items(), key=lambda item: item[1]):
        if taken.isdisjoint(members):
            taken.update(members)
            disjoint.append(_Group(members, chance))
    return disjoint


def _merges(near: NearestImages) -> Iterator[tuple[list[int], list[int]]]:
    """The pairs of groups that single linkage merges, among images that are each other's nearest, nearest first."""
    total = len(near.images)
    most = min(MOST_IMAGES, total // 2, (near.images.shape[1] + 1) // 2)
    distance = {
        (image, int(other)): float(apart)
        for image, (others, aparts) in enumerate(zip(near.images, near.distance(), strict=True))
        for other, apart in zip(others, aparts, strict=True)
    }
    edges = sorted((apart + distance[j, i], i, j) for (i, j), apart in distance.items() if i < j and (j, i) in distance)
    group: list[list[int]] = [[image] for image in range(total)]
    for _, i, j in edges:
        if group[i] is group[j]:
            continue
        small, large = sorted((group[i], group[j]), key=len)
        if len(small) + len(large) <= most:
            yield list(small), list(large)
        large.extend(small)
        for member in small:
            group[member] = large


class _Leaps:
    """How much farther images are from all others once some are left out."""

    def __init__(self, near: NearestImages) -> None:
        self.near = near
        self.places = near.images.shape[1]
        self._some = range(0, len(near.images), -(-len(near.images) // SOME))
        self._usual: dict[tuple[int, int], float] = {}

    def chance(self, groups: Sequence[list[int]]) -> float:
        """How likely unrelated images leap like these once all are left out, and not only those of their own group.

        The mean of m leaps is taken to be distributed as a Gamma of shape m / 2: the leaps of two images that are each
        other's nearest come from one distance.
        """
        size = sum(map(len, groups))
        within = self._marked([image for group in groups for image in group])
        leaps = next_leaps = usual = expected = 0.0
        for group in groups:
            of_group = self._marked(group)
            for image in group:
                inside, own = within[self.near.images[image]], of_group[self.near.images[image]]
                beyond = inside.copy()
                beyond[np.flatnonzero(~inside)[: size - len(group)]] = True
                if beyond.all():
                    beyond[np.flatnonzero(~inside)[-1]] = False
                without = self.near.without(image, inside)
                leaps += _leap(self.near.without(image, own), without) / size
                next_leaps += _leap(without, self.near.without(image, beyond)) / size
            share = len(group) / size
            usual += share * self.usual(size, size - len(group))
            expected += share * _expected_ratio(len(group), size)
        ratio = leaps / max(next_leaps, usual, FLOOR) / expected
        return _gamma_tail(size, ratio * size / 2)

    def _marked(self, images: list[int]) -> npt.NDArray[np.bool_]:
        marked = np.zeros(len(self.near.images), np.bool_)
        marked[images] = True
        return marked

    def is_near(self, members: tuple[int, ...]) -> bool:
        """Whether images are nearer to each other than an image usually is to those that do not show its part.

        A few images of another kind of product leap as well without each other, but differ as much as others do.
        """
        nothing = np.zeros(self.places, np.bool_)
        return bool(np.mean([self.near.without(image, nothing) for image in members]) < self._distance_to_others)

    @cached_property
    def _distance_to_others(self) -> float:
        """The median distance of an image once all are left out that may show its part."""
        nearest = np.arange(self.places) < min(MOST_IMAGES - 1, self.places // 2)
        return float(np.median([self.near.without(image, nearest) for image in self._some]))

    def usual(self, size: int, more: int) -> float:
        """The median leap of an image once `more` images are left out, after its size - 1 nearest ones."""
        key = (size, more)
        if key not in self._usual:
            places = np.arange(self.places)
            leaps = [
                _leap(self.near.without(image, places < size - 1), self.near.without(image, places < size - 1 + more))
                for image in self._some
                if size - 1 + more < self.places
            ]
            self._usual[key] = float(np.median(leaps)) if leaps else 0.0
        return self._usual[key]


def _leap(before: float, after: float) -> float:
    return math.log(max(after, 1e-12) / max(before, 1e-12))


def _expected_ratio(own: int, size: int) -> float:
    """Of a leap from `own` images left out to `size`, over that to as many more, by chance."""
    more = size - own
    return sum(1 / k for k in range(own, size)) / sum(1 / k for k in range(size, size + more))


def _gamma_tail(twice_shape: int, value: float) -> float:
    """The chance that a Gamma variable of shape m / 2 and unit scale exceeds a value, exactly."""
    shape = 0.5 if twice_shape % 2 else 1.0
    tail = math.erfc(math.sqrt(value)) if twice_shape % 2 else math.exp(-value)
    term = math.exp(-value) * (value**shape) / math.gamma(shape + 1)
    while 2 * shape < twice_shape:
        tail += term
        shape += 1
        term *= value / shape
    return min(1.0, tail)
