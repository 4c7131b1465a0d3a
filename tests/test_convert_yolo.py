"""YOLO to the MVTec layout."""

from __future__ import annotations

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, area, names, read_mask, sorted_into, write_image
from PIL import Image, ImageDraw

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError

BOX = "0 0.5 0.5 0.5 0.4"  # columns 10 to 30, rows 9 to 21
OUTLINE = "1 0.25 0.2 0.75 0.2 0.75 0.8"


@pytest.fixture
def source(tmp_path):
    return tmp_path / "set"


@pytest.fixture
def run(source, tmp_path):
    return lambda kind="yolo": convert(source, kind, tmp_path / "out")


def label(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_ultralytics(source, tmp_path, run):
    for number, name in enumerate(
        ("train/a.png", "train/b.png", "train/c.png", "val/d.png", "val/e.png", "test/f.png")
    ):
        write_image(source / "images" / name, number)
    label(source / "labels/train/a.txt", BOX, OUTLINE)
    label(source / "labels/train/b.txt")
    label(source / "labels/val/d.txt", OUTLINE)
    (source / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: dent, 1: crack}\n")
    report = run("yolo-seg")
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png", "c.png"},
        "test/good": {"e.png"},
        "test/dent": {"a.png"},
        "test/crack": {"d.png"},
    }
    assert report.failed == [] and any("images/test/f.png" in warning for warning in report.warnings)
    mask = read_mask(tmp_path / "out/ground_truth/crack/d_mask.png")
    picture = Image.new("1", (WIDTH * 8, HEIGHT * 8))  # an oracle at eight times the size
    ImageDraw.Draw(picture).polygon([(80, 48), (240, 48), (240, 192)], fill=1)
    share = np.array(picture, float).reshape(HEIGHT, 8, WIDTH, 8).mean((1, 3))
    assert ((mask > 0) != (share > 0.5)).sum() <= 12 and area(tmp_path / "out", "dent", "a") >= 20 * 12


def test_a_box_by_hand(source, tmp_path, run):
    write_image(source / "a.png")
    label(source / "a.txt", BOX)
    (source / "classes.txt").write_text("hole\nother\n")
    run()
    mask = read_mask(tmp_path / "out/ground_truth/hole/a_mask.png")
    assert mask[9:21, 10:30].all() and (mask > 0).sum() == 12 * 20


def test_roboflow(source, tmp_path, run):
    """A folder a split, and paths in data.yaml that lead out of the folder."""
    for number, split in enumerate(("train", "valid", "test")):
        for name in "ab":
            write_image(source / split / "images" / f"{name}.jpg", number)
        label(source / split / "labels/a.txt", BOX)
        label(source / split / "labels/b.txt")
    (source / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['hole']\n"
    )
    run()
    found = sorted_into(tmp_path / "out")
    assert {kind: len(images) for kind, images in found.items()} == {"train/good": 1, "test/good": 2, "test/hole": 3}


def test_darknet_as_cvat_exports_it(source, tmp_path, run):
    for number, name in enumerate("abc"):
        write_image(source / "obj_train_data" / f"{name}.png", number)
        label(source / "obj_train_data" / f"{name}.txt", *([BOX] if name == "a" else []))
    (source / "obj.names").write_text("hole\n")
    (source / "obj.data").write_text(
        "classes = 1\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
    )
    (source / "train.txt").write_text("data/obj_train_data/a.png\ndata/obj_train_data/b.png\n")
    (source / "valid.txt").write_text("data/obj_train_data/c.png\n")
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}, "test/good": {"c.png"}, "test/hole": {"a.png"}}


def test_labels_in_a_folder_of_another_name(source, tmp_path, run):
    for number, name in enumerate("ab"):
        write_image(source / "img" / f"{name}.PNG", number)
        label(source / "lbl" / f"{name.upper()}.txt", *([BOX] if name == "a" else []))
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.PNG"}, "test/class_0": {"a.PNG"}}


