"""Layouts of a data set: what is recognised, which mask goes with which image, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plates import plate, write, write_set

from blemish.datasets import Sample, find_categories, find_good_images, load_dataset
from blemish.datasets.lists.lines import read_list
from blemish.errors import DatasetError

PICTURE = np.zeros((6, 8, 3), np.uint8)
MARK = np.zeros((6, 8), np.uint8)
MARK[2:4, 3:6] = 255


def mask_of(sample: Sample) -> str | None:
    return sample.masks[0].name if sample.masks else None


def kinds(samples: tuple[Sample, ...]) -> dict[str, tuple[str, str | None]]:
    return {sample.name: (sample.kind, mask_of(sample)) for sample in samples}


class TestMVTec:
    def test_splits_kinds_and_masks(self, tmp_path):
        dataset = load_dataset(write_set(tmp_path / "any product", train=2, good=1, defects=2))
        assert (dataset.layout, len(dataset.train)) == ("mvtec", 2)
        assert {sample.split for sample in dataset.train} == {"train"} and all(s.is_good for s in dataset.train)
        assert kinds(dataset.test) == {
            "test/good/000.png": ("good", None),
            "test/scratch/000.png": ("scratch", "000_mask.png"),
            "test/scratch/001.png": ("scratch", "001_mask.png"),
        }

    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("a.png", "a_mask.png"),
            ("a.jpg", "a.png"),
            ("a.b.c.png", "a.b.c_mask.png"),
            ("a.b.png", "a.b.png"),
            ("a b.bmp", "a b_mask.BMP"),
            ("a.tif", "a_mask.tif"),
            ("a.JPG", "a.jpeg"),
            ("deep/a.png", "deep/a_mask.png"),
        ],
    )
    def test_a_mask_for_every_name(self, image, mask, tmp_path):
        write(tmp_path / "train" / "good" / "0.png", PICTURE)
        write(tmp_path / "test" / "hole" / image, PICTURE)
        expected = write(tmp_path / "ground_truth" / "hole" / mask, MARK)
        (found,) = load_dataset(tmp_path).test
        assert found.masks == (expected,)

    def test_the_name_with_mask_comes_first_and_no_mask_goes_to_another_image(self, tmp_path):
        write(tmp_path / "train" / "good" / "0.png", PICTURE)
        for name in ("1.png", "11.png", "1_x.png"):
            write(tmp_path / "test" / "hole" / name, PICTURE)
        for name in ("1.png", "1_mask.png"):
            write(tmp_path / "ground_truth" / "hole" / name, MARK)
        found = {sample.path.name: mask_of(sample) for sample in load_dataset(tmp_path).test}
        assert found == {"1.png": "1_mask.png", "11.png": None, "1_x.png": None}

    def test_relative_path_and_trailing_slash(self, tmp_path, monkeypatch):
        write_set(tmp_path / "set", 1, 1, 1)
        monkeypatch.chdir(tmp_path)
        for folder in (Path("set"), Path("set/"), Path("./set/"), tmp_path / "set"):
            dataset = load_dataset(folder)
            assert [sample.name for sample in dataset.train] == ["train/good/000.png"]
            assert all(sample.path.is_file() for sample in dataset.train + dataset.test)

    def test_other_training_folders_are_not_learnt_from(self, tmp_path):
        write_set(tmp_path, 2, 1, 1)
        write(tmp_path / "train" / "scratch" / "0.png", PICTURE)
        assert len(load_dataset(tmp_path).train) == 2 and len(find_good_images(tmp_path).paths) == 2

    def test_a_test_set_alone(self, tmp_path):
        write(tmp_path / "test" / "hole" / "0.png", PICTURE)
        dataset = load_dataset(tmp_path)
        assert (dataset.train, len(dataset.test)) == ((), 1)
        with pytest.raises(DatasetError, match="no good images"):
            find_good_images(tmp_path)


class TestLists:
    def listed(self, root, train="", val=""):
        for name, text in (("train.txt", train), ("val.txt", val)):
            if text:
                (root / name).write_text(text, encoding="utf-8")
        return load_dataset(root)

    def test_every_way_to_write_a_line(self, tmp_path):
        lines = [
            '"a b.png" "c d.png"',
            "'e f.png'",
            "g h.png\ti j.png",
            "k.png l.png",
            "",
            "  ",
            "m.png",
            "n\\o.png p.png",
        ]
        (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
        found = [(sample.name, mask_of(sample)) for sample in load_dataset(tmp_path).train]
        assert found == [
            ("a b.png", "c d.png"),
            ("e f.png", None),
            ("g h.png", "i j.png"),
            ("k.png", "l.png"),
            ("m.png", None),
            ("n\\o.png", "p.png"),
        ]

    def test_kinds(self, tmp_path):
        for name, mask in (("empty.png", MARK * 0), ("mark.png", MARK)):
            write(tmp_path / name, mask)
        dataset = self.listed(
            tmp_path,
            "a.png a.png\nb.png empty.png\nc.png mark.png\nd.png nowhere.png",
            "a.png\nb.png empty.png\nc.png mark.png\nd.png nowhere.png\n"
            "test/hole/e.png empty.png\ntest/good/f.png mark.png",
        )
        assert dataset.layout == "list"
        assert [sample.kind for sample in dataset.train] == ["good", "good", "defect", "defect"]
        assert [sample.kind for sample in dataset.test] == ["good", "good", "defect", "defect", "hole", "good"]
        assert dataset.train[0].masks == ()

    def test_marked_images_are_not_learnt_from(self, tmp_path, caplog):
        write(tmp_path / "mark.png", MARK)
        self.listed(tmp_path, "a.png\nb.png mark.png")
        assert find_good_images(tmp_path).names == ("a.png",) and "b.png" in caplog.text

    def test_lists_win_over_folders(self, tmp_path):
        write_set(tmp_path, 2, 1, 1)
        dataset = self.listed(tmp_path, "train/good/000.png")
        assert (dataset.layout, len(dataset.train), dataset.test) == ("list", 1, ())

    def test_an_absolute_path_is_named_by_its_place_in_the_set(self, tmp_path, monkeypatch):
        root = tmp_path / "test" / "mine"
        root.mkdir(parents=True)
        monkeypatch.chdir(root)
        (root / "train.txt").write_text(f"{root}/images/a.png\n/elsewhere/test/hole/b.png")
        samples = load_dataset(Path()).train
        assert [(sample.name, sample.kind) for sample in samples] == [
            ("images/a.png", "good"),
            ("/elsewhere/test/hole/b.png", "good"),
        ]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (b"a b.png c d.png", "4 columns; quote paths with blanks"),
            (b'"a.png b.png', "no closing quotation"),
            (b"a.png\tb.png\tc.png", "3 columns"),
            (b"\xff\xfe.png", "not UTF-8"),
            (b"a\0.png", "zero byte"),
            (b"\tmask.png", "columns"),
            (b". .", "is a folder"),
        ],
    )
    def test_an_unreadable_line(self, line, problem, tmp_path):
        (tmp_path / "train.txt").write_bytes(b"fine.png\n" + line + b"\nalso.png")
        with pytest.raises(DatasetError, match=r"train\.txt, line 2: ") as refusal:
            load_dataset(tmp_path)
        assert problem in str(refusal.value) and "\n" not in str(refusal.value)
        refused = []
        dataset = load_dataset(tmp_path, lambda source, number, text: refused.append((source.name, number)))
        assert refused == [("train.txt", 2)] and [s.name for s in dataset.train] == ["fine.png", "also.png"]

    def test_a_name_that_no_file_can_have_is_left_to_whoever_reads_it(self, tmp_path):
        (tmp_path / "train.txt").write_text("fine.png\n" + 300 * "x" + ".png")
        assert len(load_dataset(tmp_path).train) == 2

    @given(content=st.binary(max_size=200))
    def test_any_bytes_give_lines_or_problems(self, content, tmp_path_factory):
        source = tmp_path_factory.mktemp("list") / "train.txt"
        source.write_bytes(content)
        for line in read_list(source):
            assert bool(line.problem) != bool(line.columns) and len(line.columns) <= 2


class TestOthers:
    def test_plain_folder(self, tmp_path):
        write(tmp_path / "a.png", PICTURE)
        write(tmp_path / "sub" / "b.jpg", PICTURE)
        write(tmp_path / ".hidden" / "c.png", PICTURE)
        dataset = load_dataset(tmp_path)
        assert dataset.layout == "plain" and dataset.test == ()
        assert [sample.name for sample in dataset.train] == ["a.png", "sub/b.jpg"]

    def test_categories(self, tmp_path):
        for name in ("nut", "bolt"):
            write_set(tmp_path / name, 1, 1, 1)
        (tmp_path / "listed").mkdir()
        (tmp_path / "listed" / "train.txt").write_text("a.png")
        write(tmp_path / "pictures" / "a.png", PICTURE)
        assert [folder.name for folder in find_categories(tmp_path)] == ["bolt", "listed", "nut"]
        with pytest.raises(DatasetError, match=r"several products.*bolt"):
            load_dataset(tmp_path)

    @pytest.mark.parametrize("content", ["nothing", "text", "masks", "missing", "file"])
    def test_refusals_say_what_was_expected_and_what_is_there(self, content, tmp_path):
        folder = tmp_path / "set"
        if content != "missing":
            folder.mkdir() if content != "file" else folder.write_text("")
        if content == "text":
            (folder / "notes.doc").write_text("")
        if content == "masks":
            write(folder / "ground_truth" / "a.png", MARK)
        with pytest.raises(DatasetError) as refusal:
            load_dataset(folder)
        text = str(refusal.value)
        assert str(folder) in text and "\n" not in text
        expected = {
            "nothing": ("train.txt", "train/good", "nothing in it"),
            "text": ("train/good", "notes.doc"),
            "masks": ("ground_truth", "train/good"),
            "missing": ("no such folder",),
            "file": ("is a file",),
        }
        assert all(part in text for part in expected[content])


def test_a_plate_is_no_grey_picture():
    assert not np.array_equal(plate(0)[..., 0], plate(0)[..., 2])
