"""Supervisely to the MVTec layout."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, area, json_file, names, read_mask, sorted_into, write_image
from PIL import Image

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "project"
    json_file(folder / "meta.json", {"classes": [{"title": "dent", "shape": "any"}], "tags": []})
    return folder


@pytest.fixture
def run(source, tmp_path):
    return lambda: convert(source, "supervisely", tmp_path / "out")


def annotated(path, *objects, tags=()):
    size = {"height": HEIGHT, "width": WIDTH}
    return json_file(path, {"description": "", "tags": list(tags), "size": size, "objects": list(objects)})


def item(kind, points=(), holes=(), label="dent", **more):
    inner = {"exterior": [list(point) for point in points], "interior": [list(map(list, hole)) for hole in holes]}
    return {"classTitle": label, "geometryType": kind, "points": inner, "tags": [], **more}


def bitmap(marked, origin, as_palette=True, pack=zlib.compress):
    """A bitmap as Supervisely's own library writes it, or as a picture with an alpha channel."""
    if as_palette:
        picture = Image.fromarray(marked.astype(np.uint8), mode="P")
        picture.putpalette([0, 0, 0, 255, 255, 255])
    else:
        picture = Image.fromarray(np.dstack([np.zeros((*marked.shape, 3), np.uint8), marked.astype(np.uint8) * 255]))
    stream = io.BytesIO()
    picture.save(stream, "PNG", **({"transparency": 0} if as_palette else {}))
    data = base64.b64encode(pack(stream.getvalue())).decode()
    return {"classTitle": "dent", "geometryType": "bitmap", "bitmap": {"data": data, "origin": list(origin)}}


def test_a_project(source, tmp_path, run):
    for number, name in enumerate(("a.png", "b.png", "c.png", "d.png", "e.png", "f.png")):
        write_image(source / "ds0/img" / name, number)
    ann = source / "ds0/ann"
    annotated(ann / "a.png.json", item("rectangle", [(10, 5), (20, 9)]))
    annotated(ann / "b.png.json")
    annotated(ann / "c.png.json", tags=[{"name": "quality", "value": "NG"}])
    annotated(ann / "d.png.json", tags=[{"name": "good", "value": None}])
    annotated(ann / "e.png.json", tags=[{"name": "batch7", "value": None}])
    report = run()
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png", "d.png"},
        "test/dent": {"a.png"},
        "test/NG": {"c.png"},
    }
    assert area(tmp_path / "out", "dent", "a") == 11 * 5 and report.failed == []
    assert any("unknown meaning" in warning and "e.png" in warning for warning in report.warnings)
    assert any("no annotation file" in warning and "f.png" in warning for warning in report.warnings)


def test_data_sets_of_a_project_with_equal_names(source, tmp_path, run):
    for number, folder in enumerate(("one", "two")):
        write_image(source / folder / "img/a.png", number)
    annotated(source / "one/ann/a.png.json", item("rectangle", [(10, 5), (20, 9)]))
    annotated(source / "two/ann/a.png.json")
    run()
    assert (tmp_path / "out/train/good/a.png").read_bytes() == (source / "two/img/a.png").read_bytes()
    assert (tmp_path / "out/test/dent/a.png").read_bytes() == (source / "one/img/a.png").read_bytes()


def test_a_missing_image_is_no_other_data_sets_image(source, tmp_path, run):
    write_image(source / "two/img/a.png")
    annotated(source / "one/ann/a.png.json")
    annotated(source / "two/ann/a.png.json", item("rectangle", [(10, 5), (20, 9)]))
    report = run()
    assert len(report.failed) == 1 and names(tmp_path / "out") == set()


def test_tags_of_a_split(source, tmp_path, run):
    for number, name in enumerate("ab"):
        write_image(source / f"ds/img/{name}.png", number)
        annotated(source / f"ds/ann/{name}.png.json", tags=[{"name": "train" if name == "a" else "val", "value": None}])
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"a.png"}, "test/good": {"b.png"}}


