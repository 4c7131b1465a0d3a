"""CVAT for images 1.1 to the MVTec layout."""

from __future__ import annotations

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, area, names, read_mask, sorted_into, write_image
from PIL import Image, ImageDraw

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "task"
    folder.mkdir()
    return folder


@pytest.fixture
def run(source, tmp_path):
    return lambda: convert(source, "cvat", tmp_path / "out")


def write(path, images, more="", size=(WIDTH, HEIGHT)):
    """`annotations.xml` with `{name: shapes}`."""
    items = "".join(
        f'<image id="{number}" name="{name}" width="{size[0]}" height="{size[1]}">{shapes}</image>'
        for number, (name, shapes) in enumerate(images.items())
    )
    meta = "<version>1.1</version><meta><task><mode>annotation</mode></task></meta>"
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?><annotations>{meta}{items}{more}</annotations>')


BOX = '<box label="dent" source="manual" occluded="0" xtl="10.00" ytl="5.00" xbr="20.00" ybr="9.00" z_order="0"></box>'


def test_images_and_defects(source, tmp_path, run):
    for number, name in enumerate(("a.png", "sub/b.png", "c.png", "d.png", "e.png")):
        write_image(source / "images" / name, number)
    good, bad = '<tag label="OK" source="manual"/>', '<tag label="scratch" source="manual"/>'
    write(source / "annotations.xml", {"a.png": BOX, "sub/b.png": "", "c.png": good, "d.png": bad})
    report = run()
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png", "c.png"},
        "test/dent": {"a.png"},
        "test/scratch": {"d.png"},
    }
    assert area(tmp_path / "out", "dent", "a") == 10 * 4 and report.failed == []
    assert any("in no CVAT file" in warning and "images/e.png" in warning for warning in report.warnings)


def oracle(draw, share=0.5):
    """What a shape covers by more than half of a pixel, drawn by Pillow at eight times the size."""
    picture = Image.new("1", (WIDTH * 8, HEIGHT * 8))
    draw(ImageDraw.Draw(picture))
    return np.array(picture, float).reshape(HEIGHT, 8, WIDTH, 8).mean((1, 3)) > share


@pytest.mark.parametrize(
    ("shape", "draw"),
    [
        (
            '<polygon label="x" points="5.0,5.0;30.0,5.0;30.0,20.0"/>',
            lambda d: d.polygon([(40, 40), (240, 40), (240, 160)], 1),
        ),
        ('<ellipse label="x" cx="20" cy="15" rx="12" ry="6"/>', lambda d: d.ellipse((64, 72, 256, 168), 1)),
        (
            '<ellipse label="x" cx="20" cy="15" rx="12" ry="6" rotation="90"/>',
            lambda d: d.ellipse((112, 24, 208, 216), 1),
        ),
        # a square of side 10 turned by 45 degrees stands on its corner
        (
            '<box label="x" xtl="15" ytl="10" xbr="25" ybr="20" rotation="45"/>',
            lambda d: d.polygon([(160, 63.4), (216.6, 120), (160, 176.6), (103.4, 120)], 1),
        ),
        # clockwise: the right end of a flat box goes down
        (
            '<box label="x" xtl="10" ytl="13" xbr="30" ybr="17" rotation="30"/>',
            lambda d: d.polygon([(98.7, 66.1), (237.3, 146.1), (221.3, 173.9), (82.7, 93.9)], 1),
        ),
    ],
)
def test_pixels(shape, draw, source, tmp_path, run):
    write_image(source / "a.png")
    write(source / "annotations.xml", {"a.png": shape})
    run()
    mask = read_mask(tmp_path / "out/ground_truth/x/a_mask.png") > 0
    expected = oracle(draw)
    assert (mask != expected).sum() <= 0.06 * expected.sum()


def test_a_mask_by_hand(source, tmp_path, run):
    write_image(source / "a.png")
    mask = '<mask label="x" source="manual" rle="1, 2, 1, 2" left="10" top="5" width="3" height="2" z_order="0"/>'
    write(source / "annotations.xml", {"a.png": mask})
    run()
    marked = np.argwhere(read_mask(tmp_path / "out/ground_truth/x/a_mask.png"))
    assert marked.tolist() == [[5, 11], [5, 12], [6, 11], [6, 12]]


