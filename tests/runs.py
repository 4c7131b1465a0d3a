"""A fit on few small images, and what the tests of it look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.calibration import Calibration
from blemish.config import load_config
from blemish.fitting import FitReport, fit
from blemish.models import LoadedModel, load_model
from blemish.pipeline import open_model

SMALL = ("Model.preset=fast", "Model.width=96", "Model.height=96", "Global.device=cpu")


def fitted(data: Path, output: Path, *overrides: str) -> FitReport:
    return fit(load_config(None, [f"Global.dataset_dir={data}", f"Global.output={output}", *SMALL, *overrides]))


def model_of(report: FitReport) -> LoadedModel:
    return load_model(report.folder)


def calibration(folder: Path) -> Calibration:
    return Calibration.from_json(load_model(folder).info.calibration.model_dump())


def scores(folder: Path, images: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
    """Scores of RGB images."""
    found = open_model(folder, "cpu", 4).predict([image[..., ::-1] for image in images])
    return np.array([result.score for result in found])
