"""`create_pipeline` and `create_model`, as those who come from PaddleX call them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import fitted
from textures import plate, write, write_all

from blemish import create_model, create_pipeline
from blemish.errors import BlemishError, DeviceError, ModelError, UsageError
from blemish.models import load_model
from blemish.pipeline import Result

SIZE = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's output folder: a model of 12 plates at a rate of 10 %."""
    data = write_all(tmp_path_factory.mktemp("good"), [plate(seed, SIZE) for seed in range(12)])
    return fitted(data, tmp_path_factory.mktemp("run") / "out", "Calibrate.false_alarm_rate=0.1").output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven images in two sub-folders, every second one with a defect."""
    for number in range(7):
        write(tmp_path / "in" / "ab"[number % 2] / f"{number}.png", plate(100 + number, SIZE, defect=number % 2 == 1))
    return tmp_path / "in"


def scores(results: Iterator[Result]) -> list[float | None]:
    return [result.score for result in results]


class TestCreatePipeline:
    def test_both_dialects_name_and_data(self, folder: Path, images: Path, tmp_path: Path) -> None:
        new = {
            "pipeline_name": "anomaly_detection",
            "SubModules": {
                "AnomalyDetection": {
                    "module_name": "anomaly_detection",
                    "model_name": "PatchCore",
                    "model_dir": str(folder),
                    "batch_size": 2,
                }
            },
        }
        old = {
            "Global": {"pipeline_name": "anomaly_detection"},
            "Pipeline": {"model": str(folder), "batch_size": 2, "device": "cpu"},
        }
        (tmp_path / "new.yaml").write_text(json.dumps(new))
        (tmp_path / "old.yaml").write_text(json.dumps(old))
        pipelines = [
            create_pipeline(tmp_path / "new.yaml"),
            create_pipeline(pipeline=str(tmp_path / "old.yaml")),
            create_pipeline(config=new),
            create_pipeline(old),
            create_pipeline("anomaly_detection", model_dir=folder, batch_size=2),
        ]
        expected = scores(pipelines[0].predict(images))
        for pipeline in pipelines:
            assert pipeline.batch_size == 2 and pipeline.model_name == "PatchCore"
            assert scores(pipeline.predict(str(images))) == expected

    def test_arguments_win_over_the_file(self, folder: Path) -> None:
        file = {"Global": {"pipeline_name": "anomaly_detection"}, "Pipeline": {"model": "/nowhere/x", "device": "npu"}}
        pipeline = create_pipeline(
            config=file, model_dir=folder, device="cpu", batch_size=5, false_alarm_rate=0.3, threshold=None
        )
        assert pipeline.batch_size == 5 and pipeline.limit.rate == 0.3
        with pytest.raises(DeviceError):
            create_pipeline(config=file, model_dir=folder)

    def test_nothing_given(self) -> None:
        with pytest.raises(UsageError, match="anomaly_detection"):
            create_pipeline()

    def test_misspelt_arguments_get_a_suggestion(self, folder: Path) -> None:
        for call in (lambda **k: create_pipeline("anomaly_detection", **k), lambda **k: create_model("PatchCore", **k)):
            with pytest.raises(UsageError, match=r"no argument `model_dri`\. Did you mean `model_dir`\?"):
                call(model_dri=str(folder))
            with pytest.raises(UsageError, match=r"no argument `nonsense`\.$"):
                call(model_dir=folder, nonsense=1)
        with pytest.raises(UsageError, match=r"Did you mean `?anomaly_detection"):
            create_pipeline("anomaly_detecton")

    def test_arguments_without_effect_are_noted(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        quiet = {"use_hpip": False, "hpi_config": None}
        loud = {"engine_config": {"a": 1}, "pp_option": object()}
        with caplog.at_level(logging.WARNING, "blemish"):
            create_pipeline("anomaly_detection", model_dir=folder, **quiet)
            create_model("PatchCore", model_dir=folder, **quiet)
            assert caplog.messages == []
            create_pipeline("anomaly_detection", model_dir=folder, **loud)
            create_model("PatchCore", model_dir=folder, **loud)
            create_model("PatchCore", model_dir=folder, engine="paddle_static", hpi_config={"backend": "openvino"})
        assert len(caplog.messages) == 6
        for name in loud:
            assert sum(f"`{name}` has no effect" in message for message in caplog.messages) == 2
        assert "without use_hpip" in caplog.messages[4] and "paddle_static" in caplog.messages[5]

    def test_printing_and_saving_as_in_the_tutorial(
        self, folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for result in create_pipeline(pipeline="anomaly_detection", model_dir=folder).predict(
            str(images / "b" / "1.png")
        ):
            result.print(format_json=True)
            result.print(json_format=True)
            result.print()
            result.save_to_img(str(tmp_path / "out"))
            result.save_to_json(str(tmp_path / "out" / "x.json"))
            assert {"input_path", "page_index", "pred"} <= set(result) and "res" in result.json and "res" in result.img
        out = capsys.readouterr().out
        assert out.count('"label": "Anomaly"') == 2 and "Anomaly - score:  " in out.splitlines()[-1]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1_res.png", "x.json"]


class TestCreateModel:
    def test_a_name_and_a_folder_or_the_folder(self, folder: Path, images: Path) -> None:
        inner = folder / "best_model" / "inference"
        models = [
            create_model("PatchCore", model_dir=str(folder)),
            create_model("patchcore", folder),
            create_model(model_name="PatchCore", model_dir=inner),
            create_model(folder),
            create_model(str(inner), device="cpu"),
        ]
        expected = scores(models[0].predict(images))
        for model in models:
            assert scores(model.predict(input=str(images), batch_size=1)) == expected

    def test_a_name_without_a_folder(self) -> None:
        with pytest.raises(UsageError, match=r"has to be fitted first: `blemish train DIR`"):
            create_model("PatchCore")
        with pytest.raises(UsageError, match=r"no .*`PatchCor`\. Did you mean `PatchCore`\?"):
            create_model("PatchCor")

    @pytest.mark.parametrize("path", ["out/nowhere", Path("nowhere")])
    def test_a_folder_that_is_not_there(self, path: str | Path) -> None:
        with pytest.raises(ModelError, match=r"nowhere.* nothing at that path"):
            create_model(path)

    def test_a_folder_that_is_no_model(self, images: Path) -> None:
        for call in (lambda: create_model(images), lambda: create_model("PatchCore", images)):
            with pytest.raises(ModelError, match="is not a model"):
                call()

    def test_another_detectors_model(self, folder: Path, tmp_path: Path) -> None:
        from blemish.models import save_model

        loaded = load_model(folder)
        other = loaded.info.detector.model_copy(update={"name": "Other"})
        save_model(tmp_path / "m", loaded.model, loaded.info.model_copy(update={"detector": other}))
        with pytest.raises(UsageError, match="is by Other, not PatchCore"):
            create_model("PatchCore", tmp_path / "m")

    def test_a_device_that_is_not_there(self, folder: Path) -> None:
        with pytest.raises(BlemishError, match="npu"):
            create_model("PatchCore", folder, device="npu:0")
