"""Every product of a folder, trained and evaluated with one configuration, in one table; interrupted runs continue."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from blemish import __version__
from blemish.backbones import chosen_backbone, load_backbone
from blemish.config import RunConfig
from blemish.datasets import Dataset, find_categories, load_dataset
from blemish.datasets.files import file_hash, write_whole
from blemish.errors import BlemishError, DatasetError, did_you_mean
from blemish.evaluation import evaluate
from blemish.evaluation.operating import RATES
from blemish.fitting import fit
from blemish.metrics.rates import rate_text
from blemish.models import data_fingerprint
from blemish.report import METRICS, EvaluationReport, Rate

# Shares of the defects found at the promised rates. Where the good images of a product do not support a rate, the share
# is that of the smallest rate that they do, and has a key of its own: it does not count in the mean.
FOUND_AT = {f"found_at_{100 * rate:g}": rate for rate in RATES}
ALARMS_AT = {f"false_alarms_at_{100 * rate:g}": rate for rate in RATES}
LEAST, FOUND_AT_LEAST = "smallest_rate", "found_at_smallest_rate"
# What the printed table shows, and how wide; the CSV file has everything.
_SHOWN = {
    **{key: f"found at {rate_text(rate)}" for key, rate in FOUND_AT.items()},
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "au_pro": "AU-PRO",
    "au_pro_05": "AU-PRO.05",
    "f1": "F1",
    "false_alarm_rate": "false alarms",
    "miss_rate": "misses",
}
_FINISHED = "finished.json"
MEAN = "mean"


@dataclass(frozen=True)
class Row:
    """One model on one product; `failures` names the images and masks that could not be read."""

    model: str
    category: str
    metrics: Mapping[str, float | None]
    train_seconds: float
    evaluate_seconds: float
    failures: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """All rows, and one line for everything that failed."""

    rows: Sequence[Row]
    failed: Sequence[str]

    def text(self) -> str:
        """The table as text: a line for each product, and the mean."""
        lines = [("model", "category", *_SHOWN.values(), "seconds")]
        for row in self.with_means():
            shown = (_cell(row, key) for key in _SHOWN)
            lines.append((row.model, row.category, *shown, f"{row.train_seconds + row.evaluate_seconds:.0f}"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_line(cells, widths) for cells in lines)

    def csv(self) -> str:
        """The same with all metrics."""
        text = io.StringIO()
        keys = [*FOUND_AT, *ALARMS_AT, LEAST, FOUND_AT_LEAST, *(metric.key for metric in METRICS)]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["model", "category", *keys, "train_seconds", "evaluate_seconds"])
        for row in self.with_means():
            values = [row.metrics.get(key) for key in keys]
            writer.writerow([row.model, row.category, *values, row.train_seconds, row.evaluate_seconds])
        return text.getvalue()

    def with_means(self) -> list[Row]:
        """The rows of each model, then their mean; a metric that a product lacks is left out of its mean."""
        rows: list[Row] = []
        for model in dict.fromkeys(row.model for row in self.rows):
            own = [row for row in self.rows if row.model == model]
            rows += [*own, _mean(model, own)]
        return rows


def bench(
    root: Path,
    output: Path,
    configs: Mapping[str, RunConfig],
    categories: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Table:
    """Train and evaluate each configuration (by its model's name) on the data sets in `root`, or on those named.

    Each has its folder `<output>/<model>/<category>` with model and report; `bench.csv` and `bench.json` grow with
    every one that is done. What is done already, with the same configuration, backbone, files and version of Blemish,
    is not done again. A product that fails is named in the table, and the others go on.

    Raises `DatasetError` if there are no data sets, or none of a given name.
    """
    folders = _folders(root, categories)
    rows: list[Row] = []
    failed: list[str] = []
    total = len(configs) * len(folders)
    for model, config in configs.items():
        for category, folder in folders.items():
            say(f"{model} on {category} ({len(rows) + len(failed) + 1} of {total}) ...")
            try:
                row = _done_row(model, category, folder, output / model / category, config)
            except BlemishError as error:
                failed.append(f"{model} on {category} failed: {error}")
                continue
            rows.append(row)
            _write(Table(rows, failed), output, configs, done=False)
    table = Table(rows, [*failed, *(f"{row.category}: {failure}" for row in rows for failure in row.failures)])
    _write(table, output, configs, done=True)
    return table


def _folders(root: Path, wanted: Sequence[str] | None) -> dict[str, Path]:
    """The data sets by name; a folder that is one itself counts as one."""
    found = {path.name: path for path in find_categories(root)}
    if not found:
        load_dataset(root)
        found = {root.resolve().name: root}
    for name in wanted or ():
        if name not in found:
            raise DatasetError(
                f"{root} has no data set {name}; there are {', '.join(found)}.{did_you_mean(name, found)}"
            )
    return {name: path for name, path in found.items() if wanted is None or name in wanted}


def _done_row(model: str, category: str, data: Path, output: Path, config: RunConfig) -> Row:
    """The row that an earlier run has finished, or a new one."""
    key = _key(config, load_dataset(data, good=config.Global.good, leave_out=config.Global.leave_out))
    record = output / _FINISHED
    kept = _kept(record, key)
    if kept is not None:
        return Row(model, category, **kept)
    record.unlink(missing_ok=True)
    settings = config.model_copy(
        update={"Global": config.Global.model_copy(update={"dataset_dir": str(data), "output": str(output)})}
    )
    start = time.perf_counter()
    folder = fit(settings, keeps=False).folder  # by-products: a row that is made again replaces them
    trained = time.perf_counter()
    own = config.Global
    report = evaluate(folder, data, output, own.device, good=own.good, leave_out=own.leave_out)
    train_seconds, evaluate_seconds = round(trained - start, 2), round(time.perf_counter() - trained, 2)
    row = Row(model, category, _plain(report), train_seconds, evaluate_seconds, _failures(report))
    _replace(record, json.dumps({"key": key, **_kept_part(row)}, indent=2))
    return row


def _key(config: RunConfig, dataset: Dataset) -> str:
    """Equal for equal work: configuration without places, backbone, every file of the data set, this version."""
    settings = config.model_dump()
    for place in ("dataset_dir", "output"):
        del settings["Global"][place]
    backbone = load_backbone(chosen_backbone(config.Model))  # a file of that name may have changed
    network = [backbone.sha256, backbone.mean, backbone.std, [tap.name for tap in backbone.taps]]
    samples = (*dataset.train, *dataset.test)
    files = {sample.name: sample.path for sample in samples}
    files |= {f"{sample.name} mask {i}": mask for sample in samples for i, mask in enumerate(sample.masks)}
    hashes = {name: file_hash(path) for name, path in files.items() if path.is_file()}
    text = json.dumps([settings, network, data_fingerprint(hashes), __version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(record: Path, key: str) -> dict[str, Any] | None:
    """What an earlier run has kept, if it did the same; whatever cannot be read was not finished."""
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
        if kept.pop("key") == key and set(kept) == set(_kept_part(Row("", "", {}, 0, 0))):
            return dict(kept)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        pass
    return None


def _kept_part(row: Row) -> dict[str, Any]:
    """A row without what its place says."""
    return {key: value for key, value in asdict(row).items() if key not in ("model", "category")}


def _plain(report: EvaluationReport) -> dict[str, float | None]:
    """What is found at each rate that is kept, and the metrics, all without their intervals."""
    found: dict[str, float | None] = dict.fromkeys([*FOUND_AT, *ALARMS_AT, LEAST, FOUND_AT_LEAST])
    for point in report.found.points:
        kept = [rate for rate in point.asked if rate not in point.unsupported]
        for keys, share in ((FOUND_AT, point.found), (ALARMS_AT, point.false_alarms)):
            found |= {key: _value(share) for key, rate in keys.items() if rate in kept}
        if point.unsupported:
            found |= {LEAST: point.rate, FOUND_AT_LEAST: _value(point.found)}
    return found | {key: value for key, value in report.metrics.items() if not isinstance(value, tuple)}


def _value(share: Rate | None) -> float | None:
    return None if share is None else share.value


def _cell(row: Row, key: str) -> str:
    """A figure; for a rate that is not supported, what is found at the smallest that is, and that rate."""
    value, least = row.metrics.get(key), row.metrics.get(LEAST)
    if value is None and least is not None and row.category != MEAN and FOUND_AT.get(key, 1.0) < least:
        value = row.metrics.get(FOUND_AT_LEAST)
        return "-" if value is None else f"{value:.4f} at {rate_text(least)}"
    return "-" if value is None else f"{value:.4f}"


def _failures(report: EvaluationReport) -> list[str]:
    return [*(str(image.error) for image in report.failed), *report.problems]


def _mean(model: str, rows: Sequence[Row]) -> Row:
    keys = dict.fromkeys(key for row in rows for key in row.metrics)
    known = {key: [value for row in rows if (value := row.metrics.get(key)) is not None] for key in keys}
    means = {key: fmean(values) if values else None for key, values in known.items()}
    train_seconds = round(fmean(row.train_seconds for row in rows), 2)
    evaluate_seconds = round(fmean(row.evaluate_seconds for row in rows), 2)
    return Row(model, MEAN, means, train_seconds, evaluate_seconds)


def _write(table: Table, output: Path, configs: Mapping[str, RunConfig], *, done: bool) -> None:
    content = {
        "done_flag": done,
        "blemish_version": __version__,
        "configs": {model: config.model_dump(mode="json") for model, config in configs.items()},
        "rows": [asdict(row) for row in table.rows],
        "mean": {row.model: dict(row.metrics) for row in table.with_means() if row.category == MEAN},
        "failed": list(table.failed),
    }
    _replace(output / "bench.csv", table.csv())
    _replace(output / "bench.json", json.dumps(content, indent=2) + "\n")


def _replace(path: Path, text: str) -> None:
    """Write a file that is never seen half written."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    names = (cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False))
    numbers = (cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True))
    return "  ".join((*names, *numbers))
