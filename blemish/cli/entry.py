"""The way in and out of the command line: arguments in, exit code out, errors as one line on stderr."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from blemish.cli.app import app
from blemish.cli.logs import set_up_logs
from blemish.errors import BlemishError, did_you_mean

# The base of typer's usage errors; some versions of typer carry their own copy of click, others import it.
_UsageFault: Any = typer.BadParameter.__base__

# Options that are no more, and what to do instead.
_GONE = {
    "--max-score": "is gone: a calibration without its highest scores promises too few false alarms. An update leaves "
    "the threshold as it is now, unless you add --calibrate. To leave out images that are not good, name them with "
    "--leave-out NAME."
}
WRONG_USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 some inputs failed, 2 wrong usage or input.

    A user's mistake is one line on stderr. A traceback means a fault in Blemish.
    """
    _make_printable()
    set_up_logs()
    # Threads that spin while they wait for matrix products of this size cost more than they bring.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = app(args=arguments, prog_name="blemish", standalone_mode=False)
        sys.stdout.flush()
    except BlemishError as error:
        return _refuse(str(error))
    except _UsageFault as error:
        return _refuse(_usage_message(error))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes a SystemExit of a broken pipe
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        if error.filename is None:
            _drop_output()
        return _refuse(f"{error.filename or 'The output'}: {error.strerror}.")
    if code == INTERRUPTED:  # typer may have made this code of the interrupt itself
        print("blemish: interrupted", file=sys.stderr)  # noqa: T201
    return code if isinstance(code, int) else 0


def _drop_output() -> None:
    """What is still buffered must not fail once more when the interpreter closes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _make_printable() -> None:
    """A file name that the terminal cannot show is printed escaped instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _refuse(message: str) -> int:
    print(f"blemish: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return WRONG_USAGE


def _option_hint(name: str, command: Any) -> str:
    """The closest option; for the name of an argument, how it is written."""
    arguments = {param.name: param.metavar for param in command.params if param.param_type_name == "argument"}
    place = arguments.get(name.lstrip("-").replace("-", "_"))
    if place is not None:
        return f" {place} stands without a flag: blemish {command.name} {' '.join(arguments.values())}."
    return did_you_mean(name, [opt for param in command.params for opt in param.opts if opt.startswith("-")])


def _usage_message(error: Any) -> str:
    """What is wrong with the arguments, the closest option, and where the help is."""
    path = error.ctx.command_path if error.ctx else "blemish"
    if type(error).__name__ == "NoSuchOption" and error.ctx:
        name = error.option_name.replace("_", "-")
        message = f"Unknown option {error.option_name}.{_option_hint(error.option_name, error.ctx.command)}"
        if name in _GONE and error.ctx.command.name == "update":
            message = f"{name} {_GONE[name]}"
    else:
        message = error.format_message().replace("Value error, ", "").rstrip(".") + "."
    return f"{message} See {path} --help."
