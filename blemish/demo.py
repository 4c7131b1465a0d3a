"""A first look: the generated sample, a model of it, and results to open."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish import __version__
from blemish.config import load_config
from blemish.datasets import generate_sample
from blemish.errors import ModelError, UsageError
from blemish.fitting import fit
from blemish.models import load_model
from blemish.pipeline import Result, open_model

log = logging.getLogger("blemish")

DEMO_WARNING = (
    "No model was given, so the demo model is used. It knows only the generated hazelnut sample and calls everything "
    "else anomalous. Train on good images of your own: blemish train DIR --output OUT, then use --model OUT."
)


SAMPLE = {"train": 40, "good": 1, "per_defect": 1, "size": 320}  # what the demo model learns from
PANELS = 4  # pictures in the overview


def quickstart(data: Path | None, output: Path, say: Callable[[str], None]) -> None:
    """Generate the sample (or take `data`), train, predict, save every result, and say where everything is."""
    if data is None:
        say("Generating the sample ...")
        data = generate_sample(output / "sample")
    say(f"Learning from the good images in {data} ...")
    report = fit(load_config("PatchCore", [f"Global.dataset_dir={data}", f"Global.output={output / 'model'}"]))
    for line in report.lines:
        say(line)
    test = data / "test" if (data / "test").is_dir() else data
    say(f"Judging the images in {test} ...")
    overview = _Overview()
    for result in open_model(report.folder).predict(test):
        result.save_all(output / "results")
        overview.add(result)
    picture = overview.draw(output / "overview.png")
    say(
        f"\n{overview.table()}\n"
        f"model      {report.folder}\n"
        f"results    {output / 'results'}\n"
        f"overview   {picture}\n"
        "\nNow with your own images: blemish train DIR --output OUT, then blemish predict OUT IMAGES"
    )


def demo_model(say: Callable[[str], None] = log.warning) -> Path:
    """The model folder of the demo, fitted on the generated sample at the first call and kept in the user's cache.

    `say` gets the warning that this model knows nothing but the sample. `BLEMISH_CACHE_HOME` moves the cache.
    """
    say(DEMO_WARNING)
    home = _cache_home() / f"demo-{__version__}"
    output = home / "model"
    try:
        return load_model(output).folder
    except ModelError:
        say(f"Fitting it once, into {home} ...")
    try:
        shutil.rmtree(home, ignore_errors=True)  # what an interrupted first call has left
        home.mkdir(parents=True, exist_ok=True)
        data = generate_sample(home / "sample", **SAMPLE)
    except OSError as error:
        raise UsageError(
            f"the cache {home} cannot be written ({error.strerror}); set BLEMISH_CACHE_HOME to a folder that can"
        ) from None
    overrides = [f"Global.dataset_dir={data}", f"Global.output={output}", "Model.preset=fast"]
    return fit(load_config("PatchCore", overrides)).folder


def _cache_home() -> Path:
    own = os.environ.get("BLEMISH_CACHE_HOME")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blemish"


class _Overview:
    """Counts verdicts by sub-folder, and keeps the most telling result of each for a picture."""

    def __init__(self) -> None:
        self._judged: Counter[str] = Counter()
        self._anomalous: Counter[str] = Counter()
        self._best: dict[str, Result] = {}

    def add(self, result: Result) -> None:
        """Count a result; results that failed are counted as neither."""
        if result.score is None:
            return
        group = result.name.parent.as_posix()
        self._judged[group] += 1
        self._anomalous[group] += bool(result.is_anomalous)
        best = self._best.get(group)
        if best is None or best.score is None or result.score > best.score:
            self._best[group] = result

    def table(self) -> str:
        """One line for each sub-folder."""
        width = max(map(len, self._judged), default=0)
        return "".join(
            f"{group:<{width}}  {count:3} images, {self._anomalous[group]:3} called anomalous\n"
            for group, count in self._judged.items()
        )

    def draw(self, path: Path) -> Path:
        """The panels of the most anomalous images, below each other."""
        from PIL import Image

        ranked = sorted(self._best.values(), key=lambda result: result.score or 0, reverse=True)
        panels = [_panel(result) for result in ranked[:PANELS]]
        widest = max(panel.shape[1] for panel in panels)
        white = [np.pad(p, ((0, 0), (0, widest - p.shape[1]), (0, 0)), constant_values=255) for p in panels]
        Image.fromarray(np.concatenate(white)).save(path)
        return path


def _panel(result: Result) -> npt.NDArray[np.uint8]:
    """Image, heat map and overlay side by side."""
    from blemish.pipeline.panel import draw_panel

    assert result.image is not None
    assert result.anomaly_map is not None
    assert result.pixel_threshold is not None
    caption = f"score {result.score:.1f}, threshold {result.threshold:.1f}, p {result.p_value:.3f}"
    return draw_panel(
        result.image,
        result.anomaly_map,
        result.pixel_threshold,
        title=result.name.as_posix(),
        caption=caption,
        anomalous=result.is_anomalous,
    )
