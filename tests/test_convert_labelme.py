"""LabelMe to the MVTec layout."""

from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, labelme, names, read_mask, shape, sorted_into, square, write_image

from blemish.datasets import load_dataset
from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "annotated"
    folder.mkdir()
    return folder


def test_defects_and_good_images(source, tmp_path):
    write_image(source / "Prüf 1.b.png", 1)
    write_image(source / "good.jpg", 2)
    labelme(
        source / "Prüf 1.b.json",
        "Prüf 1.b.png",
        square("Kratzer", 5, 6, 4),
        shape("hole", [[20, 10], [25, 12]], "rectangle"),
    )
    labelme(source / "good.json", "good.jpg")
    report = convert(source, "labelme", tmp_path / "out")
    assert names(tmp_path / "out") == {
        "train/good/good.jpg",
        "test/hole/Prüf 1.b.png",
        "ground_truth/hole/Prüf 1.b_mask.png",
    }
    mask = read_mask(tmp_path / "out/ground_truth/hole/Prüf 1.b_mask.png")
    assert mask[6:10, 5:9].all() and mask[10:13, 20:26].all() and (mask > 0).sum() == 4 * 4 + 6 * 3
    assert (report.train_good, report.test_good, report.defects, report.failed) == (1, 0, {"hole": 1}, [])
    assert "Prüf 1.b.png" in report.warnings[0] and "count as hole" in report.warnings[0]
    assert (tmp_path / "out/train/good/good.jpg").read_bytes() == (source / "good.jpg").read_bytes()
    dataset = load_dataset(tmp_path / "out")
    assert dataset.layout == "mvtec" and dataset.test[0].masks


@pytest.mark.parametrize(
    ("kind", "points", "pixels"),
    [
        ("polygon", [[10, 10], [14, 10], [14, 14], [10, 14]], 25),
        (None, [[10, 10], [14, 10], [14, 14], [10, 14]], 25),
        ("rectangle", [[14, 14], [10, 10]], 25),
        ("rectangle", [[10, 10], [14, 10], [14, 14], [10, 14]], 25),
        ("rectangle", [[-5, -5], [1, 1]], 4),
        ("circle", [[20, 15], [22, 15]], 13),
        ("line", [[10, 15], [20, 15]], 11 * 11 + 81 - 11),
        ("linestrip", [[10, 15], [15, 15], [20, 15]], 11 * 11 + 81 - 11),
        ("point", [[20, 15]], 81),
        ("points", [[10, 15], [30, 15]], 162),
    ],
)
def test_pixels_of_every_shape(kind, points, pixels, source, tmp_path):
    write_image(source / "a.png")
    labelme(source / "a.json", "a.png", shape("x", points, kind))
    convert(source, "labelme", tmp_path / "out")
    assert (read_mask(tmp_path / "out/ground_truth/x/a_mask.png") > 0).sum() == pixels


def test_mask_shape(source, tmp_path):
    write_image(source / "a.png")
    crop = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)
    encoded = base64.b64encode(cv2.imencode(".png", crop)[1].tobytes()).decode()
    labelme(source / "a.json", "a.png", shape("x", [[38, 5], [40, 6]], "mask", mask=encoded))
    convert(source, "labelme", tmp_path / "out")
    mask = read_mask(tmp_path / "out/ground_truth/x/a_mask.png")
    assert np.argwhere(mask).tolist() == [[5, 38], [6, 39]]


def test_embedded_image_where_there_is_no_file(source, tmp_path):
    data = write_image(tmp_path / "elsewhere.png", 3).read_bytes()
    for name in ("C:\\photos\\ä.png", "../../ä.png", "ä.png"):
        labelme(source / "a.json", name, square("x", 1, 1, 3), imageData=base64.b64encode(data).decode())
        out = tmp_path / f"out {len(name)}"
        report = convert(source, "labelme", out)
        assert report.failed == [] and (out / "test/x/ä.png").read_bytes() == data


def test_the_image_file_counts_more_than_the_embedded_one(source, tmp_path):
    data = write_image(source / "a.png", 1).read_bytes()
    other = base64.b64encode(write_image(tmp_path / "b.png", 2).read_bytes()).decode()
    labelme(source / "a.json", "a.png", square("x", 1, 1, 3), imageData=other)
    convert(source, "labelme", tmp_path / "out")
    assert (tmp_path / "out/test/x/a.png").read_bytes() == data


