"""Pictures of a study: the criterion over the values, and what the planted defects look like."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.config.yaml_text import parse_value
from blemish.datasets.files import write_whole
from blemish.tuning.table import MEANING, Table
from blemish.tuning.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Image = npt.NDArray[np.uint8]

INK, MUTED, RULE, LINE, BEST = "#181f2b", "#626d7a", "#d6dbe1", "#2c5e7a", "#c61626"
MOST_BARS = 24
MOST_CELLS = 10  # of a grid, in a row or column
LONGEST_LABEL = 44
DPI = 120
TILE = 240  # pixels of an image in the sheet


def save_plot(table: Table, path: Path) -> None:
    """One numeric key: a curve; two keys: a grid of figures; otherwise: bars, the best first. PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    draw = _draw_curve if _is_curve(table) else _draw_grid if _is_grid(table) else _draw_bars
    bars = min(len(table.finished), MOST_BARS) if draw is _draw_bars else 0
    figure = Figure(figsize=(8.4, max(4.8, 1.8 + 0.32 * bars)), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw(axes, table)
    title = f"{MEANING[table.criterion][0].upper()}{MEANING[table.criterion][1:]}"
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(which="both", length=0, colors=MUTED, labelsize=9.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
        figure.savefig(path, format="png")


def save_sheet(pairs: Sequence[tuple[Image, Image]], path: Path, columns: int = 4) -> None:
    """Images (H, W, 3) side by side, a box around what each mask (H, W) marks; PNG."""
    import cv2

    tiles = [_tile(image, mask) for image, mask in pairs]
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    sheet = np.vstack([row for row in rows if row.shape == rows[0].shape])  # (H, W, 3)
    write_whole(path, cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))[1].tobytes())


