"""The root command: the verbs by name, and the PaddleX-style flags without one."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from blemish import __version__
from blemish.cli import (
    options,
    paddlex,
    verbs,
    verbs_check,
    verbs_data,
    verbs_export,
    verbs_import,
    verbs_selftest,
    verbs_serve,
    verbs_tune,
    verbs_update,
    verbs_watch,
)
from blemish.errors import UsageError, did_you_mean


class _Verbs(TyperGroup):
    """Refuses an unknown verb with the closest known one, and flags of the root before a verb."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            hint = (
                did_you_mean(cmd_name, self.commands) or f" There are {', '.join(self.commands)}. See blemish --help."
            )
            raise UsageError(f"Unknown verb {cmd_name}.{hint}")
        return command


def _spelt(option: str) -> str:
    """One rule makes both spellings of every option work: --save_path and --save-path."""
    return option.replace("_", "-")


def _spelt_as_before(option: str) -> str:
    """The same, and `--good` for `--good-images`, its name before `--good` named folders of a data set."""
    return "good-images" if option == "good" else _spelt(option)


app = typer.Typer(
    name="blemish",
    cls=_Verbs,
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _spelt},
)

_PADDLEX = "PaddleX-style, without a verb"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    *,
    pipeline: Annotated[
        str | None,
        typer.Option(
            help="anomaly_detection, or a pipeline file.",
            metavar="NAME|FILE",
            rich_help_panel=_PADDLEX,
            show_default="none; --model or --model_dir will do",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="An image, a folder or a URL; repeatable.",
            metavar="X",
            rich_help_panel=_PADDLEX,
            show_default="needed, but for --serve",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A detector's name or a model folder.",
            metavar="NAME|DIR",
            rich_help_panel=_PADDLEX,
            show_default="the pipeline's, or the demo model",
        ),
    ] = None,
    model_dir: Annotated[
        str | None,
        typer.Option(
            "--model_dir",
            help="A model folder.",
            metavar="DIR",
            rich_help_panel=_PADDLEX,
            show_default="the pipeline's, or the demo model",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to compute: auto, cpu, gpu:0, ...",
            metavar="DEVICE",
            rich_help_panel=_PADDLEX,
            show_default="auto, or the pipeline's",
        ),
    ] = None,
    save_path: Annotated[
        Path | None,
        typer.Option(
            "--save_path",
            help="The folder for results, or a pipeline's file.",
            metavar="DIR",
            rich_help_panel=_PADDLEX,
            show_default="nothing is saved; the file goes here",
        ),
    ] = None,
    config_save_path: Annotated[
        Path | None,
        typer.Option(
            "--config_save_path",
            help="The same, for a pipeline's file.",
            metavar="DIR",
            rich_help_panel=_PADDLEX,
            show_default="the current folder",
        ),
    ] = None,
    get_pipeline_config: Annotated[
        str | None,
        typer.Option(
            "--get_pipeline_config",
            help="Write that pipeline's file.",
            metavar="NAME",
            rich_help_panel=_PADDLEX,
            show_default="none is written",
        ),
    ] = None,
    use_hpip: Annotated[
        bool,
        typer.Option(
            "--use_hpip",
            "--enable_hpi",
            help="Take the fastest engine on this machine.",
            rich_help_panel=_PADDLEX,
        ),
    ] = False,
    hpi_config: Annotated[
        str | None,
        typer.Option(
            "--hpi_config",
            help="backend, precision, num_threads, good; as JSON.",
            metavar="X",
            rich_help_panel=_PADDLEX,
            show_default="all by themselves",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="onnxruntime, openvino, tensorrt or auto.",
            metavar="NAME",
            rich_help_panel=_PADDLEX,
            show_default="onnxruntime, or the pipeline's",
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Answer over HTTP instead of predicting.", rich_help_panel=_PADDLEX)
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="With --serve: the address to listen on.",
            metavar="HOST",
            rich_help_panel=_PADDLEX,
            show_default="127.0.0.1",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="With --serve: the port to listen on.", metavar="PORT", rich_help_panel=_PADDLEX, show_default="8080"
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    _verbose: options.Verbose = False,
) -> None:
    """Learns what good parts look like from good images alone, then finds what is anomalous in new ones.

    Start with: blemish quickstart. On your own images: blemish train DIR, then blemish predict MODEL INPUT.
    """
    flags = paddlex.Flags(
        pipeline,
        inputs or [],
        model,
        model_dir,
        device,
        config_save_path or save_path,
        get_pipeline_config,
        use_hpip,
        hpi_config,
        engine,
        serve,
        host,
        port,
    )
    if context.invoked_subcommand is not None:
        flags.refuse_before_verb(context.invoked_subcommand)
    elif flags == paddlex.Flags():
        with redirect_stdout(sys.stderr):  # typer prints the help itself
            typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    else:
        raise typer.Exit(flags.run())


app.command()(verbs.quickstart)
app.command()(verbs_check.check)
app.command()(verbs.train)
app.command()(verbs.evaluate)
app.command(context_settings={"token_normalize_func": _spelt_as_before})(verbs.predict)
app.command()(verbs_watch.watch)
app.command()(verbs_update.update)
app.command()(verbs_serve.serve)
app.command()(verbs_export.export)
app.command()(verbs.models)
app.command()(verbs.bench)
app.command()(verbs_tune.tune)
app.command()(verbs.run)
app.command()(verbs_data.convert)
app.command()(verbs_data.split)
app.command("import", context_settings={"token_normalize_func": _spelt_as_before})(verbs_import.import_)
app.command()(verbs_selftest.selftest)
