"""Thresholds and p-values from good images alone."""

from blemish.calibration.apart import Apart, apart_by, apart_limit, find_apart
from blemish.calibration.conformal import Calibration, rate_text
from blemish.calibration.folds import LeftOut, cross_fitted, judged_by, left_out, scored_by, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.outliers import FOLDER_DEVIATIONS, OddFolder, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.parts import LEAST_IMAGES, FoundParts, find_parts, parts_from_names
from blemish.calibration.remarks import UNSURE_PARTS, linked, outlier_lines, part_lines
from blemish.calibration.views import ONE_PART, guessed

__all__ = [
    "FOLDER_DEVIATIONS",
    "LEAST_IMAGES",
    "ONE_PART",
    "UNSURE_PARTS",
    "Apart",
    "Calibration",
    "FoundParts",
    "LeftOut",
    "OddFolder",
    "apart_by",
    "apart_limit",
    "cross_fitted",
    "find_apart",
    "find_parts",
    "guessed",
    "held_out_images",
    "is_in_folder",
    "judged_by",
    "left_out",
    "linked",
    "odd_folders",
    "outlier_limit",
    "outlier_lines",
    "part_lines",
    "parts_from_names",
    "rate_text",
    "scored_by",
    "scores_of",
]
