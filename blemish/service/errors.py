"""What goes wrong with a request, in the shape that the client of a route knows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from blemish.errors import ImageError

if TYPE_CHECKING:
    from blemish.pipeline import Result

PADDLEX_PATHS = ("/health", "/image-anomaly-detection")
_CLIENT_GONE = 499  # nobody reads it; it is what logs and metrics show

log = logging.getLogger("blemish.service")


class ServiceError(HTTPException):
    """A refusal: status, a short code for programs, and one line for people that names no path of the server."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def overloaded(seconds: float, message: str = "too many images wait; come back later") -> ServiceError:
    """Refused because of what else there is to do; `seconds` is when another try makes sense."""
    return ServiceError(503, "overloaded", message, {"Retry-After": str(max(1, round(seconds)))})


def unreadable(error: ImageError) -> ServiceError:
    """For an image that cannot be read."""
    return ServiceError(400, "unreadable_image", str(error))


def without_verdict(result: Result) -> Exception:
    """For a result without a verdict: the image cannot be read (400), or the model fails on it (500)."""
    if not result.was_read:
        return ImageError(str(result.error))
    return ServiceError(500, "no_verdict", str(result.error))


def error_response(
    path: str, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The refusal as PaddleX's clients, KServe's or ours expect it, by the route."""
    content: dict[str, object] = {"error": {"code": code, "message": message}}
    if path == "/v2" or path.startswith("/v2/"):
        content = {"error": message}
    elif path in PADDLEX_PATHS:
        content = {"logId": str(uuid4()), "errorCode": status, "errorMsg": message}
    return Response(json.dumps(content), status, dict(headers or {}), "application/json")


def install(app: FastAPI) -> None:
    """Every error of every route in its shape."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ImageError, _image)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if (page := _for_a_reader(request, error.status_code, str(error.detail))) is not None:
        return page
    code = getattr(error, "code", None) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return error_response(request.url.path, error.status_code, str(code), str(error.detail), error.headers)


def _for_a_reader(request: Request, status: int, message: str) -> Response | None:
    """The refusal of a page as a page; None for whoever wants no page."""
    from blemish.service.pages.shell import page

    is_reader = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if status == 401 and "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    if status == 401 and is_reader:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(asked)}", 303)
    if not is_reader:
        return None
    return page(request, "problem.html.j2", status, title=HTTPStatus(status).phrase, message=message)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    if (page := _for_a_reader(request, 422, told)) is not None:
        return page
    return error_response(request.url.path, 422, "invalid_request", told)


async def _image(request: Request, error: Exception) -> Response:
    return error_response(request.url.path, 400, "unreadable_image", str(error))


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_GONE)


async def _failed(request: Request, _error: Exception) -> Response:
    return error_response(request.url.path, 500, "internal", "the service failed; its log says more")
