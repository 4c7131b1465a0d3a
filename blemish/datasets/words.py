"""What the name of a folder or file says: a split, good parts, defects, masks, or nothing.

A name is cut into words at punctuation, digits and changes of case (`OK_front`, `defectImages`, `01_ng`), without
regard to case or accents. Chinese, Japanese and Korean have no gaps between words, so their words are looked for
anywhere in the name. Words that say no turn the next one round: `no_defect` is good, `not ok` is not.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

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
    """

    split: str | None = None
    good: bool = False
    bad: bool = False
    unsure: bool = False
    mask: bool = False
    maybe_mask: bool = False
    pictures: bool = False

    @property
    def is_labelled(self) -> bool:
        return self.good or self.bad


_WORD = re.compile(r"[^\W\d_\u2e80-\uffef]+")  # letters, but those of scripts without gaps


def is_good(name: str) -> bool:
    """Whether a name calls what it names good."""
    return role(name).good


def is_bad(name: str) -> bool:
    """Whether a name calls what it names defects, or a type of them."""
    return role(name).bad


def is_plain_defect(name: str) -> bool:
    """Whether a name only says that there are defects, and not of which type."""
    return bool(_heads(name)) and _heads(name) <= vocabulary.BAD


def names_defects_alone(name: str) -> bool:
    """Whether a name says defects or masks and nothing else, as `NG` or `defect images`, but not `nut_ng` does."""
    heads = _heads(name)
    known = vocabulary.BAD | vocabulary.DEFECT_TYPES | vocabulary.MASKS
    return (is_bad(name) or role(name).mask) and heads <= known | vocabulary.PICTURES | frozenset(vocabulary.NOUNS)


def _heads(name: str) -> frozenset[str]:
    return frozenset(_joined(_cut(unicodedata.normalize("NFKC", name))))


@lru_cache(maxsize=4096)
def role(name: str) -> Role:
    """What a folder's or a file's name says; a file's without its suffix."""
    text = unicodedata.normalize("NFKC", name)
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
    )


def mask_of_stem(stem: str) -> str | None:
    """The stem of the image that a mask is of, by its own: `000_mask`, `mask-000`, `000_GT`; None for other names."""
    match = _MASK_ENDING.match(stem) or _MASK_BEGINNING.match(stem)
    return match["stem"] if match and match["stem"] else None


_MARK = r"(?:masks?|gt|ground[ _-]?truth|labels?|seg|segmentation|annotations?|anno|segmap|maske|masque|mascara)"
_MASK_ENDING = re.compile(rf"(?P<stem>.*?)[ _.\-(]+{_MARK}[ _-]?\d{{0,3}}\)?$", re.IGNORECASE)
_MASK_BEGINNING = re.compile(rf"{_MARK}[ _.\-]+(?P<stem>.+)$", re.IGNORECASE)


def _verdicts(words: list[str], folded: str) -> tuple[bool, bool]:
    """Whether the words say good, and whether they say bad."""
    good = bad = False
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        after = words[number + 1] if number + 1 < len(words) else ""
        says_bad = word in vocabulary.BAD or word in vocabulary.DEFECT_TYPES
        if says_bad and after in vocabulary.FIELDS:
            continue
        if says_bad and (before in vocabulary.NO or after in vocabulary.FREE):
            good = True
        elif says_bad or (word in vocabulary.GOOD and before in vocabulary.NO):
            bad = True
        elif word in vocabulary.GOOD and not (word == "free" and before in vocabulary.BAD | vocabulary.DEFECT_TYPES):
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
    whole = _plain(chunk)
    if _bare(whole) != whole or whole in _KNOWN:
        return [whole]
    parted = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", chunk)
    return [_plain(part) for part in parted.split()]


def _plain(text: str) -> str:
    """Folded, without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


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
    return joined


def _bare(word: str) -> str:
    """`okparts` as `ok`, `gutteile` as `gut`: where what is left is known by itself."""
    if word in _KNOWN:
        return word
    for noun in vocabulary.NOUNS:
        if word.endswith(noun) and (stem := word[: -len(noun)].rstrip("s") or "") in _KNOWN | {"anomal"}:
            return stem
    for beginning in _NO_JOINED:
        rest = word.removeprefix(beginning)
        if rest != word and rest in vocabulary.GOOD and len(rest) > 1:
            return "notok"
        if rest != word and rest in vocabulary.BAD:
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
_NO_JOINED = ("non", "not", "no", "un", "in", "nicht")
