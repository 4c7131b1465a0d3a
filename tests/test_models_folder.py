"""The model folder: what is written comes back, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from tiny_model import HEIGHT, WIDTH, tiny_info, tiny_network, tiny_proto

from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.models import (
    CalibrationInfo,
    data_fingerprint,
    find_model,
    load_model,
    save_model,
    set_false_alarm_rate,
)

FILES = ("model.onnx", "model.json", "inference.yml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "run" / "best_model" / "inference", tiny_network(), tiny_info())


def _refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_model(folder)
    text = str(error.value)
    assert text.isprintable(), text
    assert len(text) < 600
    return text


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any], dump: Callable[[Any], str] = json.dumps) -> None:
    """Change model.json, and make the checksum right again, as a hostile author would."""
    path = folder / "model.json"
    record = json.loads(path.read_text())
    change(record)
    record.pop("checksum", None)
    _sign(path, dump(record))


def _sign(path: Path, text: str) -> None:
    text = text.rstrip()[:-1] + f', "checksum": "{"0" * 64}"}}'
    path.write_text(text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest()))


# ---- round trip -------------------------------------------------------------------------------------------------


def test_what_is_saved_comes_back(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    loaded = load_model(folder)
    assert loaded.model == tiny_network()
    assert loaded.folder == folder
    given, found = tiny_info(), loaded.info
    for key in ("detector", "input", "output", "backbone", "calibration", "data", "versions"):
        assert getattr(found, key) == getattr(given, key)
    engine = open_engine(loaded.model, "cpu")
    assert engine.input_shape == (None, found.input.height, found.input.width, 3)
    assert engine.run(np.full((1, HEIGHT, WIDTH, 3), 7, np.uint8))["score"] == [7]


def test_a_detector_without_backbone_and_calibration_images(tmp_path: Path) -> None:
    calibration = CalibrationInfo(scores=[], peaks=[], parts=[], false_alarm_rate=0.05, kind="none")
    save_model(tmp_path / "m", tiny_network(), tiny_info(backbone=None, calibration=calibration))
    info = load_model(tmp_path / "m").info
    assert info.backbone is None
    assert info.calibration == calibration


def test_the_checksum_can_be_computed_by_another_reader(folder: Path) -> None:
    text = (folder / "model.json").read_bytes()
    stated = json.loads(text)["checksum"].encode()
    assert text.count(stated) == 1
    assert hashlib.sha256(text.replace(stated, b"0" * 64)).hexdigest().encode() == stated


def test_a_record_with_the_zero_hash_elsewhere(tmp_path: Path) -> None:
    data = tiny_info().data.model_copy(update={"fingerprint": "0" * 64})
    save_model(tmp_path / "m", tiny_network(), tiny_info(data=data))
    assert load_model(tmp_path / "m").info.data.fingerprint == "0" * 64


def test_inference_yml_is_what_paddlex_readers_know(folder: Path) -> None:
    summary = yaml.safe_load((folder / "inference.yml").read_text())
    assert summary["Global"] == {"model_name": "PatchCore"}
    deploy = summary["Deploy"]
    assert deploy["model"] == "model.onnx"
    assert deploy["input_shape"] == [-1, HEIGHT, WIDTH, 3]
    assert [*deploy["transforms"][0]] == ["Resize"]
    assert deploy["transforms"][0]["Resize"]["target_size"] == [WIDTH, HEIGHT]
    assert deploy["transforms"][1]["Normalize"]["std"] == [0.25] * 3


def test_the_fingerprint_depends_on_names_and_contents_only() -> None:
    one = data_fingerprint({"a.png": "1" * 64, "b.png": "2" * 64})
    assert one == data_fingerprint({"b.png": "2" * 64, "a.png": "1" * 64})
    assert one != data_fingerprint({"a.png": "2" * 64, "b.png": "1" * 64})
    assert one == hashlib.sha256(f"a.png\t{'1' * 64}\nb.png\t{'2' * 64}\n".encode()).hexdigest()


# ---- finding ----------------------------------------------------------------------------------------------------


def test_a_model_is_found_from_its_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder.parent.parent
    assert find_model(folder) == folder
    assert find_model(str(run)) == folder
    assert find_model(folder.parent) == folder
    monkeypatch.chdir(folder)
    assert load_model(".").info.detector.name == "PatchCore"
    (folder.parent / "link").symlink_to(folder)
    assert load_model(folder.parent / "link").model == tiny_network()


def test_what_is_no_model_is_told_with_what_was_found(folder: Path, tmp_path: Path) -> None:
    assert "nothing at that path" in _refusal(tmp_path / "absent")
    assert "it is a file" in _refusal(folder / "model.onnx")
    (tmp_path / "empty").mkdir()
    assert "the folder is empty" in _refusal(tmp_path / "empty")
    (tmp_path / "paddle").mkdir()
    (tmp_path / "paddle" / "inference.pdiparams").touch()
    (tmp_path / "paddle" / "evil\x1b[2J").touch()
    assert "inference.pdiparams" in _refusal(tmp_path / "paddle")


# ---- damage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_anywhere_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    original = path.read_bytes()
    for position in {*range(0, len(original), 7), len(original) - 1}:
        for flip in (0x01, 0x20):
            changed = bytearray(original)
            changed[position] ^= flip
            path.write_bytes(changed)
            _refusal(folder)
    path.write_bytes(original)
    load_model(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_truncated_or_longer_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    original = path.read_bytes()
    path.unlink()
    assert name in _refusal(folder)
    for content in (b"", original[: len(original) // 2], original[:-1], original + b"\n"):
        path.write_bytes(content)
        assert name in _refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_links_pipes_and_folders_are_no_model_files(folder: Path, name: str, tmp_path: Path) -> None:
    path = folder / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert f"{name} is a link" in _refusal(folder)
    path.unlink()
    os.mkfifo(path)
    assert name in _refusal(folder)  # and does not wait for a writer
    path.unlink()
    path.mkdir()
    assert name in _refusal(folder)


def test_files_of_absurd_size_are_refused_before_they_are_read(folder: Path) -> None:
    for name, size in (("model.json", 17 << 20), ("inference.yml", 1 << 20), ("model.onnx", 1 << 42)):
        original = (folder / name).read_bytes()
        os.truncate(folder / name, size)  # sparse: takes no room on the disk
        assert f"{name} has {size} bytes" in _refusal(folder)
        (folder / name).write_bytes(original)
    _edit(folder, lambda record: record["files"]["model.onnx"].update(bytes=1 << 62))
    assert "truncated" in _refusal(folder)


# ---- hostile records, rightly signed ------------------------------------------------------------------------------


def test_an_edit_with_a_right_checksum_is_read(folder: Path) -> None:
    _edit(folder, lambda record: record["calibration"].update(kind="edited"))
    assert load_model(folder).info.calibration.kind == "edited"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: r.update(format_version=9, surprise=1), "newer Blemish"),
        (lambda r: r.update(format_version=int("7" * 4000)), "newer Blemish"),
        (lambda r: r.update(format_version=0), "format_version"),
        (lambda r: r.update(format_version="1"), "not of a Blemish model"),
        (lambda r: r.update(format="other"), "not of a Blemish model"),
        (lambda r: r.update(surprise=1), "surprise"),
        (lambda r: r.update({"\x1b[2J\n": 1}), "x1b"),
        (lambda r: r["detector"].update(surprise=1), "detector.surprise"),
        (lambda r: r["detector"].update(name="evil\x1b[2J"), "detector.name"),
        (lambda r: r["detector"].update(name="x" * 2000), "detector.name"),
        (lambda r: r["detector"].update(name="\ud800"), "detector.name"),
        (lambda r: r["input"].update(width="16"), "input.width"),
        (lambda r: r["input"].update(width=True), "input.width"),
        (lambda r: r["input"].update(width=10**9), "input.width"),
        (lambda r: r["input"].update(width=32), "inputs must be"),
        (lambda r: r["input"].update(bit_depth=9), "input.bit_depth"),
        (lambda r: r["input"].update(bit_depth="1200-800"), "input.bit_depth"),
        (lambda r: r["input"].update(bit_depth=True), "input.bit_depth"),
        (lambda r: r["input"].update(bit_depth="800-1200"), "has a window as its bit depth"),
        (lambda r: r["output"].update(map_width=9), "outputs must be"),
        (lambda r: r["output"].update(map_height=0), "output.map_height"),
        (lambda r: r["calibration"]["parts"].append(1), "4 parts"),
        (lambda r: r["calibration"].update(scores=["1", 2.0, 3.0]), "calibration.scores.0"),
        (lambda r: r["calibration"].update(false_alarm_rate=0.0), "calibration.false_alarm_rate"),
        (lambda r: r["calibration"].update(false_alarm_rate=1.0), "calibration.false_alarm_rate"),
        (lambda r: r["calibration"].update(scores=[0.5] * 1_000_001), "calibration.scores"),
        (lambda r: r["backbone"].update(mean=[0.5]), "backbone.mean"),
        (lambda r: r["data"].update(images=-1), "data.images"),
        (lambda r: r["files"].update({"../../etc/passwd": r["files"]["model.onnx"]}), "files"),
        (lambda r: r["files"].pop("model.onnx"), "model.onnx"),
        (lambda r: r["files"]["model.onnx"].update(sha256="0"), "files.model.onnx.sha256"),
        (lambda r: r["files"]["model.onnx"].update(sha256="0" * 63 + "1"), "SHA-256"),
        (lambda r: r["files"]["model.onnx"].update(bytes=-1), "files.model.onnx.bytes"),
        (lambda r: r.pop("created"), "created"),
        (lambda r: r.pop("calibration"), "calibration"),
        (lambda r: r.update(versions=None), "versions"),
    ],
)
def test_a_record_out_of_bounds_is_refused(folder: Path, change: Callable[[dict[str, Any]], Any], what: str) -> None:
    _edit(folder, change)
    assert what in _refusal(folder)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("-Infinity", "finite"),
        ("1e999", "finite"),
        ("9" * 5000, "damaged"),
        ("[" * 200_000 + "]" * 200_000, "deeply"),
        ('{"a":' * 200_000 + "1" + "}" * 200_000, "deeply"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" + "[]," * 50_000 + "0]x", "damaged"),
    ],
    ids=range(9),
)
def test_json_that_only_python_reads_is_refused(folder: Path, value: str, what: str) -> None:
    text = (folder / "model.json").read_text()
    text = text.replace('"coreset": 0.01', f'"coreset": {value}')
    assert value in text
    (folder / "model.json").write_text(text)
    assert what in _refusal(folder)


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b'"text"', b"\xff\xfe", b"{", b"{}", b"\x00" * 100])
def test_what_is_no_json_object_is_refused(folder: Path, text: bytes) -> None:
    (folder / "model.json").write_bytes(text)
    assert "model.json" in _refusal(folder)


def test_a_hostile_network_with_right_hashes_is_refused(folder: Path) -> None:
    proto = tiny_proto()
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    network = proto.SerializeToString()
    (folder / "model.onnx").write_bytes(network)
    stated = {"sha256": hashlib.sha256(network).hexdigest(), "bytes": len(network)}
    _edit(folder, lambda record: record["files"].update({"model.onnx": stated}))
    assert "other files" in _refusal(folder)


# ---- writing ----------------------------------------------------------------------------------------------------


def test_a_network_that_does_not_fit_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="outputs must be"):
        save_model(tmp_path / "m", tiny_network(), tiny_info(output={"map_height": 9, "map_width": WIDTH}))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_recorded(value: float) -> None:
    with pytest.raises(ValidationError):
        CalibrationInfo(scores=[value], peaks=[1.0], parts=[0], false_alarm_rate=0.01, kind="x")


def test_saving_again_replaces_the_model_and_keeps_other_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("keep me")
    (folder / "sub").mkdir()
    save_model(folder, tiny_network(bias=3), tiny_info())
    assert load_model(folder).model == tiny_network(bias=3)
    assert (folder / "notes.txt").read_text() == "keep me"
    assert (folder / "sub").is_dir()
    assert [path.name for path in folder.parent.iterdir()] == ["inference"]


def test_saving_through_a_link_replaces_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(folder)
    save_model(link, tiny_network(bias=3), tiny_info())
    assert link.is_symlink()
    assert load_model(folder).model == tiny_network(bias=3)


def test_other_peoples_folders_and_files_are_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    save_model(place, tiny_network(), tiny_info())  # an empty folder is no loss
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "file").write_bytes(b"text")
    for name in ("full", "file", "file/deeper"):
        with pytest.raises(ModelError):
            save_model(tmp_path / name, tiny_network(), tiny_info())
    assert (tmp_path / "full" / "cat.jpg").read_bytes() == b"cat"
    assert (tmp_path / "file").read_bytes() == b"text"


def test_a_full_disk_leaves_the_old_model_and_one_clear_line(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(ModelError, match="cannot be written: File too large"):
            save_model(folder, tiny_network(bias=3), tiny_info())
        with pytest.raises(ModelError, match="cannot be written: File too large"):
            set_false_alarm_rate(folder, 0.2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_model(folder).model == tiny_network()
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["inference"]


def test_the_rate_changes_without_touching_anything_else(folder: Path) -> None:
    before = load_model(folder)
    changed = set_false_alarm_rate(folder.parent.parent, 0.05)
    after = load_model(folder)
    assert after.info == changed
    assert after.info.calibration.false_alarm_rate == 0.05
    assert after.model == before.model
    same = {"calibration": before.info.calibration, "checksum": before.info.checksum}
    assert after.info.model_copy(update=same) == before.info
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan"), float("inf"), "0.1", None])
def test_an_impossible_rate_changes_nothing(folder: Path, rate: Any) -> None:
    before = (folder / "model.json").read_bytes()
    with pytest.raises(UsageError, match="above 0 and below 1"):
        set_false_alarm_rate(folder, rate)
    assert (folder / "model.json").read_bytes() == before


# ---- crashes and concurrency ----------------------------------------------------------------------------------------

_SAVE_FOR_EVER = """
import sys
from pathlib import Path
from blemish.models import load_model, save_model
place, old, new = Path(sys.argv[1]), load_model(sys.argv[2]), load_model(sys.argv[3])
print("ready", flush=True)
while True:
    for model in (new, old):
        save_model(place, model.model, model.info)
