"""The plain install is whole: the wheel in an environment of its own, the station that it starts, every control.

Nothing here comes from the checkout but the pictures of parts: neither the program nor the model that it has trained.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
from built import built_wheel
from command import ROOT
from controls import Explorer
from playwright.sync_api import Browser, expect
from served import Server, serving
from servers import wait_until
from station import visited
from test_service_models import zipped
from web_page import FAKE_CAMERA, chromium, inspect, opened, served

from blemish.datasets import generate_sample

PAGES = {"/", "/docs", "/history", "/history/*", "/inspect", "/login", "/metrics", "/models", "/models/*", "/train"}
PAGES |= {"/train?data", "/trend"}

# controls that need something to have happened before: an alarm, two versions, a new one, a rate, a selection
PLACES = ("#charts>section>div>button", "#update", "#compare", "#activate", "#return", "#apply", "#say", "#said")


class Installation:
    """An environment of its own, and the programs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.programs = folder / "venv" / "bin"
        # the tested versions; nothing of the checkout's own environment
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.environment = {**clean, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PYTHONWARNINGS": "error"}

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.programs / program), *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=600
        )

    def pip(self, *arguments: object) -> None:
        """Modules are compiled when they are used, of which there are far fewer than are installed."""
        self.environment.pop("PYTHONWARNINGS", None)
        done = self.run("pip", "install", "--quiet", "--no-compile", *arguments)
        assert done.returncode == 0, done.stderr
        self.environment["PYTHONWARNINGS"] = "error"

    def blemish(self, *arguments: object) -> str:
        done = self.run("blemish", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def package(self) -> Path:
        (found,) = (self.folder / "venv").glob("lib/python3*/site-packages/blemish")
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The base package, then what the service asks for, by the very command that it prints."""
    made = Installation(tmp_path_factory.mktemp("installed"))
    made.pip(built_wheel(tmp_path_factory.mktemp("dist")))
    refused = made.run("blemish", "serve")
    told = re.search(r'The service needs \S.*: pip install ("blemish\[serve\]")$', refused.stderr, re.MULTILINE)
    assert refused.returncode == 2 and told, refused.stderr
    made.pip(*shlex.split(told[1]))
    return made


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_sample(tmp_path_factory.mktemp("parts") / "sample", train=24, good=4, per_defect=2, size=96)


@pytest.fixture(scope="module")
def models(installed: Installation, parts: Path) -> list[Path]:
    """Two versions of a model, trained by the installation itself."""
    found = []
    for width in (64, 96):
        output = installed.folder / f"model{width}"
        size = ("-o", f"Model.width={width}", "-o", f"Model.height={width}")
        installed.blemish("train", parts / "train", "--preset", "fast", *size, "--output", output)
        found.append(output / "best_model" / "inference")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*FAKE_CAMERA) as opened:
        yield opened


@pytest.fixture(scope="module")
def token(installed: Installation) -> str:
    return installed.blemish("serve", "--create-token", "admin", "--output", installed.folder / "out").strip()


@pytest.fixture(scope="module")
def station(installed: Installation, models: list[Path], parts: Path, token: str) -> Iterator[Server]:
    options = ("--output", installed.folder / "out", "--keep", "all", "--data", parts)
    program = (installed.programs / "blemish",)
    with serving(f"part={models[0]}", *options, program=program, cwd=installed.folder, PYTHONPATH="") as running:
        yield running


class Plant:
    """Brings the station back to where all can be done: two versions, reviews, an alarm, images to learn from."""

    def __init__(self, client: httpx.Client, models: list[Path], parts: Path) -> None:
        self.client, self.models, self.count = client, models, 0
        self.good = sorted((parts / "train" / "good").iterdir())

    def restore(self) -> None:
        for folder in self.models:
            activate = {"activate": folder == self.models[0]}
            self.client.post("/v1/models/part/versions", params=activate, content=zipped(folder))
        for review in ("false_alarm", "confirmed"):
            self.count += 1  # no image twice, or there would be nothing to learn from it
            found = self.inspect(self.count, spot=10 + self.count)
            assert found["is_anomalous"]
            self.client.post("/v1/inspections/review", json={"ids": [found["inspection"]], "review": review})
        for number in range(160):
            if self.client.get("/v1/models/part/drift").json()["alarm"]:
                break
            self.inspect(number, light=1 if number < 60 else 3)
        for path in self.good[:8]:
            self.client.post("/train/data/uploads/images", params={"source": path.name}, content=path.read_bytes())
        self.client.post("/models/part/update")
        first, second, *_ = self.versions()
        self.client.post("/models/part/compare", data={"first": first, "second": second, "newest": 50})

    def versions(self) -> list[str]:
        return [one["version"] for one in self.client.get("/v1/models/part").json()["versions"]]

    def inspect(self, number: int, light: float = 1.0, spot: int = 0) -> dict[str, Any]:
        """The result of one of the good parts, under brighter light or with a white square."""
        path = self.good[number % len(self.good)]
        image = cv2.convertScaleAbs(cv2.imread(str(path)), alpha=light)
        cv2.rectangle(image, (spot, spot), (2 * spot, 2 * spot), (255, 255, 255), -1)
        content = cv2.imencode(".png", image)[1].tobytes()
        answer = self.client.post("/v1/models/part/predict", params={"source": path.name}, content=content)
        return dict(answer.json()["results"][0])


def test_every_control_of_every_page_does_something(
    station: Server, token: str, models: list[Path], parts: Path, browser: Browser, tmp_path: Path
) -> None:
    archive = tmp_path / "model.zip"
    archive.write_bytes(zipped(models[1]))
    with station.client(headers={"Authorization": f"Bearer {token}"}) as client:
        plant = Plant(client, models, parts)
        plant.restore()
        wait_until(lambda: len(plant.versions()) == 3, 120)  # the update is done
        explorer = Explorer(browser, station.url, token, parts / "test" / "hole" / "000.png", archive, plant.restore)
        explorer.explore("/trend", "/models/part", "/", "/login")
        explorer.confirm()
    found = {"do nothing": explorer.dead, "cannot be tried": explorer.missed, "are faults": explorer.faults}
    assert not any(found.values()), json.dumps(found, indent=1)
    assert explorer.pages >= PAGES, PAGES - explorer.pages
    for place in PLACES:
        assert any(place in key for key in explorer.tried), place


def test_the_api_is_shown_and_opens(station: Server, token: str, browser: Browser) -> None:
    with station.client(headers={"Authorization": f"Bearer {token}"}) as client:
        document = client.get("/openapi.json").json()
    operations = sum(len(ways) for ways in document["paths"].values())
    with visited(browser, station.url) as page:
        page.goto("/docs")
        expect(page.locator(".opblock")).to_have_count(operations)
        page.click(".opblock >> nth=0")
        expect(page.locator(".opblock.is-open .opblock-body")).to_be_visible()


def test_the_browser_export_of_an_installation_inspects(
    installed: Installation, models: list[Path], parts: Path, browser: Browser
) -> None:
    page = installed.folder / "page"
    installed.blemish("export", models[0], "--format", "browser", "--output", page)
    with served(page) as address, browser.new_context() as context:
        (record,) = inspect(opened(context, address), [parts / "test" / "hole" / "000.png"])
    assert record["score"] > 0


@pytest.mark.parametrize("damage", [None, b"", b"<html>Not found</html>"], ids=["missing", "empty", "another"])
@pytest.mark.parametrize("name", ["vendor/htmx.min.js", "vendor_swagger/swagger-ui.css"])
def test_a_station_that_is_not_whole_does_not_start(installed: Installation, name: str, damage: bytes | None) -> None:
    file = installed.package / "service" / "pages" / "static" / name
    content = file.read_bytes()
    try:
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        done = installed.run("blemish", "serve", "--port", "0", "--output", installed.folder / "broken")
    finally:
        file.write_bytes(content)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert str(file) in done.stderr and "install Blemish again" in done.stderr


class TestExplorer:
    """It would see a dead control."""

    PAGE = """
    <main><button>Dead</button> <button onclick="this.title = 'alive'">Alive</button> <a href="#here">Nowhere else</a>
    <button onclick="confirm('Sure?') &amp;&amp; this.remove()">Ask</button>
    <details><summary>More</summary><button>Dead below</button></details>
    <form action="/"><input name="sent"><input><button>Send</button></form>
    <button onclick="missing()">Broken</button> <a href="/nothing.html">Lost</a>
    <select><option>one</option><option>two</option></select></main>
    """

    def test_what_does_nothing_is_found(self, browser: Browser, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text("<!doctype html><link rel=icon href=data:>" + self.PAGE)
        with served(tmp_path) as address:
            explorer = Explorer(browser, address, "", tmp_path, tmp_path, lambda: None)
            explorer.explore("/")
            explorer.confirm()
        dead = {key.split(">")[-1] for key in explorer.dead}
        buttons = {"button submit Dead", "button submit Dead below", "button submit Broken"}
        assert dead == buttons | {"input text", "select select-one two"}
        assert any("missing is not defined" in fault for fault in explorer.faults)
        assert any("404" in fault and "nothing.html" in fault for fault in explorer.faults)
