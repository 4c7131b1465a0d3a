"""Logs go to stderr, so that stdout carries results alone."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("blemish")


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever stderr is at that moment (tests and notebooks exchange it)."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def set_up_logs() -> None:
    """Send the package's log to stderr; the library itself configures nothing."""
    if not any(isinstance(handler, _StderrHandler) for handler in log.handlers):
        handler = _StderrHandler()
        handler.setFormatter(logging.Formatter("blemish: %(message)s"))
        handler.setLevel(logging.WARNING)
        log.addHandler(handler)


def be_verbose(verbose: bool) -> bool:
    """What `--verbose` does."""
    if verbose:
        log.setLevel(logging.DEBUG)
        for handler in log.handlers:
            handler.setLevel(logging.DEBUG)
    return verbose


def say(message: str) -> None:
    """One line for the person at the terminal."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201
