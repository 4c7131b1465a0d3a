"""The first page: which models answer, and where to go from here."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Request
from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse

from blemish import __version__
from blemish.service.core import service_of

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
async def home(request: Request) -> HTMLResponse:
    """The models with their thresholds."""
    models = service_of(request).registry.models()
    return HTMLResponse(_templates().get_template("home.html.j2").render(models=models, release=__version__))


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("blemish.service.pages"), autoescape=True)
