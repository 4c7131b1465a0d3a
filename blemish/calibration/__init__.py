"""Thresholds and p-values from good images alone."""

from blemish.calibration.conformal import Calibration
from blemish.calibration.folds import cross_fitted
from blemish.calibration.parts import find_parts, parts_from_names

__all__ = ["Calibration", "cross_fitted", "find_parts", "parts_from_names"]
