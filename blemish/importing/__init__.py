"""Import: weights of PaddleX and FastFlow-Paddle become model folders."""

from blemish.importing.model_import import ORIGINS, ImportReport, import_model

__all__ = ["ORIGINS", "ImportReport", "import_model"]
