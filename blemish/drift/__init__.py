"""A warning when the images of a stream become those of another session than before."""

from blemish.drift.alarm import Alarm, DriftAlarm
from blemish.drift.statistics import ImageStatistics, image_statistics, small_grey

__all__ = ["Alarm", "DriftAlarm", "ImageStatistics", "image_statistics", "small_grey"]
