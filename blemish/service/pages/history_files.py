"""History's files: thumbnails and images by the number of their inspection, and a choice as a table."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from fastapi import APIRouter, Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from blemish.errors import StoreError, UsageError
from blemish.service.core import service_of, store_of
from blemish.service.errors import ServiceError
from blemish.service.pages.history import Choice, InspectionId, inspection_of
from blemish.service.pages.kept import file_name, file_type
from blemish.store import Filter, Store

router = APIRouter(prefix="/history", include_in_schema=False)

_CHUNK = 1 << 18
_TABLES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
# the content of a number never changes; and whatever it holds, a browser runs nothing of it
_PICTURE = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Security-Policy": "sandbox"}


@router.get("/export.{kind}")
async def export(request: Request, kind: Literal["csv", "parquet"], choice: Choice) -> Response:
    """The choice as a download, oldest first."""
    with service_of(request).exports.hold(1):
        try:
            folder = service_of(request).settings.output
            file = await asyncio.to_thread(_table, store_of(request), choice.filter, kind, folder)
        except UsageError as error:  # pyarrow is not installed
            raise ServiceError(501, "not_installed", str(error)) from error
    headers = {"Content-Disposition": f'attachment; filename="inspections.{kind}"', "Cache-Control": "no-store"}
    return StreamingResponse(iterate_in_threadpool(_chunks(file)), media_type=_TABLES[kind], headers=headers)


@router.get("/{id}/thumbnail")
async def thumbnail(request: Request, id: InspectionId) -> Response:
    """A JPEG of at most 192 pixels."""
    data = await _blob(request, (await inspection_of(request, id)).thumbnail_hash)
    return Response(data, media_type="image/jpeg", headers=_PICTURE)


@router.get("/{id}/image")
async def image(request: Request, id: InspectionId) -> Response:
    """The image as it came, for a download."""
    inspection = await inspection_of(request, id)
    data = await _blob(request, inspection.image_hash)
    kind, suffix = file_type(data)
    disposition = f'attachment; filename="{file_name(inspection, suffix)}"'
    return Response(data, media_type=kind, headers={**_PICTURE, "Content-Disposition": disposition})


async def _blob(request: Request, name: str | None) -> bytes:
    if name is None:
        raise ServiceError(404, "not_kept", "this was not kept of the inspection; see --keep of blemish serve")
    try:
        return await asyncio.to_thread(store_of(request).blobs.get, name)
    except StoreError as error:
        raise ServiceError(404, "not_kept", str(error)) from error


def _table(store: Store, filter: Filter, kind: Literal["csv", "parquet"], place: Path) -> BinaryIO:
    """The table in a file that goes with its last reader; beside the store, since `/tmp` may be memory, and small."""
    if kind == "csv":
        file: BinaryIO = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 - it is closed by who sends it
        text = io.TextIOWrapper(file, "utf-8", newline="")
        store.export_csv(filter, text)
        text.flush()
        text.detach()
        file.seek(0)
        return file
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        path = Path(folder, "inspections.parquet")
        store.export_parquet(filter, path)
        return path.open("rb")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
