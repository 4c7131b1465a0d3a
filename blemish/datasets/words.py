"""What the name of a folder or file says: a split, good parts, defects, masks, or nothing.

A name is cut into words at punctuation, digits and changes of case (`OK_front`, `defectImages`, `01_ng`), without
regard to case or accents. Chinese, Japanese and Korean have no gaps between words, so their words are looked for
anywhere in the name. Words that say no turn the next one round: `no_defect` is good, `not ok` is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from blemish.datasets import vocabulary


@dataclass(frozen=True)
class Role:
    """What a name says of the images below it.

    Attributes:
        split: `train`, `val` or `test`; None where it names none.
        good, bad: whether it calls them good, or defects; never both.
        unsure: whether it is a word of a verdict that means either, such as `positive`, or both at once (`OK_NG`).
        mask: whether it names masks, or annotations.
        maybe_mask: whether it names them by a word that may name parts as well, such as `label`.
        pictures: whether it only says that there are images, such as `imgs` or `rgb`.
        mixed: whether it has words beside, that say nothing of this: `scratch card`, `test tubes`, `nut_ng`.
    """

    split: str | None = None
    good: bool = False
    bad: bool = False
    unsure: bool = False
    mask: bool = False
    maybe_mask: bool = False
    pictures: bool = False
    mixed: bool = False

    @property
    def is_labelled(self) -> bool:
        return self.good or self.bad


_WORD = re.compile(r"[^\W\d_\u2e80-\uffef]+")  # letters, but those of scripts without gaps
_SIGNS = re.compile(r"[\u2e80-\uffef]+")
_RUN = re.compile(r"[A-Za-z0-9]{8,}")  # may be a number in base 16, or another identifier
_LETTERS = str.maketrans("łıøđ", "liod")  # those that no accent makes


def is_good(name: str) -> bool:
    """Whether a name calls what it names good."""
    return role(name).good


def is_bad(name: str) -> bool:
    """Whether a name calls what it names defects, or a type of them."""
    return role(name).bad


def is_plain_defect(name: str) -> bool:
    """Whether a name only says that there are defects, and not of which type."""
    if role(name).bad and not _heads(name):
        return not _without(unicodedata.normalize("NFKC", name), (*vocabulary.CJK_BAD, *vocabulary.CJK_NOUNS))
    return bool(_heads(name)) and _heads(name) <= vocabulary.BAD


def product_words(name: str) -> tuple[str, ...]:
    """What a name says of a product: without numbers, single letters, and words of places and times."""
    text = unicodedata.normalize("NFKC", name)
    words = (_folded(word) for word in _WORD.findall(_without_ids(text)))
    latin = (word for word in words if len(word) > 1 and not _is_place(word))
    return (*latin, *_SIGNS.findall(text))


def class_number(name: str) -> bool:
    """Whether a name is the number of a class, such as `class_0`."""
    words = _WORD.findall(name)
    return len(words) == 1 and _folded(words[0]) in vocabulary.CLASSES and any(sign.isdigit() for sign in name)


def _is_place(word: str) -> bool:
    return word in vocabulary.PLACES or word.endswith(vocabulary.PLACE_ENDINGS)


def _without(text: str, phrases: Iterable[str]) -> str:
    """What is left of a name without phrases, digits and signs."""
    for phrase in phrases:
        text = text.replace(phrase, "")
    return re.sub(r"[\W\d_]", "", text)


def names_defects_alone(name: str) -> bool:
    """Whether a name says defects or masks and nothing else, as `NG` or `defect images`, but not `nut_ng` does."""
    found = role(name)
    return (found.bad or found.mask) and not found.mixed


def are_opposite(name: str, other: str) -> bool:
    """Whether one name is the other with a word or a syllable that says no: `usable` and `unusable`, `passt nicht`."""
    shorter, longer = sorted((unicodedata.normalize("NFC", each).casefold() for each in (name, other)), key=len)
    if not shorter or shorter == longer or not (longer.endswith(shorter) or longer.startswith(shorter)):
        return False
    rest = longer.removesuffix(shorter) if longer.endswith(shorter) else longer.removeprefix(shorter)
    return rest.strip(" _-.") in vocabulary.NO | vocabulary.NO_SYLLABLES


def _heads(name: str) -> frozenset[str]:
    return frozenset(_joined(_cut(unicodedata.normalize("NFKC", name))))


@lru_cache(maxsize=4096)
def role(name: str) -> Role:
    """What a folder's or a file's name says; a file's without its suffix."""
    text = _without_ids(unicodedata.normalize("NFKC", name))
    words = _joined(_cut(text))
    folded = text.casefold()
    good, bad = _verdicts(words, folded)
    known = set(words)
    unsure = (good and bad) or (not good and not bad and bool(known & vocabulary.UNSURE))
    named = " ".join(words)
    split = next((vocabulary.SPLITS[word] for word in words if word in vocabulary.SPLITS), None)
    split = split or next((kind for word, kind in vocabulary.CJK_SPLITS.items() if word in folded), None)
    mask = (
        bool(known & vocabulary.MASKS)
        or "ground truth" in named
        or any(word in folded for word in vocabulary.CJK_MASKS)
    )
    return Role(
        split=split,
        good=good and not bad,
        bad=bad and not good,
        unsure=unsure,
        mask=mask,
        maybe_mask=not mask and bool(known & vocabulary.MAYBE_MASKS),
        pictures=bool(words) and known <= vocabulary.PICTURES,
        mixed=any(_is_beside(word) for word in words),
    )


