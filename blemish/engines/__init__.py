"""Engines run a network on a device; one small interface, chosen by a device string."""

from blemish.engines.devices import Device, parse_device
from blemish.engines.engine import Engine, engines_for, open_engine

__all__ = ["Device", "Engine", "engines_for", "open_engine", "parse_device"]
