"""A fitted model against images whose truth is known."""

from blemish.evaluation.evaluate import evaluate

__all__ = ["evaluate"]