def test_images_in_another_folder_with_either_slash(source, tmp_path):
    write_image(source / "images/a.png", 1)
    write_image(source / "images/b.png", 2)
    write_image(source / "annotations/mask.png", 3)  # beside JSON files, but beside no annotated image
    labelme(source / "annotations/a.json", "..\\images\\a.png", square("x", 1, 1, 3))
    report = convert(source, "labelme", tmp_path / "out")
    assert names(tmp_path / "out") == {"test/x/a.png", "ground_truth/x/a_mask.png", "train/good/b.png"}
    assert "taken as good: images/b.png" in report.warnings[0]
    assert "left out: annotations/mask.png" in report.warnings[1]


def test_equal_names_from_several_folders(source, tmp_path):
    for folder, seed in (("left", 1), ("right", 2)):
        write_image(source / folder / "000.png", seed)
        labelme(source / folder / "000.json", "000.png", square("x", 1, 1, 3))
    write_image(source / "right/000.jpg", 3)
    labelme(source / "right/other.json", "000.jpg", square("x", 1, 1, 4))
    convert(source, "labelme", tmp_path / "out")
    assert names(tmp_path / "out") == {
        *("test/x/000.png", "test/x/right_000.jpg", "test/x/000_2.png"),
        *("ground_truth/x/000_mask.png", "ground_truth/x/right_000_mask.png", "ground_truth/x/000_2_mask.png"),
    }
    mask = read_mask(tmp_path / "out/ground_truth/x/right_000_mask.png")
    assert (mask > 0).sum() == 16


def test_labels_that_mean_good(source, tmp_path):
    for number, label in enumerate(("good", "OK", "Normal", "_background_", "__ignore__", " good.")):
        write_image(source / f"{number}.png", number)
        labelme(source / f"{number}.json", f"{number}.png", square(label, 1, 1, 3))
    assert convert(source, "labelme", tmp_path / "out").train_good == 6
    assert not (tmp_path / "out/test").exists()


@pytest.mark.parametrize("label", ["../../x", "/etc", "..", "", ".", "a\0b", "c:\\x", "x" * 5000, None, 7, "con/../x"])
def test_labels_that_are_no_folder_names(label, source, tmp_path):
    write_image(source / "a.png")
    labelme(source / "a.json", "a.png", square(label, 1, 1, 3))
    out = tmp_path / "deep" / "out"
    convert(source, "labelme", out)
    assert len(list((out / "test").iterdir())) == 1 and len(list((out / "test").rglob("*.png"))) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"annotated", "deep"} and len(names(out)) == 2


class TestLists:
    def test_of_paddlex(self, source, tmp_path):
        for number, shapes in enumerate(([], [square("x", 1, 1, 3)], [], [square("x", 1, 1, 3)], [])):
            write_image(source / f"images/im {number}.png", number)
            labelme(source / f"json/im {number}.json", f"../images/im {number}.png", *shapes)
        (source / "train_anno_list.txt").write_text("json/im 0.json\r\njson/im 1.json\n\n", encoding="utf-8-sig")
        (source / "val_anno_list.txt").write_text("json/im 2.json\njson/im 3.json\njson/gone.json\n")
        report = convert(source, "labelme", tmp_path / "out")
        images = {name for name in names(tmp_path / "out") if not name.startswith("ground_truth")}
        assert images == {"train/good/im 0.png", "test/x/im 1.png", "test/good/im 2.png", "test/x/im 3.png"}
        assert report.failed == ["json/gone.json: no such file"]
        assert any("in no list" in warning and "im 4.json" in warning for warning in report.warnings)
        assert any("listed for training" in warning and "im 1.png" in warning for warning in report.warnings)

    def test_that_lead_elsewhere(self, source, tmp_path):
        write_image(tmp_path / "a.png")
        labelme(tmp_path / "a.json", "a.png")
        (source / "train_anno_list.txt").write_text("../a.json\n")
        report = convert(source, "labelme", tmp_path / "out")
        assert "leads out of" in report.failed[0] and names(tmp_path / "out") == set()


