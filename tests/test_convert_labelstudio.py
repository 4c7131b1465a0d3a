"""Label Studio to the MVTec layout."""

from __future__ import annotations

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, area, json_file, names, read_mask, sorted_into, write_image
from PIL import Image, ImageDraw

from blemish.datasets.annotations.brush_rle import decode_brush
from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError


@pytest.fixture
def source(tmp_path):
    return tmp_path / "export"


@pytest.fixture
def run(source, tmp_path):
    return lambda kind="labelstudio": convert(source, kind, tmp_path / "out")


def task(image, *results, **more):
    done = {"id": 1, "was_cancelled": False, "result": list(results)}
    return {"id": 1, "annotations": [done], "data": {"image": image}, **more}


def region(kind, label="dent", **value):
    return {
        "id": "x1",
        "type": f"{kind}labels",
        "from_name": "label",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {**value, f"{kind}labels": [label]},
    }


def chosen(*choices):
    return {
        "id": "c1",
        "type": "choices",
        "from_name": "verdict",
        "to_name": "image",
        "value": {"choices": list(choices)},
    }


RECT = {"x": 25.0, "y": 20.0, "width": 50.0, "height": 40.0, "rotation": 0}  # columns 10 to 30, rows 6 to 18


def test_tasks_with_uploads_local_files_and_addresses(source, tmp_path, run):
    for number, name in enumerate(("a.png", "b.png", "c.png", "d d.png", "e.png", "f.png", "g.png")):
        write_image(source / "images" / name, number)
    json_file(
        source / "project.json",
        [
            task("/data/upload/1/a1b2c3d4-a.png", region("rectangle", **RECT)),
            task("/data/local-files/?d=line%203/images/b.png"),
            task("s3://bucket/x/c.png", chosen("NG")),
            task("https://host/d%20d.png?token=1", chosen("OK")),
            task("/data/upload/1/0f0f0f0f-e.png", annotations=[]),
            task("f.png", annotations=[{"was_cancelled": True, "result": []}]),
        ],
    )
    report = run("label-studio")
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png", "d d.png"},
        "test/dent": {"a.png"},
        "test/NG": {"c.png"},
    }
    assert area(tmp_path / "out", "dent", "a") == 20 * 12 and report.failed == []
    assert any(
        "no annotation that was submitted" in warning and "images/e.png" in warning for warning in report.warnings
    )
    assert any("in no export" in warning and "images/g.png" in warning for warning in report.warnings)


def test_json_min(source, tmp_path, run):
    for name in "abcd":
        write_image(source / f"{name}.png")
    about = {"id": 1, "annotator": 1, "annotation_id": 2, "created_at": "2025-01-01", "lead_time": 3.5}
    rectangle = {**RECT, "rectanglelabels": ["dent"], "original_width": WIDTH, "original_height": HEIGHT}
    json_file(
        source / "min.json",
        [
            {"image": "/data/upload/a.png", "label": [rectangle], **about},
            {"image": "/data/upload/b.png", **about},
            {"image": "/data/upload/c.png", "verdict": "NG", **about},
            {"image": "/data/upload/d.png", "verdict": {"choices": ["OK", "good"]}, **about},
        ],
    )
    run()
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png", "d.png"},
        "test/dent": {"a.png"},
        "test/NG": {"c.png"},
    }
    assert area(tmp_path / "out", "dent", "a") == 240


def test_labels_apart_from_their_outlines_and_choices_for_a_region(source, tmp_path, run):
    write_image(source / "a.png")
    outline = {**region("rectangle", **RECT), "type": "rectangle"}
    outline["value"] = dict(RECT)
    label = {"id": "x1", "type": "labels", "value": {**RECT, "labels": ["crack"]}}
    severity = {"id": "x1", "type": "choices", "value": {**RECT, "choices": ["good visible"]}}
    json_file(source / "p.json", [task("a.png", outline, label, severity)])
    run()
    assert sorted_into(tmp_path / "out") == {"test/crack": {"a.png"}}


@pytest.mark.parametrize(
    ("kind", "value", "draw"),
    [
        (
            "polygon",
            {"points": [[25, 20], [75, 20], [75, 80]]},
            lambda d: d.polygon([(80, 48), (240, 48), (240, 192)], 1),
        ),
        ("ellipse", {"x": 50, "y": 50, "radiusX": 30, "radiusY": 20}, lambda d: d.ellipse((64, 72, 256, 168), 1)),
        (
            "ellipse",
            {"x": 50, "y": 50, "radiusX": 30, "radiusY": 20, "rotation": 90},
            lambda d: d.ellipse((112, 24, 208, 216), 1),
        ),
        # turned clockwise about its first corner, which stays
        ("rectangle", {**RECT, "x": 50, "width": 25, "rotation": 90}, lambda d: d.rectangle((64, 48, 159, 127), 1)),
    ],
)
def test_pixels(kind, value, draw, source, tmp_path, run):
    write_image(source / "a.png")
    json_file(source / "p.json", [task("a.png", region(kind, **value))])
    run()
    picture = Image.new("1", (WIDTH * 8, HEIGHT * 8))
    draw(ImageDraw.Draw(picture))
    expected = np.array(picture, float).reshape(HEIGHT, 8, WIDTH, 8).mean((1, 3)) > 0.5
    mask = read_mask(tmp_path / "out/ground_truth/dent/a_mask.png") > 0
    assert (mask != expected).sum() <= 0.06 * expected.sum()


