"""The verb that answers over HTTP, and the flag of PaddleX's that does the same."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from blemish.cli import options
from blemish.cli.logs import say
from blemish.errors import UsageError, install_command

if TYPE_CHECKING:
    from blemish.config import HpiConfig
    from blemish.service import Settings, SinkSettings

_LIBRARIES = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "sqlalchemy")
OUTPUT = Path("output/serve")


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="A model folder or a run's output, or NAME=FOLDER.", metavar="MODEL..."),
    ] = None,
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", metavar="PORT")] = 8080,
    output: Annotated[
        Path, typer.Option(help="The folder for what is kept.", metavar="DIR", envvar="BLEMISH_OUTPUT")
    ] = OUTPUT,
    store: Annotated[
        str | None,
        typer.Option(
            help="The database.", metavar="URL", envvar="BLEMISH_STORE", show_default="SQLite in the output folder"
        ),
    ] = None,
    device: options.Device = "auto",
    engine: options.Engine = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode images.", metavar="N")] = 2,
    max_latency: Annotated[
        float, typer.Option(help="Batches grow while an image is answered within so many ms.", metavar="MS")
    ] = 200.0,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images computed at once at most.", metavar="N", show_default="1 on a CPU, 16 elsewhere"
        ),
    ] = None,
    max_body: Annotated[int, typer.Option(min=1, help="The largest request, in MB.", metavar="MB")] = 64,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Images that are accepted and not answered.", metavar="N")
    ] = 256,
    head_timeout: Annotated[float, typer.Option(help="Until a request's head is there.", metavar="SECONDS")] = 10.0,
    body_timeout: Annotated[float, typer.Option(help="Until a request's body is there.", metavar="SECONDS")] = 60.0,
    keep: Annotated[
        Literal["none", "anomalous", "all"],
        typer.Option(help="Of which inspections the image and the map are kept.", metavar="WHICH"),
    ] = "anomalous",
    keep_days: Annotated[
        float | None,
        typer.Option(help="Forget inspections that are older.", metavar="DAYS", show_default="none is forgotten"),
    ] = None,
    keep_count: Annotated[
        int | None,
        typer.Option(min=0, help="Forget all but so many inspections.", metavar="N", show_default="none is forgotten"),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second that one client may make.", metavar="N", show_default="no limit"),
    ] = None,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Read images from public URLs.")] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="A name that browsers reach it by; repeatable.",
            metavar="HOST",
            show_default="this machine's own",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="The page Train may learn from folders below it; repeatable.",
            metavar="DIR",
            show_default="uploads alone",
        ),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook",
            help="Post every inspection to this URL; repeatable.",
            metavar="URL",
            show_default="none is posted",
        ),
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(
            help="Publish inspections there: mqtt:// or mqtts://HOST[:PORT].",
            metavar="URL",
            show_default="none is published",
        ),
    ] = None,
    mqtt_topic: Annotated[str, typer.Option(help="The topic to publish to.", metavar="TOPIC")] = "blemish/inspections",
    mqtt_ca: Annotated[
        Path | None,
        typer.Option(
            help="Certificates of the plant's own authority, for mqtts.", metavar="FILE", show_default="the system's"
        ),
    ] = None,
    opcua: Annotated[
        str | None,
        typer.Option(
            help="Show the last verdicts there: opc.tcp://HOST:PORT/PATH.", metavar="ENDPOINT", show_default="no server"
        ),
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="The log as JSON, a line for each request.")] = False,
    create_token: Annotated[
        Literal["viewer", "operator", "admin"] | None,
        typer.Option(
            help="Make a token for that role, print it, and end.", metavar="ROLE", show_default="none is made"
        ),
    ] = None,
    verbose: options.Verbose = False,
) -> None:
    """Answer over HTTP: PaddleX's routes, our own, and KServe's; SIGTERM ends it when what it accepted is done."""
    _check_installed()
    from blemish.config import choose_engine
    from blemish.service import ModelSource, Settings
    from blemish.store import Retention, open_store

    if create_token is not None:
        with open_store(store, output) as kept:
            typer.echo(kept.tokens.create(create_token, create_token))
        return
    settings = Settings(
        models=tuple(ModelSource.of(model) for model in models or []),
        output=output,
        host=host,
        port=port,
        store=store,
        device=device,
        engine=choose_engine(engine, False, None),
        workers=workers,
        max_latency_ms=max_latency,
        max_batch=max_batch,
        max_body=max_body << 20,
        max_waiting=max_waiting,
        max_images=min(64, max_waiting),
        header_timeout=head_timeout,
        body_timeout=body_timeout,
        keep_images=keep,
        retention=None
        if keep_days is None and keep_count is None
        else Retention(max_age=None if keep_days is None else timedelta(days=keep_days), max_count=keep_count),
        rate=rate,
        allow_urls=allow_urls,
        hosts=tuple(name or ()),
        data_roots=tuple(data or ()),
        sinks=_sinks(webhook, mqtt, mqtt_topic, mqtt_ca, opcua),
        json_logs=json_logs,
    )
    run_service(settings, requests=verbose or json_logs)


def _sinks(
    webhooks: list[str] | None, mqtt: str | None, topic: str, ca_file: Path | None, opcua: str | None
) -> SinkSettings:
    """Secrets come from the environment: every user of the machine can read a command line."""
    from blemish.service import SinkSettings

    return SinkSettings(
        webhooks=tuple(webhooks or ()),
        webhook_secret=os.environ.get("BLEMISH_WEBHOOK_SECRET", ""),
        mqtt=mqtt,
        mqtt_topic=topic,
        mqtt_user=os.environ.get("BLEMISH_MQTT_USER"),
        mqtt_password=os.environ.get("BLEMISH_MQTT_PASSWORD"),
        mqtt_ca_file=ca_file,
        opcua=opcua,
    )


def run_service(settings: Settings, requests: bool = False) -> None:
    """Serve until a signal."""
    from blemish.service import serve
    from blemish.service.logs import log_to_stderr

    log_to_stderr(settings.json_logs, requests)
    serve(settings, lambda address: say(f"Serving on {address}; Ctrl-C stops."))


def serve_pipeline(
    model: str, *, device: str, engine: str | HpiConfig | None, host: str | None, port: int | None, visualize: bool
) -> None:
    """PaddleX's `--serve`: one model."""
    _check_installed()
    from blemish.service import ModelSource, Settings

    settings = Settings(
        models=(ModelSource.of(model),),
        host=host or "127.0.0.1",
        port=8080 if port is None else port,
        device=device,
        engine=engine,
        visualize=visualize,
    )
    run_service(settings)


def _check_installed() -> None:
    missing = [library for library in _LIBRARIES if find_spec(library) is None]
    if missing:
        raise UsageError(f"The service needs {', '.join(missing)}: {install_command('serve')}")
