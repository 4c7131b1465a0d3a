"""The child process: `python -m blemish.service.jobs KIND`, a line of JSON in, one JSON object a line out.

It ends when its stdin does, so that nothing works on for a service that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from blemish.errors import BlemishError
from blemish.service.jobs.kinds import KINDS

_NICENESS = 10  # those who wait for a verdict come first


def main(kind: str) -> int:
    """Work; the last line has the `result` or the `error`."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print, those in C too, is no progress

    def say(**record: Any) -> None:
        print(json.dumps(record), file=out, flush=True)

    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the service, which decides what becomes of its work
        signal.signal(number, lambda *_: None)
    parameters = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_service, daemon=True).start()

    def tell(progress: float | None, message: str, so_far: Any = None) -> None:
        say(progress=progress, message=message, so_far=so_far)

    try:
        result = KINDS[kind].run(parameters, tell)
    except BlemishError as error:
        say(error=str(error))
        return 1
    except MemoryError:
        say(error="there is too little memory for this; a smaller preset or fewer images need less")
        return 1
    say(result=result)
    return 0


def _end_with_the_service() -> None:
    os.read(0, 1)  # comes back when nobody holds the other end any more
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
