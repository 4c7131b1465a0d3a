"""The benchmarks' command: `python -m benchmarks list | run | table`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import benchmarks, run_benchmark, settings_of
from benchmarks.page import show, write_pages
from benchmarks.record import read_runs, write_run
from benchmarks.world import World

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.do == "list":
        for name, benchmark in benchmarks().items():
            settings = ", ".join(f"{key}={value}" for key, value in settings_of(benchmark).items())
            print(f"{name:14} {str(benchmark.__doc__).splitlines()[0]}{f'  [{settings}]' if settings else ''}")
        return 0
    if options.do == "table":
        write_pages(read_runs(options.results))
        return 0
    return run(options)


def run(options: argparse.Namespace) -> int:
    """Measure what was asked for; a benchmark that fails does not keep the others from it."""
    unknown = [name for name in options.names if name not in benchmarks()]
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(benchmarks())}")
    names, failed = options.names or list(benchmarks()), 0
    given = settings_given(options.set)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        world = World(options.data or sample(work), work, options.repeats, options.image, options.peers)
        for name in names:
            print(f"measuring {name} ...", file=sys.stderr)
            try:
                found = run_benchmark(name, world, given.get(name, {}))
            except Exception as error:
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                failed = 1
                continue
            write_run(found, options.output)
            print(show(found))
    return failed


def settings_given(texts: list[str]) -> dict[str, dict[str, str]]:
    """`NAME.key=value` by benchmark and key."""
    given: dict[str, dict[str, str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, key = key.partition(".")
        if not equals or not dot or name not in benchmarks():
            raise SystemExit(f"--set {text}: write it as NAME.key=value; NAME is one of {', '.join(benchmarks())}")
        given.setdefault(name, {})[key] = value
    return given


def sample(work: Path) -> Path:
    """The generated sample at 900 pixels."""
    from blemish.datasets import generate_sample

    folder = work / "sample"
    return folder if folder.exists() else generate_sample(folder, train=60, size=900)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    verbs = top.add_subparsers(dest="do", required=True)
    verbs.add_parser("list", help="the benchmarks, with their own settings")
    table = verbs.add_parser("table", help="write docs/performance.md and the README's table from the results")
    table.add_argument("--results", type=Path, default=RESULTS)
    go = verbs.add_parser("run", help="measure; one JSON file for each benchmark")
    go.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmarks())}; default: all")
    go.add_argument("--data", type=Path, help="a folder in MVTec layout; default: the generated sample")
    go.add_argument("--image", type=Path, help="the PNG file for what looks at one image; default: one of the data")
    go.add_argument("--output", type=Path, default=Path("output/benchmarks"), help="folder for the JSON files")
    go.add_argument("--work", type=Path, help="where images and models are kept for the next run; default: nowhere")
    go.add_argument("--repeats", type=int, default=5)
    go.add_argument("--set", action="append", default=[], metavar="NAME.key=value", help="a benchmark's own setting")
    go.add_argument("--peers", type=Path, default=Path("/tmp/peers"), help="where benchmarks/peers/setup.sh installed")
    return top
