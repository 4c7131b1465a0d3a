"""The chain check from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blemish.cli import options


def selftest(
    *,
    model: Annotated[str, typer.Option(help="Detectors, with commas, or all.", metavar="NAMES")] = "all",
    mode: Annotated[str, typer.Option(help="lite, or whole with default schedules.", metavar="MODE")] = "lite",
    output: options.Output = Path("output/selftest"),
    _verbose: options.Verbose = False,
) -> None:
    """Try every detector here: train, evaluate, export, predict."""
    from blemish.cli.measuring import split_names
    from blemish.cli.results import SOME_FAILED
    from blemish.detectors import list_models
    from blemish.selftest import selftest as check_chains
    from blemish.selftest import table

    names = [card.name for card in list_models()] if model == "all" else split_names(model)
    chains = check_chains(names, mode, output, typer.echo)
    typer.echo(table(chains))
    if any(chain.failed for chain in chains):
        raise typer.Exit(SOME_FAILED)
