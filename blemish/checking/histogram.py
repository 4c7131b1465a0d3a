"""One picture of a data set: how many images of what kind, how large the defects, how large the images."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blemish.checking.survey import ImageFacts
from blemish.datasets import Dataset
from blemish.metrics.rates import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOOD, DEFECT, INK, MUTED, RULE = "#2c5e7a", "#c61626", "#181f2b", "#626d7a", "#d6dbe1"
MOST_KINDS = 14
MOST_SIZES = 6  # more are drawn as points
LONGEST_LABEL = 28
DPI = 120

Row = tuple[str, list[ImageFacts]]


def save_histogram(dataset: Dataset, images: Sequence[ImageFacts], path: Path) -> None:
    """Draw images per split and kind, the area of the defects, and the image sizes, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(images)
    figure = Figure(figsize=(13, max(3.9, 1.75 + 0.36 * len(rows))), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    counts, areas, sizes = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1.2, 1.2, 1)})
    _draw_counts(counts, rows)
    _draw_areas(areas, rows)
    _draw_sizes(sizes, [facts for facts in images if facts.is_readable])
    for axes in (counts, areas, sizes):
        _tidy(axes)
    name, learn, test = _plain(dataset.root.resolve().name), len(dataset.train), len(dataset.test)
    title = f"{name}: {counted(learn, 'image')} to learn from, {test} to test with"
    figure.text(0.012, 0.965, title, fontsize=14, fontweight="bold", color=INK, va="top")
    figure.tight_layout(rect=(0, 0, 1, 0.9), w_pad=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
        figure.savefig(path, format="png")


def _rows(images: Sequence[ImageFacts]) -> list[Row]:
    """The images by split and kind; kinds beyond the most frequent ones together."""
    groups: dict[tuple[str, str], list[ImageFacts]] = {}
    for facts in images:
        groups.setdefault((facts.sample.split, facts.sample.kind), []).append(facts)
    ordered = sorted(groups, key=lambda key: (key[0] != "train", key[1] != "good", -len(groups[key])))
    rows = [(f"{split} / {_plain(kind)}", groups[split, kind]) for split, kind in ordered]
    rest = [facts for _, group in rows[MOST_KINDS:] for facts in group]
    return rows[:MOST_KINDS] + ([(f"{len(rows) - MOST_KINDS} more kinds", rest)] if rest else [])


def _draw_counts(axes: Axes, rows: list[Row]) -> None:
    places = range(len(rows))
    counts = [len(group) for _, group in rows]
    axes.barh(places, counts, height=0.62, color=[_colour(group) for _, group in rows])
    for place, count in zip(places, counts, strict=True):
        axes.text(count, place, f" {count}", va="center", fontsize=10, color=INK)
    axes.set_yticks(places, [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(counts) * 1.14)
    axes.set_title("Images")
    axes.locator_params(axis="x", integer=True, nbins=6)


def _draw_areas(axes: Axes, rows: list[Row]) -> None:
    """One dot a defect on the rows of the counts, and a mark at each row's median."""
    axes.set_title("Marked share of the image, in %")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    shares = [[100 * facts.mask.share for facts in group if facts.mask and facts.mask.share] for _, group in rows]
    known = [share for group in shares for share in group]
    if not known:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no masks", transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=12)
        return
    axes.set_xscale("log")
    axes.set_xlim(min(known) / 1.6, max(known) * 1.6)
    axes.xaxis.set_major_formatter(_percent)
    axes.xaxis.set_minor_formatter(lambda _value, _position: "")
    rng = np.random.default_rng(0)
    for place, group in enumerate(shares):
        axes.axhline(place, color=RULE, linewidth=0.8, zorder=0)
        spread = place + rng.uniform(-0.2, 0.2, len(group))
        axes.scatter(group, spread, s=22, color=DEFECT, alpha=0.45, linewidths=0)
        if group:
            axes.plot([np.median(group)] * 2, [place - 0.32, place + 0.32], color=INK, linewidth=2)


def _draw_sizes(axes: Axes, images: Sequence[ImageFacts]) -> None:
    axes.set_title("Image sizes, in pixels")
    sizes = Counter(facts.size for facts in images).most_common()
    if len(sizes) > MOST_SIZES:
        _draw_size_points(axes, sizes)
        return
    places = range(len(sizes))
    axes.barh(places, [count for _, count in sizes], height=min(0.62, 0.2 * max(1, len(sizes))), color=MUTED)
    for place, (_, count) in zip(places, sizes, strict=True):
        axes.text(count, place, f" {count}", va="center", fontsize=10, color=INK)
    axes.set_yticks(places, [f"{width} x {height}" for (width, height), _ in sizes])
    axes.set_ylim(max(len(sizes), 3) - 0.4 - (3 - min(len(sizes), 3)) / 2, -0.6 - (3 - min(len(sizes), 3)) / 2)
    axes.set_xlim(0, max((count for _, count in sizes), default=1) * 1.16)
    axes.locator_params(axis="x", integer=True, nbins=6)


def _draw_size_points(axes: Axes, sizes: list[tuple[tuple[int, int], int]]) -> None:
    widths, heights = zip(*(size for size, _ in sizes), strict=True)
    axes.scatter(widths, heights, s=[18 + 6 * count for _, count in sizes], color=GOOD, alpha=0.4, linewidths=0)
    axes.set_xlabel("width", color=MUTED)
    axes.set_ylabel("height", color=MUTED)
    axes.set_xlim(0, max(widths) * 1.1)
    axes.set_ylim(0, max(heights) * 1.1)


def _tidy(axes: Axes) -> None:
    """No frame, quiet ticks, the title at the left."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.set_title(axes.get_title(), loc="left", fontsize=11, color=MUTED, pad=8)
    axes.set_title("", loc="center")
    axes.tick_params(which="both", length=0, colors=MUTED, labelsize=9)
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK)


def _colour(group: list[ImageFacts]) -> str:
    return GOOD if all(facts.sample.is_good for facts in group) else DEFECT


def _percent(value: float, _position: Any) -> str:
    return f"{value:g}"


def _plain(name: str) -> str:
    """A name as it is, shortened; matplotlib would read dollar signs as mathematics."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    shown = shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 1] + "\u2026"
    return shown.replace("$", r"\$")
