"""The child process: `python -m blemish.service.jobs KIND`, parameters as JSON on stdin, one JSON object a line out."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from typing import Any

from blemish.errors import BlemishError
from blemish.service.jobs.kinds import KINDS

_NICENESS = 10  # those who wait for a verdict come first


def main(kind: str) -> int:
    """Work; the last line has the `result` or the `error`."""
    out = sys.stdout

    def say(**record: Any) -> None:
        print(json.dumps(record), file=out, flush=True)

    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    parameters = json.load(sys.stdin)
    try:
        with redirect_stdout(sys.stderr):  # what libraries print is no progress
            result = KINDS[kind].run(parameters, lambda progress, message: say(progress=progress, message=message))
    except BlemishError as error:
        say(error=str(error))
        return 1
    say(result=result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
