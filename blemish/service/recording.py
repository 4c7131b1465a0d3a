"""An inspection is in the store before it is answered."""

from __future__ import annotations

import io
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from blemish.service.pictures import image_png, thumbnail_jpeg
from blemish.store import Inspection, Store

if TYPE_CHECKING:
    from blemish.drift import ImageStatistics
    from blemish.pipeline import Result
    from blemish.service.core import Picture
    from blemish.service.parts import OpenPart
    from blemish.service.registry import Version

Keep = Literal["none", "anomalous", "all"]


class Recorder:
    """Puts what was judged into a store.

    Of the inspections that `keep` names, the image (the file as it came, or a PNG) and the map (the model's own grid,
    float32, as a `.npy` file) are kept; a thumbnail of every one, unless it names none.
    """

    def __init__(self, store: Store, keep: Keep) -> None:
        self.store, self._keep = store, keep

    def inspection(
        self,
        model: str,
        version: Version,
        result: Result,
        statistics: ImageStatistics,
        picture: Picture,
        *,
        part: OpenPart | None = None,
    ) -> Inspection:
        """The record of a result that is no failure, its pictures written; for a thread that may wait for the disk.

        `part` is the one that the image shows and counts for.
        """
        assert result.score is not None and result.threshold is not None and result.size is not None
        put, whole = self.store.blobs.put, self._keep == "all" or (self._keep == "anomalous" and result.is_anomalous)
        return Inspection(
            time=datetime.now(timezone.utc),
            source=picture.source,
            page_index=result.page_index,
            model=model,
            version=version.digest,
            score=result.score,
            p_value=result.p_value,
            threshold=result.threshold,
            pixel_threshold=result.pixel_threshold,
            is_anomalous=bool(result.is_anomalous),
            regions=tuple(region.to_dict() for region in result.regions),
            width=result.size[0],
            height=result.size[1],
            thumbnail_hash=None if self._keep == "none" else put(thumbnail_jpeg(result)),
            image_hash=put(picture.data or image_png(result)) if whole else None,
            map_hash=put(_map_file(result)) if whole else None,
            **asdict(statistics),
            **({} if part is None else _of_part(part, version, result)),
        )


def _of_part(part: OpenPart, version: Version, result: Result) -> dict[str, Any]:
    rate, calibration = result.false_alarm_rate, version.predictor.calibration
    threshold = result.threshold if rate is None else calibration.part_threshold(rate)
    return {"part": part.name, "part_key": part.key, "part_images": part.expected, "part_threshold": threshold}


def _map_file(result: Result) -> bytes:
    assert result.grid_map is not None
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(result.grid_map, np.float32), allow_pickle=False)
    return buffer.getvalue()
