"""The documentation cannot rot: its commands and Python blocks are run, its links followed, its tables compared.

The blocks of a page run in their order in one folder, where `parts/` holds pictures of the generated sample and
`model/` a model of them; weights in Paddle's formats lie beside. A `text` block shows what the block before it prints:
every line must come, with numbers and verdicts of any value. Blocks that install something are checked, not run.
A hidden line `<!-- tests: A => B -->` above a block runs it with B in place of A: fewer images, a shorter schedule.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from command import ROOT
from paddle_files import Stfpm, checkpoint, fastflow_tensors, tar

from blemish.calibration import Calibration
from blemish.datasets import generate_sample
from blemish.pipeline import Region, Result

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = ("bash", "python")
DEFECTS = ("crack", "hole", "scratch")


class Block(NamedTuple):
    """A fenced block as it is run, and the `text` block that follows it."""

    language: str
    code: str
    shown: str


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks_of(path: Path) -> list[Block]:
    pattern = r"^((?:<!-- tests: [^\n]* -->\n)*)```(\w*)\n(.*?)^```$"
    found = re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    followers = [code if language == "text" else "" for _, language, code in found[1:]]
    return [
        Block(language, shortened(code, notes), shown)
        for (notes, language, code), shown in zip(found, [*followers, ""], strict=False)
    ]


def shortened(code: str, notes: str) -> str:
    """The code with what the hidden lines above it replace."""
    for full, short in re.findall(r"^<!-- tests: (.*) => (.*) -->$", notes, re.MULTILINE):
        assert full in code, f"{full} is not in\n{code}"
        code = code.replace(full, short)
    return code


def runnable_pages() -> list[Path]:
    return [page for page in PAGES if any(block.language in RUNNABLE for block in blocks_of(page))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`parts/good`, `parts/new`, `parts/exposures`, the commands `blemish` and `python`, and a trained `model`."""
    root = tmp_path_factory.mktemp("docs")
    sample = generate_sample(root / "sample", train=24, good=1, per_defect=1, size=160)
    shutil.copytree(sample / "train" / "good", root / "parts" / "good")
    (root / "parts" / "new").mkdir()
    for kind in ("good", *DEFECTS):
        shutil.copy(sample / "test" / kind / "000.png", root / "parts" / "new" / f"{kind}.png")
    hole = cv2.imread(str(root / "parts" / "new" / "hole.png"))
    cv2.circle(hole, (80, 80), 25, (255, 255, 255), -1)  # so few small pictures find no subtle defect
    cv2.imwrite(str(root / "parts" / "new" / "hole.png"), hole)
    (root / "parts" / "exposures").mkdir()
    for number, file in enumerate(sorted((root / "parts" / "good").iterdir())[:8]):
        for exposure in (0.9, 1.1):
            brighter = cv2.convertScaleAbs(cv2.imread(str(file)), alpha=exposure)
            cv2.imwrite(str(root / "parts" / "exposures" / f"part{number}_{exposure}.png"), brighter)
    files = tmp_path_factory.mktemp("paddle")  # large: every page gets a link to them
    made = Stfpm()
    exported = {"inference.pdiparams": made.pdiparams(pruned=True), "inference.pdiparams.info": made.info()}
    (files / "STFPM_infer.tar").write_bytes(tar(exported))
    (files / "best.pdparams").write_bytes(checkpoint(fastflow_tensors(kernels=(3,))))
    for file in files.iterdir():
        (root / file.name).symlink_to(file)
    (root / "bin").mkdir()
    for command, start in (("blemish", "-m blemish"), ("python", "")):
        script = root / "bin" / command
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -W error {start} "$@"\n')
        script.chmod(0o755)
    (root / "main.py").symlink_to(ROOT / "main.py")
    run(Block("bash", "blemish train parts/good --output model --preset fast", ""), root)
    return root


def run(block: Block, folder: Path) -> str:
    """Everything that the block prints; it must succeed."""
    shell = ["bash", "-euo", "pipefail", "-c", block.code]
    command = shell if block.language == "bash" else [sys.executable, "-W", "error", "-c", block.code]
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BLEMISH_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block.code}\n{done.stdout}"
    return done.stdout


def shapes(text: str) -> list[str]:
    """The lines without what may differ: numbers, verdicts, the width of columns."""
    text = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", text)
    text = re.sub(r"Normal|Anomaly", "VERDICT", text)
    text = re.sub(r"^\* ", "  ", text, flags=re.MULTILINE)  # the best of a study, which depends on the images
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def is_installation(block: Block) -> bool:
    return bool(re.search(r"\bpip install\b|^make |^git ", block.code, re.MULTILINE))


@pytest.mark.parametrize("page", runnable_pages(), ids=name_of)
def test_every_block_runs_and_prints_what_is_shown(page, world, tmp_path):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True, symlinks=True)
    for block in blocks_of(page):
        if block.language in RUNNABLE and not is_installation(block):
            printed = shapes(run(block, tmp_path))
            missing = [line for line in shapes(block.shown) if line not in printed]
            # too few good images for a rate are said in other words than enough of them
            missing = [line for line in missing if "good images support" not in line]
            assert not missing, f"{block.code}\nshows {missing}\nbut prints {printed}"


