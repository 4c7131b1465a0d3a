"""Faster on this machine: the fastest engine that agrees, and lower precision where it is shown to do no harm."""

from blemish.acceleration.accelerate import Accelerated, accelerate
from blemish.acceleration.quantise import quantised

__all__ = ["Accelerated", "accelerate", "quantised"]
