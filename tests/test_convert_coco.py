"""COCO to the MVTec layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, area, names, read_mask, sorted_into, write_image

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError

SCRATCH, HOLE, GOOD = 1, 7, 9
CATEGORIES = [{"id": SCRATCH, "name": "scratch"}, {"id": HOLE, "name": "hole"}, {"id": GOOD, "name": "Good"}]


def coco(path, images, annotations, more=None):
    """A COCO file; images are file names, numbered from 1, annotations (image, category, segmentation)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [
        {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} for number, name in enumerate(images, 1)
    ]
    marks = [
        {"id": number, "image_id": image, "category_id": category, "segmentation": marked, "iscrowd": 0, "area": 1}
        for number, (image, category, marked) in enumerate(annotations, 1)
    ]
    content = {"images": listed, "annotations": marks, "categories": CATEGORIES}
    path.write_text(json.dumps({**content, **(more or {})}))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "coco set"
    folder.mkdir()
    return folder


@pytest.fixture
def run(source, tmp_path):
    return lambda: convert(source, "coco", tmp_path / "out")


SQUARE = [[10, 5, 20, 5, 20, 9, 10, 9]]


@pytest.mark.parametrize(
    ("segmentation", "pixels"),
    [
        (SQUARE, 10 * 4),
        ([[10.0, 5.0, 20.0, 5.0, 20.0, 9.0, 10.0, 9.0, 10.0, 5.0]], 40),  # closed
        ([*SQUARE, [30, 20, 32, 20, 32, 22, 30, 22]], 44),
        ([[-10, -10, 2, -10, 2, 3, -10, 3]], 6),
        ({"size": [HEIGHT, WIDTH], "counts": [31, 4, 26, 4, HEIGHT * WIDTH - 65]}, 8),  # columns 1 and 2
        # The same packed. 31 = 11111b: 'o0'; 4: '4'; 26 = 11010b: 'j0'; from the fourth on differences: 4 - 4: '0';
        # 1135 - 26 = 1109 = 1 00010 10101b: 'e', 'R', '1'
        ({"size": [HEIGHT, WIDTH], "counts": "o04j00eR1"}, 8),
    ],
)
def test_pixels(segmentation, pixels, source, tmp_path, run):
    write_image(source / "a.png")
    coco(source / "x.json", ["a.png"], [(1, SCRATCH, segmentation)])
    report = run()
    assert report.failed == []
    mask = read_mask(tmp_path / "out/ground_truth/scratch/a_mask.png") > 0
    assert mask.sum() == pixels
    if isinstance(segmentation, dict):
        assert np.array_equal(np.argwhere(mask.T), [(x, y) for x in (1, 2) for y in range(1, 5)])


def test_boxes_where_there_is_no_segmentation(source, tmp_path, run):
    write_image(source / "a.png")
    coco(source / "x.json", ["a.png"], [])
    content = json.loads((source / "x.json").read_text())
    content["annotations"] = [{"id": 1, "image_id": 1, "category_id": HOLE, "segmentation": [], "bbox": [3, 4, 5, 6]}]
    (source / "x.json").write_text(json.dumps(content))
    run()
    mask = read_mask(tmp_path / "out/ground_truth/hole/a_mask.png")
    assert mask[4:10, 3:8].all() and (mask > 0).sum() == 30


def test_several_files_and_their_splits(source, tmp_path, run):
    for number, name in enumerate(("train2017/ä 1.jpg", "val2017/2.x.jpg", "val2017/3.jpg", "val2017/4.jpg", "5.jpg")):
        write_image(source / name, number)
    coco(source / "annotations/instances_train2017.json", ["ä 1.jpg"], [(1, GOOD, SQUARE)])
    coco(source / "annotations/instances_val2017.json", ["2.x.jpg", "3.jpg"], [(2, HOLE, SQUARE), (2, SCRATCH, SQUARE)])
    coco(source / "annotations/person_keypoints_val2017.json", ["2.x.jpg", "val2017/4.jpg"], [])
    (source / "annotations/captions.json").write_text(json.dumps({"images": [], "annotations": [{"caption": "x"}]}))
    report = run()
    images = {name for name in names(tmp_path / "out") if not name.startswith("ground_truth")}
    assert images == {"train/good/ä 1.jpg", "test/good/2.x.jpg", "test/good/4.jpg", "test/hole/3.jpg"}
    assert report.failed == [] and len(report.warnings) == 3
    assert "captions.json" in report.warnings[0] and "left out: 5.jpg" in report.warnings[1]


