"""Pascal VOC to the MVTec layout."""

from __future__ import annotations

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, names, read_mask, write_image
from PIL import Image

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError

PALETTE = [value for colour in ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)) for value in colour] + [0] * 756


def box(label, *sides):
    inner = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))
    return f"<object><name>{label}</name><difficult>0</difficult><bndbox>{inner}</bndbox></object>"


def voc(path, image, *boxes, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    head = f"<folder>x</folder><filename>{image}</filename><path>C:\\x\\{image}</path>"
    path.write_text(f"<annotation>{head}{stated}{''.join(boxes)}</annotation>", encoding="utf-8")


def segmentation(path, marks, mode="P"):
    """A mask with `{value: (rows, columns)}`."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, (rows, columns) in marks.items():
        classes[rows, columns] = value
    picture = Image.fromarray(classes)
    if mode == "P":
        picture.putpalette(PALETTE)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "VOC 2012"
    folder.mkdir()
    return folder


@pytest.fixture
def run(source, tmp_path):
    return lambda: convert(source, "voc", tmp_path / "out")


def test_boxes_count_from_one_and_include_both_ends(source, tmp_path, run):
    write_image(source / "JPEGImages/ä 1.v2.png", 1)
    write_image(source / "JPEGImages/b.jpg", 2)
    write_image(source / "JPEGImages/c.jpg", 3)
    voc(source / "Annotations/ä 1.v2.xml", "ä 1.v2.png", box("dent", 11, 6, 20, 10), box("dent", 1, 1, 2, 2))
    voc(source / "Annotations/b.xml", "b.jpg")
    report = run()
    assert names(tmp_path / "out") == {
        *("test/dent/ä 1.v2.png", "ground_truth/dent/ä 1.v2_mask.png", "train/good/b.jpg", "train/good/c.jpg")
    }
    mask = read_mask(tmp_path / "out/ground_truth/dent/ä 1.v2_mask.png")
    assert mask[5:10, 10:20].all() and mask[:2, :2].all() and (mask > 0).sum() == 5 * 10 + 4
    assert report.failed == [] and "taken as good: JPEGImages/c.jpg" in report.warnings[0]


def test_xml_beside_the_images_with_names_that_changed(source, tmp_path, run):
    write_image(source / "a/one.JPG", 1)
    voc(source / "a/one.xml", "renamed.jpg", box("dent", "1.0", "1.4", "3.0", "2.6"))
    write_image(source / "a/two.png", 2)
    voc(source / "a/two.xml", "", box("dent", 39, 29, 60, 60))
    run()
    assert (read_mask(tmp_path / "out/ground_truth/dent/one_mask.png") > 0).sum() == 3 * 3
    assert (read_mask(tmp_path / "out/ground_truth/dent/two_mask.png") > 0).sum() == 2 * 2


def test_a_name_that_stayed_behind(source, tmp_path, run):
    for number, name in enumerate("ab"):
        write_image(source / f"{name}.png", number)
        voc(source / f"{name}.xml", "b.png", *([box("dent", 1, 1, 2, 2)] if name == "a" else []))
    run()
    assert names(tmp_path / "out") == {"test/dent/a.png", "ground_truth/dent/a_mask.png", "train/good/b.png"}


def test_masks_count_more_than_boxes_and_the_border_is_no_defect(source, tmp_path, run):
    for number, name in enumerate("abcd"):
        write_image(source / f"JPEGImages/{name}.jpg", number)
    area, rim = (slice(5, 8), slice(5, 9)), (slice(4, 9), slice(4, 10))
    segmentation(source / "SegmentationClass/a.png", {255: rim, 1: area})
    voc(source / "Annotations/a.xml", "a.jpg", box("dent", 1, 1, 30, 30))
    segmentation(source / "SegmentationClass/b.png", {2: area})  # no XML file
    segmentation(source / "SegmentationClass/c.png", {255: area}, mode="L")  # a mask of 0 and 255
    voc(source / "Annotations/c.xml", "c.jpg", box("crack", 1, 1, 30, 30))
    segmentation(source / "SegmentationClass/d.png", {255: area})  # nothing but a border
    voc(source / "Annotations/d.xml", "d.jpg", box("dent", 1, 1, 3, 3))
    segmentation(source / "SegmentationObject/a.png", {1: area})
    report = run()
    assert report.failed == [] and report.defects == {"dent": 2, "class_2": 1, "crack": 1} and not report.train_good
    pixels = {path.stem: int((read_mask(path) > 0).sum()) for path in (tmp_path / "out/ground_truth").rglob("*.png")}
    assert pixels == {"a_mask": 12, "b_mask": 12, "c_mask": 12, "d_mask": 9}


@pytest.mark.parametrize("names_file", ["class_names.txt", "labelmap.txt"])
def test_class_names(names_file, source, tmp_path, run):
    lines = {
        "class_names.txt": "__ignore__\n_background_\nscratch\nhole\n",
        "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nscratch:128,0,0::\nhole:10,20,30::\n",
    }
    (source / names_file).write_text(lines[names_file])
    write_image(source / "JPEGImages/a.jpg")
    segmentation(source / "SegmentationClass/a.png", {1: (2, slice(3)), 2: (slice(9), 5)})
    report = run()
    assert report.defects == {"hole": 1} and "hole 9, scratch 3" in report.warnings[0]


def test_masks_in_colours(source, tmp_path, run):
    (source / "labelmap.txt").write_text("background:0,0,0::\nscratch:250,50,83::\n")
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[2:4, 3:8] = 250, 50, 83
    colours[1, 3:8] = 224, 224, 192
    for name in "ab":
        write_image(source / f"JPEGImages/{name}.jpg", ord(name))
        (source / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(colours).save(source / f"SegmentationClass/{name}.png")
        colours[9, 9] = 1, 2, 3  # a colour of no class, from the second on
    report = run()
    assert (read_mask(tmp_path / "out/ground_truth/scratch/a_mask.png") > 0).sum() == 10
    assert len(report.failed) == 1 and "b.png has the colour #010203" in report.failed[0]


def test_colours_of_voc(source, tmp_path, run):
    write_image(source / "JPEGImages/a.jpg")
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[2:4, 3:8] = 64, 0, 128  # class 12, dog, in the development kit's table
    (source / "SegmentationClass").mkdir()
    Image.fromarray(colours).save(source / "SegmentationClass/a.png")
    assert run().defects == {"class_12": 1}


def test_image_sets(source, tmp_path, run):
    for number in range(7):
        write_image(source / f"JPEGImages/{number}.jpg", number)
    for number in (0, 2, 3, 4):
        voc(source / f"Annotations/{number}.xml", f"{number}.jpg", *([box("dent", 1, 1, 3, 3)] if number > 2 else []))
    (source / "ImageSets/Main").mkdir(parents=True)
    (source / "ImageSets/Main/train.txt").write_text("0\n3\n5\n")
    (source / "ImageSets/Main/val.txt").write_text("2\n1\n")
    (source / "ImageSets/Main/trainval.txt").write_text("0\n1\n2\n3\n5\n")
    (source / "ImageSets/Main/dent_train.txt").write_text("4 1\n")
    report = run()
    images = {name for name in names(tmp_path / "out") if not name.startswith("ground_truth")}
    assert images == {"train/good/0.jpg", "train/good/5.jpg", "test/good/1.jpg", "test/good/2.jpg", "test/dent/3.jpg"}
    assert any("in no list" in warning and "4.xml" in warning for warning in report.warnings)


BOMB = (
    "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><annotation><filename>&b;</filename></annotation>"
)
FILE = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/hostname'>]><annotation><filename>&a;</filename></annotation>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "DOCTYPE"),
        (FILE, "DOCTYPE"),
        ("<!DOCTYPE annotation SYSTEM 'http://127.0.0.1/x.dtd'><annotation/>", "DOCTYPE"),
        ("<annotation><filename>&undefined;</filename></annotation>", "not readable XML"),
        ("<annotation>", "not readable XML"),
        ("", "not readable XML"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "not readable XML"),
        ("<a>" * 100_000 + "</a>" * 100_000, "XML of another kind"),
        ("<svg/>", "XML of another kind"),
        ("<annotation><object><name>x</name></object></annotation>", "box of 'x'"),
        (f"<annotation>{box('x', 1, 1, 'inf', 2)}</annotation>", "box of 'x'"),
        (f"<annotation>{box('x', 1, 1, 'one', 2)}</annotation>", "box of 'x'"),
    ],
)
def test_hostile_xml_leaves_its_image_out(content, message, source, tmp_path, run):
    write_image(source / "JPEGImages/a.jpg", 1)
    write_image(source / "JPEGImages/b.jpg", 2)
    write_image(tmp_path / "a.jpg", 3)
    voc(source / "Annotations/b.xml", "b.jpg", box("dent", 1, 1, 3, 3))
    (source / "Annotations/a.xml").write_text(content)
    report = run()
    assert names(tmp_path / "out") == {"test/dent/b.jpg", "ground_truth/dent/b_mask.png"}
    assert (
        len(report.failed) == 1 and report.failed[0].startswith("Annotations/a.xml: ") and message in report.failed[0]
    )


@pytest.mark.parametrize("name", ["../a.jpg", "D:\\\\line\\\\A.JPG", "https://host/x/a.jpg?t=1", "../../a.png"])
def test_a_path_of_another_machine_means_the_only_image_of_that_name(name, source, tmp_path, run):
    data = write_image(source / "pictures/a.jpg", 1).read_bytes()
    write_image(tmp_path / "a.jpg", 3)
    voc(source / "xml/a.xml", name)
    run()
    assert names(tmp_path / "out") == {"train/good/a.jpg"} and (tmp_path / "out/train/good/a.jpg").read_bytes() == data


def test_an_annotation_that_names_another_image_and_marks_nothing(source, tmp_path, run):
    for number, name in enumerate("ab"):
        write_image(source / f"JPEGImages/{name}.jpg", number)
    voc(source / "Annotations/a.xml", "/etc/hostname")
    voc(source / "Annotations/b.xml", "b.jpg")
    assert any("called otherwise" in warning and "a.jpg" in warning for warning in run().warnings)
    assert names(tmp_path / "out") == {"train/good/b.jpg"}


@pytest.mark.parametrize("kind", ["cut", "jpeg", "size", "huge"])
def test_damaged_masks_leave_their_image_out(kind, source, tmp_path, run):
    write_image(source / "JPEGImages/a.jpg")
    mask = source / "SegmentationClass/a.png"
    segmentation(mask, {1: (slice(5), slice(5))})
    if kind == "cut":
        mask.write_bytes(mask.read_bytes()[:60])
    elif kind == "jpeg":
        mask.write_bytes((source / "JPEGImages/a.jpg").read_bytes())
    elif kind == "size":
        Image.fromarray(np.ones((5, 5), np.uint8)).save(mask)
    else:  # a header that promises 2**31 - 1 pixels squared
        data = bytearray(mask.read_bytes())
        data[16:24] = b"\x7f\xff\xff\xff" * 2
        mask.write_bytes(bytes(data))
    report = run()
    assert len(report.failed) == 1 and "a.png" in report.failed[0] and names(tmp_path / "out") == set()


def test_another_size_than_stated(source, tmp_path, run):
    write_image(source / "JPEGImages/a.jpg")
    voc(source / "Annotations/a.xml", "a.jpg", box("dent", 1, 1, 3, 3), size=(HEIGHT, WIDTH))
    assert "40x30" in run().failed[0] and names(tmp_path / "out") == set()


def test_large_masks_warn_of_nothing(source, run, monkeypatch):
    segmentation(source / "SegmentationClass/a.png", {})
    write_image(source / "JPEGImages/a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT - 1)
    assert run().train_good == 1  # Pillow's warning of a bomb would be an error here


def test_nothing_to_convert(source, run):
    write_image(source / "a.png")
    with pytest.raises(DatasetError, match="no Pascal VOC annotation"):
        run()


@pytest.mark.parametrize(
    ("image", "annotation"),
    [
        ("images/a.png", "annotations/a.xml"),
        ("IMAGES/a.jpg", "ANNOTATIONS/a.xml"),
        ("train/images/crazing/a.jpg", "train/annotations/a.xml"),
        ("images/hole/a.jpg", "Annotations/hole/a.xml"),
        ("1/a.jpg", "lable/a.xml"),
        ("JPEGImages/A.jpg", "Annotations/a.xml"),
        ("A.JPG", "a.xml"),
    ],
)
def test_images_apart_from_their_annotations(image, annotation, source, tmp_path, run):
    write_image(source / image)
    write_image(source / "other/b.jpg")
    voc(source / annotation, "whatever.jpg", box("dent", 1, 1, 3, 3))
    assert run().failed == []
    assert {name for name in names(tmp_path / "out") if "ground_truth" not in name} == {
        f"test/dent/{image.split('/')[-1]}"
    }


def test_a_stem_that_is_there_twice_is_nobodys(source, tmp_path, run):
    for folder in ("x", "y"):
        write_image(source / folder / "a.jpg")
    voc(source / "xml/a.xml", "a.jpg", box("dent", 1, 1, 3, 3))
    assert "several times" in run().failed[0] and names(tmp_path / "out") == set()


@pytest.mark.parametrize("encoding", ["gbk", "gb2312", "GB18030", "utf-8", "utf-16", "shift_jis"])
def test_declared_encodings(encoding, source, tmp_path, run):
    write_image(source / "部品1.jpg")
    label = "伤" if "g" in encoding.lower() else "傷"
    head = f'<?xml version="1.0" encoding="{encoding}"?><annotation><filename>部品1.jpg</filename>'
    (source / "部品1.xml").write_bytes(f"{head}{box(label, 1, 1, 3, 3)}</annotation>".encode(encoding))
    assert run().failed == [] and len(names(tmp_path / "out")) == 2


@pytest.mark.parametrize("mask", ["SegmentationClass/A.PNG", "segmentationclass/a.png"])
def test_masks_in_another_case(mask, source, tmp_path, run):
    write_image(source / "JPEGImages/a.jpg")
    voc(source / "Annotations/a.xml", "a.jpg")
    segmentation(source / mask, {1: (slice(2, 4), slice(3, 8))})
    run()
    assert names(tmp_path / "out") == {"test/class_1/a.jpg", "ground_truth/class_1/a_mask.png"}
