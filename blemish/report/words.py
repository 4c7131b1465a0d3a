"""Numbers and findings in words."""

from __future__ import annotations

from blemish.metrics.rates import counted, rate_text, rate_texts, was
from blemish.report.record import EvaluationReport, FoundAtRates, Rate, Threshold


def percent(share: float) -> str:
    """A share as a percentage with as many digits as it deserves: 0.5 %, 14 %, 99.7 %."""
    value = 100 * share
    if value in (0, 100) or 1.95 <= value <= 98:
        return f"{value:.0f} %"
    # near 0 and near 100 the last digits are what counts
    return f"{value:.2g} %" if value < 50 else f"{min(value, 99.9):.1f} %"


def number(value: float) -> str:
    """A score with four significant digits, never in a form like 1e+09 below a million."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    digits = max(0, 3 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 4
    return f"{value:.{digits}f}"


def certainty(rate: Rate) -> str:
    """What the count says of the rate behind it, with 95 % confidence."""
    return f"95 %: {bounds(rate)}"


def bounds(rate: Rate) -> str:
    """The rates that the count leaves possible: one-sided where nothing or everything was counted."""
    if rate.count == 0:
        return f"under {percent(rate.upper)}"
    if rate.count == rate.total:
        return f"over {percent(rate.lower)}"
    return span(rate.interval)


def span(interval: tuple[float, float]) -> str:
    """An interval of a share; below 1 % one digit is enough."""
    low, high = interval
    start = f"{100 * low:.1g}" if low < 0.0095 else percent(low).removesuffix(" %")
    return f"{start} to {percent(high)}"


def headline(report: EvaluationReport) -> tuple[str, str]:
    """The verdict in a sentence, and where the threshold comes from as the end of that sentence."""
    fires = ""
    if report.never_fires:
        fires = f"This model never fires: it called none of {_images(report)} anomalous. "
    elif report.always_fires:
        fires = f"This model always fires: it called every one of {_images(report)} anomalous. "
    known = "The model was trained on these very images. " if report.all_seen else ""
    return f"{known}{fires}{_findings(report)}{_of_parts(report)};", f"{set_for(report.threshold)}."


def set_for(threshold: Threshold) -> str:
    """Where the threshold comes from, as half a sentence."""
    if threshold.is_given:
        return "the threshold was given by hand"
    images = counted(threshold.images, "good image")
    of_parts = "" if threshold.parts == threshold.images else f" of {counted(threshold.parts, 'part')}"
    if threshold.rate is None:
        return (
            f"the threshold is a guess from {images}{of_parts}"
            if threshold.images
            else ("the threshold was not set from good images")
        )
    return f"the threshold was set for {rate_text(threshold.rate)} false alarms from {images}{of_parts}"


def point_labels(found: FoundAtRates, threshold: Threshold) -> list[str]:
    """What each point is set for: `5 %`, `2.4 % at best`, or how the threshold came that no rate is stated for."""
    texts = _told_apart(found)
    unknown = "given threshold" if threshold.is_given else "guess" if threshold.images else "imported threshold"
    return [
        unknown if point.rate is None else f"{texts[point.rate]}{' at best' if point.unsupported else ''}"
        for point in found.points
    ]


def blind_line(found: FoundAtRates) -> str | None:
    """Which types of defect the model hardly finds with the threshold in force, and when that is said."""
    point = found.in_force
    if point is None or not found.blind:
        return None
    where = "with this threshold" if point.rate is None else f"at {_told_apart(found)[point.rate]}"
    kinds = ", ".join(
        f"{printable(kind)} ({point.kinds[kind].count} of {point.kinds[kind].total} found)" for kind in found.blind
    )
    return f"{where}, {kinds}: none of three or more is found, or the 95 % interval ends under 50 %."


def change_line(found: FoundAtRates) -> str | None:
    """What a larger false-alarm rate would change, where that pays."""
    change = found.change
    if change is None or change.own.found is None or change.better.found is None or change.better.rate is None:
        return None
    own, better, alarms = change.own.found, change.better.found, change.better.false_alarms
    rate = change.better.rate
    here = "" if alarms is None else f" (here {alarms.count} of {alarms.total})"
    defects = counted(better.total, f"defective {found.noun}")
    return (
        f"At {_told_apart(found)[rate]}, {better.count} of {defects} {'is' if better.count == 1 else 'are'} found "
        f"instead of {own.count}; about {100 * rate:g} of 100 good {found.noun}s alarm{here}."
    )


def share_text(rate: Rate) -> str:
    """Count, share and what the count leaves possible: `54 of 119, 45 % (36 to 55 %)`."""
    return f"{rate.count} of {rate.total}, {percent(rate.value)} ({bounds(rate)})"


def printable(text: str) -> str:
    """Text without control characters and without the undecodable bytes that a file name may hold."""
    return "".join(c if c.isprintable() else "?" for c in text.encode("utf-8", "replace").decode())


def _findings(report: EvaluationReport) -> str:
    false_alarms, misses = report.false_alarms, report.misses
    if misses is None:
        return f"{_good(false_alarms)}; no image was defective, so nothing here says how many defects are missed"
    defects = counted(misses.total, "defective image")
    found = f"{misses.total - misses.count} of {defects} {was(misses.total - misses.count)} found"
    if false_alarms is None:
        return f"{found}; no image was good, so nothing here says how many false alarms there are"
    return f"{_good(false_alarms)}; {found}"


def _good(rate: Rate | None) -> str:
    if rate is None:
        return "No image could be judged"
    images = counted(rate.total, "good image")
    return f"Of {images}, {rate.count} {was(rate.count)} called anomalous ({certainty(rate)})"


def _of_parts(report: EvaluationReport) -> str:
    """The same of parts, as the end of a sentence."""
    parts, told = report.parts, ""
    if parts is not None and parts.false_alarms is not None:
        alarms = parts.false_alarms
        told += f"; of {counted(alarms.total, 'good part')}, {alarms.count} {was(alarms.count)} called anomalous"
        told += f" ({certainty(alarms)})"
    if parts is not None and parts.misses is not None:
        found, total = parts.misses.total - parts.misses.count, parts.misses.total
        told += f"; {found} of {counted(total, 'defective part')} {was(found)} found"
    return told


def _told_apart(found: FoundAtRates) -> dict[float, str]:
    """All rates of the points as texts of which no two are the same."""
    rates = sorted({rate for point in found.points if point.rate for rate in (point.rate, *point.asked)})
    return dict(zip(rates, rate_texts(*rates), strict=True)) if rates else {}


def _images(report: EvaluationReport) -> str:
    return counted(sum(image.error is None for image in report.images), "image")