def test_a_file_a_split_beside_the_images(source, tmp_path, run):
    for number, split in enumerate(("train", "valid", "test")):
        write_image(source / split / "a.jpg", number)
        coco(source / split / "_annotations.coco.json", ["a.jpg"], [])
    run()
    assert names(tmp_path / "out") == {"train/good/a.jpg", "test/good/a.jpg", "test/good/valid_a.jpg"}


BAD = {
    "odd numbers": [[1, 1, 2, 2, 3, 3, 4]],
    "words": [["a", 1, 2, 2, 3, 3]],
    "nested": [[[1, 1], [2, 2], [3, 3]]],
    "not finite": [[1, 1, 2, 2, 3, float("nan")]],
    "far away": [[1, 1, 2, 2, 3, 1e30]],
    "another size": {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]},
    "too long": {"size": [HEIGHT, WIDTH], "counts": [0, 10**9]},
    "too short": {"size": [HEIGHT, WIDTH], "counts": [0, 5]},
    "negative": {"size": [HEIGHT, WIDTH], "counts": [0, -5, 1205]},
    "broken": {"size": [HEIGHT, WIDTH], "counts": "PPPP"},
    "endless": {"size": [HEIGHT, WIDTH], "counts": [0] * 100_000},
    "no counts": {"size": [HEIGHT, WIDTH]},
    "nothing": None,
    "text": "x",
    "outside": [[100, 100, 110, 100, 110, 110]],
}


@pytest.mark.parametrize("segmentation", BAD.values(), ids=BAD)
def test_bad_segmentation_leaves_its_image_out(segmentation, source, tmp_path, run):
    write_image(source / "a.png", 1)
    write_image(source / "b.png", 2)
    coco(source / "one.json", ["a.png", "b.png"], [(1, SCRATCH, segmentation), (2, HOLE, SQUARE)])
    coco(source / "two.json", ["a.png"], [])  # says that the first image is good
    report = run()
    assert len(report.failed) == 1 and "a.png" in report.failed[0]
    assert names(tmp_path / "out") == {"test/hole/b.png", "ground_truth/hole/b_mask.png"}


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "", 5, None, "gone.png", "..\\outside.png", "a\0"])
def test_bad_image_names(name, source, tmp_path, run):
    write_image(tmp_path / "outside.png")
    write_image(source / "b.png")
    coco(source / "x.json", [name, "b.png"], [(1, SCRATCH, SQUARE), (2, SCRATCH, SQUARE)])
    report = run()
    assert len(report.failed) == 1 and names(tmp_path / "out") == {
        "test/scratch/b.png",
        "ground_truth/scratch/b_mask.png",
    }


def test_an_ambiguous_name(source, tmp_path, run):
    for folder in ("one", "two"):
        write_image(source / folder / "a.png")
    coco(source / "x.json", ["a.png"], [])
    assert "several times" in run().failed[0]


