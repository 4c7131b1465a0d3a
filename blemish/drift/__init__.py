"""A warning when the world drifts away from the good images that a model knows."""

from blemish.drift.alarm import Alarm, DriftAlarm
from blemish.drift.statistics import ImageStatistics, image_statistics, small_grey

__all__ = ["Alarm", "DriftAlarm", "ImageStatistics", "image_statistics", "small_grey"]
