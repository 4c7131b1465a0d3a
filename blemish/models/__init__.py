"""The model folder on disk: write, find, verify, read."""

from blemish.models.exported import describe_export, exported_files
from blemish.models.folder import LoadedModel, check_place, find_model, load_model, save_model, set_false_alarm_rate
from blemish.models.info import (
    BackboneInfo,
    CalibrationInfo,
    DataInfo,
    DetectorInfo,
    FileInfo,
    InputInfo,
    ModelInfo,
    OutputInfo,
    UpdateInfo,
    data_fingerprint,
    printable,
    short_hash,
)
from blemish.models.versions import bring_back, kept_versions, replace_model

__all__ = [
    "BackboneInfo",
    "CalibrationInfo",
    "DataInfo",
    "DetectorInfo",
    "FileInfo",
    "InputInfo",
    "LoadedModel",
    "ModelInfo",
    "OutputInfo",
    "UpdateInfo",
    "bring_back",
    "check_place",
    "data_fingerprint",
    "describe_export",
    "exported_files",
    "find_model",
    "kept_versions",
    "load_model",
    "printable",
    "replace_model",
    "save_model",
    "set_false_alarm_rate",
    "short_hash",
]