"""

# Ends the process, as a power cut would, before the n-th change of the file system; repeats with n + 1.
_CRASH_AT_EVERY_STEP = """
import os, sys
from pathlib import Path
from blemish.models import load_model, save_model
place, old, new = Path(sys.argv[1]), load_model(sys.argv[2]), load_model(sys.argv[3])
names = {old.model: "old", new.model: "new"}

def save_until(steps):
    def count(event, arguments):
        nonlocal steps
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            steps -= 1
            if steps < 0:
                os._exit(9)
    sys.addaudithook(count)
    save_model(place, new.model, new.info)
    os._exit(0)

for step in range(100):
    save_model(place, old.model, old.info)
    child = os.fork()
    if child == 0:
        save_until(step)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, names[load_model(place).model], flush=True)
    if code == 0:
        break
"""


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Arguments of the scripts: the place, and two models to put there."""
    places = [tmp_path / "run" / "inference", tmp_path / "old", tmp_path / "new"]
    for bias, place in enumerate(places[1:]):
        save_model(place, tiny_network(bias), tiny_info())
    save_model(places[0], tiny_network(0), tiny_info())
    return [str(place) for place in places]


def test_a_crash_at_any_step_leaves_the_old_or_the_new_model(models: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CRASH_AT_EVERY_STEP, *models], capture_output=True, text=True, check=True
    )
    steps = [line.split() for line in done.stdout.splitlines()]
    assert len(steps) > 10
    assert steps[-1] == ["0", "new"]
    assert [code for code, _ in steps[:-1]] == ["9"] * (len(steps) - 1)
    found = [model for _, model in steps]
    assert found == sorted(found, reverse=True)  # "old" up to some step, "new" from there
    assert found.count("old") > 3
    assert found.count("new") > 3


