"""The model folder on disk: write, find, verify, read."""

from blemish.models.exported import describe_export, exported_files
from blemish.models.folder import LoadedModel, check_place, find_model, load_model, save_model, set_false_alarm_rate
from blemish.models.good_patches import MOST_ROWS, GoodPatches, encode_patch, pack_patches, patch_side
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
    "MOST_ROWS",
    "BackboneInfo",
    "CalibrationInfo",
    "DataInfo",
    "DetectorInfo",
    "FileInfo",
    "GoodPatches",
    "InputInfo",
    "LoadedModel",
    "ModelInfo",
    "OutputInfo",
    "UpdateInfo",
    "bring_back",
    "check_place",
    "data_fingerprint",
    "describe_export",
    "encode_patch",
    "exported_files",
    "find_model",
    "kept_versions",
    "load_model",
    "pack_patches",
    "patch_side",
    "printable",
    "replace_model",
    "save_model",
    "set_false_alarm_rate",
    "short_hash",
]
