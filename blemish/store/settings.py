"""Small JSON values by key: active versions, false-alarm rates, states that outlive the process."""

from __future__ import annotations

from typing import Any


class Settings:
    """Keys such as `active/bottle` or `drift/bottle`, each with one JSON value. A set value is on the disk."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        raise NotImplementedError

    def set(self, key: str, value: Any) -> None:
        """Put a JSON-able value in the place of the key's."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Forget a key, known or not."""
        raise NotImplementedError

    def with_prefix(self, prefix: str) -> dict[str, Any]:
        """All keys that begin so, with their values."""
        raise NotImplementedError
