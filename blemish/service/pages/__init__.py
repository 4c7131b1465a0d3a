"""The station: pages for people. Each page is a module here with templates of its name in `templates/`.

The server renders them. What changes within a page is a fragment that htmx puts in its place; `static/` holds the
style sheet and the few modules that need a program in the browser: camera, drag and drop, keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from blemish.service.pages import api, history, history_files, inspect, jobs, learning, models, sign_in, train, trend
from blemish.service.pages.vendored import check_vendored
from blemish.service.tokens import require

__all__ = ["check_vendored", "install"]

_STATIC = Path(__file__).parent / "static"


def install(app: FastAPI) -> None:
    """Add the pages and their files; whoever may look at anything may look at pages."""
    app.mount("/static", _Static(directory=_STATIC), name="static")
    app.include_router(sign_in.router)
    app.include_router(api.router)
    for page in (inspect, history_files, history, models, learning, train, trend, jobs):
        app.include_router(page.router, dependencies=[Depends(require("viewer"))])


class _Static(StaticFiles):
    """Files that a browser keeps but asks for again, so that an upgrade never meets the old ones."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As usual, and to be checked."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
