"""Thresholds and p-values from good images alone."""

from blemish.calibration.conformal import Calibration
from blemish.calibration.folds import Chosen, cross_fitted, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.parts import find_parts, parts_from_names

__all__ = [
    "Calibration",
    "Chosen",
    "cross_fitted",
    "find_parts",
    "held_out_images",
    "parts_from_names",
    "scores_of",
]