def test_a_polygon_with_a_hole(source, tmp_path, run):
    write_image(source / "ds/img/a.png")
    square, hole = [(5, 5), (14, 5), (14, 14), (5, 14)], [(8, 8), (10, 8), (10, 10), (8, 10)]
    annotated(source / "ds/ann/a.png.json", item("polygon", square, [hole]))
    run()
    mask = read_mask(tmp_path / "out/ground_truth/dent/a_mask.png")
    assert (mask > 0).sum() == 100 - 9 and not mask[8:11, 8:11].any()


@pytest.mark.parametrize("as_palette", [True, False])
def test_a_bitmap(as_palette, source, tmp_path, run):
    write_image(source / "ds/img/a.png")
    marked = np.array([[1, 0, 1], [0, 1, 1]], bool)
    annotated(source / "ds/ann/a.png.json", bitmap(marked, (38, 5), as_palette))
    run()
    mask = read_mask(tmp_path / "out/ground_truth/dent/a_mask.png")
    assert np.argwhere(mask).tolist() == [[5, 38], [6, 39]]


def test_lines_points_and_the_rest(source, tmp_path, run):
    shapes = {
        "a": item("line", [(10, 15), (20, 15)]),
        "b": item("point", [(20, 15)]),
        "c": item("cuboid"),
        "d": item("polygon", [(1, 1), (5, 5)]),
    }
    for name, one in shapes.items():
        write_image(source / f"ds/img/{name}.png")
        annotated(source / f"ds/ann/{name}.png.json", one)
    run()
    assert sorted_into(tmp_path / "out") == {"test/dent": {f"{name}.png" for name in shapes}}
    assert area(tmp_path / "out", "dent", "b") == 81


BOMB = base64.b64encode(zlib.compress(bytes(200 << 20), 9)).decode()


@pytest.mark.parametrize(
    "bad",
    [
        3,
        {"geometryType": "polygon"},
        item("polygon", [(1, 1), (2, float("nan")), (3, 3)]),
        item("polygon", [(1, 1), (2, 1e12), (3, 3)]),
        item("rectangle", [(1, 1)]),
        {"classTitle": "dent", "geometryType": "polygon"},
        {"classTitle": "dent", "geometryType": "polygon", "points": {"exterior": 3}},
        {"classTitle": "dent", "geometryType": "polygon", "points": {"exterior": [], "interior": 3}},
        {"classTitle": "dent", "geometryType": "bitmap"},
        {"classTitle": "dent", "geometryType": "bitmap", "bitmap": {"data": "!!!", "origin": [0, 0]}},
        {"classTitle": "dent", "geometryType": "bitmap", "bitmap": {"data": BOMB, "origin": [0, 0]}},
        {"classTitle": "dent", "geometryType": "bitmap", "bitmap": {"data": "", "origin": ["a", 0]}},
        bitmap(np.ones((2, 2), bool), (0, 0), pack=lambda data: zlib.compress(data)[:-5]),
        bitmap(np.ones((2, 2), bool), (0, 0), pack=lambda data: zlib.compress(data[:40])),
        bitmap(
            np.ones((2, 2), bool),
            (0, 0),
            pack=lambda data: zlib.compress(data[:16] + b"\x7f\xff\xff\xff" * 2 + data[24:]),
        ),
        bitmap(np.ones((2, 2), bool), (500, 500)),
    ],
)
def test_a_bad_object_leaves_its_image_out(bad, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"ds/img/{name}.png")
    annotated(source / "ds/ann/a.png.json", bad)
    annotated(source / "ds/ann/b.png.json", item("rectangle", [(1, 1), (2, 2)]))
    assert len(run().failed) == 1
    assert names(tmp_path / "out") == {"test/dent/b.png", "ground_truth/dent/b_mask.png"}


def test_nothing_to_convert(source, run):
    with pytest.raises(DatasetError, match="no Supervisely annotation"):
        run()
