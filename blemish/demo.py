"""A first look: the generated sample, a model of it, and results to open."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from blemish import __version__
from blemish.cache import cache_home
from blemish.checking import check_dataset
from blemish.config import RunConfig, load_config
from blemish.datasets import Dataset, generate_sample, load_dataset
from blemish.errors import BlemishError, DatasetError, ImageError, ModelError, UsageError
from blemish.evaluation import evaluate
from blemish.fitting import FitReport, fit
from blemish.images import ImageRef, expand
from blemish.metrics.rates import counted
from blemish.models import load_model
from blemish.pipeline import Predictor, Result, open_model

if TYPE_CHECKING:
    from blemish.pipeline.overview import Entry

log = logging.getLogger("blemish")

DEMO_WARNING = (
    "No model was given, so the demo model answers. It knows only the generated hazelnut sample; on any other image "
    "its verdict means nothing. Train on good images of your own: blemish train DIR --output OUT, then name OUT as the "
    "model (--model OUT, model_dir=OUT)."
)

QUICKSTART_SAMPLE = {"train": 100, "size": 384}  # 99 good images are what a rate of 1 % needs
DEMO_SAMPLE = {"train": 40, "good": 1, "per_defect": 1, "size": 320}
SECOND_RATE = 0.05  # shown beside the rate in force, since the rate can be changed at any time
SHOWN = 5  # results in the overview
NAMED = 3  # files in a finding


def quickstart(
    data: Path | None,
    output: Path,
    say: Callable[[str], None] = log.info,
    train: Callable[[RunConfig], FitReport] = fit,
    good: Sequence[str] = (),
) -> str:
    """Generate the sample (or take `data`), check, train, predict, evaluate, save it all; returns the summary."""
    if data is None:
        say(f"Drawing a sample of hazelnuts into {output / 'sample'} ...")
        data = generate_sample(output / "sample", **QUICKSTART_SAMPLE)
    _check(data, output / "check", say, good)
    say(f"Learning from the good images in {data} ...")
    report = train(
        load_config(
            "PatchCore",
            [
                f"Global.dataset_dir={data}",
                f"Global.output={output / 'model'}",
                f"Global.good={json.dumps(list(good))}",
            ],
        )
    )
    dataset = load_dataset(data, good=good)
    if not dataset.test:
        say(f"{data} has no test images, so those it has learned from are judged; new ones will score higher.")
    say(f"Judging {counted(len(dataset.test or dataset.train), 'image')} in {data} ...")
    predictor = open_model(report.output)
    overview = _Overview(predictor)
    for result in predictor.predict_refs(_judged(dataset)):
        result.save_all(output / "results")
        overview.add(result)
    overview.draw(output / "overview.png", f"{counted(predictor.model.info.data.images, 'good image')} learned")
    page = _evaluated(report.output, data, output / "evaluation", good)
    return (
        f"{overview.table()}\n"
        "The percentage is the share of good images that may raise an alarm; predict --false-alarm-rate changes it.\n\n"
        f"overview  {output / 'overview.png'}\n"
        f"report    {page}\n"
        f"results   {output / 'results'}\n"
        f"model     {report.output}\n"
        f"check     {output / 'check'}\n\n"
        "Next, with your own images:\n"
        "  blemish train DIR --output OUT\n"
        "  blemish predict OUT IMAGES --save_path RESULTS"
    )


def demo_model(say: Callable[[str], None] = log.warning) -> Path:
    """The model folder of the demo, fitted on the generated sample at the first call and kept in the user's cache.

    `say` gets the warning that this model knows nothing but the sample. `BLEMISH_CACHE_HOME` moves the cache.
    """
    say(DEMO_WARNING)
    home = cache_home() / f"demo-{__version__}"
    try:
        return load_model(home / "model").folder
    except ModelError:
        say(f"Making the demo model once, in {home}; this takes some seconds ...")
    building = home.with_name(f"{home.name}.{os.getpid()}")
    try:
        _build(building)
        _put(building, home)
    except OSError as error:
        raise UsageError(
            f"the cache {home} cannot be written ({error.strerror}); set BLEMISH_CACHE_HOME to a folder that can"
        ) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return load_model(home / "model").folder


def _check(data: Path, output: Path, say: Callable[[str], None], good: Sequence[str]) -> None:
    """Check the data set and say what was found; what is wrong with it does not end the first look."""
    say(f"Checking the images in {data} ...")
    try:
        checked = check_dataset(data, output, good=good)
    except BlemishError as error:
        say(f"Not checked: {error}")
        return
    for finding in (*checked.errors, *checked.warnings):
        names = ", ".join(finding.files[:NAMED])
        say(f"{finding.severity}: {names}{': ' if names else ''}{finding.message}")


def _judged(dataset: Dataset) -> Iterator[ImageRef]:
    """The test images by their kind, or those to learn from by their name; no masks, and nothing that is left out."""
    for sample in dataset.test or dataset.train:
        name = PurePosixPath(sample.kind, sample.path.name) if dataset.test else PurePosixPath(sample.name)
        for ref in expand(str(sample.path)):
            yield replace(ref, name=name)


def _evaluated(model: Path, data: Path, output: Path, good: Sequence[str]) -> str:
    """Where the report is, or why there is none: own data may have no test images."""
    try:
        evaluate(model, data, output, good=good)
    except DatasetError as error:
        return f"none: {error}"
    return str(output / "report.html")


def _build(folder: Path) -> None:
    """The demo's sample and its model."""
    data = generate_sample(folder / "sample", **DEMO_SAMPLE)
    overrides = [f"Global.dataset_dir={data}", f"Global.output={folder / 'model'}", "Model.preset=fast"]
    fit(load_config("PatchCore", overrides))


