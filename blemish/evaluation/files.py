"""The files of an evaluation: `per_image.csv`, `report.html`, and `evaluate_result.json` last of all."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blemish.errors import UsageError
from blemish.report import EvaluationReport, FoundAtRates, Judged, PartFigures, Rate, render_report
from blemish.report.words import change_line, headline

RESULT, TABLE, PAGE = "evaluate_result.json", "per_image.csv", "report.html"
COLUMNS = (
    "path",
    "kind",
    "part",
    "score",
    "p_value",
    "threshold",
    "verdict",
    "correct",
    "peak",
    "pixel_threshold",
    "regions",
    "mask_iou",
    "error",
)


def clear(output: Path) -> None:
    """Make the folder, without the result of an earlier evaluation: a result means that all files are of one run."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / RESULT).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{output}: nothing can be written there: {error.strerror}") from None


def write(report: EvaluationReport, data: Path) -> None:
    """All three files into `report.output`."""
    output = report.output
    # bytes of a file name that are no text are escaped: that is valid JSON, and readable in the table
    texts = {
        TABLE: table(report),
        PAGE: render_report(report),
        RESULT: json.dumps(result(report, data), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        (output / name).write_bytes(text.encode("utf-8", "backslashreplace"))


def table(report: EvaluationReport) -> str:
    """One line an image, those that failed too."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for image in report.images:
        rows.writerow(_row(image, report))
    return text.getvalue()


def _row(image: Judged, report: EvaluationReport) -> dict[str, Any]:
    row: dict[str, Any] = {"path": image.name, "kind": image.kind, "part": image.part, "error": image.error}
    if image.error is None:
        row |= {
            "score": image.score,
            "p_value": image.p_value,
            "threshold": report.threshold.score,
            "verdict": "Anomaly" if image.is_anomalous else "Normal",
            "correct": str(image.is_correct).lower(),
            "peak": image.peak,
            "pixel_threshold": report.threshold.pixel,
            "regions": image.regions,
            "mask_iou": image.mask_iou,
        }
    return row


def result(report: EvaluationReport, data: Path) -> dict[str, Any]:
    """What `evaluate_result.json` holds."""
    threshold = report.threshold
    return {
        "done_flag": True,
        "verdict": " ".join(headline(report)),
        "found_at_rates": _found_at_rates(report.found),
        "metrics": dict(report.metrics),
        "not_computed": dict(report.not_computed),
        "counts": {
            "good": report.false_alarms.total if report.false_alarms else 0,
            "false_alarms": report.false_alarms.count if report.false_alarms else 0,
            "defective": report.misses.total if report.misses else 0,
            "misses": report.misses.count if report.misses else 0,
            "failed": len(report.failed),
        },
        "threshold": {
            "score": threshold.score,
            "pixel": threshold.pixel,
            "false_alarm_rate": threshold.rate,
            "origin": threshold.origin,
            "sessions": list(threshold.sessions),
        },
        "parts": None if report.parts is None else _parts(report.parts),
        "kinds": {
            kind.name: {
                "images": kind.called.total,
                "called_anomalous": kind.called.count,
                "rate_ci95": kind.called.interval,
                "image_auroc": kind.auroc,
                "mask_iou": kind.mask_iou,
            }
            for kind in report.kinds
        },
        "other_rates": [asdict(other) for other in report.alternatives],
        "remarks": [asdict(remark) for remark in report.remarks],
        "unsure": list(report.unsure),
        "seen_in_training": list(report.seen_in_training),
        "failed": [image.error for image in report.failed],
        "mask_problems": list(report.problems),
        "model": dict(report.model),
        "dataset_path": str(data),
        "data": dict(report.data),
        "files": {"per_image": TABLE, "report": PAGE},
    }


def _found_at_rates(found: FoundAtRates) -> dict[str, Any]:
    """The headline: a point for each false-alarm rate, in the same form whatever is known."""
    change = found.change
    return {
        "counted": f"{found.noun}s",
        "points": [
            {
                "false_alarm_rate": point.rate,
                "asked": list(point.asked),
                "unsupported": list(point.unsupported),
                "threshold": point.threshold,
                "in_force": point.in_force,
                "found": _share(point.found),
                "false_alarms": _share(point.false_alarms),
                "kinds": {kind: _share(share) for kind, share in point.kinds.items()},
            }
            for point in found.points
        ],
        "support": found.support,
        "blind_to": list(found.blind),
        "change": None
        if change is None
        else {
            "false_alarm_rate": change.better.rate,
            "instead_of": change.own.rate,
            "statement": change_line(found),
            "command": change.command,
        },
    }


def _share(rate: Rate | None) -> dict[str, Any] | None:
    """A count of a whole, its share and the exact two-sided 95 % interval of it."""
    if rate is None:
        return None
    return {"count": rate.count, "total": rate.total, "share": rate.value, "ci95": list(rate.interval)}


def _parts(parts: PartFigures) -> dict[str, Any]:
    alarms, misses = parts.false_alarms, parts.misses
    return {
        "threshold": parts.threshold,
        "images_per_part": list(parts.images_per_part),
        "good": alarms.total if alarms else 0,
        "false_alarms": list(parts.alarmed),
        "defective": misses.total if misses else 0,
        "misses": list(parts.missed),
        "failed": list(parts.failed),
    }
