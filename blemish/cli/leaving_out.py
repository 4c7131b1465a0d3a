"""The command that does the same again without some images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import join

from blemish.calibration.remarks import NAMED

_BY_OPTION = ("train", "update")  # others do what a run file says


def command_without(
    apart: Sequence[str], unread: Sequence[str] = (), before: Sequence[str] = (), record: Path | None = None
) -> str:
    """The command line at hand without images that stand `apart` or cannot be read, ready to paste.

    `before` are those that it leaves out already, which a key of the run file has to repeat. Too many for a line are
    those of `record`, the result file of a training.
    """
    program = ["python", sys.argv[0]] if Path(sys.argv[0]).name == "main.py" else ["blemish"]
    given = [*program, *sys.argv[1:]]
    if sys.argv[1:2] not in [[verb] for verb in _BY_OPTION]:
        everything = json.dumps([*before, *apart, *unread], ensure_ascii=False)
        return join([*given, "-o", f"Global.leave_out={everything}"])
    names = [*apart, *unread]
    if record is not None and len(apart) > NAMED:
        names = [f"@{record}", *unread]
    return join([*given, *(part for name in names for part in ("--leave-out", name))])