def packed(values, lengths=(3, 8, 12, 16)):
    """rle-pack's code of bytes, by its description, with runs alone or with single values in turn."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{length - 1:04b}" for length in lengths)
    place = 0
    while place < len(values):
        end = place + 1
        while end < len(values) and values[end] == values[place] and end - place < 1 << lengths[3]:
            end += 1
        if end - place > 2:
            width = next(number for number, length in enumerate(lengths) if end - place <= 1 << length)
            bits += f"1{width:02b}{end - place - 1:0{lengths[width]}b}{values[place]:08b}"
        else:
            end = place + 1
            bits += f"000{0:0{lengths[0]}b}{values[place]:08b}"
        place = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


@pytest.mark.parametrize("seed", range(4))
def test_brush_codes(seed):
    random = np.random.default_rng(seed)
    marked = random.random((6, 9)) < (0.1, 0.5, 0.9, 1.0)[seed]
    values = np.repeat(marked.ravel() * np.uint8(255), 4).tolist()
    assert np.array_equal(decode_brush(packed(values), 6, 9), marked)


@pytest.mark.parametrize(
    "codes",
    [
        None,
        "abc",
        [1.5],
        [300],
        [],
        [0, 0, 0],
        [255] * 40,
        packed([255] * 20),
        packed([255] * 216)[:-1],
        [0] * 1_000_000,
    ],
)
def test_bad_brush_codes(codes):
    with pytest.raises(DatasetError):
        decode_brush(codes, 6, 9)


def test_a_brush(source, tmp_path, run):
    write_image(source / "a.png")
    marked = np.zeros((HEIGHT, WIDTH), np.uint8)
    marked[5:9, 10:20] = 255
    json_file(
        source / "p.json", [task("a.png", region("brush", format="rle", rle=packed(np.repeat(marked, 4).tolist())))]
    )
    run()
    assert np.array_equal(read_mask(tmp_path / "out/ground_truth/dent/a_mask.png"), marked)


def test_what_cannot_be_drawn_is_a_defect_all_the_same(source, tmp_path, run):
    turned = {**region("rectangle", **RECT), "image_rotation": 90}
    results = {"a": turned, "b": region("vector", vertices=[]), "c": region("polygon", points=[[1, 1], [2, 2]])}
    for name in results:
        write_image(source / f"{name}.png")
    write_image(source / "d.png")
    text = {"id": "t", "type": "textarea", "value": {"text": ["scratch at the top"]}}
    json_file(source / "p.json", [*(task(f"{name}.png", one) for name, one in results.items()), task("d.png", text)])
    run()
    assert sorted_into(tmp_path / "out") == {"test/dent": {"a.png", "b.png", "c.png"}}


def test_two_annotators_who_disagree(source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    both = [{"result": [chosen("OK")]}, {"result": [chosen("NG")]}]
    json_file(source / "p.json", [task("a.png", annotations=both), task("b.png", chosen("OK"))])
    report = run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}} and "is called good" in report.failed[0]


@pytest.mark.parametrize(
    "bad",
    [
        3,
        region("rectangle", x="a", y=1, width=1, height=1),
        region("rectangle", x=1, y=float("nan"), width=1, height=1),
        region("rectangle", **{**RECT, "rotation": "x"}),
        region("polygon", points=3),
        region("polygon", points=[[1, 1], [2, 2], [3, 1e30]]),
        region("brush", rle=[1, 2, 3]),
        region("ellipse", x=50, y=50, radiusX=-1e9, radiusY=1),
        {**region("rectangle", **RECT), "original_width": WIDTH * 2},
        region("rectangle", **{**RECT, "x": 500}),
    ],
)
def test_a_bad_result_leaves_its_image_out(bad, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    json_file(source / "p.json", [task("a.png", bad), task("b.png", region("rectangle", **RECT))])
    assert len(run().failed) == 1
    assert names(tmp_path / "out") == {"test/dent/b.png", "ground_truth/dent/b_mask.png"}


def test_a_task_without_one_image(source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    two = task("a.png") | {"data": {"front": "a.png", "back": "b.png"}}
    json_file(source / "p.json", [two, task("b.png")])
    assert len(run().failed) == 1 and sorted_into(tmp_path / "out") == {"train/good": {"b.png"}}


def test_nothing_to_convert(source, run):
    json_file(source / "x.json", [{"a": 1}])
    with pytest.raises(DatasetError, match="no export of Label Studio"):
        run()