@pytest.mark.parametrize(
    "more",
    [
        {"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]},
        {"images": [1]},
        {"images": [{"file_name": "a.png"}]},
        {"categories": [{"name": "x"}]},
        {"annotations": [{"image_id": [1], "category_id": 1}]},
        {"annotations": [{"image_id": 5, "category_id": SCRATCH, "segmentation": SQUARE}]},
        {"annotations": [{"image_id": 1, "category_id": 55, "segmentation": SQUARE}]},
    ],
)
def test_bad_files_are_named(more, source, tmp_path, run):
    write_image(source / "a.png")
    coco(source / "x.json", ["a.png"], [], more)
    report = run()
    assert report.failed and report.failed[0].startswith("x.json: ")


def test_nothing_to_convert(source, run):
    (source / "x.json").write_text("{}")
    with pytest.raises(DatasetError, match="no COCO file"):
        run()


def test_ids_as_text_and_one_polygon_as_a_flat_list(source, tmp_path, run):
    """As VGG Image Annotator 2.0.8 and 2.0.9 write it."""
    for number in range(3):
        write_image(source / f"{number}.png", number)
    coco(source / "via.json", [f"{number}.png" for number in range(3)], [])
    content = json.loads((source / "via.json").read_text())
    for number, image in enumerate(content["images"]):
        image["id"] = (0, "1", 2.0)[number]
    flat = [2, 2, 6, 2, 6, 8, 2, 8]
    content["annotations"] = [
        {"id": 1, "image_id": "0", "category_id": str(HOLE), "segmentation": flat, "bbox": [2, 2, 4, 6], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": HOLE, "segmentation": [[]], "bbox": [2, 2, 4, 6], "iscrowd": 0},
    ]
    (source / "via.json").write_text(json.dumps(content))
    assert run().failed == []
    assert sorted_into(tmp_path / "out") == {"train/good": {"2.png"}, "test/hole": {"0.png", "1.png"}}
    assert area(tmp_path / "out", "hole", "0") == area(tmp_path / "out", "hole", "1") == 24


def test_annotations_that_fit_no_image_leave_their_file_without_good_images(source, tmp_path, run):
    for number, name in enumerate("abc"):
        write_image(source / f"{name}.png", number)
    coco(source / "one.json", ["a.png", "b.png"], [(1, HOLE, SQUARE), (9, HOLE, SQUARE)])
    coco(source / "two.json", ["c.png"], [])
    report = run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"c.png"}, "test/hole": {"a.png"}}
    assert "does not list" in report.failed[0] and any("b.png" in warning for warning in report.warnings)


def test_a_polygon_of_two_points_among_others(source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    coco(source / "x.json", ["a.png", "b.png"], [(1, HOLE, [[1, 1, 2, 2]]), (2, HOLE, [[1, 1, 2, 2], *SQUARE])])
    report = run()
    assert sorted_into(tmp_path / "out") == {"test/hole": {"a.png", "b.png"}}
    assert any("a.png" in warning and "not outlined" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    "name",
    [
        "/data/upload/1/1a2b3c4d-A.PNG",
        "/data/local-files/?d=x/a.png",
        "https://h/a.png?x=1",
        "D:\\x\\a.png",
        "../../a.png",
    ],
)
def test_names_from_elsewhere(name, source, tmp_path, run):
    write_image(source / "images/a.png")
    coco(source / "annotations/x.json", [name], [(1, HOLE, SQUARE)])
    assert run().failed == [] and sorted_into(tmp_path / "out") == {"test/hole": {"a.png"}}


def test_categories_by_their_words(source, tmp_path, run):
    for number, name in enumerate("abc"):
        write_image(source / f"{name}.png", number)
    coco(source / "x.json", ["a.png", "b.png", "c.png"], [(1, 1, SQUARE), (2, 2, SQUARE), (3, 3, SQUARE)])
    content = json.loads((source / "x.json").read_text())
    content["categories"] = [{"id": 1, "name": "OK"}, {"id": 2, "name": "NG"}, {"id": 3, "name": "defect-free"}]
    (source / "x.json").write_text(json.dumps(content))
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"a.png", "c.png"}, "test/NG": {"b.png"}}


@pytest.mark.parametrize("more", [{"categories": [3]}, {"annotations": [{"image_id": None}]}])
def test_a_file_that_fails_leaves_its_images_unknown(more, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    coco(source / "one.json", ["a.png"], [(1, HOLE, SQUARE)], more)
    coco(source / "two.json", ["a.png", "b.png"], [])
    assert run().failed and sorted_into(tmp_path / "out") == {"train/good": {"b.png"}}