def _put(building: Path, home: Path) -> None:
    """Rename what is finished; another process that was faster has made the same."""
    shutil.rmtree(home, ignore_errors=True)
    try:
        building.rename(home)
    except OSError:
        if not home.is_dir():
            raise


class _Overview:
    """Counts verdicts by sub-folder, and keeps the result with the highest score of each for a picture."""

    def __init__(self, predictor: Predictor) -> None:
        self._limit = predictor.limit
        known = predictor.calibration.is_calibrated
        self._second = predictor.calibration.threshold(SECOND_RATE) if known else None
        self._judged: Counter[str] = Counter()
        self._anomalous: Counter[str] = Counter()
        self._at_second_rate: Counter[str] = Counter()
        self._highest: dict[str, Result] = {}
        self._failed = 0

    def add(self, result: Result) -> None:
        """Count a result; one that failed is counted as such."""
        if result.score is None:
            self._failed += 1
            return
        group = result.name.parent.as_posix()
        self._judged[group] += 1
        self._anomalous[group] += bool(result.is_anomalous)
        self._at_second_rate[group] += self._second is not None and result.score > self._second
        if group not in self._highest or result.score > (self._highest[group].score or 0):
            self._highest[group] = result

    def table(self) -> str:
        """A line for each sub-folder."""
        width = max(len("folder"), *map(len, self._judged))
        heads = ["images", "anomalous"]
        if self._limit.rate is not None:
            heads = ["images", f"anomalous at {_percent(self._limit.rate)}", f"at {_percent(SECOND_RATE)}"]
        lines = [f"{'folder':<{width}}  {'  '.join(heads)}"]
        for group in self._groups():
            counts = self._judged[group], self._anomalous[group], self._at_second_rate[group]
            cells = (f"{count:{len(head)}}" for count, head in zip(counts, heads, strict=False))
            lines.append(f"{group:<{width}}  {'  '.join(cells)}")
        if self._failed:
            count = self._failed
            lines.append(f"{counted(count, 'image')} got no verdict; the JSON files in results say why.")
        return "\n".join(lines)

    def draw(self, path: Path, title: str) -> None:
        """The picture of the highest-scoring image of the good and of the most anomalous sub-folders."""
        from PIL import Image

        from blemish.pipeline.overview import draw_overview

        groups = self._groups()
        if not groups:
            raise ImageError("No image could be judged: there is none, or none that can be read.")
        by_score = sorted(groups[1:], key=lambda group: self._highest[group].score or 0, reverse=True)
        chosen = [group for group in groups if group in (groups[0], *by_score[: SHOWN - 1])]
        rate = "not calibrated" if self._limit.rate is None else f"false-alarm rate {_percent(self._limit.rate)}"
        caption = f"The highest score of each folder; {rate}"
        entries = [_entry(group, self._highest[group]) for group in chosen]
        Image.fromarray(draw_overview(entries, self._limit.pixel, title=title, caption=caption)).save(path)

    def _groups(self) -> list[str]:
        """The sub-folders by name, good ones first."""
        return sorted(self._judged, key=lambda group: (group != "good", group))


def _entry(group: str, result: Result) -> Entry:
    from blemish.pipeline.overview import Entry

    assert result.image is not None
    assert result.anomaly_map is not None
    p_value = "" if result.p_value is None else f", p {result.p_value:.2g}"
    caption = f"{result.name.name}, score {result.score:.1f}{p_value}"
    title = result.name.stem if group == "." else group
    return Entry(title, caption, bool(result.is_anomalous), result.image, result.anomaly_map)


def _percent(rate: float) -> str:
    return f"{100 * rate:g} %"
