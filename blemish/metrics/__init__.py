"""How well scores and maps tell defects from good parts: AUROC, AP, F1, rates, AU-PRO, AU-PIMO, mIoU, intervals."""

from blemish.metrics.binomial import binomial_interval
from blemish.metrics.confusion import Confusion
from blemish.metrics.image import (
    auroc,
    average_precision,
    bootstrap_interval,
    f1_at,
    f1_max,
    roc_curve,
)
from blemish.metrics.pimo import AuPimo
from blemish.metrics.pixel import PixelScores

__all__ = [
    "AuPimo",
    "Confusion",
    "PixelScores",
    "auroc",
    "average_precision",
    "binomial_interval",
    "bootstrap_interval",
    "f1_at",
    "f1_max",
    "roc_curve",
]
