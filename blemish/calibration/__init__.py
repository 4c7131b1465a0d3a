"""Thresholds and p-values from good images alone."""

from blemish.calibration.apart import Apart, apart_by, apart_limit, find_apart
from blemish.calibration.compact import compact, with_images
from blemish.calibration.conformal import Calibration, images_shown
from blemish.calibration.folds import LeftOut, cross_fitted, judged_by, left_out, scored_by, scores_of
from blemish.calibration.held_out import held_out_images
from blemish.calibration.name_pattern import NamePattern, fitting_pattern
from blemish.calibration.outliers import FOLDER_DEVIATIONS, OddFolder, is_in_folder, odd_folders, outlier_limit
from blemish.calibration.parts import LEAST_IMAGES, FoundParts, find_parts, groups_from_names, parts_from_names
from blemish.calibration.remarks import (
    UNSURE_PARTS,
    are_copies_alone,
    linked,
    one_session_line,
    outlier_lines,
    part_lines,
    session_lines,
    sessions_told,
)
from blemish.calibration.sessions import Groups, Sessions, groups_by_time, units_left_out
from blemish.calibration.slow_patterns import why_slow
from blemish.calibration.views import ONE_PART, guessed

__all__ = [
    "FOLDER_DEVIATIONS",
    "LEAST_IMAGES",
    "ONE_PART",
    "UNSURE_PARTS",
    "Apart",
    "Calibration",
    "FoundParts",
    "Groups",
    "LeftOut",
    "NamePattern",
    "OddFolder",
    "Sessions",
    "apart_by",
    "apart_limit",
    "are_copies_alone",
    "compact",
    "cross_fitted",
    "find_apart",
    "find_parts",
    "fitting_pattern",
    "groups_by_time",
    "groups_from_names",
    "guessed",
    "held_out_images",
    "images_shown",
    "is_in_folder",
    "judged_by",
    "left_out",
    "linked",
    "odd_folders",
    "one_session_line",
    "outlier_limit",
    "outlier_lines",
    "part_lines",
    "parts_from_names",
    "scored_by",
    "scores_of",
    "session_lines",
    "sessions_told",
    "units_left_out",
    "why_slow",
    "with_images",
]
