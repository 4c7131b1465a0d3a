"""The evaluation report: plain records in, one self-contained HTML page out."""

from blemish.report.glossary import METRICS, PART_METRICS
from blemish.report.page import render_report
from blemish.report.record import (
    Alternative,
    EvaluationReport,
    FoundAtRates,
    Judged,
    Kind,
    OperatingPoint,
    PartFigures,
    Picture,
    Rate,
    RateChange,
    Remark,
    Shelf,
    Threshold,
)

__all__ = [
    "METRICS",
    "PART_METRICS",
    "Alternative",
    "EvaluationReport",
    "FoundAtRates",
    "Judged",
    "Kind",
    "OperatingPoint",
    "PartFigures",
    "Picture",
    "Rate",
    "RateChange",
    "Remark",
    "Shelf",
    "Threshold",
    "render_report",
]