def _tile(image: Image, mask: Image) -> Image:
    """The image in a square of `TILE` pixels, on white."""
    import cv2

    scale = TILE / max(mask.shape)
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    tile = np.full((TILE + 8, TILE + 8, 3), 255, np.uint8)
    tile[4 : 4 + size[1], 4 : 4 + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(mask)
    if len(rows):
        low = (int(columns.min() * scale), int(rows.min() * scale))
        high = (int(columns.max() * scale) + 8, int(rows.max() * scale) + 8)
        cv2.rectangle(tile, low, high, (198, 22, 38), 1, cv2.LINE_AA)
    return tile


def _is_curve(table: Table) -> bool:
    return len(table.keys) == 1 and all(_numeric(trial.values[table.keys[0]]) is not None for trial in table.finished)


def _is_grid(table: Table) -> bool:
    if len(table.keys) != 2:
        return False
    return all(1 < len(_ordered(table, key)) <= MOST_CELLS for key in table.keys)


def _draw_curve(axes: Axes, table: Table) -> None:
    key = table.keys[0]
    trials = sorted(table.finished, key=lambda trial: _numeric(trial.values[key]) or 0.0)
    xs = [_numeric(trial.values[key]) or 0.0 for trial in trials]
    ys = [trial.criterion or 0.0 for trial in trials]
    lows, highs = zip(*(_interval(table, trial) for trial in trials), strict=True)
    if min(xs) > 0 and max(xs) > 10 * min(xs):
        axes.set_xscale("log")
    axes.fill_between(xs, lows, highs, color=LINE, alpha=0.12, linewidth=0)
    axes.plot(xs, ys, color=LINE, linewidth=2, marker="o", markersize=7)
    for x, y, trial in zip(xs, ys, trials, strict=True):
        is_best = trial is table.best
        if is_best:
            axes.plot([x], [y], marker="o", markersize=11, color=BEST)
        if is_best or len(trials) <= 12:
            axes.annotate(
                f"{y:.3f}", (x, y), (0, 12), textcoords="offset points", ha="center", color=BEST if is_best else INK
            )
    if len(trials) <= 12:
        axes.set_xticks(xs, [_label(trial.values[key]) for trial in trials])
        axes.minorticks_off()
    axes.margins(x=0.08, y=0.2)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_xlabel(f"{key}   (band: 95 % interval)", color=MUTED, fontsize=10.5)


def _draw_grid(axes: Axes, table: Table) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = (_ordered(table, key) for key in table.keys)
    values = np.full((len(rows), len(columns)), np.nan)
    for trial in table.finished:
        row, column = (trial.values[key] for key in table.keys)
        values[rows.index(row), columns.index(column)] = trial.criterion
    low, high = np.nanmin(values), np.nanmax(values)
    axes.imshow(
        values,
        cmap="Blues",
        vmin=low - 0.15 * (high - low) - 1e-9,
        vmax=high + 1.2 * (high - low) + 1e-9,
        aspect="auto",
    )
    failed = {tuple(trial.values[key] for key in table.keys) for trial in table.failed}
    for (row, column), value in np.ndenumerate(values):
        missing = "failed" if (rows[row], columns[column]) in failed else ""
        is_best = table.best is not None and tuple(table.best.values[key] for key in table.keys) == (
            rows[row],
            columns[column],
        )
        text, colour = (missing, MUTED) if np.isnan(value) else (f"{value:.3f}", INK)
        if is_best:  # a frame, since red letters do not read on blue
            corner = (column - 0.48, row - 0.48)
            axes.add_patch(Rectangle(corner, 0.96, 0.96, fill=False, edgecolor=BEST, linewidth=2.5))
        axes.text(column, row, text, ha="center", va="center", color=colour, fontweight="bold" if is_best else None)
    axes.set_xticks(range(len(columns)), [_label(text) for text in columns])
    axes.set_yticks(range(len(rows)), [_label(text) for text in rows])
    axes.set_ylabel(table.keys[0], color=MUTED, fontsize=10.5)
    axes.set_xlabel(table.keys[1], color=MUTED, fontsize=10.5)


def _draw_bars(axes: Axes, table: Table) -> None:
    trials = sorted(table.finished, key=lambda trial: -(trial.criterion or 0.0))[:MOST_BARS]
    places, values = range(len(trials)), [trial.criterion or 0.0 for trial in trials]
    lows, highs = zip(*(_interval(table, trial) for trial in trials), strict=True)
    axes.barh(places, values, height=0.62, color=[BEST if trial is table.best else LINE for trial in trials])
    axes.hlines(places, lows, highs, color=INK, linewidth=1.2)
    start = max(0.0, min(lows) - 0.1)
    for place, value in zip(places, values, strict=True):
        axes.text(start + 0.005, place, f"{value:.3f}", va="center", color="white", fontsize=9.5)
    axes.set_yticks(places, [_label(" ".join(_short(key, trial) for key in table.keys)) for trial in trials])
    axes.set_ylim(len(trials) - 0.4, -0.6)
    axes.set_xlim(start, min(1.0, max(highs)) + 0.005)
    axes.set_xlabel("line: 95 % interval", color=MUTED, fontsize=10.5)


def _interval(table: Table, trial: Trial) -> tuple[float, float]:
    low, high = trial.figures[f"{table.criterion.removesuffix('_auroc')}_ci95"]
    return float(low), float(high)


def _ordered(table: Table, key: str) -> list[str]:
    """The values of a key, numbers by size, others as they came."""
    values = list(dict.fromkeys(trial.values[key] for trial in table.trials))
    numbers = [_numeric(text) for text in values]
    if any(number is None for number in numbers):
        return values
    return [text for _, text in sorted(zip(numbers, values, strict=True))]


def _numeric(text: str) -> float | None:
    value = parse_value(text, "a value")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _short(key: str, trial: Trial) -> str:
    """`learning_rate=0.1`: the section is understood."""
    return f"{key.rsplit('.', 1)[-1]}={trial.values[key]}"


def _label(text: str) -> str:
    """Text as it is, shortened; matplotlib would read dollar signs as mathematics."""
    shown = text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "\u2026"
    return shown.replace("$", r"\$")
