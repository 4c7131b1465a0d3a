"""A controlled-variable study: the same training under several values of some keys, compared on good images."""

from blemish.tuning.question import Question, ask
from blemish.tuning.study import tune
from blemish.tuning.table import Table

__all__ = ["Question", "Table", "ask", "tune"]