def test_lines_points_and_shapes_in_space(source, tmp_path, run):
    for name in "abcd":
        write_image(source / f"{name}.png")
    cuboid = '<cuboid label="x" xtl1="1" ytl1="1" xbl1="1" ybl1="1" xtr1="1" ytr1="1" xbr1="1" ybr1="1"/>'
    line, points = '<polyline label="x" points="10,15;20,15"/>', '<points label="x" points="20,15"/>'
    two = '<polygon label="x" points="1,1;5,5"/>'
    write(source / "annotations.xml", {"a.png": line, "b.png": points, "c.png": cuboid, "d.png": two})
    report = run()
    assert sorted_into(tmp_path / "out") == {"test/x": {"a.png", "b.png", "c.png", "d.png"}}
    assert area(tmp_path / "out", "x", "b") == 81 and area(tmp_path / "out", "x", "a") > 100
    assert sum("is not outlined" in warning for warning in report.warnings) == 2


def test_subsets_of_a_project(source, tmp_path, run):
    for number, name in enumerate(("Train/a.png", "Test/a.png")):
        write_image(source / "images" / name, number)
    (source / "annotations.xml").write_text(
        "<annotations><version>1.1</version>"
        '<image id="0" name="a.png" subset="Train" width="40" height="30"></image>'
        '<image id="1" name="Test/a.png" subset="Test" width="40" height="30"></image></annotations>'
    )
    report = run()
    assert sorted_into(tmp_path / "out") == {"test/good": {"a.png"}}
    assert "several times" in report.failed[0]  # the name without its subset could be either


def test_a_video_is_refused(source, run):
    write_image(source / "images/frame_000000.png")
    write(
        source / "annotations.xml",
        {},
        '<track id="0" label="x"><box frame="0" xtl="1" ytl="1" xbr="5" ybr="5"/></track>',
    )
    report = run()
    assert "CVAT for images 1.1" in report.failed[0] and not report.has_images


BAD = [
    '<box label="x" xtl="a" ytl="1" xbr="5" ybr="5"/>',
    '<box label="x" xtl="nan" ytl="1" xbr="5" ybr="5"/>',
    '<box label="x" xtl="inf" ytl="1" xbr="5" ybr="5"/>',
    '<box label="x" xtl="1" ytl="1" xbr="1" ybr="1"/>',
    '<box label="x" xtl="1" ytl="1" xbr="5" ybr="5" rotation="x"/>',
    '<polygon label="x" points="1,1;2"/>',
    '<polygon label="x" points="1,1;1e30,2;3,3"/>',
    '<ellipse label="x" cx="1" cy="1" rx="1e9" ry="1"/>',
    '<mask label="x" rle="1,2" left="0" top="0" width="0" height="2"/>',
    '<mask label="x" rle="1,99" left="0" top="0" width="3" height="2"/>',
    '<mask label="x" rle="-1,2" left="0" top="0" width="3" height="2"/>',
    '<mask label="x" rle="" left="0" top="0" width="3" height="2"/>',
    '<mask label="x" rle="1,99999999999999999999999" left="0" top="0" width="3" height="2"/>',
    '<mask label="x" rle="1,2" left="0" top="0" width="1000000" height="1000000"/>',
    '<mask label="x" rle="0,6" left="1000" top="0" width="3" height="2"/>',
    '<points label="x" points=""/>',
]


@pytest.mark.parametrize("shape", BAD)
def test_a_bad_shape_leaves_its_image_out(shape, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    write(source / "annotations.xml", {"a.png": shape, "b.png": BOX})
    assert len(run().failed) == 1
    assert names(tmp_path / "out") == {"test/dent/b.png", "ground_truth/dent/b_mask.png"}


def test_nothing_to_convert(source, run):
    (source / "x.xml").write_text("<settings/>")
    with pytest.raises(DatasetError, match="no CVAT file"):
        run()