def extras() -> set[str]:
    return set(importlib.metadata.metadata("blemish").get_all("Provides-Extra") or ())


def test_installations_name_what_there_is():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8") if (ROOT / "Makefile").exists() else ""
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "CONTRIBUTING.md"])
    named = re.findall(r"pip (?:install|wheel)[^`\n]*\[([\w,]+)\]", text)
    assert len(named) > 20
    for extra in {extra for names in named for extra in names.split(",")} | set(re.findall(r"extra `(\w+)`", text)):
        assert extra in extras(), extra
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_extra_is_described():
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    table = text.split("## Extras")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == extras()


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "examples").rglob("*.md"))], ids=name_of)
def test_no_page_installs_blemish_from_an_index_that_has_none(page):
    """By its name alone it can be installed only where it is installed, or from a folder of wheels."""
    for line in page.read_text(encoding="utf-8").splitlines():
        by_name = re.search(r"pip install[^`]* \"?blemish(\[|\"|`|\s|$)", line)
        assert not by_name or "--find-links" in line or "in the same environment" in line, line


def test_messages_name_extras_that_there_are():
    """Through the one function that knows how one is added."""
    found = set()
    for path in (ROOT / "blemish").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "pip install" not in text or "blemish[" not in text or path.name == "errors.py", path
        found |= set(re.findall(r"install_command\([\"'](\w+)[\"']\)", text))
    assert len(found) > 6 and found <= extras()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?://", target):
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\(([\w./-]+\.md)\)", index))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - {"index.md"} <= named


class TestResults:
    """docs/results.md against a real result."""

    TEXT = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")

    def table(self, heading: str) -> list[str]:
        section = self.TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
        return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    def test_every_key_is_documented_in_order(self, world):
        from blemish import create_model

        result = next(
            create_model("PatchCore", model_dir=world / "model").predict(world / "parts" / "new" / "hole.png")
        )
        assert self.table("Keys") == list(result)
        assert result.regions and self.table("A region") == list(Region.__slots__)
        shown = json.loads(
            next(block.code for block in blocks_of(ROOT / "docs" / "results.md") if block.language == "json")
        )
        record = result.to_dict()
        assert list(shown) == list(record)
        for key, value in shown.items():
            assert type(value) is type(record[key]), key
        assert shown["regions"][0].keys() == record["regions"][0].keys()
        assert shown["pred"].keys() == record["pred"].keys() and shown["timings"].keys() == record["timings"].keys()

    def test_every_call_is_there(self):
        for call in re.findall(r"^\| `result\.(\w+)", self.TEXT, re.MULTILINE):
            assert hasattr(Result, call), call

    def test_the_keys_that_are_none_for_a_failed_input(self, world, tmp_path):
        from blemish import create_model

        (tmp_path / "text.png").write_text("no image")
        result = next(create_model("PatchCore", model_dir=world / "model").predict(tmp_path))
        row = next(line for line in self.TEXT.splitlines() if line.startswith("| `error` |"))
        stated = set(re.findall(r"`(\w+)`", row.split("All of")[1]))
        empty = {key for key in result if result[key] is None}
        assert stated == empty - {"page_index", "part"}


def test_the_numbers_of_the_calibration_page():
    text = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \|$", text, re.MULTILINE)
    assert len(rows) >= 5
    for parts, *stated in rows:
        scores = np.arange(int(parts), dtype=float)
        made = Calibration(scores, scores, np.arange(int(parts)))
        found = made.best_rate, made.upper_rate(made.best_rate), made.upper_rate(0.05)
        assert [f"{100 * rate:.2g}" for rate in found] == [f"{float(value):.2g}" for value in stated], parts


@pytest.mark.parametrize("page", ["README.md", "docs/calibration.md"])
def test_the_small_sample_message_is_the_real_one(page):
    scores = np.arange(60, dtype=float)
    assert Calibration(scores, scores, np.arange(60), 0.01).statement() in (ROOT / page).read_text(encoding="utf-8")


def test_the_pictures_are_drawn_by_their_script(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "make_pictures.py")]
    small = [*command, "--output", str(tmp_path), "--size", "96", "--train", "12", "--iterations", "2"]
    subprocess.run(small, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300)
    folder = ROOT / "docs" / "images"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}
    for path in tmp_path.iterdir():
        kept = folder / path.name
        drawn, shown = cv2.imread(str(path)), cv2.imread(str(kept))
        # the parts' own pictures, side by side, are of the images' size
        assert drawn.shape == shown.shape or path.name == "tutorial-pipeline.jpg", path.name
        assert kept.stat().st_size < (600_000 if path.name == "overview.jpg" else 150_000), path.name


def test_every_picture_is_shown():
    shown = {
        target for page in PAGES for target in re.findall(r"images/([\w-]+\.jpg)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == {path.name for path in (ROOT / "docs" / "images").iterdir()}
