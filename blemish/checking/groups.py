"""Groups of images that come from different sources: a detector finds that difference instead of defects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from math import comb

from blemish.checking.duplicates import is_learnt
from blemish.checking.findings import Finding
from blemish.checking.stored import LOSSLESS
from blemish.checking.survey import ImageFacts

LEAST = 3  # images of a group; two that all differ from all others are enough
APART = 0.5  # difference of a trait's share between two groups
CHANCE = 0.01  # probability of a difference at least as large between groups that were drawn from one lot
NEAR = 4  # qualities of JPEG that are no further apart, in steps, count as one: some writers choose one for each image


@dataclass(frozen=True)
class Trait:
    """Something that images have, by the code of its finding; `say` follows "images"."""

    code: str
    value: Callable[[ImageFacts], Hashable]
    say: Callable[[ImageFacts], str]


def traits_of(images: list[ImageFacts]) -> tuple[Trait, ...]:
    """What is compared, the strongest first."""
    usual = _usual_qualities(images)
    return (
        Trait("mixed_compression", lambda facts: (usual[facts.stored.quality], facts.stored.chroma), _say_compression),
        Trait("mixed_format", lambda facts: facts.stored.format, lambda facts: f"stored as {facts.stored.format}"),
        Trait("mixed_sizes", lambda facts: facts.size, lambda facts: f"of {facts.size[0]}x{facts.size[1]} pixels"),
        Trait("mixed_colour", lambda facts: facts.is_grey, lambda facts: "grey" if facts.is_grey else "in colour"),
        Trait("mixed_bit_depth", lambda facts: facts.bits, lambda facts: f"of {facts.bits} bits"),
        Trait(
            "mixed_transparency",
            lambda facts: facts.has_alpha,
            lambda facts: "with transparency" if facts.has_alpha else "without transparency",
        ),
    )


def group_findings(images: list[ImageFacts]) -> Iterator[Finding]:
    """Traits by which training and test images, or good and defective ones, can be told apart."""
    readable = [facts for facts in images if facts.is_readable]
    for name, other_name, group, other in _pairs(readable):
        found = set()
        for trait in traits_of(readable):
            value = _telling(trait, group, other)
            if value is None or (trait.code == "mixed_format" and "mixed_compression" in found):
                continue  # another format says nothing new where the compression differs
            found.add(trait.code)
            yield _finding(trait, value, (name, group), (other_name, other))


def _pairs(images: list[ImageFacts]) -> Iterator[tuple[str, str, list[ImageFacts], list[ImageFacts]]]:
    learnt = [facts for facts in images if is_learnt(facts.sample)]
    good = [facts for facts in images if facts.sample.split == "test" and facts.sample.is_good]
    defects = [facts for facts in images if not facts.sample.is_good]
    yield "training", "good test", learnt, good
    if len(good) >= LEAST:
        yield "good test", "defective", good, defects
    else:
        yield "good", "defective", [*learnt, *good], defects


def _telling(trait: Trait, group: list[ImageFacts], other: list[ImageFacts]) -> Hashable | None:
    """The value of a trait that one group has much more often than the other, and not by chance."""
    if min(len(group), len(other)) < LEAST - 1:
        return None
    counts, others = Counter(map(trait.value, group)), Counter(map(trait.value, other))
    value = max(others, key=lambda value: others[value] / len(other) - counts[value] / len(group))
    more, less = others[value], counts[value]
    if more / len(other) - less / len(group) < APART:
        return None
    is_whole = more == len(other) and not less
    return value if is_whole or _chance(more, len(other), less, len(group)) < CHANCE else None


def _chance(more: int, total: int, less: int, other_total: int) -> float:
    """Fisher's exact test, one-sided: that of all images with a value, at least `more` lie in a group of `total`."""
    having, everything = more + less, total + other_total
    ways = sum(comb(total, k) * comb(other_total, having - k) for k in range(more, min(having, total) + 1))
    return ways / comb(everything, having)


def _finding(
    trait: Trait, value: Hashable, group: tuple[str, list[ImageFacts]], other: tuple[str, list[ImageFacts]]
) -> Finding:
    having = [facts for facts in other[1] if trait.value(facts) == value]
    less = sum(trait.value(facts) == value for facts in group[1])
    usual = Counter(map(trait.value, group[1])).most_common(1)[0][0]
    typical = trait.say(next(facts for facts in group[1] if trait.value(facts) == usual))
    contrast = "" if usual == value else f", which are mostly {typical}"
    message = (
        f"{len(having)} of {len(other[1])} {other[0]} images are {trait.say(having[0])}, but {less} of {len(group[1])} "
        f"{group[0]} images{contrast}; a detector finds that difference instead of defects. Take and save all alike"
    )
    return Finding(trait.code, message, tuple(facts.sample.name for facts in having))


def _say_compression(facts: ImageFacts) -> str:
    stored = facts.stored
    if stored.quality == LOSSLESS:
        return f"lossless ({stored.format})"
    if not stored.quality:
        return f"lossy ({stored.format})"
    chroma = f", colours {stored.chroma}" if stored.chroma else ""
    return f"JPEG of quality about {stored.quality}{chroma}"


def _usual_qualities(images: list[ImageFacts]) -> dict[int, int]:
    """For each quality the lowest of the run of qualities that it belongs to."""
    usual: dict[int, int] = {}
    before = 0  # what is 0 or lossless has no neighbour
    for quality in sorted({facts.stored.quality for facts in images}):
        is_next = 0 not in (before, quality) and quality < LOSSLESS and quality - before <= NEAR
        usual[quality] = usual[before] if is_next else quality
        before = quality
    return usual
