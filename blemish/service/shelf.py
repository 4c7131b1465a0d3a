"""What the service remembers of its models: uploaded and trained folders, and which version of each name answers."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish.calibration import why_slow
from blemish.errors import BlemishError, ModelError
from blemish.models import GoodPatches, load_model
from blemish.models.files import sibling, sync_folder, write_synced
from blemish.service.registry import Model, Registry
from blemish.service.settings import ModelSource
from blemish.service.uploads import read_model_zip

_RECORD, _FOLDER = "models.json", "models"

log = logging.getLogger("blemish.service")


class Shelf:
    """`models/` and `models.json` in the output folder."""

    def __init__(self, output: Path) -> None:
        self._folder, self._record = output / _FOLDER, output / _RECORD

    def keep(self, data: bytes) -> Path:
        """The folder of an uploaded model, verified as every model folder is; `ModelError` without a path in it."""
        return self._take(read_model_zip(data), is_upload=True)

    def adopt(self, folder: Path) -> Path:
        """The shelf's own copy of a model that was trained here; `ModelError` without a path in it."""
        return self._take({file.name: file.read_bytes() for file in folder.iterdir()})

    def discard(self, folders: Sequence[Path]) -> None:
        """Remove uploaded models; other folders stay."""
        for folder in folders:
            if folder.parent == self._folder:
                shutil.rmtree(folder, ignore_errors=True)

    def save(self, models: Sequence[Model]) -> None:
        """Remember the names, their versions, which answers and at which rates they decide."""
        record = {
            model.name: {
                "active": model.active,
                "previous": model.previous,
                "given": model.given,
                "rates": {one.id: one.rate for one in model.versions.values() if one.rate is not None},
                "versions": list(model.versions),
                "uploaded": [one.id for one in model.versions.values() if one.folder.parent == self._folder],
            }
            for model in models
        }
        self._record.parent.mkdir(parents=True, exist_ok=True)
        temporary = sibling(self._record, ".tmp")
        write_synced(temporary, json.dumps(record, indent=2).encode())
        temporary.replace(self._record)
        sync_folder(self._record.parent)

    def load(self, registry: Registry, given: Sequence[ModelSource]) -> None:
        """The given models, then what was uploaded; the version that answered last answers again.

        A given folder whose model was not seen before answers itself: it was trained since. A given model that was
        renamed keeps its new name, unless another one is given that.
        """
        record = self._read()
        renamed = {
            known.get("given"): name for name, known in record.items() if name not in {one.name for one in given}
        }
        for model in given:
            name = renamed.get(model.name, model.name)
            version = registry.add(name, model.folder, given=model.name)
            known = record.get(name, {})
            if version.id not in known.get("versions", ()):
                known["active"], known["previous"] = version.id, known.get("active")
        for name, known in record.items():
            for uploaded in known.get("uploaded", ()):
                try:
                    registry.add(name, self._folder / uploaded, activate=False)
                except BlemishError as error:
                    log.warning("an uploaded version of %s is left out: %s", name, error)
            if name in registry.names():
                _restore(registry.model(name), registry, known)

    def _take(self, content: Mapping[str, bytes], *, is_upload: bool = False) -> Path:
        """The folder of these files, verified; an equal one that is there already stays."""
        self._folder.mkdir(parents=True, exist_ok=True)
        incoming = sibling(self._folder / "upload", ".tmp")
        try:
            incoming.mkdir()
            for name, file in content.items():
                write_synced(incoming / name, file)
            place = self._folder / _verified(incoming, is_upload=is_upload)
            if not place.exists():
                incoming.rename(place)
                sync_folder(self._folder)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return place

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            record = json.loads(self._record.read_bytes())
            return {str(name): dict(known) for name, known in record.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("%s cannot be read and is begun anew: %s", self._record, error)
            return {}


def _restore(model: Model, registry: Registry, known: dict[str, Any]) -> None:
    """Which version answers, which did before, and the rates that were set."""
    for version in (known.get("previous"), known.get("active")):
        if version in model.versions:
            registry.activate(model.name, version)
    for version, rate in known.get("rates", {}).items():
        if version in model.versions:
            try:
                model.versions[version].set_rate(rate)
            except (BlemishError, TypeError) as error:
                log.warning("the rate that was set for %s is left out: %s", model.name, error)


def _verified(folder: Path, *, is_upload: bool) -> str:
    """The name for a model that was put into a folder; an upload's pattern must be quick on every name."""
    try:
        model = load_model(folder)
        if model.good_patches is not None:
            GoodPatches(model.good_patches)  # whatever it refuses is better refused now than when it is asked for
        pattern = model.info.calibration.group_by
        slow = why_slow(pattern) if is_upload and pattern is not None else None
        if slow is not None:
            raise ModelError(
                f"the upload's pattern of parts, `{pattern}`, {slow}: some names would stop the service; train with a "
                "plainer Calibrate.group_by, or give the model on the command line"
            )
        return model.info.version[:12]
    except ModelError as error:
        raise ModelError(str(error).replace(f"model folder {folder}", "the upload")) from None
