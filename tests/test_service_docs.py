"""docs/service.md: its examples run against a server, its tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT
from served import grey, serving, tiny_folder

from blemish.service.metrics import Metrics

PAGE = (ROOT / "docs" / "service.md").read_text("utf-8")
BLOCKS = [
    (language, code)
    for language, code in re.findall(r"^```(sh|py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if not code.startswith("blemish serve")
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples read."""
    root = tmp_path_factory.mktemp("docs")
    (root / "part.png").write_bytes(grey(200))
    (root / "other.png").write_bytes(grey(0))
    tiny_folder(root / "new", bias=50)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(sys.executable)
    return root


def test_the_examples_run_in_their_order(place: Path) -> None:
    assert len(BLOCKS) >= 8
    with serving(tiny_folder(place / "bottle"), "--output", place / "out") as running:
        for language, shown in BLOCKS:
            code = shown.replace("http://127.0.0.1:8080", running.url).replace("curl ", "curl -fsS ")
            command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-W", "error", "-c", code]
            path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path, "TOKEN": "none", "NO_PROXY": "*"}
            done = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        assert (place / "map.png").read_bytes().startswith(b"\x89PNG")
        with running.client() as client:
            versions = client.get("/v1/models/bottle").json()["versions"]
    assert [version["active"] for version in versions] == [False, True]


def test_every_metric_is_documented() -> None:
    names = {metric.name for metric in Metrics().registry.collect()}
    stated = set(re.findall(r"^\| `(blemish_\w+?)(?:_total)?` \|", PAGE, re.MULTILINE))
    assert stated == names
