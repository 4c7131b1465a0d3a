"""docs/performance.md and the README's table of times, both made from the JSON files of the runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import benchmarks
from benchmarks.record import MORE_IS_BETTER, Figure, Run

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
MARKS = "<!-- made by: python -m benchmarks table -->", "<!-- end of what is made -->"

# What the README shows: its words, the benchmark, and the figures whose medians are written into the words.
README_ROWS = (
    (
        "prediction of a 900x900 PNG file, batch 1, decoding to full-size map",
        "{} ms (`fast`), {} ms (`balanced`)",
        "latency",
        ("PatchCore fast, onnxruntime: whole, CPU ms", "PatchCore balanced, onnxruntime: whole, CPU ms"),
    ),
    (
        "the network part of it, preset `fast`: ONNX Runtime, OpenVINO",
        "{} ms, {} ms",
        "network",
        ("PatchCore fast, onnxruntime fp32, CPU ms", "PatchCore fast, openvino fp32, CPU ms"),
    ),
    (
        "fit on 209 such files, calibration included",
        "{} s (`fast`), {} s (`balanced`)",
        "fit",
        ("fast, coreset 1 %: whole, CPU s", "balanced: whole, CPU s"),
    ),
    (
        "first result in a new process",
        "{} s, {} MB",
        "start",
        ("PatchCore fast, first result, CPU s", "PatchCore fast, first result: peak memory, MB"),
    ),
    ("`blemish --help`", "{} s", "start", ("--help, CPU s",)),
)

INTRODUCTION = """\
# Performance

This page is made by `python -m benchmarks table` from the files in `benchmarks/results`, one for each benchmark;
[benchmarks/README.md](../benchmarks/README.md) says how to repeat them and what the files hold. Nothing is left out:
bounds that were missed and comparisons that were lost stand beside the others.

Each figure is the median of its runs, with the quartiles and the number of values. *CPU* seconds and milliseconds are
user and system time of all threads; where the machine has other work, they are steadier than the clock, which `s` and
`ms` show. They are not untouched by it: caches and memory are shared. So each run states the load average before and
after it; a load above the number of cores means that others were at work.
"""


def write_pages(runs: dict[str, Run]) -> None:
    PAGE.write_text(performance(runs), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), runs), encoding="utf-8")


def performance(runs: dict[str, Run]) -> str:
    """The whole page."""
    parts = [INTRODUCTION, _promises(runs), *(_section(runs[name]) for name in benchmarks() if name in runs)]
    return "\n".join(parts)


def with_table(readme: str, runs: dict[str, Run]) -> str:
    """The README with the table between its marks made anew."""
    begin, end = (re.escape(mark) for mark in MARKS)
    table = "\n".join((MARKS[0], *_readme_table(runs), MARKS[1]))
    made, times = re.subn(f"{begin}.*?{end}", lambda _: table, readme, flags=re.DOTALL)
    if times != 1:
        raise ValueError(f"{README.name} must have the marks {MARKS} once")
    return made


def show(run: Run) -> str:
    """A run for the terminal."""
    lines = [f"{run.benchmark}: {run.data}; load {run.machine.load_before} to {run.machine.load_after}"]
    for figure in run.figures:
        spread = f"{number(figure.q1)} .. {number(figure.q3)}"
        verdict = f"{_bound(figure)} {'kept' if figure.kept else 'MISSED'}" if figure.kept is not None else ""
        name = f"{figure.name}, {figure.unit}"
        lines.append(f"  {name:64} {number(figure.median):>9} {spread:>20} {len(figure.values):4d} {verdict}")
    return "\n".join([*lines, *(f"  {note}" for note in run.notes)])


def number(value: float) -> str:
    """Three digits that count, and all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _promises(runs: dict[str, Run]) -> str:
    rows = [
        f"| {name} | {figure.name} | {_bound(figure)} {figure.unit} | {number(figure.median)} | "
        f"{'kept' if figure.kept else '**missed**'} | {run.machine.load_before} |"
        for name, run in runs.items()
        for figure in run.figures
        if figure.bound is not None
    ]
    head = ["| benchmark | figure | promised | measured | | load |", "|---|---|---|---|---|---|"]
    return "\n".join(["## What was promised", "", *head, *rows, ""])


def _section(run: Run) -> str:
    title, _, rest = str(benchmarks()[run.benchmark].__doc__).strip().partition("\n")
    text = [f"## {run.benchmark}", "", title, *([rest.strip("\n")] if rest.strip() else []), ""]
    table = ["| | unit | median | quartiles | values |", "|---|---|---|---|---|"]
    table += [
        f"| {figure.name} | {figure.unit} | {number(figure.median)} | {_spread(figure)} | {len(figure.values)} |"
        for figure in run.figures
    ]
    notes = [f"- {note}" for note in run.notes]
    return "\n".join([*text, *table, "", *notes, *([""] if notes else []), *_circumstances(run), ""])


def _circumstances(run: Run) -> Iterator[str]:
    machine = run.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    settings = "".join(f", {key} {value}" for key, value in run.settings.items())
    cores = "one core" if run.cores == 1 else f"{run.cores} cores"
    yield f"Images: {run.data}. {run.date[:10]}, {run.repeats} repeats{settings}; {cores} of {machine.cores},"
    yield f"threads {run.threads}; load {machine.load_before} before, {machine.load_after} after;"
    yield f"{machine.cpu}, {machine.memory_gb:g} GB, {machine.system};"
    yield f"Python {machine.python}, {packages}."


def _readme_table(runs: dict[str, Run]) -> Iterator[str]:
    cpu = next(iter(runs.values())).machine.cpu
    yield f"| CPU time on one core of an {cpu}, which others used too | |"
    yield "|---|---|"
    for words, text, benchmark, keys in README_ROWS:
        known = {f"{figure.name}, {figure.unit}": figure for figure in runs[benchmark].figures}
        yield f"| {words} | {text.format(*(_short(known[key].median) for key in keys))} |"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _spread(figure: Figure) -> str:
    return f"{number(figure.q1)} to {number(figure.q3)}" if len(figure.values) > 1 else ""


def _bound(figure: Figure) -> str:
    assert figure.bound is not None
    return f"{'at least' if figure.unit in MORE_IS_BETTER else 'at most'} {number(figure.bound)}"
