"""What a pattern finds in an image's name: the part that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from blemish.errors import UsageError
from blemish.images.names import PAGED, suffix_of


class NamePattern:
    """A regular expression whose first group, or whole match, says what an image's name tells.

    `key` is what a user knows the pattern by, for messages. Raises `UsageError` for what is no regular expression.
    """

    def __init__(self, text: str, key: str = "Calibrate.group_by") -> None:
        self.text, self.key = text, key
        try:
            self._expression = re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(f"{key} is not a regular expression: {error} in `{text}`") from None

    def find(self, name: str) -> str | None:
        """The text that the pattern finds in a name, None where it finds none or an empty one."""
        match = self._expression.search(name)
        return (match and match.group(1 if self._expression.groups else 0)) or None

    def found_in(self, name: str) -> str:
        """`find`, but `UsageError` where it finds nothing."""
        found = self.find(name)
        if found is None:
            raise UsageError(f"{self.key} `{self.text}` finds nothing in `{name}`")
        return found

    def is_in_file(self, name: str) -> bool:
        """Whether it finds something in the name of a file or, where that may have pages, of its first page."""
        pages = [f"{name}[0]"] if suffix_of(name.rpartition("/")[2]) in PAGED else []
        return any(self.find(text) is not None for text in [name, *pages])


def fitting_pattern(text: str | None, names: Iterable[str]) -> str | None:
    """The pattern where it finds something in every name, else None."""
    if text is None:
        return None
    pattern = NamePattern(text)
    return text if all(pattern.find(name) is not None for name in names) else None
