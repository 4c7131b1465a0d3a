"""The verbs: each turns its arguments into one call of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import options
from blemish.cli.logs import say
from blemish.errors import UsageError

if TYPE_CHECKING:
    from blemish.config import RunConfig
    from blemish.fitting import FitReport
    from blemish.pipeline import Predictor


TRAIN_OUTPUT = Path("output/train")


def quickstart(
    data: Annotated[
        Path | None,
        typer.Option(help="Your own images instead of the sample.", metavar="DIR", show_default="a generated sample"),
    ] = None,
    good: options.Good = None,
    output: options.Output = Path("output/quickstart"),
    _verbose: options.Verbose = False,
) -> None:
    """See it all once, on a generated sample of hazelnuts."""
    from blemish.demo import quickstart as show

    typer.echo(show(data, output, say, _fitted, good or ()))


def train(
    data: Annotated[str, typer.Argument(help="A folder of good images, or an MVTec-style one.", metavar="DIR")],
    *,
    model: Annotated[str | None, options.detector_option("The detector; see blemish models.", "NAME")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The folder for what is written.", metavar="DIR", show_default=f"{TRAIN_OUTPUT}, or the run file's"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to compute: auto, cpu, gpu:0, ...", metavar="DEVICE", show_default="auto, or the run file's"
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="fast, balanced or accurate.", metavar="PRESET", show_default="balanced; fast for STFPM and FastFlow"
        ),
    ] = None,
    false_alarm_rate: Annotated[float | None, options.rate_option("0.01, or the run file's")] = None,
    holdout: Annotated[
        list[str] | None,
        typer.Option(
            "--holdout",
            help="Good images of another day, not learned; repeatable.",
            metavar="DIR",
            show_default="all images are one session",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="A pattern that finds the part in a name; '' for none.",
            metavar="REGEX",
            show_default="parts are found by their likeness",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the output folder.")
    ] = False,
    good: options.Good = None,
    leave_out: options.LeaveOut = None,
    config: options.RunFile = None,
    override: options.Overrides = None,
    _verbose: options.Verbose = False,
) -> None:
    """Learn from good images; prints the model folder and the next command; exit code 1 if some could not be read."""
    from blemish.config import load_config

    flags = {
        "Global.dataset_dir": data,
        "Global.model": model,
        "Global.output": output,
        "Global.device": device,
        "Model.preset": preset,
        "Calibrate.false_alarm_rate": false_alarm_rate,
    }
    given = [f"{key}={value}" for key, value in flags.items() if value is not None]
    run_file = config or (_packaged(model) if model else None)
    own = [f"Global.output={TRAIN_OUTPUT}"] if _is_packaged(run_file) else []
    held_out = [f"Calibrate.holdout={json.dumps(holdout, ensure_ascii=False)}"] if holdout else []
    parts = [] if group_by is None else [f"Calibrate.group_by={json.dumps(group_by or None, ensure_ascii=False)}"]
    chosen = [*own, *given, *options.good_override(good), *held_out, *parts, *(override or [])]
    settings = load_config(run_file, ["Global.mode=train", *chosen])
    settings.Global.leave_out = [*settings.Global.leave_out, *options.names_left_out(leave_out)]
    if "output" not in settings.Global.model_fields_set:
        settings.Global.output = str(TRAIN_OUTPUT)
    if resume and settings.Train.resume_path is None:
        from blemish.models.run_traces import newest_checkpoint

        settings.Train.resume_path = str(newest_checkpoint(Path(settings.Global.output)))
    _fit(settings)


def predict(
    model: options.Model,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or URLs.", metavar="INPUT")],
    *,
    save_path: options.SavePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
    false_alarm_rate: options.ModelRate = None,
    threshold: options.ScoreThreshold = None,
    group_by: options.GroupBy = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    engine: options.Engine = None,
    precision: options.Precision = None,
    good_images: options.GoodImages = None,
    _verbose: options.Verbose = False,
) -> None:
    """Score images, one line each, then parts; exit code 1 if some could not be read."""
    _refuse_both(false_alarm_rate, threshold)
    from blemish.pipeline import open_model

    chosen = options.engine_of(engine, precision, good_images)
    predictor = open_model(model, device, batch_size, false_alarm_rate, threshold, engine=chosen, say=say)
    if false_alarm_rate is not None and false_alarm_rate < predictor.calibration.best_rate:
        say(predictor.calibration.statement(false_alarm_rate))
    raise typer.Exit(_predicted(predictor, inputs, group_by, save_path, as_json))


def evaluate(
    model: options.Model,
    data: Annotated[Path, typer.Argument(help="A data set with test images, or good images alone.", metavar="DIR")],
    *,
    output: options.Output = Path("output/evaluate"),
    false_alarm_rate: options.ModelRate = None,
    threshold: options.ScoreThreshold = None,
    group_by: options.GroupBy = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    engine: options.Engine = None,
    precision: options.Precision = None,
    good_images: options.GoodImages = None,
    good: options.Good = None,
    leave_out: options.LeaveOut = None,
    _verbose: options.Verbose = False,
) -> None:
    """Measure a model on images whose truth is known; writes report.html, prints the figures."""
    _refuse_both(false_alarm_rate, threshold)
    from blemish.cli.measuring import measure

    raise typer.Exit(
        measure(
            model,
            data,
            output,
            device,
            batch_size=batch_size,
            false_alarm_rate=false_alarm_rate,
            threshold=threshold,
            engine=options.engine_of(engine, precision, good_images),
            good=good or (),
            group_by=group_by,
            leave_out=options.names_left_out(leave_out),
        )
    )


def bench(
    root: Annotated[Path, typer.Argument(help="A folder of data sets, one for each product.", metavar="ROOT")],
    *,
    category: Annotated[str, typer.Option(help="Which of them: names with commas, or all.", metavar="NAMES")] = "all",
    model: Annotated[
        str | None, options.detector_option("Detectors, with commas; see blemish models.", "NAMES")
    ] = None,
    good: options.Good = None,
    output: options.Output = Path("output/bench"),
    config: options.RunFile = None,
    override: options.Overrides = None,
    _verbose: options.Verbose = False,
) -> None:
    """Train and evaluate every product with one configuration; an interrupted run continues."""
    from blemish.cli.measuring import measure_all, split_names
    from blemish.config import load_config
    from blemish.detectors import detector_class

    given = [*options.good_override(good), *(override or [])]
    wanted = split_names(model) if model is not None else [load_config(config, given).Global.model]
    names = [detector_class(name).card.name for name in wanted]
    configs = {
        name: load_config(config or _packaged(name), ["Global.mode=train", f"Global.model={name}", *given])
        for name in names
    }
    raise typer.Exit(measure_all(root, output, configs, category))


def models(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
    _verbose: options.Verbose = False,
) -> None:
    """List the detectors."""
    from blemish.detectors import list_models

    keys = ("name", "summary", "requires", "reference")
    cards = [{key: getattr(card, key) for key in keys} for card in list_models()]
    if as_json:
        typer.echo(json.dumps(cards, indent=2))
        return
    rows = [keys, *(tuple(str(value or "-") for value in card.values()) for card in cards)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(keys))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def run(config: options.RunFile = None, override: options.Overrides = None, _verbose: options.Verbose = False) -> None:
    """Do what a run file's Global.mode says; main.py is the same."""
    from blemish.cli.results import failure_recorded
    from blemish.config import load_config

    settings = load_config(config, override or [])
    mode = settings.Global.mode
    with failure_recorded(settings):
        _MODES[mode](settings)


