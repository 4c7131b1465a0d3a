"""Lists as PaddleX has them, as Windows writes them, and lists of other tools that look like them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from annotated import labelme, sorted_into, square, write_image
from command import blemish
from plates import write

from blemish.datasets import find_good_images, load_dataset
from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError

MARK = np.zeros((30, 40), np.uint8)
MARK[5:9, 10:20] = 255


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    for number in range(4):
        write_image(folder / f"images/{number}.png", number)
        write(folder / f"masks/{number}.png", MARK * (number == 3))
    return folder


def listed(root, train, val="", encoding="utf-8"):
    (root / "train.txt").write_bytes(train.encode(encoding))
    if val:
        (root / "val.txt").write_bytes(val.encode(encoding))
    return load_dataset(root)


def kinds(samples):
    return {sample.name: sample.kind for sample in samples}


class TestPaths:
    def test_as_windows_writes_them(self, root):
        found = listed(root, "images\\0.png masks\\0.png\r\nimages\\3.png masks\\3.png\r\n")
        assert kinds(found.train) == {"images/0.png": "good", "images/3.png": "defect"}
        assert all(sample.path.is_file() for sample in found.train)

    def test_a_name_with_a_backslash_in_it(self, root):
        write_image(root / "n\\o.png")
        write_image(root / "n/o.png", 1)
        assert [sample.name for sample in listed(root, "n\\o.png").train] == ["n\\o.png"]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
    def test_encodings_of_windows(self, encoding, root):
        write_image(root / "images/部品 ä.png")
        found = listed(root, '"images/部品 ä.png"\r\nimages/3.png masks/3.png\r\n', encoding=encoding)
        assert kinds(found.train) == {"images/部品 ä.png": "good", "images/3.png": "defect"}

    def test_utf16_that_is_cut_short(self, root):
        (root / "train.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DatasetError, match=r"train\.txt, line 1"):
            load_dataset(root)

    def test_of_another_machine(self, root):
        found = listed(root, "D:\\x\\images\\0.png D:\\x\\masks\\0.png\n/home/x/images/3.png /home/x/masks/3.png\n")
        assert kinds(found.train) == {"images/0.png": "good", "images/3.png": "defect"}

    def test_a_mask_of_another_machine_is_not_the_image_of_its_name(self, root):
        """Only the images were copied: image and mask had one name, and the mask is not here."""
        write_image(root / "only/9.png")
        found = listed(root, "images/0.png\nD:\\x\\only\\9.png D:\\x\\marks\\9.png\n")
        assert kinds(found.train)["only/9.png"] == "defect"

    def test_two_paths_that_lead_to_one_file(self, root):
        write_image(root / "only/9.png")
        found = listed(root, "images/0.png\nD:\\a\\9.png\nD:\\b\\9.png masks/3.png\n")
        assert sum(sample.path.is_file() for sample in found.train) == 2

    @pytest.mark.parametrize("line", ["/", "..", ".", "\\", "C:\\", "//x/y"])
    def test_paths_that_are_none(self, line, root):
        refused = []
        (root / "train.txt").write_text(f"images/0.png\n{line}\n")
        found = load_dataset(root, lambda *problem: refused.append(problem))
        assert len(found.train) + len(refused) == 2


class TestUnsure:
    @pytest.mark.parametrize("mask", ["masks/gone.png", "notes.txt", "images"])
    def test_a_mask_that_cannot_be_read_makes_no_good_image(self, mask, root, caplog):
        (root / "notes.txt").write_text("no picture")
        with caplog.at_level(logging.WARNING, "blemish"):
            found = listed(root, f"images/0.png images/0.png\nimages/1.png {mask}\n")
            good = find_good_images(root)
        assert good.names == ("images/0.png",) and "images/1.png" in caplog.text
        assert len(found.train) == 2

    def test_nothing_is_left(self, root):
        (root / "train.txt").write_text("images/1.png masks/gone.png\n")
        with pytest.raises(DatasetError, match="no good images"):
            find_good_images(root)

    def test_a_folder_of_good_images_does_not_outweigh_a_mask(self, root):
        write_image(root / "test/good/1.png")
        found = listed(root, "images/0.png\ntest/good/1.png masks/3.png\n")
        assert [sample.is_good for sample in found.train] == [True, False]

    @pytest.mark.parametrize("folder", ["NG", "defects", "不良品", "test/ng", "data/Abnormal/top"])
    def test_a_folder_of_defects(self, folder, root):
        write_image(root / folder / "7.png")
        lines = f"images/0.png\n{folder}/7.png\n"
        found = listed(root, lines, lines + f"{folder}/7.png {folder}/7.png\n")
        assert [sample.is_good for sample in found.train] == [True, False]
        assert [sample.is_good for sample in found.test] == [True, False, False]

    def test_folders_of_good_images(self, root):
        for folder in ("defects/good", "test/OK", "test/合格"):
            write_image(root / folder / "7.png")
        found = listed(root, "defects/good/7.png\n", "test/OK/7.png\ntest/合格/7.png\n")
        assert all(sample.is_good for sample in (*found.train, *found.test))


class TestClassLists:
    LINES = "images/0.png 0\nimages/1.png 1\nimages/2.png 0\n"

    @pytest.mark.parametrize("names", [None, "0 a\n1 b\n", "0 good\n1 OK\n", "x\ny\n"])
    def test_without_one_good_class(self, names, root):
        if names:
            (root / "label.txt").write_text(names)
        with pytest.raises(DatasetError, match="Which class is good") as refusal:
            listed(root, self.LINES)
        assert "\n" not in str(refusal.value) and (names is None or "label.txt has 0 " in str(refusal.value))

    @pytest.mark.parametrize(
        ("file", "names"),
        [
            ("label.txt", "0 good\n1 hole\n"),
            ("labels.txt", "0 OK\n1 hole\n"),
            ("label.txt", "合格\nhole\n"),
            ("label.txt", "good 0\nhole 1\n"),
        ],
    )
    def test_with_one_good_class(self, file, names, root):
        (root / file).write_text(names, encoding="utf-8")
        found = listed(root, self.LINES, "images/3.png\t1\n")
        assert kinds(found.train) == {"images/0.png": "good", "images/1.png": "hole", "images/2.png": "good"}
        assert kinds(found.test) == {"images/3.png": "hole"}
        assert find_good_images(root).names == ("images/0.png", "images/2.png")

    @pytest.mark.parametrize("line", ["images/3.png", "images/3.png 7", "images/3.png masks/3.png"])
    def test_a_line_that_does_not_fit(self, line, root):
        (root / "label.txt").write_text("0 good\n1 hole\n")
        with pytest.raises(DatasetError, match=r"train\.txt, line 4"):
            listed(root, self.LINES + line)

    def test_the_command_refuses(self, root):
        (root / "train.txt").write_text(self.LINES)
        done = blemish("train", root, "--output", root.parent / "model", "--preset", "fast")
        assert done.code == 2 and "classification list" in done.stderr and not (root.parent / "model").exists()

    def test_it_can_be_converted(self, root, tmp_path):
        (root / "label.txt").write_text("0 good\n1 hole\n")
        (root / "train.txt").write_text(self.LINES)
        convert(root, "list", tmp_path / "out")
        assert sorted_into(tmp_path / "out") == {"train/good": {"0.png", "2.png"}, "test/hole": {"1.png"}}


class TestYolo:
    @pytest.mark.parametrize("sign", ["labels/0.txt", "images/0.txt", "data.yaml", "obj.data"])
    @pytest.mark.parametrize("line", ["images/0.png", "./images/0.png", "images\\0.png"])
    def test_its_lists_are_refused(self, sign, line, root):
        (root / sign).parent.mkdir(exist_ok=True)
        (root / sign).write_text("" if sign.startswith("labels") else "0 0.5 0.5 0.1 0.1\n")
        with pytest.raises(DatasetError, match=r"blemish convert .*--from yolo"):
            listed(root, f"{line}\nimages/1.png\n")

    def test_lists_of_images_and_masks_are_not(self, root):
        (root / "data.yaml").write_text("names: [a]\ntrain: images\n")
        assert len(listed(root, "images/0.png masks/0.png\n").train) == 1

    def test_lists_of_images_beside_notes_are_not(self, root):
        (root / "images/0.txt").write_text("a nice part\n")
        assert len(listed(root, "images/0.png\n").train) == 1


class TestAnnotations:
    """A list of images alone does not say that they are good, where files beside them mark defects."""

    def test_marks_beside_a_listed_image(self, root):
        labelme(root / "images/1.json", "1.png", square("x", 1, 1, 3))
        with pytest.raises(DatasetError, match=r"1\.json.*--from labelme"):
            listed(root, "images/0.png\nimages/1.png\n")

    def test_annotations_without_a_mark_and_other_files(self, root):
        labelme(root / "images/1.json", "1.png")
        (root / "images/0.json").write_text('{"exposure": 3}')
        assert len(listed(root, "images/0.png\nimages/1.png\n").train) == 2

    def test_a_mask_counts_more(self, root):
        labelme(root / "images/3.json", "3.png", square("x", 1, 1, 3))
        assert kinds(listed(root, "images/3.png masks/3.png\n").train) == {"images/3.png": "defect"}
