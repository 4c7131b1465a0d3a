"""Thresholds and p-values from good images alone."""

from blemish.calibration.conformal import Calibration
from blemish.calibration.folds import LeftOut, cross_fitted, judged_by, left_out, scored_by, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.name_pattern import NamePattern, fitting_pattern
from blemish.calibration.outliers import FOLDER_DEVIATIONS, OddFolder, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.parts import find_parts, parts_from_names
from blemish.calibration.remarks import outlier_lines, outliers

__all__ = [
    "FOLDER_DEVIATIONS",
    "Calibration",
    "LeftOut",
    "NamePattern",
    "OddFolder",
    "cross_fitted",
    "find_parts",
    "fitting_pattern",
    "held_out_images",
    "is_in_folder",
    "judged_by",
    "left_out",
    "odd_folders",
    "outlier_limit",
    "outlier_lines",
    "outliers",
    "parts_from_names",
    "scored_by",
    "scores_of",
]
