"""From a request's body to named bytes."""

from __future__ import annotations

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile

from blemish.service.errors import ServiceError
from blemish.service.gate import BODY

_LONGEST_NAME = 200


async def read_body(request: Request) -> bytes:
    """The whole body; its bounds are those of the gate."""
    request.scope[BODY].allow_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    if not body:
        raise ServiceError(400, "empty_body", "the request has no body")
    return bytes(body)


async def read_files(request: Request, most: int) -> list[tuple[str, bytes]]:
    """The files of a multipart form, or the raw body as one, with their names."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form_files(request, most)
    if kind == "application/json":  # what curl and urllib call a body of bytes is no reason to refuse it
        raise ServiceError(415, "unsupported_media_type", "send the image's bytes as the body, or a multipart form")
    return [("image", await read_body(request))]


async def _form_files(request: Request, most: int) -> list[tuple[str, bytes]]:
    request.scope[BODY].allow_large()
    try:
        form = await request.form(max_files=most, max_fields=most)
    except MultipartParseError as error:  # starlette itself refuses what else can be wrong with a form
        raise ServiceError(400, "bad_form", f"the multipart form cannot be read: {error}") from error
    try:
        parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        files = [(_name(part.filename), await part.read()) for part in parts]
    finally:
        await form.close()
    if not files:
        raise ServiceError(400, "no_image", "the multipart form holds no file")
    return files


def _name(given: str | None) -> str:
    """What the sender calls a file, as a name alone."""
    name = (given or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in name if c.isprintable())[:_LONGEST_NAME] or "image"
