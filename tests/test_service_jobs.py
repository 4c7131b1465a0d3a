"""The workshop and its child processes, at the moments that pages cannot time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import grey, tiny_folder

from blemish.service.core import Service
from blemish.service.jobs.kinds import KINDS, Kind
from blemish.service.jobs.workshop import Workshop, _Talk
from blemish.service.settings import ModelSource, Settings
from blemish.store import Store, open_store

_NOISY = """
import os, sys
from blemish.service.jobs.kinds import Kind
from blemish.service.jobs.__main__ import main

def run(self, parameters, tell):
    os.write(1, b"said in C\\n")
    print("said in Python")
    tell(0.5, "half of it")
    return parameters

Kind.run = run
sys.exit(main("check"))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path / "out") as opened:
        yield opened


def test_what_libraries_print_is_no_progress() -> None:
    """A line that is no JSON would leave the service deaf, and the child waiting for it."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _NOISY], text=True, **pipes) as process:
        process.stdin.write('{"a": 1}\n')  # open until the end, as the service holds it
        process.stdin.flush()
        out, error = process.stdout.read(), process.stderr.read()
    said = [json.loads(line) for line in out.splitlines()]
    assert said == [{"progress": 0.5, "message": "half of it", "so_far": None}, {"result": {"a": 1}}]
    assert "said in C" in error and "said in Python" in error


def test_what_is_cancelled_as_it_ends_comes_to_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(Settings((ModelSource("bottle", tiny_folder(tmp_path / "m")),), tmp_path / "out"), store)
    good = tmp_path / "good"
    good.mkdir()
    (good / "a.png").write_bytes(grey(9))
    ended, finished = threading.Event(), []
    join = _Talk.join

    def cancelled_now(talk: _Talk) -> None:
        join(talk)
        assert "result" in talk.last
        assert store.jobs.update(job, "cancelled", message="cancelled")

    monkeypatch.setattr(_Talk, "join", cancelled_now)
    monkeypatch.setattr(Kind, "finish", lambda *given: finished.append(given))
    monkeypatch.setattr(Kind, "clear", lambda *_: ended.set())
    described: dict[str, Any] = {"key": "0/good", "data": "good", "folder": str(good), "root": str(good)}
    assert KINDS["check"].is_quick
    workshop = Workshop(service, store)
    job = store.jobs.add("check", described)
    workshop.start()
    assert ended.wait(60)
    workshop.stop()
    found = store.jobs.get(job)
    service.close()
    assert found is not None and found.state == "cancelled" and not finished


def test_what_was_cancelled_before_a_restart_leaves_nothing(store: Store, tmp_path: Path) -> None:
    service = Service(Settings((), tmp_path / "out"), store)
    output = tmp_path / "out" / "trainings" / "abc"
    (output / "iter_4").mkdir(parents=True)
    assert store.jobs.update(store.jobs.add("train", {"output": str(output)}), "cancelled")
    assert store.jobs.update(store.jobs.add("of another version", {}), "cancelled")
    workshop = Workshop(service, store)
    workshop.start()
    workshop.stop()
    service.close()
    assert not output.exists()
