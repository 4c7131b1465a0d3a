"""What a result of an image and one of a part have in common: keys that are attributes, a line, and JSON."""

from __future__ import annotations

import json
import math
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeAlias

_Text: TypeAlias = str  # inside the class, `str` is the property


class Record(Mapping[str, Any]):
    """A read-only mapping whose keys, `KEYS`, are attributes too. Two records are equal only if they are the same."""

    KEYS: ClassVar[tuple[_Text, ...]] = ()

    def __getitem__(self, key: _Text) -> Any:
        if key not in self.KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[_Text]:
        return iter(self.KEYS)

    def __len__(self) -> int:
        return len(self.KEYS)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> _Text:
        return f"<{type(self).__name__} {self.str}>"

    @abstractmethod
    def to_dict(self, mask: bool = True) -> dict[_Text, Any]:
        """The flat JSON-able record, with the mask if it has one and it is asked for."""

    @property
    @abstractmethod
    def str(self) -> _Text:
        """The record as one line."""

    @property
    def json(self) -> dict[_Text, Any]:
        """`{"res": the flat record}`."""
        return {"res": self.to_dict()}

    def print(
        self,
        json_format: bool = False,
        format_json: bool | None = None,
        indent: int | None = 4,
        ensure_ascii: bool = False,
    ) -> None:
        """Print the line, or with `json_format` (`format_json` is the same) the flat record, to stdout."""
        if json_format if format_json is None else format_json:
            text = self.json_text(indent, ensure_ascii or not _can_print(self.json_text(indent, False)))
        else:
            encoding = sys.stdout.encoding or "utf-8"
            text = self.str.encode(encoding, "backslashreplace").decode(encoding)
        sys.stdout.write(text + "\n")

    def json_text(self, indent: int | None, ensure_ascii: bool) -> _Text:
        """The flat record as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


def finite(value: float | None) -> float | None:
    """JSON knows no infinity and no NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


def one_line(text: str) -> str:
    """Control characters of a file name must not break the line, nor steer the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _can_print(text: str) -> bool:
    """Whether stdout's encoding has all these characters."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
