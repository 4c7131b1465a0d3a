"""Learning by gradient: one loop for every detector that needs it.

Only these modules and those of timm's backbones import torch, and only in use.
"""

from blemish.training.plan import Plan
from blemish.training.requirement import require_torch

__all__ = ["Plan", "require_torch"]