def _is_packaged(run_file: str | None) -> bool:
    """Whether a run file is one of ours; these name the output folder `output` as PaddleX's do, for `run` alone."""
    from blemish.config import packaged_configs
    from blemish.config.run_file import find_config

    return run_file is not None and find_config(run_file) in packaged_configs().values()


def _fitted(config: RunConfig) -> FitReport:
    """Fit with a progress bar, and say what the calibration can promise."""
    from blemish.cli.progress import show_progress
    from blemish.fitting import fit

    with show_progress() as progress:
        report = fit(config, progress)
    for line in report.lines:
        say(line)
    return report


def _fit(config: RunConfig) -> None:
    from blemish.cli.results import SOME_FAILED

    report = _fitted(config)
    _say_command_without(report, config)
    typer.echo(str(report.folder))
    typer.echo(f"blemish predict {_quoted(report.output)} INPUT")
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def _say_command_without(report: FitReport, config: RunConfig) -> None:
    """How to train without images that cannot be read and those that stand apart, if there are any."""
    if not report.outliers and not report.unread:
        return
    from blemish.cli.leaving_out import command_without

    without = ["what stands apart"] * bool(report.outliers) + ["what cannot be read"] * bool(report.unread)
    result = report.output / "train_result.json"
    command = command_without(report.outliers, report.unread, config.Global.leave_out, result)
    say(f"To train without {' and '.join(without)}: {command}")


def _predict(config: RunConfig) -> None:
    if config.Predict.input is None:
        raise UsageError("Predict.input is missing: an image, a folder or a URL (-o Predict.input=...).")
    from blemish.pipeline import open_model

    predictor = open_model(config.model_folder(), config.Global.device, config.Predict.batch_size, None, None)
    save_path = Path(config.Predict.save_path or config.Global.output)
    raise typer.Exit(_predicted(predictor, [config.Predict.input], config.Calibrate.group_by, save_path, as_json=False))


def _predicted(
    predictor: Predictor, inputs: list[str], group_by: str | None, save_path: Path | None, as_json: bool
) -> int:
    """Predict and report, parts by a given pattern or by the model's; returns the exit code."""
    from blemish.cli.part_names import check_part_names
    from blemish.cli.results import report_results

    if group_by is None:
        group_by = predictor.grouping.pattern or ""
        check_part_names(group_by, inputs, "The model's pattern")
    else:
        check_part_names(group_by, inputs, "--group-by")
    results = predictor.predict(inputs, group_by=group_by)
    return report_results(predictor, results, save_path, as_json)


def _evaluate(config: RunConfig) -> None:
    if config.Global.dataset_dir is None:
        raise UsageError("Global.dataset_dir is missing: a data set with test images.")
    from blemish.cli.measuring import measure

    own, model, data = config.Global, config.evaluated_model(), Path(config.Global.dataset_dir)
    raise typer.Exit(measure(model, data, Path(own.output), own.device, good=own.good, leave_out=own.leave_out))


def _check(config: RunConfig) -> None:
    from blemish.cli.verbs_check import check_as_configured

    check_as_configured(config)


def _export(config: RunConfig) -> None:
    from blemish.cli.verbs_export import export_as_configured

    export_as_configured(config)


_MODES = {"check_dataset": _check, "train": _fit, "evaluate": _evaluate, "export": _export, "predict": _predict}


def _packaged(model: str) -> str | None:
    """The packaged run file of a detector, whatever the case of its name."""
    from blemish.config import packaged_configs

    return {name.lower(): name for name in packaged_configs()}.get(model.lower())


def _refuse_both(false_alarm_rate: float | None, threshold: float | None) -> None:
    if false_alarm_rate is not None and threshold is not None:
        raise UsageError("Give --false-alarm-rate or --threshold, not both.")


def _quoted(path: Path) -> str:
    from shlex import quote

    return quote(str(path))