class TestWhatFails:
    """A bad file is named and the good one is done; above all it never makes its image good."""

    @pytest.fixture
    def converted(self, source, tmp_path):
        write_image(source / "fine.png", 9)
        labelme(source / "fine.json", "fine.png", square("x", 1, 1, 3))

        def run():
            report = convert(source, "labelme", tmp_path / "out")
            assert names(tmp_path / "out") == {"test/x/fine.png", "ground_truth/x/fine_mask.png"}
            assert len(report.failed) == 1
            return report.failed[0]

        return run

    def test_missing_image(self, source, converted):
        labelme(source / "a.json", "gone.png", square("x", 1, 1, 3))
        assert converted() == "gone.png (a.json): no such file"

    def test_unreadable_image(self, source, converted):
        (source / "a.png").write_bytes(b"no image")
        labelme(source / "a.json", "a.png", square("x", 1, 1, 3))
        assert converted().startswith("a.png")

    def test_image_of_another_size(self, source, converted):
        write_image(source / "a.png", size=(WIDTH, HEIGHT))
        labelme(source / "a.json", "a.png", square("x", 1, 1, 3))
        assert "30x40" in converted()

    @pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000, b'{"shapes": [], "imagePath": 3}'])
    def test_damaged_json_leaves_its_image_out(self, content, source, converted):
        write_image(source / "a.png")
        (source / "a.json").write_bytes(content)
        assert converted().startswith("a.json: ")

    @pytest.mark.parametrize(
        "bad",
        [
            3,
            shape("x", [[1, 1]], "rectangle"),
            shape("x", [[1, 1], [5, 5]], "spiral"),
            shape("x", [[1, 1], [5, 5]], ["polygon"]),
            shape("x", [[1, 1], [5, float("nan")]], "line"),
            shape("x", [[1, 1], [5, 5]], "mask", mask="!!!"),
            shape("x", [[1, 1], [5, 5]], "mask", mask=None),
        ],
    )
    def test_bad_shape(self, bad, source, converted):
        write_image(source / "a.png")
        labelme(source / "a.json", "a.png", square("x", 1, 1, 3), bad)
        assert "a.json" in converted()

    def test_defects_outside_the_image(self, source, converted):
        write_image(source / "a.png")
        labelme(source / "a.json", "a.png", square("x", 100, 100, 3))
        assert converted() == "a.png (a.json): no marked defect covers a pixel of the image"

    def test_one_bad_annotation_of_two(self, source, converted):
        write_image(source / "a.png")
        labelme(source / "a.json", "a.png")
        labelme(source / "b.json", "a.png", shape("x", [[1, 1]], "line"))
        assert converted().startswith("b.json: ")

    @pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "..\\outside.png", "a\0.png", "link.png"])
    def test_path_that_leads_out(self, name, source, tmp_path, converted):
        write_image(tmp_path / "outside.png")
        (source / "link.png").symlink_to(tmp_path / "outside.png")
        labelme(source / "link.json", name, square("x", 1, 1, 3))
        assert converted().startswith("link.json: ")


def test_an_annotation_that_describes_another_image(source, tmp_path):
    for number, name in enumerate("abc"):
        write_image(source / f"{name}.png", number)
    labelme(source / "a.json", "b.png", square("x", 1, 1, 3))  # a renamed copy?
    report = convert(source, "labelme", tmp_path / "out")
    assert names(tmp_path / "out") == {"test/x/b.png", "ground_truth/x/b_mask.png", "train/good/c.png"}
    assert any("describes another image" in warning and "a.png" in warning for warning in report.warnings)


def test_two_annotations_of_one_image_are_one(source, tmp_path):
    write_image(source / "a.png")
    labelme(source / "a.json", "a.png", square("x", 1, 1, 3))
    labelme(source / "b.json", "./a.png", square("y", 10, 10, 2))
    convert(source, "labelme", tmp_path / "out")
    assert (read_mask(tmp_path / "out/ground_truth/x/a_mask.png") > 0).sum() == 13


