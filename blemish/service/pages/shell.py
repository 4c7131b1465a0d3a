"""What all pages share: the templates, the frame around a page, and words for numbers and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from typing import Any

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from blemish import __version__
from blemish.errors import install_command
from blemish.metrics.rates import rate_text
from blemish.report.words import number, percent, share_text
from blemish.service.core import service_of
from blemish.service.jobs.data import in_words
from blemish.service.pages.plotting import over_steps
from blemish.service.tokens import Caller

# address, name in the navigation; in its order
PAGES = (
    ("/inspect", "Inspect"),
    ("/history", "History"),
    ("/models", "Models"),
    ("/train", "Train"),
    ("/trend", "Trend"),
)
# no script, style or picture but our own; style attributes place what is drawn, and pictures come as data too
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page: `template` extends `page.html.j2`."""
    context |= {"pages": PAGES, "path": request.url.path, "release": __version__}
    return fragment(request, template, status, uncalibrated=_uncalibrated(request), **context)


def _uncalibrated(request: Request) -> list[tuple[str, str]]:
    """Name and what is said of it, of each model whose active version gives verdicts without a calibration."""
    served = [(one.name, one.versions[one.active].predictor) for one in service_of(request).registry.models()]
    calibrations = [(name, predictor.calibration) for name, predictor in served]
    return [(name, one.statement()) for name, one in calibrations if not one.is_calibrated]


def fragment(
    request: Request, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> HTMLResponse:
    """A part of a page, for htmx to put in its place."""
    caller = getattr(request.state, "caller", None)
    text = _templates().get_template(template).render(caller=caller, **context)
    return HTMLResponse(text, status, {**_HEADERS, **(headers or {})})


def caller_of(request: Request) -> Caller:
    """Who asks for a page; known after `require`."""
    caller: Caller = request.state.caller
    return caller


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("blemish.service.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "share": share_text,
        "rate": rate_text,
        "moment": moment,
        "iso": iso,
        "count": count,
    }
    environment.filters |= {"over_steps": over_steps, "duration": in_words, "install_command": install_command}
    return environment


def count(value: int) -> str:
    """A whole number with narrow spaces between its thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def iso(time: datetime) -> str:
    """For `<time datetime>`; `static/station.js` shows it in the reader's own zone and manner."""
    return time.astimezone(timezone.utc).isoformat(timespec="seconds")


def moment(time: datetime) -> str:
    """What stands there until then, and without a program."""
    return time.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
