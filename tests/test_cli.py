"""The command line without a model: help, usage errors, spelling, the pipeline file, docs."""

import re
import subprocess
import sys

import pytest
import typer
from command import ROOT, blemish

from blemish.cli import main
from blemish.cli.app import app

COMMAND = typer.main.get_command(app)
VERBS = (
    "quickstart",
    "check",
    "train",
    "evaluate",
    "predict",
    "export",
    "models",
    "bench",
    "run",
    "convert",
    "split",
    "import",
    "selftest",
)


def refused(*arguments, **kwargs):
    """The one line that a wrong command gets; nothing on stdout, exit code 2."""
    done = blemish(*arguments, **kwargs)
    assert (done.code, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("blemish: error: "), done.stderr
    return lines[0].removeprefix("blemish: error: ")


def in_process(capsys, *arguments):
    """Exit code, stdout and stderr of a command run in this process, which is faster."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_of_every_command(capsys):
    code, out, err = in_process(capsys, "--help")
    assert (code, err) == (0, "") and all(verb in out for verb in VERBS)
    for verb in VERBS:
        code, out, err = in_process(capsys, verb, "-h")
        assert (code, err) == (0, "") and f"blemish {verb}" in out


def test_nothing_at_all_gives_help_and_two():
    done = blemish()
    assert done.code == 2 and done.stdout == "" and "quickstart" in done.stderr


def test_help_and_version_load_nothing_heavy():
    heavy = "{'cv2', 'matplotlib', 'numpy', 'onnx', 'onnxruntime', 'PIL', 'pydantic', 'timm', 'torch', 'yaml'}"
    ask = "import sys; from blemish.cli import main; main(['--help']); "
    code = f"{ask}print({heavy} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr == "set()\n"


def test_version(capsys):
    code, out, _ = in_process(capsys, "--version")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", out)


def test_no_colour_codes_in_a_pipe():
    done = blemish("--help")
    assert done.code == 0 and "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "x"], "Unknown verb trian. Did you mean `train`?"),
        (
            ["frobnicate"],
            "Unknown verb frobnicate. There are quickstart, check, train, evaluate, predict, ",
        ),
        (["train"], "Missing argument 'DIR'. See blemish train --help."),
        (["convert", "x"], "Missing option '--from'. See blemish convert --help."),
        (
            ["convert", ".", "--from", "vok"],
            "Cannot convert from vok; there are labelme, voc, coco, yolo, cvat, via, labelstudio, supervisely, "
            "lookout, list, mvtec.",
        ),
        (["split", ".", "--train-percent", "80", "--val-percent", "30"], "they must sum to 100."),
        (["predict", "model"], "Missing argument 'INPUT'. See blemish predict --help."),
        (["train", "x", "--devise", "cpu"], "Unknown option --devise. Did you mean `--device`?"),
        (["--pipline", "x"], "Unknown option --pipline. Did you mean `--pipeline`?"),
        (["predict", "m", "i", "--batch_size", "many"], "--batch-size"),
        (["predict", "m", "i", "--threshold", "1", "--false_alarm_rate", "0.1"], "not both"),
        (["train", "x", "-o", "Calibrate.false_alarm_rat=0.1"], "Did you mean `Calibrate.false_alarm_rate`?"),
        (["train", "x", "--preset", "fst"], "Did you mean `fast`?"),
        (["train", "x", "--false-alarm-rate", "1.5"], "Calibrate.false_alarm_rate is 1.5, but should be less than 1."),
        (["run", "-c", "nowhere.yaml"], "No run file nowhere.yaml"),
        (["run", "-o", "Global.mode=trian"], "Did you mean `train`?"),
        (["export", "m"], "Missing option '--format'. See blemish export --help."),
        (["run", "-o", "Global.mode=predict"], "Predict.input is missing"),
        (["--device", "cpu", "train", "x"], "--device stands before `train`; put it after the verb"),
        (["--input", "x", "predict", "x"], "--input stands before `predict`"),
        (["--pipeline", "anomaly_detection"], "--input is missing"),
        (["--input", "x"], "--pipeline is missing"),
        (["--pipeline", "anomaly_detektion", "--input", "x"], "Did you mean `anomaly_detection`?"),
        (["--get_pipeline_config", "ocr"], "Unknown pipeline ocr; there is anomaly_detection."),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys):
    code, out, err = in_process(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1 and err.startswith("blemish: error: ")


def test_wrong_usage_in_a_process_of_its_own():
    assert "Did you mean `train`?" in refused("trian")


def test_main_py_is_run(tmp_path):
    packaged = "blemish/configs/modules/image_anomaly_detection/PatchCore.yaml"
    arguments = ("-c", packaged, "-o", "Global.mode=predict", "-o", "Global.device=gpu:0,1")
    main_py = refused(*arguments, program=ROOT / "main.py", cwd=tmp_path)
    assert main_py == refused("run", *arguments, cwd=tmp_path) and "Predict.input" in main_py


class TestPipelineFile:
    def test_into_the_current_folder(self, tmp_path):
        done = blemish("--get_pipeline_config", "anomaly_detection", cwd=tmp_path)
        assert (done.code, done.stdout) == (0, "")
        packaged = ROOT / "blemish" / "configs" / "pipelines" / "anomaly_detection.yaml"
        assert (tmp_path / "anomaly_detection.yaml").read_bytes() == packaged.read_bytes()

    @pytest.mark.parametrize("flag", ["--save_path", "--save-path", "--config_save_path", "--config-save-path"])
    def test_into_a_new_folder_or_a_file(self, flag, tmp_path, capsys):
        for verb in ("--get_pipeline_config", "--get-pipeline-config"):
            assert in_process(capsys, verb, "anomaly_detection", flag, tmp_path / "a" / "b")[0] == 0
        assert in_process(capsys, "--get_pipeline_config", "anomaly_detection", flag, tmp_path / "mine.yml")[0] == 0
        files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.y*ml")]
        assert sorted(files) == ["a/b/anomaly_detection.yaml", "mine.yml"]

    def test_another_file_is_never_overwritten(self, tmp_path, capsys):
        mine = tmp_path / "anomaly_detection.yaml"
        mine.write_text("mine")
        code, _, err = in_process(capsys, "--get_pipeline_config", "anomaly_detection", "--save_path", tmp_path)
        assert code == 2 and "--save_path" in err and mine.read_text() == "mine"

    def test_a_file_where_a_folder_is_needed(self, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        code, _, err = in_process(
            capsys, "--get_pipeline_config", "anomaly_detection", "--save_path", tmp_path / "file" / "x"
        )
        assert code == 2 and str(tmp_path / "file") in err and err.count("\n") == 1


def documented_options() -> set[str]:
    return set(re.findall(r"(?<!\w)--?[a-z][a-z_-]*", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")))


def test_every_verb_and_option_is_documented():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    commands = {"": COMMAND, **COMMAND.commands}
    for verb, command in commands.items():
        assert f"blemish {verb}" in text
        for parameter in command.params:
            if parameter.param_type_name == "option":
                missing = set(parameter.opts) - documented_options()
                assert not missing, f"{verb}: {missing} not in docs/commands.md"


def test_every_option_has_one_line_of_help():
    for command in (COMMAND, *COMMAND.commands.values()):
        for parameter in command.params:
            assert parameter.help and "\n" not in parameter.help and len(parameter.help) <= 60, parameter.name


def test_no_documented_option_is_gone():
    known = {
        name
        for command in (COMMAND, *COMMAND.commands.values())
        for parameter in command.params
        for name in parameter.opts
    }
    assert documented_options() - known - {"-h", "--help", "--save-path"} == set()
