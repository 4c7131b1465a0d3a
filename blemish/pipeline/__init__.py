"""Images in, results out."""

from blemish.pipeline.parts import PartResult
from blemish.pipeline.predictor import Predictor, open_model
from blemish.pipeline.regions import Region
from blemish.pipeline.result import Result

__all__ = ["PartResult", "Predictor", "Region", "Result", "open_model"]
