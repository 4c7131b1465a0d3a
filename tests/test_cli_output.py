"""Progress and logs on stderr."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT

from blemish.cli.entry import main
from blemish.cli.progress import _lines, show_progress


def test_lines_at_stage_changes_ends_and_every_ten_seconds(capsys):
    now = 0.0
    advance = _lines(lambda: now)
    for done in range(41):
        advance("features", done, 40)
        now += 1.0
    advance("coreset", 0, 5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "features: 0 of 40",
        "features: 10 of 40",
        "features: 20 of 40",
        "features: 30 of 40",
        "features: 40 of 40",
        "coreset: 0 of 5",
    ]


def test_a_bar_on_a_terminal_and_nothing_on_stdout(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with show_progress() as progress:
        for done in range(3):
            progress("features", done, 2)
    captured = capsys.readouterr()
    assert captured.out == "" and "features" in captured.err and "2/2" in captured.err


def test_logs_go_to_stderr_once_and_verbose_says_more(capsys):
    for arguments in (["--version"], ["-v", "--version"], ["--version"]):
        main(arguments)
    logging.getLogger("blemish").warning("look")
    logging.getLogger("blemish").info("detail")
    captured = capsys.readouterr()
    assert captured.err == "blemish: look\n"
    main(["models", "-v", "--nonsense"])
    capsys.readouterr()
    main(["run", "-v", "-o", "Global.mode=exprot"])
    logging.getLogger("blemish").info("detail")
    assert capsys.readouterr().err.endswith("blemish: detail\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "blemish", "--version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2 and done.stderr == "blemish: error: The output: No space left on device.\n"
