"""VGG Image Annotator to the MVTec layout."""

from __future__ import annotations

import csv
import json

import pytest
from annotated import area, json_file, names, read_mask, sorted_into, write_image

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError


@pytest.fixture
def source(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def run(source, tmp_path):
    return lambda: convert(source, "via", tmp_path / "out")


def region(outline, **attributes):
    return {"shape_attributes": outline, "region_attributes": attributes}


def entry(name, *regions, **about):
    return {"filename": name, "size": 100, "regions": list(regions), "file_attributes": about}


def annotations(*entries):
    return {f"{one['filename']}{one['size']}": one for one in entries}


RECT = {"name": "rect", "x": 10, "y": 5, "width": 10, "height": 4}


def test_a_project(source, tmp_path, run):
    for number, name in enumerate(("a.png", "b.png", "c.png", "d.png", "e.png")):
        write_image(source / "photos" / name, number)
    entries = annotations(
        entry("a.png", region(RECT, type="dent", severity="high")),
        entry("b.png", caption="", public_domain="no"),
        entry("c.png", region(RECT, type="OK")),
        entry("D.PNG", status="NG"),
    )
    json_file(
        source / "project.json",
        {"_via_settings": {"core": {}}, "_via_img_metadata": entries, "_via_attributes": {"region": {}, "file": {}}},
    )
    json_file(source / "settings.json", {"exposure": 3})
    report = run()
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png", "c.png"},
        "test/dent": {"a.png"},
        "test/NG": {"d.png"},
    }
    assert area(tmp_path / "out", "dent", "a") == 10 * 4 and report.failed == []
    assert any("in no annotation file" in warning and "e.png" in warning for warning in report.warnings)


def test_version_1(source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    one, two = entry("a.png"), entry("b.png")
    one["regions"] = {"0": region(RECT, class_name="hole"), "1": region({**RECT, "x": 0, "y": 0}, class_name="hole")}
    two["regions"] = {}
    json_file(source / "via_region_data.json", annotations(one, two))
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}, "test/hole": {"a.png"}}
    assert area(tmp_path / "out", "hole", "a") == 80


def test_a_table(source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    rows = [
        ["a.png", 100, "{}", 2, 0, json.dumps(RECT), json.dumps({"defect": {"hole": True, "dent": False}})],
        ["a.png", 100, "{}", 2, 1, json.dumps({**RECT, "x": 0}), json.dumps({"defect": {"hole": True}})],
        ["b.png", 100, "{}", 0, 0, "{}", "{}"],
    ]
    with (source / "via.csv").open("w", newline="") as stream:
        stream.write(head + "\n")
        csv.writer(stream).writerows(rows)
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}, "test/hole": {"a.png"}}
    assert area(tmp_path / "out", "hole", "a") == 80


@pytest.mark.parametrize(
    ("outline", "least", "most"),
    [
        ({"name": "polygon", "all_points_x": [10, 20, 20, 10], "all_points_y": [5, 5, 9, 9]}, 40, 40),
        ({"name": "circle", "cx": 20, "cy": 15, "r": 8}, 195, 209),
        ({"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 6, "theta": 0}, 220, 232),
        ({"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 6}, 220, 232),
        ({"name": "point", "cx": 20, "cy": 15}, 81, 81),
        ({"name": "polyline", "all_points_x": [10, 20], "all_points_y": [15, 15]}, 150, 200),
    ],
)
def test_pixels(outline, least, most, source, tmp_path, run):
    write_image(source / "a.png")
    json_file(source / "via.json", annotations(entry("a.png", region(outline, name="x"))))
    run()
    assert least <= area(tmp_path / "out", "x", "a") <= most


def test_an_ellipse_is_turned_by_radians(source, tmp_path, run):
    write_image(source / "a.png")
    outline = {"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 4, "theta": 1.5707963}
    json_file(source / "via.json", annotations(entry("a.png", region(outline, name="x"))))
    run()
    rows = read_mask(tmp_path / "out/ground_truth/x/a_mask.png").any(axis=1)
    assert rows[4:26].all()


@pytest.mark.parametrize(
    "bad",
    [
        3,
        {"shape_attributes": 3},
        region({"name": "spiral"}),
        region({**RECT, "x": "a"}),
        region({**RECT, "x": float("nan")}),
        region({**RECT, "width": 1e30}),
        region({**RECT, "width": 0}),
        region({"name": "circle", "cx": 1, "cy": 1}),
        region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1]}),
        region({"name": "polygon", "all_points_x": [1, 2, "c"], "all_points_y": [1, 2, 3]}),
        region({"name": "ellipse", "cx": 1, "cy": 1, "rx": 5, "ry": 5, "theta": "x"}),
    ],
)
def test_a_bad_region_leaves_its_image_out(bad, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    json_file(source / "via.json", annotations(entry("a.png", bad), entry("b.png", region(RECT, name="x"))))
    assert len(run().failed) == 1
    assert names(tmp_path / "out") == {"test/x/b.png", "ground_truth/x/b_mask.png"}


def test_contradictions_are_left_out(source, tmp_path, run):
    for name in "abc":
        write_image(source / f"{name}.png")
    json_file(
        source / "via.json",
        annotations(
            entry("a.png", region(RECT, name="x"), quality={"good": True}),
            entry("b.png"),
            entry("c.png", result="positive"),
        ),
    )
    report = run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}}
    assert "is called good" in report.failed[0] and any("c.png" in warning for warning in report.warnings)


def test_nothing_to_convert(source, run):
    json_file(source / "x.json", {"a": {"b": 1}})
    with pytest.raises(DatasetError, match="VGG Image Annotator"):
        run()