def test_classes_that_mean_good(source, tmp_path, run):
    for number in range(3):
        write_image(source / f"images/{number}.png", number)
        label(source / f"labels/{number}.txt", f"{number} 0.5 0.5 0.5 0.5")
    (source / "data.yaml").write_text("train: images\nnames: [OK, NG, 合格品]\n")
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"0.png", "2.png"}, "test/NG": {"1.png"}}


def test_keypoints_and_predictions_are_boxes(source, tmp_path, run):
    for name, more in (("a", " 0.1 0.2 2 0.3 0.4 2"), ("b", " 0.87")):
        write_image(source / f"images/{name}.png")
        label(source / f"labels/{name}.txt", BOX + more)
    (source / "data.yaml").write_text("train: images\nkpt_shape: [2, 3]\nnames: [hole]\n")
    label(source / "labels/a.txt", BOX + " 0.1 0.2 1 0.3 0.4 1")
    run()
    assert area(tmp_path / "out", "hole", "a") == area(tmp_path / "out", "hole", "b") == 240


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.5",
        "x 0.5 0.5 0.5 0.5",
        "0.5 0.5 0.5 0.5 0.5",
        "-1 0.5 0.5 0.5 0.5",
        "0 nan 0.5 0.5 0.5",
        "0 inf 0.5 0.5 0.5",
        "0 20 20 5 5",
        "0 0.1 0.1 0.9 0.1 0.9 0.9 0.5",
        "7 0.5 0.5 0.5 0.5",
        "1e300 0.5 0.5 0.5 0.5",
        "0 0.5 0.5 0 0",
        "\x00\x01\x02",
        "0 " + "9" * 5000,
    ],
)
def test_a_bad_line_leaves_its_image_out(line, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"images/{name}.png")
    label(source / "labels/a.txt", line)
    label(source / "labels/b.txt", BOX)
    (source / "data.yaml").write_text("train: images\nnames: [hole]\n")
    assert len(run().failed) == 1
    assert names(tmp_path / "out") == {"test/hole/b.png", "ground_truth/hole/b_mask.png"}


def test_a_label_file_of_a_missing_image(source, tmp_path, run):
    write_image(source / "images/b.png")
    label(source / "labels/a.txt", BOX)
    label(source / "labels/b.txt", BOX)
    assert "a.txt: its image is not there" in run().failed[0]


def test_images_of_another_split_are_not_taken_for_those_of_a_label(source, tmp_path, run):
    """The training image is missing, and the test image of its name is another part."""
    write_image(source / "images/test/a.png")
    write_image(source / "images/train/b.png")
    label(source / "labels/train/a.txt")
    label(source / "labels/train/b.txt", BOX)
    run()
    assert sorted_into(tmp_path / "out") == {"test/class_0": {"b.png"}}


def test_other_texts_are_passed_by(source, tmp_path, run):
    write_image(source / "images/a.png")
    label(source / "labels/a.txt", BOX)
    (source / "README.txt").write_text("This data set was exported by Roboflow.")
    (source / "requirements.txt").write_text("ultralytics==8.0\n")
    assert run().failed == []


@pytest.mark.parametrize(
    "content", ["names: [", "names: {a: b}", "&a [*a]", "x" * 100, "names: !!python/object:os.system x"]
)
def test_hostile_yaml(content, source, tmp_path, run):
    write_image(source / "images/a.png")
    label(source / "labels/a.txt", BOX)
    (source / "data.yaml").write_text(content)
    run()
    assert sorted_into(tmp_path / "out") == {"test/class_0": {"a.png"}}


def test_no_mark_anywhere(source, run):
    for name in "ab":
        write_image(source / f"images/{name}.png")
        label(source / f"labels/{name}.txt")
    with pytest.raises(DatasetError, match="no marks of YOLO"):
        run()


def test_label_files_that_keep_the_suffix_of_their_image(source, tmp_path, run):
    for name in "ab":
        write_image(source / f"images/{name}.png")
    label(source / "labels/a.png.txt", BOX)
    label(source / "labels/b.txt")
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}, "test/class_0": {"a.png"}}
