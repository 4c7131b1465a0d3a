"""The service's log as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

_LOGGERS = ("blemish.service", "uvicorn.error")


class _JsonLines(logging.Formatter):
    """Time, level, logger and message; of a request its record, of an error its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        request = getattr(record, "request", None)
        entry |= {"message": record.getMessage()} if request is None else {"message": "request", **request}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def log_to_stderr(as_json: bool, requests: bool) -> None:
    """Send the service's log to stderr; `requests` is whether every request leaves a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("blemish: %(message)s"))
    for name in _LOGGERS:
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO if requests and name == _LOGGERS[0] else logging.WARNING)