def _is_beside(word: str) -> bool:
    """Whether a word says nothing of splits, verdicts and masks, and of no place either."""
    said = _says_bad(word) or _says_good(word) or word in _KNOWN | vocabulary.NO | vocabulary.FREE | _ASIDE
    return len(word) > 1 and not said and not _is_place(word)


def _says_bad(word: str) -> bool:
    is_begun = word.startswith(vocabulary.BAD_BEGINNINGS) and not word.startswith(vocabulary.GOOD_BEGINNINGS)
    return word in vocabulary.BAD or word in vocabulary.DEFECT_TYPES or (is_begun and word not in vocabulary.GOOD)


def _says_good(word: str) -> bool:
    return word in vocabulary.GOOD or word.startswith(vocabulary.GOOD_BEGINNINGS)


def _without_ids(text: str) -> str:
    """A name without identifiers such as `0bad12f9`, whose letters are no words."""
    return _RUN.sub(lambda found: " " if _is_id(found[0]) else found[0], text)


def _is_id(run: str) -> bool:
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(run))
    is_hex = re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", run) is not None
    return changes >= (2 if is_hex else 4)


def _verdicts(words: list[str], folded: str) -> tuple[bool, bool]:
    """Whether the words say good, and whether they say bad."""
    good = bad = False
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        after = words[number + 1] if number + 1 < len(words) else ""
        says_bad = _says_bad(word)
        if says_bad and after in vocabulary.FIELDS:
            continue
        if says_bad and (before in vocabulary.NO or after in vocabulary.FREE):
            good = True
        elif says_bad or (_says_good(word) and before in vocabulary.NO):
            bad = True
        elif _says_good(word) and not (word == "free" and _says_bad(before)):
            good = True
    text = folded
    for phrase in vocabulary.CJK_NOT_BAD:
        good, text = good or phrase in text, text.replace(phrase, " ")
    for phrase in vocabulary.CJK_BAD:
        bad, text = bad or phrase in text, text.replace(phrase, " ")
    return good or any(phrase in text for phrase in vocabulary.CJK_GOOD), bad


def _cut(text: str) -> list[str]:
    """The words of a name, folded, without accents; changes from small to large letters part them too."""
    return [word for chunk in _WORD.findall(text) for word in _cut_chunk(chunk)]


def _cut_chunk(chunk: str) -> list[str]:
    whole = _folded(chunk)
    if _bare(whole) != whole or whole in _KNOWN:
        return [whole]
    parted = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", chunk)
    return [_folded(part) for part in parted.split()]


def _folded(text: str) -> str:
    """In small letters, without accents."""
    signs = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(sign for sign in signs if not unicodedata.combining(sign))


def _joined(words: list[str]) -> list[str]:
    """Single letters that follow each other as one word (`n.i.O.`, `N OK`), and words without the noun behind them."""
    joined: list[str] = []
    letters = ""
    for word in [*words, ""]:
        if len(word) == 1:
            letters += word
            continue
        if letters == "n" and word in ("ok", "io"):
            word, letters = f"n{word}", ""  # noqa: PLW2901
        joined += [letters] if letters else []
        letters = ""
        joined += [_bare(word)] if word else []
    return _in_order(joined)


def _in_order(words: list[str]) -> list[str]:
    """`in Ordnung` as one word."""
    place = next((number for number, pair in enumerate(pairwise(words)) if pair == ("in", "ordnung")), None)
    return words if place is None else [*words[:place], "io", *words[place + 2 :]]


def _bare(word: str) -> str:
    """`okparts` as `ok`, `gutteile` as `gut`: where what is left is known by itself."""
    if word in _KNOWN:
        return word
    for noun in vocabulary.NOUNS:
        if word.endswith(noun) and (stem := word[: -len(noun)].rstrip("s") or "") in _KNOWN | {"anomal"}:
            return stem
    for beginning in _NO_JOINED:
        rest = word.removeprefix(beginning)
        if rest != word and len(rest) > 1 and _says_good(rest):
            return "notok"
        if rest != word and _says_bad(rest):
            return "nodefect"
    return word


_KNOWN = (
    vocabulary.GOOD
    | vocabulary.BAD
    | vocabulary.DEFECT_TYPES
    | vocabulary.UNSURE
    | frozenset(vocabulary.SPLITS)
    | vocabulary.MASKS
    | vocabulary.MAYBE_MASKS
    | vocabulary.PICTURES
)
_ASIDE = (
    frozenset(vocabulary.NOUNS)
    | vocabulary.FIELDS
    | frozenset(("set", "public", "private", "ground", "truth", "with", "mit", "avec", "con", "com"))
)
_NO_JOINED = ("non", "not", "no", "un", "in", "nicht")
