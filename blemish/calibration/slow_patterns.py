"""Regular expressions that a name could keep busy: Python's matcher holds the interpreter until it is done.

Counted is in how many ways an expression can be laid over a name before it gives up. Whatever cannot be counted low is
refused: the expression comes from someone else, and there is always a plainer one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from math import prod
from typing import Any

if sys.version_info >= (3, 11):
    _parser = import_module("re._parser")
else:
    _parser = import_module("sre_parse")

_LONGEST_NAME = 255  # characters, the most that file systems allow; the service looks at fewer
_MOST_STEPS = 8 * _LONGEST_NAME**3  # at most; the worst names that were tried took 0.15 s
_SHORT = 8  # characters
_END = ("END", None)  # after the last token, where nothing can fail any more
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}
_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "DIGIT": str.isdecimal,
    "SPACE": str.isspace,
    "WORD": lambda text: text.isalnum() or text == "_",
}

_Token = tuple[Any, Any]
_Tokens = Sequence[_Token]


class _SlowError(Exception):
    """Why an expression is refused."""


def why_slow(pattern: str) -> str | None:
    """Why a valid regular expression may take long on a name of `_LONGEST_NAME` characters; None where it cannot."""
    try:
        parsed = _parser.parse(pattern)
        steps = _ways(parsed, _END, exact=not parsed.state.flags & re.IGNORECASE)
    except _SlowError as error:
        return str(error)
    except RecursionError:
        return "is nested too deeply"
    steps *= 1 if _is_anchored(parsed) else _LONGEST_NAME
    steps *= _LONGEST_NAME if _long_repeats(parsed) > 2 else 1  # one that ends in one place is walked to there
    return "has too many repeats that overlap with what follows them" if steps > _MOST_STEPS else None


def _ways(tokens: _Tokens, after: _Token | None = None, *, exact: bool) -> int:
    """The ways of a sequence and what is `after` it; `exact` where letters match nothing but themselves."""
    following = [*list(tokens)[1:], after]
    return prod(_ways_of(token, then, exact=exact) for token, then in zip(tokens, following, strict=False))


def _ways_of(token: _Token, after: _Token | None, *, exact: bool) -> int:
    kind, value = str(token[0]), token[1]
    if kind in _REPEATS:
        least, most, body = value
        return _repeat(least, most, body, after, exact=exact)
    if kind == "BRANCH":
        ways = [_ways(branch, after, exact=exact) for branch in value[1]]
        return max(ways) if exact and _begin_apart(value[1]) else sum(ways)
    if kind == "SUBPATTERN":
        _, added, _, body = value
        return _ways(body, after, exact=exact and not added & re.IGNORECASE)
    if kind in ("ASSERT", "ASSERT_NOT"):
        return _ways(value[1], exact=exact)
    if kind == "ATOMIC_GROUP":
        return _ways(value, exact=exact)
    if kind in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"):
        return 1
    raise _SlowError("has a backreference" if kind.startswith("GROUPREF") else f"has a {kind}")


def _repeat(least: int, most: int, body: Any, after: _Token | None, *, exact: bool) -> int:
    if most > 1 and body.getwidth()[0] == 0:
        raise _SlowError("repeats what may be nothing")
    if most > _SHORT and _long_repeats(body):
        raise _SlowError("has a repeat inside another")
    most, least = min(most, _LONGEST_NAME), min(least, _LONGEST_NAME)
    inside = _ways(body, exact=exact)
    counts = 1 if exact and len(body) == 1 and _ends_at(body[0], after) else most - least + 1
    return int(counts * min(inside, _MOST_STEPS + 1) ** most)


def _long_repeats(tokens: Any) -> int:
    """How many repeats of any length are in what the parser made."""
    if isinstance(tokens, tuple) and len(tokens) == 2 and str(tokens[0]) in _REPEATS:
        return int(tokens[1][1] > _SHORT) + _long_repeats(tokens[1][2])
    if isinstance(tokens, list | tuple | _parser.SubPattern):
        return sum(_long_repeats(one) for one in tokens)
    return 0


def _is_anchored(parsed: Any) -> bool:
    """Whether it is tried at the beginning of a name alone."""
    begins = len(parsed) > 0 and str(parsed[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    return begins and not parsed.state.flags & re.MULTILINE


def _begin_apart(branches: Sequence[_Tokens]) -> bool:
    """Whether each alternative begins with a letter of its own."""
    first = [branch[0][1] if len(branch) and str(branch[0][0]) == "LITERAL" else None for branch in branches]
    return None not in first and len(set(first)) == len(first)


def _ends_at(token: _Token, after: _Token | None) -> bool:
    """Whether the repeat of one character can end in one place alone: the end or a letter that it does not take."""
    if after == _END or (after is not None and str(after[1]) in ("AT_END", "AT_END_STRING")):
        return True
    return after is not None and str(after[0]) == "LITERAL" and not _takes(token, chr(after[1]))


def _takes(token: _Token, letter: str) -> bool:
    """Whether one character of an expression may be this letter; True for what is not known."""
    kind, value = str(token[0]), token[1]
    if kind == "LITERAL":
        return bool(value == ord(letter))
    if kind == "NOT_LITERAL":
        return bool(value != ord(letter))
    if kind == "RANGE":
        return bool(value[0] <= ord(letter) <= value[1])
    if kind == "CATEGORY":
        _, *inverted, name = str(value).split("_")
        return bool(_CATEGORIES[name](letter)) != bool(inverted)
    if kind == "IN":
        negated = str(value[0][0]) == "NEGATE"
        return any(_takes(one, letter) for one in value[negated:]) != negated
    return True