def test_exif_rotation_counts(source, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown upright
    Image.new("RGB", (WIDTH, HEIGHT)).save(source / "a.jpg", exif=exif)
    labelme(source / "a.json", "a.jpg", square("x", 1, 35, 3), imageWidth=HEIGHT, imageHeight=WIDTH)
    convert(source, "labelme", tmp_path / "out")
    assert read_mask(tmp_path / "out/ground_truth/x/a_mask.png").shape == (WIDTH, HEIGHT)


def test_other_json_is_left_out(source, tmp_path):
    write_image(source / "a.png")
    labelme(source / "a.json", "a.png")
    (source / "settings.json").write_text(json.dumps({"images": []}))
    report = convert(source, "labelme", tmp_path / "out")
    assert "settings.json" in report.warnings[0] and report.failed == []


def test_nothing_to_convert(source, tmp_path):
    write_image(source / "a.png")
    with pytest.raises(DatasetError, match="no LabelMe annotation"):
        convert(source, "labelme", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class TestNamesFromElsewhere:
    """A path that was true on another machine means the only image of that name; two of them mean none."""

    @pytest.mark.parametrize(
        "name",
        [
            "000.PNG",
            "D:\\line 3\\000.png",
            "/home/me/000.png",
            "..\\..\\x\\000.png",
            "https://host/x/000.png?t=1",
            "file:///C:/x/000.png",
            "\\\\server\\share\\000.png",
        ],
    )
    def test_the_only_image_of_that_name(self, name, source, tmp_path):
        write_image(source / "photos/000.png", 1)
        write_image(source / "photos/001.png", 2)
        labelme(source / "json/000.json", name, square("x", 1, 1, 3))
        labelme(source / "json/001.json", "001.png")
        report = convert(source, "labelme", tmp_path / "out")
        assert sorted_into(tmp_path / "out") == {"train/good": {"001.png"}, "test/x": {"000.png"}}
        assert report.failed == []

    def test_two_candidates(self, source, tmp_path):
        for number, folder in enumerate("ab"):
            write_image(source / folder / "000.png", number)
        labelme(source / "json/000.json", "D:\\x\\000.png", square("x", 1, 1, 3))
        report = convert(source, "labelme", tmp_path / "out")
        assert "several times" in report.failed[0] and names(tmp_path / "out") == set()

    def test_the_folder_beside_decides_between_two(self, source, tmp_path):
        for number, split in enumerate(("train", "val")):
            write_image(source / split / "images/000.png", number)
        labelme(source / "val/labels/000.json", "000.png", square("x", 1, 1, 3))
        convert(source, "labelme", tmp_path / "out")
        assert (tmp_path / "out/test/x/000.png").read_bytes() == (source / "val/images/000.png").read_bytes()

    def test_annotations_of_two_images_that_lead_to_one(self, source, tmp_path):
        write_image(source / "all/000.png")
        labelme(source / "one/a.json", "D:\\good\\000.png")
        labelme(source / "two/b.json", "D:\\bad\\000.png", square("x", 1, 1, 3))
        report = convert(source, "labelme", tmp_path / "out")
        assert "annotations of several images" in report.failed[0] and names(tmp_path / "out") == set()

    def test_an_image_of_another_verdict(self, source, tmp_path):
        write_image(source / "NG/000.png")
        labelme(source / "json/000.json", "D:\\OK\\000.png")
        report = convert(source, "labelme", tmp_path / "out")
        assert "another image" in report.failed[0] and names(tmp_path / "out") == set()

    def test_a_pair_that_was_renamed_together(self, source, tmp_path):
        for number in range(2):
            write_image(source / f"{number}.png", number)
            labelme(source / f"{number}.json", "old.png", *([square("x", 1, 1, 3)] if number else []))
        report = convert(source, "labelme", tmp_path / "out")
        assert sorted_into(tmp_path / "out") == {"test/x": {"1.png"}}
        assert any("called otherwise" in warning and "0.png" in warning for warning in report.warnings)

    @pytest.mark.parametrize("name", ["a.json", "a", "a.txt"])
    def test_an_image_path_that_is_no_image(self, name, source, tmp_path):
        """As in LabelMe's own tutorial: the picture is within the file, and beside it."""
        data = write_image(source / "a.jpg").read_bytes()
        labelme(source / "a.json", name, square("x", 1, 1, 3), imageData=base64.b64encode(data).decode())
        convert(source, "labelme", tmp_path / "out")
        assert sorted_into(tmp_path / "out") == {"test/x": {"a.jpg"}}


class TestVerdicts:
    def converted(self, source, tmp_path, *flags, shapes=()):
        for number, one in enumerate(flags):
            write_image(source / f"{number}.png", number)
            labelme(source / f"{number}.json", f"{number}.png", *shapes, flags=one)
        return convert(source, "labelme", tmp_path / "out")

    def test_flags_of_images(self, source, tmp_path):
        report = self.converted(
            source,
            tmp_path,
            {"NG": True, "OK": False},
            {"OK": True},
            {},
            {"cat": True},
            {"NG": False},
            {"合格": True, "不合格": False},
            {"合格": False, "不合格": True},
        )
        assert sorted_into(tmp_path / "out") == {
            "train/good": {"1.png", "2.png", "4.png", "5.png"},
            "test/NG": {"0.png"},
            "test/cat": {"3.png"},
            "test/不合格": {"6.png"},
        }
        assert not (tmp_path / "out/ground_truth").exists() and report.failed == []

    @pytest.mark.parametrize(
        "flags", [{"OK": False}, {"OK": False, "NG": False}, {"OK": True, "NG": True}, {"x": "yes"}, [True], 3]
    )
    def test_flags_that_say_nothing_certain(self, flags, source, tmp_path):
        self.converted(source, tmp_path, flags, {})
        assert sorted_into(tmp_path / "out") == {"train/good": {"1.png"}}

    def test_a_good_flag_and_a_mark(self, source, tmp_path):
        report = self.converted(source, tmp_path, {"OK": True}, {}, shapes=[square("x", 1, 1, 3)])
        assert "is called good" in report.failed[0] and sorted_into(tmp_path / "out") == {"test/x": {"1.png"}}

    def test_a_flag_beside_a_mark(self, source, tmp_path):
        self.converted(source, tmp_path, {"NG": True}, shapes=[square("crack", 1, 1, 3)])
        assert sorted_into(tmp_path / "out") == {"test/crack": {"0.png"}}


def test_outlines_of_too_few_points(source, tmp_path):
    for name in "ab":
        write_image(source / f"{name}.png")
    two = shape("x", [[1, 1], [5, 5]])
    labelme(source / "a.json", "a.png", two)
    labelme(source / "b.json", "b.png", two, square("y", 1, 1, 3))
    report = convert(source, "labelme", tmp_path / "out")
    assert sorted_into(tmp_path / "out") == {"test/x": {"a.png"}, "test/y": {"b.png"}}
    assert any("a.png" in warning and "not outlined" in warning for warning in report.warnings)
    assert any("b.png" in warning and "the mask lacks" in warning for warning in report.warnings)


def test_a_turned_rectangle_of_x_anylabeling(source, tmp_path):
    write_image(source / "a.png")
    corners = [[20, 5], [30, 15], [20, 25], [10, 15]]
    labelme(source / "a.json", "a.png", shape("x", corners, "rotation", direction=0.78))
    convert(source, "x-anylabeling", tmp_path / "out")
    assert (read_mask(tmp_path / "out/ground_truth/x/a_mask.png") > 0).sum() == 221  # |x| + |y| <= 10


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(encoding, source, tmp_path):
    write_image(source / "螺丝1.png")
    labelme(source / "a.json", "螺丝1.png", square("划痕", 1, 1, 3))
    content = json.dumps(json.loads((source / "a.json").read_text()), ensure_ascii=False)
    (source / "a.json").write_bytes(content.encode(encoding))
    convert(source, "labelme", tmp_path / "out")
    assert sorted_into(tmp_path / "out") == {"test/划痕": {"螺丝1.png"}}


class TestImagesWithoutAnnotation:
    """They are good beside annotated ones, unless anything says otherwise."""

    def left_out(self, source, tmp_path, name, good=("b.png",)):
        write_image(source / "a.png")
        labelme(source / "a.json", "a.png", square("x", 1, 1, 3))
        write_image(source / "b.png")
        report = convert(source, "labelme", tmp_path / "out")
        assert sorted_into(tmp_path / "out").get("train/good") == set(good)
        assert any(name in line for line in [*report.warnings, *report.failed])

    def test_masks_and_twins_of_annotated_images(self, source, tmp_path):
        write_image(source / "a_mask.png")
        write_image(source / "a.bmp")
        self.left_out(source, tmp_path, "a_mask.png")

    def test_folders_of_defects(self, source, tmp_path):
        write_image(source / "NG/1.png")
        write_image(source / "NG/2.png")
        labelme(source / "NG/1.json", "1.png", square("x", 1, 1, 3))
        self.left_out(source, tmp_path, "NG/2.png")

    def test_an_empty_annotation_in_a_folder_of_defects(self, source, tmp_path):
        write_image(source / "defects/1.png")
        labelme(source / "defects/1.json", "1.png")
        self.left_out(source, tmp_path, "defects/1.png")

    @pytest.mark.parametrize("name", ["NG_1.png", "scratch-7.png", "masks/c.png"])
    def test_names_of_defects_and_masks_in_folders_of_their_own(self, name, source, tmp_path):
        write_image(source / name)
        write_image(source / "c.png")
        self.left_out(
            source,
            tmp_path,
            "c.png" if "masks" in name else name,
            ("b.png",) if "masks" in name else ("b.png", "c.png"),
        )

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            ("c.png.txt", "0 0.5 0.5 0.1 0.1"),
            ("c.xml", "<annotation><filename>c.png</filename><object><name>x</name></object></annotation>"),
            ("c.txt", "0 0.5 0.5 0.1 0.1"),
            ("labels/c.txt", "0 0.5 0.5 0.1 0.1"),
            ("C.JSON", '{"shapes": [{"label'),
            ("coco.json", '{"images": [{"id": 1, "file_name": "c.png"}], "annotations": [{"image_id": 1}]}'),
        ],
    )
    def test_marks_of_another_tool(self, file, content, source, tmp_path):
        write_image(source / "c.png")
        (source / file).parent.mkdir(exist_ok=True)
        (source / file).write_text(content)
        self.left_out(source, tmp_path, "c.png" if file != "C.JSON" else "C.JSON")
