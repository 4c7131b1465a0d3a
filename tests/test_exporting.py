"""Exports: other programs give our scores, nothing is half written, nothing foreign is replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from command import ROOT, blemish
from runs import model_of
from textures import plate
from tiny_model import tiny_info, tiny_network

from blemish.cli import main
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.exporting import FORMATS, export_model
from blemish.exporting.browser.folder import PAGE
from blemish.exporting.browser.runtime import FILES
from blemish.fitting import FitReport
from blemish.models import exported_files, load_model, save_model
from blemish.pipeline import open_model

WRITTEN = {
    "onnx": {"model.onnx", "model.json", "inference.yml"},
    "openvino": {"model.xml", "model.bin", "model.json"},
    "ort": {"model.ort", "model.json", "required_operators.config"},
    "browser": {
        *(path.name for path in PAGE.iterdir()),
        *(f"runtime/{name}" for name in FILES),
        *("model.onnx", "model.json", "colours.json"),
    },
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def new_plates(model: Path) -> npt.NDArray[np.uint8]:
    """Three plates (3, H, W, 3) at the model's input size, new to it: distances of zero are all rounding."""
    info = load_model(model).info
    return np.stack([plate(seed)[: info.input.height, : info.input.width] for seed in (101, 102, 103)])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_model(tmp_path / "tiny", tiny_network(), tiny_info())


