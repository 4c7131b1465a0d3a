"""The result as mapping, record, line, picture; lazy, read-only, and whole for failed inputs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import PurePosixPath

import numpy as np
import pytest

from blemish.images.rle import decode_mask
from blemish.pipeline.result import Result

KEYS = [
    "input_path", "page_index", "part", "score", "p_value", "threshold", "is_anomalous", "label", "false_alarm_rate",
    "supported_rate",
    "pixel_threshold", "model_name", "size", "anomaly_map", "pred", "regions", "timings", "error",
]  # fmt: skip


class Upsample:
    """Counts how often the full map is made."""

    def __init__(self):
        self.calls = 0

    def __call__(self, grid):
        self.calls += 1
        return np.kron(grid, np.ones((10, 10), np.float32))


def result(**fields):
    grid = np.zeros((3, 4), np.float32)
    grid[1, 2] = 3
    grid[2, 0] = 1.25
    defaults = {
        "name": PurePosixPath("test/part.png"),
        "input_path": "data/test/part.png",
        "score": 0.9834,
        "p_value": 0.016,
        "threshold": 0.7,
        "pixel_threshold": 1.0,
        "false_alarm_rate": 0.01,
        "model_name": "PatchCore",
        "size": (40, 30),
        "timings": {"decode": 13.40001, "model": np.float32(27.5)},
        "grid_map": grid,
        "full_map": Upsample(),
        "image": np.full((30, 40, 3), 120, np.uint8),
    }
    return Result(**(defaults | fields))


def failed(**fields):
    return Result(name=PurePosixPath("bad.jpg"), input_path="x/bad.jpg", error="not an image", **fields)


def test_it_is_a_mapping_with_attributes():
    one = result()
    assert isinstance(one, Mapping) and list(one) == KEYS and len(one) == len(KEYS)
    assert all(one[key] is getattr(one, key) or one[key] == getattr(one, key) for key in KEYS)
    assert dict(one)["label"] == "Anomaly" and "score" in one and "grid_map" not in one
    assert one.get("boxes") is None
    with pytest.raises(KeyError):
        one["image"]
    assert one == one and one != result() and len({one, result()}) == 2
    assert repr(one) == "<Result data/test/part.png  Anomaly - score:  0.983>"


def test_it_is_read_only():
    one = result()
    with pytest.raises(FrozenInstanceError):
        one.score = 0.0
    with pytest.raises(TypeError):
        one["score"] = 0.0
    for array in (one.anomaly_map, one.pred):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_nothing_is_upsampled_before_it_is_asked_for():
    one = result()
    assert (one.score, one.label, one["is_anomalous"], one.str) and one.full_map.calls == 0
    assert one.pred.shape == (30, 40) and one.regions and one.img and one.json and one.anomaly_map is one["anomaly_map"]
    assert one.full_map.calls == 1


def test_map_mask_and_regions_agree():
    one = result()
    assert one.anomaly_map.shape == one.pred.shape == (30, 40)
    assert (one.anomaly_map.dtype, one.pred.dtype) == (np.float32, np.uint8)
    assert np.array_equal(one.pred, np.where(one.anomaly_map > 1.0, 255, 0))
    assert [(r.box, r.area, r.peak) for r in one.regions] == [
        ((20, 10, 10, 10), 100, 3.0),
        ((0, 20, 10, 10), 100, 1.25),
    ]
    assert sum(r.area for r in one.regions) == (one.pred > 0).sum()


@pytest.mark.parametrize(
    ("score", "label"), [(0.7, "Normal"), (0.7000001, "Anomaly"), (-3.0, "Normal"), (1e9, "Anomaly")]
)
def test_the_verdict_is_score_above_threshold(score, label):
    one = result(score=score)
    assert one.label == label and one.is_anomalous is (label == "Anomaly")


def test_the_record_is_plain_json():
    record = result(score=np.float32(0.5), p_value=float("nan"), pixel_threshold=np.float64(1.0)).to_dict()
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again == record
    assert [k for k in KEYS if k != "anomaly_map"] == sorted(record, key=KEYS.index)
    assert record["p_value"] is None and record["score"] == 0.5 and record["is_anomalous"] is False
    assert record["size"] == [40, 30] and record["timings"] == {"decode": 13.4, "model": 27.5}
    assert {tuple(r["box"]) for r in record["regions"]} == {(20, 10, 10, 10), (0, 20, 10, 10)}
    assert np.array_equal(decode_mask(record["pred"]), result().pred)
    assert result().json["res"] == result().to_dict()


def test_an_unreachable_threshold_is_null():
    record = result(threshold=float("inf"), pixel_threshold=float("inf")).to_dict()
    assert record["threshold"] is None and record["label"] == "Normal" and record["regions"] == []


def test_pictures():
    one = result()
    assert list(one.img) == ["res", "heat_map"]
    assert all(picture.mode == "RGB" and picture.size == (40, 30) for picture in one.img.values())
    bare = result(image=None)
    assert bare.img["res"] is bare.img["heat_map"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"score": 0.6139, "threshold": 0.7}, "data/test/part.png  Normal - score:  0.614"),
        ({"score": 0.98}, "data/test/part.png  Anomaly - score:  0.980"),
        ({"page_index": 2}, "data/test/part.png[2]  Anomaly - score:  0.983"),
        ({"input_path": None}, "test/part.png  Anomaly - score:  0.983"),
        ({"input_path": "a\nb\x1b[31m\udcff.png"}, "a\\nb\\x1b[31m\\udcff.png  Anomaly - score:  0.983"),
        ({"input_path": "teil \u00fc.png"}, "teil \u00fc.png  Anomaly - score:  0.983"),
    ],
)
def test_the_line(fields, line, capsys):
    one = result(**fields)
    one.print()
    assert one.str == line
    assert capsys.readouterr() == (line + "\n", "")


@pytest.mark.parametrize(
    "call", [{"json_format": True}, {"format_json": True}, {"json_format": False, "format_json": True}]
)
def test_printing_json(call, capsys):
    one = result()
    one.print(**call)
    text = capsys.readouterr().out
    assert json.loads(text) == one.to_dict() and text.startswith('{\n    "input_path"')
    one.print(**call, indent=None)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_no_number_is_no_verdict(score):
    one = result(score=score)
    assert one.is_anomalous is None and one.label is None and one.to_dict()["score"] is None
    assert "Normal" not in one.str and "Anomaly" not in one.str


def test_format_json_false_wins(capsys):
    result().print(json_format=True, format_json=False)
    assert capsys.readouterr().out.startswith("data/test")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_path_prints_on_any_stdout(encoding, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, "stdout", out)
    one = result(input_path="\u00fc \u90e8\u54c1 \udcff.png")
    one.print()
    one.print(format_json=True, indent=None)
    out.flush()
    line, record = out.buffer.getvalue().decode(encoding).splitlines()
    assert line.endswith("Anomaly - score:  0.983")
    assert json.loads(record)["input_path"] == "\u00fc \u90e8\u54c1 \udcff.png"


def test_a_path_that_is_no_unicode_is_saved_and_read_back(tmp_path):
    path = result(input_path="\u90e8\u54c1 \udcff.png").save_to_json(tmp_path)
    assert "\u90e8" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8"))["input_path"] == "\u90e8\u54c1 \udcff.png"
    ascii_only = result(input_path="\u90e8.png").save_to_json(tmp_path / "a.json", indent=None, ensure_ascii=True)
    assert ascii_only.read_bytes().isascii() and ascii_only.read_text().count("\n") == 1


def test_failed_inputs(tmp_path, capsys):
    one = failed(page_index=1)
    assert (one.score, one.is_anomalous, one.label, one.anomaly_map, one.pred, one.regions) == (
        None,
        None,
        None,
        None,
        None,
        (),
    )
    assert one.img == {} and one["error"] == "not an image"
    one.print()
    assert capsys.readouterr().out == "x/bad.jpg[1]  Error - not an image\n"
    one.save_all(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == "bad_1_res.json" and one.save_to_img(tmp_path) is None
    record = json.loads(path.read_text())
    assert record["error"] == "not an image" and record["score"] is None and record["pred"] is None


def test_the_record_of_a_large_image_stays_small(tmp_path):
    y, x = np.mgrid[:900, :900].astype(np.float32)
    blobs = sum(
        np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2 / s**2)
        for cx, cy, s in ((200, 300, 60), (700, 650, 25), (500, 100, 8))
    )
    noisy = (blobs + 0.02 * np.random.default_rng(0).standard_normal((900, 900))).astype(np.float32)
    path = result(grid_map=noisy, full_map=np.array, pixel_threshold=0.5).save_to_json(tmp_path)
    assert 1_000 < path.stat().st_size < 100_000


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, blemish.pipeline.result, blemish.pipeline.drawing, blemish.pipeline.overview\n"
        "print([m for m in ('cv2', 'PIL', 'matplotlib', 'torch', 'onnxruntime') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
