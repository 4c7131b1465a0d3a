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
    data_fingerprint,
    printable,
    short_hash,
)

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
    "check_place",
    "data_fingerprint",
    "describe_export",
    "exported_files",
    "find_model",
    "load_model",
    "printable",
    "save_model",
    "set_false_alarm_rate",
    "short_hash",
]
