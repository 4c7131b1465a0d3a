"""Thresholds and p-values from good images alone."""

from blemish.calibration.conformal import Calibration
from blemish.calibration.folds import LeftOut, cross_fitted, judged_by, left_out, scored_by, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.name_pattern import NamePattern, fitting_pattern
from blemish.calibration.outliers import FOLDER_DEVIATIONS, OddFolder, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.parts import LEAST_IMAGES, FoundParts, find_parts, parts_from_names
from blemish.calibration.remarks import UNSURE_PARTS, linked, outlier_lines, outliers, part_lines
from blemish.calibration.views import ONE_PART, guessed

__all__ = [
    "FOLDER_DEVIATIONS",
    "LEAST_IMAGES",
    "ONE_PART",
    "UNSURE_PARTS",
    "Calibration",
    "FoundParts",
    "LeftOut",
    "NamePattern",
    "OddFolder",
    "cross_fitted",
    "find_parts",
    "fitting_pattern",
    "guessed",
    "held_out_images",
    "is_in_folder",
    "judged_by",
    "left_out",
    "linked",
    "odd_folders",
    "outlier_limit",
    "outlier_lines",
    "outliers",
    "part_lines",
    "parts_from_names",
    "scored_by",
    "scores_of",
]
