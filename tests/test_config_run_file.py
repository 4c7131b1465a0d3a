"""The run file: packaged names, overrides, refusals with suggestions, round trip, documentation."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from blemish.config import (
    RunConfig,
    Section,
    dump_config,
    find_config,
    known_keys,
    load_config,
    packaged_configs,
    validate_section,
)
from blemish.config.yaml_text import read_yaml
from blemish.errors import UsageError

DOCS = Path(__file__).parent.parent / "docs"


def load(*overrides: str) -> RunConfig:
    return load_config(None, overrides)


def test_packaged_file_spells_out_the_defaults():
    assert load_config("PatchCore") == load_config(None) == RunConfig()
    assert read_yaml(packaged_configs()["PatchCore"]) == RunConfig().model_dump()


@pytest.mark.parametrize(
    "name",
    [
        "PatchCore",
        "patchcore",
        "PatchCore.yaml",
        "blemish/configs/modules/image_anomaly_detection/PatchCore.yaml",
        "paddlex/configs/anomaly_detection/PatchCore.yaml",
        Path("blemish/configs/modules/image_anomaly_detection/PatchCore.yaml"),
    ],
)
def test_packaged_file_is_found_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == packaged_configs()["PatchCore"]


def test_a_folder_with_a_detectors_name_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PatchCore").mkdir()
    assert find_config("PatchCore") == packaged_configs()["PatchCore"]


def test_an_existing_file_wins_over_the_packaged_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "PatchCore.yaml").write_text("Global: {seed: 7}")
    assert load_config("configs/PatchCore.yaml").Global.seed == 7


@pytest.mark.parametrize("name", ["Patchcor", "mine/PatchCore.yaml", "/configs/PatchCore.yaml", "nowhere.yaml"])
def test_missing_run_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"No run file .*PatchCore"):
        find_config(name)


def test_overrides_in_order_on_top_of_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("Global:\n  seed: 1\n  output: here\nModel:\n  cells: [8, 16]\n")
    overrides = ["Global.seed=2", "Global.seed=3", "Model.cells.1=32", "Predict.kernel_option.run_mode=x"]
    config = load_config(file, overrides)
    assert (config.Global.seed, config.Global.output) == (3, "here")
    assert config.Model.detector_parameters() == {"cells": [8, 32]}
    assert config.Predict.kernel_option.run_mode == "x"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("Global.dataset_dir=2024", "2024"),
        ("Global.dataset_dir=1.10", "1.10"),
        ("Global.dataset_dir=True", "True"),
        ("Global.dataset_dir='2024'", "2024"),
        ("Global.dataset_dir=None", None),
        ("Global.dataset_dir=", None),
        ("Global.dataset_dir=https://host/a?x=1&y=a=b", "https://host/a?x=1&y=a=b"),
        ("Global.dataset_dir=C:\\images", "C:\\images"),
        ("Global.dataset_dir=with blank", "with blank"),
    ],
)
def test_text_stays_text(override, value):
    assert load(override).Global.dataset_dir == value


RATE_HINT = "Did you mean `Calibrate.false_alarm_rate`?"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Calibrate.false_alarm_rat=0.1", f"Unknown key Calibrate.false_alarm_rat. {RATE_HINT}"),
        ("Calibrat.false_alarm_rate=0.1", f"Unknown key Calibrat.false_alarm_rate. {RATE_HINT}"),
        ("Train.false_alarm_rate=0.1", f"Unknown key Train.false_alarm_rate. {RATE_HINT}"),
        ("Train.near_duplicate=1", "Unknown key Train.near_duplicate. Did you mean `Calibrate.near_duplicates`?"),
        ("Predict.kernel_option.mode=1", "Did you mean `Global.mode`?"),
        ("Global.device.x=1", "Global.device is {'x': 1}, but should be text."),
        ("Calibrate.false_alarm_rate=1", "Calibrate.false_alarm_rate is 1, but should be less than 1."),
        ("Calibrate.false_alarm_rate=0", "should be greater than 0."),
        ("Calibrate.false_alarm_rate=1e999", "should be"),
        ("Calibrate.false_alarm_rate=often", "Calibrate.false_alarm_rate is 'often', but should be a number."),
        ("Calibrate.near_duplicates=yes", "Calibrate.near_duplicates is 'yes', but should be true or false."),
        ("Calibrate.group_by=(", "Calibrate.group_by is '(', but should be a regular expression"),
        ("Global.seed=1.5", "Global.seed is 1.5, but should be a whole number."),
        ("Global.seed=True", "Global.seed is True, but should be a whole number."),
        ("Global.seed=-1", "should be greater than or equal to 0."),
        ("Global.mode=trian", "Did you mean `train`?"),
        ("Global.output=None", "Global.output is None, but should be text."),
        ("Model.preset=fst", "is 'fst', but should be 'fast', 'balanced' or 'accurate'. Did you mean `fast`?"),
        ("Model.width=16", "Model.width is 16, but should be greater than or equal to 32."),
        ("Model.bit_depth=17", "a number of bits, 10 to 16, or a window LOW-HIGH"),
        ("Model.memory_budget=lots", "Model.memory_budget is 'lots', but should be an amount of memory such as 2GB"),
        ("Model.rows.0=8", "Model.rows.0: there is no list to count in"),
        ("Global.seed", "write Section.key=value"),
        ("seed=1", "write Section.key=value"),
        ("Global..seed=1", "write Section.key=value"),
        ("=1", "write Section.key=value"),
    ],
)
def test_refusals_name_key_value_and_way_out(override, message):
    with pytest.raises(UsageError) as caught:
        load(override)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("position", ["2", "x", "-1", "9" * 5000, "\u0661"])
def test_a_list_position_that_is_not_there(position):
    with pytest.raises(UsageError, match=r"the list has 2 elements, counted from 0\."):
        load("Model.cells=[8, 16]", f"Model.cells.{position}=32")


def test_an_override_below_a_value(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("Global: {device: cpu}\nTrain: 5\n")
    with pytest.raises(UsageError, match=r"Global.device.id: there is a value above it, not a section\."):
        load_config(file, ["Global.device.id=1"])
    with pytest.raises(UsageError, match="Train is 5, but should be a section"):
        load_config(file)


def test_unknown_section_of_a_file(tmp_path):
    (tmp_path / "run.yaml").write_text("Globl:\n")
    with pytest.raises(UsageError, match=r"Unknown key Globl. Did you mean `Global`\?"):
        load_config(tmp_path / "run.yaml")


def test_an_empty_section_of_a_file_has_its_defaults(tmp_path):
    (tmp_path / "run.yaml").write_text("Global:\nPredict:\n  kernel_option:\n")
    assert load_config(tmp_path / "run.yaml") == RunConfig()


def test_a_number_for_text_in_a_file_says_to_quote_it(tmp_path):
    (tmp_path / "run.yaml").write_text("Global:\n  output: 2024\nModel:\n  memory_budget: true\n")
    with pytest.raises(UsageError, match=r"Global.output is 2024, but should be text \(put it in quotes\)\.") as caught:
        load_config(tmp_path / "run.yaml")
    assert "Model.memory_budget is True, but should be" in str(caught.value)


def test_all_faults_come_at_once():
    with pytest.raises(UsageError, match=r"Global.seed is .*Unknown key Train.epoch_iters. .*`Train.epochs_iters`\?"):
        load("Global.seed=x", "Train.epoch_iters=3")


def test_the_tutorials_keys_are_accepted():
    config = load("Train.epochs_iters=10", "Train.learning_rate=0.01", "Train.resume_path=output/iter_10")
    assert (config.Train.epochs_iters, config.Train.learning_rate) == (10, 0.01)
    assert config.Train.resume_path == "output/iter_10"


def test_round_trip(tmp_path):
    config = load(
        "Global.dataset_dir='1e-3'",
        "Global.output=None of these: yes",
        "Calibrate.false_alarm_rate=1e-5",
        "Calibrate.group_by=^(part[0-9]+)_",
        "Model.cells=[8, 16]",
        "Model.name=on",
        "Model.memory_budget=512MiB",
    )
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == config


def test_memory_and_model_folder():
    assert load("Model.memory_budget=500000000").Model.memory_bytes() == 500_000_000
    assert load("Global.output=out").model_folder() == Path("out/best_model/inference")
    assert load("Predict.model_dir=model").model_folder() == Path("model")


class Parameters(Section):
    """A detector's record."""

    coreset_ratio: float = Field(default=0.01, gt=0, le=1)
    neighbours: int = 3


def test_a_detectors_record_is_validated_by_the_same_rules():
    def check(data: dict[str, Any]) -> Parameters:
        return validate_section(Parameters, data, "Model")

    assert check(load("Model.coreset_ratio=0.1").Model.detector_parameters()).coreset_ratio == 0.1
    with pytest.raises(UsageError, match=r"Unknown key Model.coreset_rato. Did you mean `Model.coreset_ratio`\?"):
        check({"coreset_rato": 0.1})
    with pytest.raises(UsageError, match=r"Unknown key Model.prest. Did you mean `Model.preset`\?"):
        check({"prest": "fast"})
    with pytest.raises(UsageError, match=r"Model.neighbours is 'three', but should be a whole number\."):
        check({"neighbours": "three"})


def documented() -> dict[str, str]:
    """Key and default of every row of the run file's tables."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8").split("# The pipeline file")[0]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): row[2].strip(" `") for row in rows}


def test_exactly_the_keys_there_are_documented():
    assert set(documented()) == set(known_keys(RunConfig))


@pytest.mark.parametrize("key", known_keys(RunConfig))
def test_documented_default(key):
    value: Any = RunConfig()
    for part in key.split("."):
        value = getattr(value, part)
    expected = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    assert documented()[key] == expected
