"""Earlier versions of a model: one takes the place of another whole or not at all, and comes back as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from test_models_folder import _edit
from tiny_model import tiny_info, tiny_network

from blemish.errors import ModelError, UsageError
from blemish.models import (
    LoadedModel,
    ModelInfo,
    UpdateInfo,
    bring_back,
    kept_versions,
    load_model,
    replace_model,
    save_model,
    set_false_alarm_rate,
)

CHECK = "a" * 64


def record(before: str = CHECK, **changes: Any) -> UpdateInfo:
    given: dict[str, Any] = {
        "version_before": before,
        "images": 2,
        "parts": 1,
        "fingerprint": CHECK,
        "folder": "new",
        "size": [5, 7],
        "threshold": [1.5, 2.0],
        "false_alarms": [2, 0],
    }
    return UpdateInfo(**(given | changes))


def updated(info: ModelInfo) -> ModelInfo:
    history = [*(info.history or []), record(info.version)]
    return ModelInfo.model_validate({**dict(info), "format_version": 3, "history": history})


def accept(_written: LoadedModel) -> None:
    """Every version is good."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "run" / "best_model" / "inference", tiny_network(), tiny_info())


def advance(folder: Path, bias: int) -> str:
    """Put a new version there; returns the first digits of the one before."""
    old = load_model(folder)
    replace_model(old, tiny_network(bias), updated(old.info), accept)
    return old.info.version[:12]


def test_versions_go_forth_and_back(folder: Path) -> None:
    first = advance(folder, 1)
    second = advance(folder, 2)
    assert kept_versions(folder) == [first, second]
    assert len(load_model(folder).info.history or []) == 2
    assert bring_back(folder.parent.parent).model == tiny_network(1)
    assert load_model(folder).info.version.startswith(second)
    assert bring_back(folder).model == tiny_network(0)
    assert load_model(folder).info.version.startswith(first)
    with pytest.raises(UsageError, match="never been updated"):
        bring_back(folder)
    latest = kept_versions(folder)[-1]
    assert bring_back(folder, latest).model == tiny_network(2)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["inference", "inference_history"]


def test_a_changed_rate_is_undone_with_the_update(folder: Path) -> None:
    first = advance(folder, 1)
    set_false_alarm_rate(folder, 0.3)
    with_rate = load_model(folder).info.version
    assert bring_back(folder).info.version.startswith(first)
    assert with_rate[:12] in kept_versions(folder)


@pytest.mark.parametrize("version", ["", "f" * 12, "..", "/", "zz"])
def test_a_version_that_is_not_there(folder: Path, version: str) -> None:
    first = advance(folder, 1)
    with pytest.raises(UsageError, match=f"kept are: {first}"):
        bring_back(folder, version)
    assert load_model(folder).model == tiny_network(1)


def test_a_damaged_version_is_not_brought_back(folder: Path) -> None:
    first = advance(folder, 1)
    (folder.parent / "inference_history" / first / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="kept are: none"):
        bring_back(folder)
    assert load_model(folder).model == tiny_network(1)
    assert load_model(folder).model == tiny_network(1)


def test_a_version_that_does_not_pass_changes_nothing(folder: Path) -> None:
    def refuse(_written: LoadedModel) -> None:
        raise ModelError("not taken")

    old = load_model(folder)
    for model, verify in ((tiny_network(1), refuse), (b"no network", accept)):
        with pytest.raises(ModelError):
            replace_model(old, model, updated(old.info), verify)
        assert load_model(folder).info == old.info
        assert [path.name for path in folder.parent.iterdir()] == ["inference"]


def test_the_verified_version_is_the_one_on_the_disk(folder: Path) -> None:
    seen: list[LoadedModel] = []
    old = load_model(folder)
    replace_model(old, tiny_network(1), updated(old.info), seen.append)
    assert [each.model for each in seen] == [tiny_network(1)]
    assert seen[0].info == load_model(folder).info


# ---- the format ---------------------------------------------------------------------------------------------------


def test_a_model_without_updates_is_written_as_before(folder: Path) -> None:
    stated = json.loads((folder / "model.json").read_text())
    assert "history" not in stated and stated["format_version"] == 1


def test_a_history_needs_the_version_that_knows_it(folder: Path) -> None:
    advance(folder, 1)
    assert json.loads((folder / "model.json").read_text())["format_version"] == 3
    _edit(folder, lambda stated: stated.update(format_version=2))
    with pytest.raises(ModelError, match="has a history, which format versions 1 and 2 do not know"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"version_before": "short"},
        {"images": -1},
        {"size": [1]},
        {"threshold": [1.0, float("nan")]},
        {"false_alarms": [1, 2, 3]},
        {"folder": "evil\x1b[2J"},
        {"surprise": 1},
    ],
)
def test_a_history_out_of_bounds(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**change)


def test_the_format_page_names_every_key_of_the_history() -> None:
    page = (Path(__file__).parent.parent / "docs" / "model-format.md").read_text(encoding="utf-8")
    for key in ["history", *record().model_dump()]:
        assert f"`{key}`" in page, key


# ---- crashes ------------------------------------------------------------------------------------------------------

# Ends the process, as a power cut would, before the n-th change of the file system; repeats with n + 1.
_CRASH_AT_EVERY_STEP = """
import os, shutil, sys
from pathlib import Path
from test_versions import accept, tiny_network, updated
from blemish.models import bring_back, kept_versions, load_model, replace_model, save_model
root, source, way = Path(sys.argv[1]), load_model(sys.argv[2]), sys.argv[3]
place = root / "inference"
names = {tiny_network(0): "old", tiny_network(1): "new"}

def replace():
    old = load_model(place)
    replace_model(old, tiny_network(1), updated(old.info), accept)

def until(steps, action):
    def count(event, arguments):
        nonlocal steps
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            steps -= 1
            if steps < 0:
                os._exit(9)
    sys.addaudithook(count)
    action()
    os._exit(0)

for step in range(200):
    shutil.rmtree(root)
    save_model(place, source.model, source.info)
    if way == "back":
        replace()
    child = os.fork()
    if child == 0:
        until(step, replace if way == "forth" else lambda: bring_back(place))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = load_model(place)
    kept = kept_versions(place)
    whole = found.model == tiny_network(0) or found.info.history[-1].version_before[:12] in kept
    print(code, names[found.model], whole, flush=True)
    if code == 0:
        break
"""


@pytest.mark.parametrize(("way", "last"), [("forth", "new"), ("back", "old")])
def test_a_crash_at_any_step_leaves_one_of_the_two_and_the_way_back(
    tmp_path: Path, folder: Path, way: str, last: str
) -> None:
    (tmp_path / "crash").mkdir()
    arguments = [str(tmp_path / "crash"), str(folder), way]
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", start + _CRASH_AT_EVERY_STEP, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = [line.split() for line in done.stdout.splitlines()]
    assert len(steps) > 15
    assert steps[-1] == ["0", last, "True"]
    assert all(code == "9" for code, *_ in steps[:-1])
    assert all(whole == "True" for *_, whole in steps)
    found = [name for _, name, _ in steps]
    assert found == sorted(found, reverse=way == "forth")  # one up to some step, the other from there
    assert set(found) == {"old", "new"}
