"""The detectors and their registry: one file per method, found through entry points."""

from blemish.detectors.base import Detector, Image, Images, ModelCard, Progress, Setting
from blemish.detectors.registry import check_settings, detector_class, list_models, recorded_detector

__all__ = [
    "Detector",
    "Image",
    "Images",
    "ModelCard",
    "Progress",
    "Setting",
    "check_settings",
    "detector_class",
    "list_models",
    "recorded_detector",
]
