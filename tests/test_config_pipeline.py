"""The pipeline file in both dialects."""

import logging

import pytest

from blemish.config import PipelineConfig, find_pipeline, load_pipeline_config
from blemish.config.yaml_text import dump_yaml
from blemish.errors import UsageError


def new(**module):
    return {"pipeline_name": "anomaly_detection", "SubModules": {"AnomalyDetection": module}}


def old(**pipeline):
    return {"Global": {"pipeline_name": "anomaly_detection", "input": "https://host/a.png"}, "Pipeline": pipeline}


def test_packaged_pipeline_is_the_default():
    assert load_pipeline_config("anomaly_detection") == PipelineConfig()


def test_both_dialects_say_the_same(tmp_path):
    (tmp_path / "model").mkdir()
    folder = str(tmp_path / "model")
    expected = PipelineConfig("PatchCore", folder, 4, "cpu", True, {"backend": "x"})
    before = old(model=folder, batch_size=4, device="cpu", use_hpip=True, hpi_params={"backend": "x"})
    assert load_pipeline_config(before) == expected
    now = new(model_name="PatchCore", model_dir=folder, batch_size=4, use_hpip=True, hpi_config={"backend": "x"})
    assert load_pipeline_config(now | {"device": "cpu"}) == expected


def test_read_from_a_file(tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text(dump_yaml(new(module_name="anomaly_detection", model_name="PatchCore", batch_size=2)))
    assert load_pipeline_config(file).batch_size == 2
    assert load_pipeline_config(str(file)).batch_size == 2


def test_the_submodule_wins_over_the_top_level():
    assert load_pipeline_config(new(use_hpip=False) | {"use_hpip": True}).use_hpip is False
    config = load_pipeline_config(new() | {"use_hpip": True, "hpi_config": {"a": 1}})
    assert config == PipelineConfig(use_hpip=True, hpi_config={"a": 1})


def test_a_detectors_name_is_a_name_whatever_lies_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PatchCore").mkdir()
    (tmp_path / "mine").mkdir()
    assert load_pipeline_config(old(model="PatchCore")).model_dir is None
    assert load_pipeline_config(old(model="mine")).model_dir == "mine"
    assert load_pipeline_config(old(model="not/there")).model_dir == "not/there"


def test_keys_without_effect_are_said(caplog):
    with caplog.at_level(logging.WARNING, logger="blemish"):
        load_pipeline_config(new(engine_config={"a": 1}) | {"engine_config": {"a": 1}, "Serving": {"visualize": False}})
        load_pipeline_config(old(pp_option={"run_mode": "paddle"}))
    assert [record.getMessage().split("`")[1] for record in caplog.records] == ["engine_config", "pp_option"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("anomaly_detectio", "Unknown pipeline anomaly_detectio; there is anomaly_detection. Did you mean"),
        ("../pipelines/anomaly_detection", "Unknown pipeline"),
        ({}, "no pipeline file"),
        ({"Global": {"model": "PatchCore"}}, "no pipeline file"),
        ({"pipeline_name": "anomaly_detection"}, "SubModules is missing."),
        (new() | {"pipeline_name": "ocr"}, "Unknown pipeline ocr"),
        (new(model_nam="x"), "Unknown key SubModules.AnomalyDetection.model_nam. Did you mean `SubModules."),
        (new(batch_size=0), "SubModules.AnomalyDetection.batch_size is 0, but should be greater than or equal to 1."),
        (old(batch_size="2"), "Pipeline.batch_size is '2', but should be a whole number."),
        (new(model_dir=5), "put it in quotes"),
    ],
)
def test_refusals(data, message):
    with pytest.raises(UsageError) as caught:
        load_pipeline_config(data)
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_pipeline_config(tmp_path / "none.yaml")
    assert find_pipeline("anomaly_detection").is_file()