def in_process(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_listed_and_verified(name: str, tiny: Path, tmp_path: Path) -> None:
    folder = export_model(tiny, name, tmp_path / "deep" / "export")
    assert folder == tmp_path / "deep" / "export" and files(folder) == WRITTEN[name] == exported_files(folder)
    assert names(folder.parent) == {"export"}
    record = json.loads((folder / "model.json").read_text())
    assert all((folder / file).stat().st_size == about["bytes"] for file, about in record["files"].items())
    original = json.loads((tiny / "model.json").read_text())
    assert {**record, "files": 0, "checksum": 0} == {**original, "files": 0, "checksum": 0}


def test_onnx_is_a_model_folder_with_the_same_scores(usual: FitReport, good: Path, tmp_path: Path) -> None:
    export_model(usual.output, "onnx", tmp_path / "export")
    first, second = ([r.score for r in open_model(m).predict(good)] for m in (usual.output, tmp_path / "export"))
    assert first == second
    assert (tmp_path / "export" / "model.onnx").read_bytes() == model_of(usual).model


def test_openvino_reads_it_and_gives_the_same(usual: FitReport, tmp_path: Path) -> None:
    import openvino

    export_model(usual.folder, "openvino", tmp_path / "export")
    assert "f16" not in (tmp_path / "export" / "model.xml").read_text()
    images = new_plates(usual.folder)
    compiled = openvino.Core().compile_model(
        tmp_path / "export" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    expected = open_engine(model_of(usual).model, "cpu").run(images)
    for output, values in expected.items():
        np.testing.assert_allclose(compiled(images)[output], values, atol=1e-4 * values.max())


def test_onnx_runtime_reads_its_own_format_and_gives_the_same(usual: FitReport, tmp_path: Path) -> None:
    import onnxruntime

    file = export_model(usual.folder, "ort", tmp_path / "export") / "model.ort"
    assert file.read_bytes()[4:8] == b"ORTM"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # a minimal build has none
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    images = new_plates(usual.folder)
    expected = open_engine(model_of(usual).model, "cpu").run(images)
    for output, values in expected.items():
        (found,) = session.run([output], {"image": images})
        np.testing.assert_allclose(found, values, atol=1e-4 * values.max())


def test_the_operators_are_those_that_onnx_runtime_itself_lists(usual: FitReport, tmp_path: Path) -> None:
    folder = export_model(usual.folder, "ort", tmp_path / "export")
    oracle = """
import sys
from pathlib import Path
from onnxruntime.tools.ort_format_model import create_config_from_models
create_config_from_models([Path(sys.argv[1])], Path(sys.argv[2]), False)
"""
    command = [sys.executable, "-c", oracle, str(folder / "model.ort"), str(tmp_path / "oracle")]
    subprocess.run(command, check=True, capture_output=True)
    lines = [line for line in (tmp_path / "oracle").read_text().splitlines() if not line.startswith("#")]
    assert sorted((folder / "required_operators.config").read_text().splitlines()) == sorted(lines)
    assert any("Conv" in line for line in lines)


def test_no_export_loads_torch(tiny: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from blemish.exporting import FORMATS, export_model
from blemish.exporting.browser.folder import PAGE
from blemish.exporting.browser.runtime import FILES
for name in FORMATS:
    export_model(sys.argv[1], name, Path(sys.argv[2]) / name)
sys.exit("torch" in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tiny), str(tmp_path / "all")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx"])
def test_an_export_for_others_is_no_model(name: str, tiny: Path, tmp_path: Path) -> None:
    folder = export_model(tiny, name, tmp_path / "export")
    with pytest.raises(ModelError, match="is an export for other programs"):
        load_model(folder)


def test_an_earlier_export_is_replaced_whole(tiny: Path, tmp_path: Path) -> None:
    place = tmp_path / "export"
    for name in ("ort", "browser", "openvino", "browser", "ort", "onnx"):
        export_model(tiny, name, place)
        assert files(place) == WRITTEN[name] and names(tmp_path) == {"tiny", "export"}
    other = save_model(tmp_path / "other", tiny_network(1.0), tiny_info())
    export_model(other, "onnx", place)
    assert load_model(place).model == tiny_network(1.0)


class TestNothingForeignIsReplaced:
    @pytest.mark.parametrize("name", FORMATS)
    def test_a_folder_with_anything_else(self, name: str, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        with pytest.raises(ModelError, match=r"holds notes\.txt, which no export has written"):
            export_model(tiny, name, tmp_path / "mine")
        assert names(tmp_path / "mine") == {"notes.txt"}

    def test_an_export_with_a_file_of_the_user(self, tiny: Path, tmp_path: Path) -> None:
        place = export_model(tiny, "ort", tmp_path / "export")
        (place / "sub").mkdir()
        (place / "sub" / "notes.txt").write_text("mine")
        with pytest.raises(ModelError, match=r"sub/notes\.txt"):
            export_model(tiny, "ort", place)
        assert (place / "sub" / "notes.txt").read_text() == "mine" and names(place) >= WRITTEN["ort"]

    def test_a_model_by_another_format(self, tiny: Path, tmp_path: Path) -> None:
        other = save_model(tmp_path / "other", tiny_network(1.0), tiny_info())
        with pytest.raises(ModelError, match="holds a model, which is not replaced"):
            export_model(tiny, "ort", other)
        assert load_model(other).model == tiny_network(1.0)

    def test_the_model_itself(self, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tiny)
        for place in (tiny, tmp_path / "link"):
            with pytest.raises(UsageError, match="is the model itself"):
                export_model(tiny, "onnx", place)

    def test_a_file(self, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(ModelError, match="is a file"):
            export_model(tiny, "onnx", tmp_path / "file")
        with pytest.raises(ModelError, match="cannot be written"):
            export_model(tiny, "onnx", tmp_path / "file" / "below")


@pytest.mark.parametrize("earlier", [True, False])
def test_a_failure_on_the_way_leaves_what_was_there(
    earlier: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "export"
    if earlier:
        export_model(tiny, "ort", place)

    def full(_model: object, folder: Path) -> Path:
        (folder / "half").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, "ort", full)
    with pytest.raises(ModelError, match="cannot be written: No space left on device"):
        export_model(tiny, "ort", place)
    assert names(tmp_path) == {"tiny", "export"} if earlier else {"tiny"}
    assert not earlier or names(place) == WRITTEN["ort"]


def test_an_export_that_computes_something_else_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blemish.exporting import formats

    def other(_model: bytes, file: Path, file_format: str) -> None:
        save_optimised(tiny_network(0.5), file, file_format)

    save_optimised = formats.save_optimised
    monkeypatch.setattr(formats, "save_optimised", other)
    with pytest.raises(ModelError, match=r"differs .* scores by 5\.0e-01"):
        export_model(tiny, "ort", tmp_path / "export")
    assert names(tmp_path) == {"tiny"}


def test_without_openvino_the_command_is_named(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blemish.exporting import formats

    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "blemish\[openvino\]"'):
        export_model(tiny, "openvino", tmp_path / "export")
    assert names(tmp_path) == {"tiny"}


class TestCommand:
    def test_it_prints_the_folder_and_predicts(self, usual: FitReport, good: Path, tmp_path: Path) -> None:
        done = blemish("export", usual.output, "--format", "onnx", cwd=tmp_path)
        assert (done.code, done.stdout, done.stderr) == (0, "output/export/onnx\n", "")
        image = sorted(good.iterdir())[0]
        rows = [
            json.loads(blemish("predict", model, image, "--json", cwd=tmp_path).stdout)
            for model in (usual.output, "output/export/onnx")
        ]
        assert rows[0]["score"] == rows[1]["score"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere", "--format", "onnx"], "nowhere is not a model"),
            ([".", "--format", "onx"], "Did you mean `onnx`?"),
            ([".", "--format", "tflite"], "There are onnx, openvino, ort, browser"),
            (["."], "Missing option '--format'"),
        ],
    )
    def test_wrong_usage_is_two(self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, err = in_process(capsys, "export", *arguments)
        assert (code, out) == (2, "") and message in err and err.count("\n") == 1


class TestRunFile:
    def run(self, capsys: pytest.CaptureFixture[str], output: Path, *overrides: str) -> tuple[int, str, str]:
        keys = ("Global.mode=export", f"Global.output={output}", *overrides)
        return in_process(capsys, "run", "-c", "STFPM", *(word for key in keys for word in ("-o", key)))

    def test_every_way_to_name_the_model(self, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = tmp_path / "run"
        inference = save_model(run / "best_model" / "inference", tiny_network(), tiny_info())
        weights = [run / "best_model" / name for name in ("model.safetensors", "model.pdparams")]
        for number, given in enumerate([run, inference, *weights]):
            output = tmp_path / f"{number}"
            code, out, err = self.run(capsys, output, f"Export.weight_path={given}")
            assert (code, out, err) == (0, f"{output / 'inference'}\n", "")
            assert load_model(output / "inference").model == tiny_network() and names(output) == {"inference"}

    def test_without_one_it_is_the_model_of_the_output(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_model(tmp_path / "best_model" / "inference", tiny_network(), tiny_info())
        assert self.run(capsys, tmp_path)[0] == 0
        assert names(tmp_path) == {"best_model", "inference"}

    def test_a_failure_is_recorded(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = self.run(capsys, tmp_path / "out", f"Export.weight_path={tmp_path / 'nowhere'}")
        record = json.loads((tmp_path / "out" / "export_result.json").read_text())
        assert code == 2 and "nowhere is not a model" in err and record["done_flag"] is False
