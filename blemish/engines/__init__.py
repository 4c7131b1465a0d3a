"""Engines run a network on a device; one small interface, chosen by a device string."""

from blemish.engines.devices import Device, parse_device
from blemish.engines.engine import ENGINES, Engine, engines_for, installed_engines, open_engine

__all__ = ["ENGINES", "Device", "Engine", "engines_for", "installed_engines", "open_engine", "parse_device"]
