"""The command line: the verbs and the PaddleX-style flags."""

from blemish.cli.entry import main

__all__ = ["main"]
