"""Thresholds and p-values from good images alone."""

from blemish.calibration.conformal import Calibration, rate_text
from blemish.calibration.folds import LeftOut, cross_fitted, judged_by, left_out, scored_by, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.parts import find_parts, parts_from_names

__all__ = [
    "Calibration",
    "LeftOut",
    "cross_fitted",
    "find_parts",
    "held_out_images",
    "judged_by",
    "left_out",
    "parts_from_names",
    "rate_text",
    "scored_by",
    "scores_of",
]
