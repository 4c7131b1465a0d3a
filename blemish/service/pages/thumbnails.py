"""Small pictures of inspections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blemish.errors import StoreError
from blemish.service.pages.viewing import address
from blemish.store import Inspection, Store


@dataclass(frozen=True)
class Thumbnail:
    """An inspection and the address of its picture, which is empty where none is kept."""

    inspection: Inspection
    picture: str


def thumbnails(store: Store, inspections: Sequence[Inspection]) -> list[Thumbnail]:
    """Their small pictures, each as an address that holds it."""
    return [Thumbnail(one, _picture(store, one.thumbnail_hash)) for one in inspections]


def _picture(store: Store, name: str | None) -> str:
    try:
        return "" if name is None else address("jpeg", store.blobs.get(name))
    except StoreError:  # forgotten meanwhile
        return ""
