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

import cv2
import httpx
import pytest
from built import built_wheel
from command import ROOT
from controls import Explorer
from playwright.sync_api import Browser
from served import Server, serving
from test_service_models import zipped
from web_page import FAKE_CAMERA, chromium

from blemish.datasets import generate_sample

PAGES = {"/", "/docs", "/history", "/history/*", "/inspect", "/login", "/metrics", "/models", "/models/*", "/train"}
PAGES |= {"/train?data", "/trend", "/trend?model"}


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
        self.client, self.models, self.parts, self.count = client, models, parts, 0

    def restore(self) -> None:
        for folder in self.models:
            self.client.post(
                "/v1/models/part/versions", params={"activate": folder == self.models[0]}, content=zipped(folder)
            )
        self.count += 1  # no image twice, or there would be nothing to learn from it
        self.inspect("test/good", 0)
        for folder, review in (("test/hole", "false_alarm"), ("test/crack", "confirmed")):
            ids = [self.inspect(folder, self.count, light=1 + self.count / 100)]
            self.client.post("/v1/inspections/review", json={"ids": ids, "review": review})
        for number in range(200):
            if self.client.get("/v1/models/part/drift").json().get("alarm"):
                break
            self.inspect("train/good", number, light=1.5)
        for path in sorted((self.parts / "train" / "good").iterdir())[:8]:
            self.client.post("/train/data/uploads/images", params={"source": path.name}, content=path.read_bytes())

        self.client.post("/models/part/update")
        first, second, *_ = [one["version"] for one in self.client.get("/v1/models/part").json()["versions"]]
        self.client.post("/models/part/compare", data={"first": first, "second": second, "newest": 50})

    def inspect(self, folder: str, number: int, light: float = 1.0) -> int:
        """The number of the inspection of one of these parts, under brighter light."""
        paths = sorted((self.parts / folder).iterdir())
        path = paths[number % len(paths)]
        image = cv2.imencode(".png", cv2.convertScaleAbs(cv2.imread(str(path)), alpha=light))[1].tobytes()
        answer = self.client.post("/v1/models/part/predict", params={"source": path.name}, content=image)
        return int(answer.json()["results"][0]["inspection"])


def test_every_control_of_every_page_does_something(
    station: Server, token: str, models: list[Path], parts: Path, browser: Browser, tmp_path: Path
) -> None:
    archive = tmp_path / "model.zip"
    archive.write_bytes(zipped(models[1]))
    with station.client(headers={"Authorization": f"Bearer {token}"}) as client:
        plant = Plant(client, models, parts)
        plant.restore()
        explorer = Explorer(browser, station.url, token, parts / "test" / "hole" / "000.png", archive, plant.restore)
        explorer.explore("/", "/login")
        explorer.confirm()
    for name, effect in explorer.tried.items():
        print(f"{name}: {effect}")
    found = {"do nothing": explorer.dead, "cannot be tried": explorer.missed, "are faults": explorer.faults}
    assert not any(found.values()), json.dumps(found, indent=1)
    assert explorer.pages >= PAGES, PAGES - explorer.pages