def test_a_killed_save_leaves_the_old_or_the_new_model(models: list[str]) -> None:
    place = Path(models[0])
    sound = {tiny_network(0), tiny_network(1)}
    for delay in np.random.default_rng(0).uniform(0, 0.02, 5):
        with subprocess.Popen([sys.executable, "-c", _SAVE_FOR_EVER, *models], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(delay)
            process.kill()
        assert load_model(place).model in sound
    save_model(place, tiny_network(2), tiny_info())
    assert load_model(place).model == tiny_network(2)
    assert not (place.parent / f".{place.name}.old").exists()


def test_a_model_is_loaded_while_it_is_replaced(models: list[str]) -> None:
    sound = {tiny_network(0), tiny_network(1)}
    found = []
    with subprocess.Popen([sys.executable, "-c", _SAVE_FOR_EVER, *models], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            found = [load_model(models[0]).model for _ in range(300)]
        finally:
            process.kill()
    assert set(found) == sound


def test_half_written_folders_of_long_ago_are_removed(folder: Path) -> None:
    fresh, stale = (folder.with_name(f".inference.{name}.tmp") for name in ("fresh", "stale"))
    for path in (fresh, stale):
        path.mkdir()
        (path / "model.onnx").touch()
    os.utime(stale, (0, 0))
    save_model(folder, tiny_network(), tiny_info())
    assert fresh.is_dir()
    assert not stale.exists()


# ---- the specification --------------------------------------------------------------------------------------------


def test_the_format_page_names_every_key() -> None:
    page = (Path(__file__).parent.parent / "docs" / "model-format.md").read_text(encoding="utf-8")
    record = tiny_info().model_dump()
    nested = [
        key for part in ("detector", "input", "output", "backbone", "calibration", "data") for key in record[part]
    ]
    for key in [*record, *nested, *record["versions"], *FILES]:
        assert f"`{key}`" in page, key
