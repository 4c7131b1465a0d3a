"""The page: the records, the charts and the words, put into the template."""

from __future__ import annotations

import base64
import re
from functools import partial
from importlib.resources import files
from typing import Any, NamedTuple

from blemish.metrics.rates import counted, rate_text
from blemish.report import charts, words
from blemish.report.glossary import BY_KEY, METRICS, PART_METRICS
from blemish.report.record import EvaluationReport, Rate, Shelf


class Tile(NamedTuple):
    """One of the large numbers at the top."""

    name: str
    value: str
    detail: str
    tone: str = ""


class Section(NamedTuple):
    """One shelf of the gallery with its heading and what it means."""

    key: str
    title: str
    lead: str
    shelf: Shelf


_SHELVES = {
    "misses": ("Missed defects", "Defective images that were called normal, the lowest score first."),
    "false_alarms": ("False alarms", "Good images that were called anomalous, the highest score first."),
    "hard_defects": ("Narrowly found", "Defective images that were found, the ones closest to being missed first."),
    "hard_good": ("Narrowly passed", "Good images that were passed, the ones closest to a false alarm first."),
}
_TILES = ("image_auroc", "au_pro", "pixel_auroc", "f1")


def render_report(report: EvaluationReport) -> str:
    """The whole report as one HTML page that needs no other file and loads nothing.

    Every text from outside (file names, folder names) is escaped, and bytes that are no text are shown as `?`.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(
        number=words.number,
        percent=words.percent,
        certainty=words.certainty,
        bounds=words.bounds,
        data_uri=_data_uri,
        text=words.printable,
    )
    environment.globals.update(strip=charts.strip, whisker=charts.whisker, counted=counted)
    page = environment.from_string(_packaged("report.html.j2")).render(_content(report))
    page = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", page)
    return re.sub(r"\n\s*\n+", "\n", page).encode("utf-8", "replace").decode()


def _content(report: EvaluationReport) -> dict[str, Any]:
    return {
        "report": report,
        "style": _packaged("report.css"),
        "headline": words.headline(report),
        "labels": words.point_labels(report.found, report.threshold),
        "blind": words.blind_line(report.found),
        "change": words.change_line(report.found),
        "all_shares": charts.Scale(0.0, 1.0),
        "alarm_shares": charts.alarm_scale(report),
        "tiles": _tiles(report),
        "histogram": charts.histogram(report),
        "roc": charts.roc_chart(report),
        "pro": charts.pro_chart(report),
        "shelves": [
            Section(key, *text, report.gallery[key])
            for key, text in _SHELVES.items()
            if key in report.gallery and report.gallery[key].total
        ],
        "metrics": METRICS if report.parts is None else (*METRICS, *PART_METRICS),
        "metric_value": partial(_metric_value, report),
        "metric_interval": partial(_metric_interval, report),
    }


def _tiles(report: EvaluationReport) -> list[Tile]:
    wanted = report.threshold.rate
    tiles = [
        _rate_tile("False alarms", report.false_alarms, "no good images", wanted),
        _rate_tile("Misses", report.misses, "no defective images", None),
    ]
    if report.parts is not None:
        tiles += [
            _rate_tile("False alarms, parts", report.parts.false_alarms, "no good parts", wanted),
            _rate_tile("Misses, parts", report.parts.misses, "no defective parts", None),
        ]
    for key in _TILES:
        interval = _metric_interval(report, key)
        if interval and not interval.startswith("no "):
            interval = f"95 %: {interval}"
        detail = interval or _gist(report.not_computed.get(key, ""))
        tiles.append(Tile(BY_KEY[key].name, _metric_value(report, key) or "\N{EN DASH}", detail))
    return tiles


def _rate_tile(name: str, rate: Rate | None, missing: str, wanted: float | None) -> Tile:
    if rate is None:
        return Tile(name, "\N{EN DASH}", missing)
    detail = words.certainty(rate) + (f"; set for {rate_text(wanted)}" if wanted is not None else "")
    return Tile(name, f"{rate.count} of {rate.total}", detail, "bad" if rate.count else "ok")


def _metric_value(report: EvaluationReport, key: str) -> str | None:
    value = report.metrics.get(key)
    if value is None or isinstance(value, tuple):
        return None
    return words.percent(value) if BY_KEY[key].is_rate else f"{value:.3f}"


def _metric_interval(report: EvaluationReport, key: str) -> str | None:
    interval = report.metrics.get(f"{key}_ci95")
    if not isinstance(interval, tuple):
        return None
    low, high = interval
    if low == high:  # what a bootstrap says of classes that do not overlap
        return "no overlap among these images" if low == 1 else f"{low:.3f}"
    if BY_KEY[key].is_rate:
        return words.span(interval)
    return f"{low:.3f} to {high:.3f}"


def _gist(reason: str) -> str:
    """The first clause of a reason."""
    return re.split(r"[;:.]", reason)[0]


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _packaged(name: str) -> str:
    return (files("blemish.report") / name).read_text(encoding="utf-8")
