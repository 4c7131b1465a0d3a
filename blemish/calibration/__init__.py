"""Thresholds and p-values from good images alone."""

from blemish.calibration.conformal import Calibration, rate_text
from blemish.calibration.folds import LeftOut, cross_fitted, judged_by, left_out, scored_by, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.outliers import FOLDER_DEVIATIONS, OddFolder, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.parts import find_parts, groups_from_names, parts_from_names
from blemish.calibration.remarks import one_session_line, outlier_lines, outliers, session_lines
from blemish.calibration.sessions import Groups, Sessions, groups_by_time, units_left_out

__all__ = [
    "FOLDER_DEVIATIONS",
    "Calibration",
    "Groups",
    "LeftOut",
    "OddFolder",
    "Sessions",
    "cross_fitted",
    "find_parts",
    "groups_by_time",
    "groups_from_names",
    "held_out_images",
    "is_in_folder",
    "judged_by",
    "left_out",
    "odd_folders",
    "one_session_line",
    "outlier_limit",
    "outlier_lines",
    "outliers",
    "parts_from_names",
    "rate_text",
    "scored_by",
    "scores_of",
    "session_lines",
    "units_left_out",
]
