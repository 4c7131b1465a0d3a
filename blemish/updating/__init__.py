"""Updating: a model at work takes in new good images."""

from blemish.updating.update import UpdateReport, update

__all__ = ["UpdateReport", "update"]
