"""What a command does where an option is left out: the help says it, and no command writes over another's files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import typer
from annotated import labelme, square, write_image
from command import blemish
from plates import write_set

from blemish.cli.app import app
from blemish.config import load_config, packaged_configs

COMMAND: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {"": COMMAND, **COMMAND.commands}
SMALL = [part for key in ("Model.width=64", "Model.height=64", "Global.device=cpu") for part in ("-o", key)]


def options(command: Any) -> list[Any]:
    """The options that take a value; a flag is off where it is left out."""
    return [one for one in command.params if one.param_type_name == "option" and not one.is_flag]


def told(verb: str) -> dict[str, str]:
    """What the help says of each option, by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in blemish(*([verb] if verb else []), "--help", COLUMNS="200").stdout.splitlines():
        words = line.strip("│ ").removeprefix("*").split()
        if words and words[0].startswith("--"):
            name = words[0].split(",")[0]
        found[name] = f"{found.get(name, '')} {' '.join(words)}"
    return found


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_help_shows_every_default(verb: str) -> None:
    texts = told(verb)
    for option in options(COMMANDS[verb]):
        text = next(texts[name] for name in option.opts if name in texts)
        if option.required:
            assert "[required]" in text, (verb, option.name)
            continue
        said = option.show_default if isinstance(option.show_default, str) else option.default
        assert said is not None and any(f"[default: {end}]" in text for end in (said, f"({said})")), (verb, option.name)


def test_flags_are_off() -> None:
    flags = [one for command in COMMANDS.values() for one in command.params if getattr(one, "is_flag", False)]
    assert flags and all(not flag.default for flag in flags)


def test_the_defaults_of_the_run_file_are_the_ones_that_the_help_of_train_shows() -> None:
    shown = {option.name: str(option.show_default) for option in options(COMMANDS["train"])}
    usual = load_config(None)
    assert usual.Global.model in shown["model"] and usual.Global.device in shown["device"]
    assert str(usual.Calibrate.false_alarm_rate) in shown["false_alarm_rate"]
    presets = {name: load_config(name).Model.preset for name in packaged_configs()}
    assert shown["preset"] == "balanced; fast for STFPM and FastFlow"
    assert presets == {"PatchCore": "balanced", "STFPM": "fast", "FastFlow": "fast"}


def test_no_two_commands_share_a_default_folder() -> None:
    shown = {
        verb: str(option.default or option.show_default)
        for verb, command in COMMANDS.items()
        for option in options(command)
        if option.name == "output"
    }
    folders = [Path(text.split(",")[0].split(";")[0]) for verb, text in shown.items() if verb != "update"]
    assert len(folders) >= 11 and all(folder.parts[0] == "output" for folder in folders)
    assert not any(one.is_relative_to(other) for one in folders for other in folders if one is not other)


def digests(folder: Path) -> dict[str, str]:
    """What lies in a folder, by the paths in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_one_after_the_other_in_one_folder_they_leave_each_other_alone(tmp_path: Path) -> None:
    """Every command that runs in seconds, with no `--output`; then the modes of the run file, as PaddleX has them."""
    data = write_set(tmp_path / "data", train=6, good=2, defects=2)
    write_image(tmp_path / "annotated" / "a.png")
    labelme(tmp_path / "annotated" / "a.json", "a.png", square("scratch", 2, 2, 5))
    root = [part for key in ("Global.dataset_dir=data", *SMALL[1::2]) for part in ("-o", key)]
    commands: list[tuple[list[str], str]] = [
        (["check", "data"], "output/check/check_dataset_result.json"),
        (["train", "data", *SMALL], "output/train/train_result.json"),
        (["evaluate", "output/train", "data"], "output/evaluate/report.html"),
        (["export", "output/train", "--format", "onnx"], "output/export/onnx/model.onnx"),
        (["convert", "annotated", "--from", "labelme"], "output/converted/conversion.json"),
        (["bench", "data", *SMALL], "output/bench/bench.json"),
        (["run", *root, "-o", "Global.mode=check_dataset"], "output/check_dataset_result.json"),
        (["run", *root, "-o", "Global.mode=train"], "output/train_result.json"),
        (["run", *root, "-o", "Global.mode=evaluate"], "output/evaluate_result.json"),
        (["run", *root, "-o", "Global.mode=export"], "output/inference/model.onnx"),
        (["run", *root, "-o", "Global.mode=predict", "-o", "Predict.input=data/test"], "output/good/000_res.json"),
        (["predict", "output/train", "data/test"], "output/train/train_result.json"),
    ]
    before: dict[str, str] = {}
    for command, made in commands:
        done = blemish(*command, cwd=tmp_path)
        assert done.code in {0, 1}, (command, done.stderr)  # 1: the check has remarks
        assert (tmp_path / made).is_file(), (command, done.stderr)
        now = digests(tmp_path / "output")
        assert {name: now.get(name) for name in before} == before, command
        before = now
    assert digests(data) == digests(write_set(tmp_path / "again", train=6, good=2, defects=2))


@pytest.mark.parametrize(
    ("arguments", "file", "folder"),
    [
        ([], None, "output/train"),
        (["--model", "PatchCore"], None, "output/train"),
        (["-c", "PatchCore"], None, "output/train"),
        (["-c", "own.yaml"], "Global: {seed: 1}", "output/train"),
        (["-c", "own.yaml"], "Global: {output: mine}", "mine"),
        (["-c", "own.yaml"], "Global: {output: output}", "output"),
        (["-c", "own.yaml", "--output", "given"], "Global: {output: mine}", "given"),
        (["-o", "Global.output=said"], None, "said"),
        (["--output", "given", "-o", "Global.output=said"], None, "said"),
    ],
)
def test_where_a_training_goes(
    arguments: list[str], file: str | None, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blemish.cli import main

    monkeypatch.chdir(tmp_path)
    write_set(Path("data"), train=2, good=0, defects=0)
    if file is not None:
        Path("own.yaml").write_text(file)
    assert main(["train", "data", *arguments, *SMALL]) == 0
    assert [path.parent for path in Path().rglob("train_result.json")] == [Path(folder)]
