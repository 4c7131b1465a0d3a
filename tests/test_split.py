"""A new split into lists."""

from __future__ import annotations

import itertools

import pytest
from annotated import killed_at, tree, write_image
from command import blemish
from hypothesis import given, settings
from hypothesis import strategies as st
from test_convert_lists import write_mask

from blemish.datasets import load_dataset
from blemish.datasets.conversion.split import split
from blemish.datasets.lists.lines import read_list
from blemish.datasets.lists.writing import JOURNAL, _quoted, write_lists
from blemish.errors import DatasetError, UsageError


@pytest.fixture
def mvtec(tmp_path):
    """12 good images, 8 of them for training, and 3 with defects; names with blanks and umlauts."""
    root = tmp_path / "a set"
    for number in range(8):
        write_image(root / f"train/good/ü {number}.png", number)
    for number in range(4):
        write_image(root / f"test/good/{number}.png", 100 + number)
    for number in range(3):
        write_image(root / f"test/crack/{number}.png", 200 + number)
        write_mask(root / f"ground_truth/crack/{number}_mask.png", 3, 3)
    return root


def listed(root):
    """Names of the images in both lists."""
    columns = {name: [line.columns for line in read_list(root / name)] for name in ("train.txt", "val.txt")}
    return [{line[0] for line in lines} for lines in columns.values()]


def test_good_images_are_pooled_and_defects_kept_from_training(mvtec):
    before = load_dataset(mvtec)
    images = tree(mvtec)
    report = split(mvtec, 75, 25)
    assert (report.train_good, report.val_good, report.val_defects, report.moved_defects) == (9, 3, 3, 0)
    train, val = listed(mvtec)
    assert train | val == {sample.name for sample in (*before.train, *before.test)} and not train & val
    assert not any("crack" in name for name in train) and sum("crack" in name for name in val) == 3
    after = load_dataset(mvtec)
    masks = {sample.name: sample.masks for sample in before.test if not sample.is_good}
    assert {sample.name: sample.masks for sample in after.test if not sample.is_good} == masks
    assert all(sample.is_good for sample in after.train)
    assert {name: digest for name, digest in tree(mvtec).items() if not name.endswith(".txt")} == images


def test_the_seed_alone_decides(mvtec, tmp_path):
    split(mvtec, 50, 50, seed=1)
    first = listed(mvtec)
    split(mvtec, 50, 50, seed=2)
    assert listed(mvtec) != first
    split(mvtec, 50, 50, seed=1)
    assert listed(mvtec) == first


def test_a_new_image_moves_hardly_another(mvtec):
    split(mvtec, 50, 50)
    before = listed(mvtec)[0]
    for name in ("train.txt", "val.txt"):
        (mvtec / name).unlink()
    write_image(mvtec / "train/good/new.png")
    split(mvtec, 50, 50)
    assert len(before ^ listed(mvtec)[0] - {"train/good/new.png"}) <= 1


def test_older_lists_are_kept(mvtec):
    originals = {"train.txt": "'train/good/ü 0.png'\n", "val.txt": "test/good/0.png\ntest/good/1.png\n"}
    for name, text in originals.items():
        (mvtec / name).write_text(text, encoding="utf-8")
    (mvtec / "val.txt.bak").write_text("older")
    report = split(mvtec, 50, 50)
    assert (mvtec / "train.txt.bak").read_text(encoding="utf-8") == originals["train.txt"]
    assert (mvtec / "val.txt.bak").read_text() == "older"
    assert (mvtec / "val.txt.bak2").read_text() == originals["val.txt"]
    assert {path.name for path in report.backups} == {"train.txt.bak", "val.txt.bak2"}


def test_the_same_split_again_writes_nothing(mvtec):
    split(mvtec, 50, 50)
    before = {path.name: path.stat().st_mtime_ns for path in mvtec.glob("*.txt*")}
    assert split(mvtec, 50, 50).backups == ()
    assert {path.name: path.stat().st_mtime_ns for path in mvtec.glob("*.txt*")} == before


def test_plain_folder(tmp_path):
    for number in range(10):
        write_image(tmp_path / f"sub dir/{number}.png", number)
    report = split(tmp_path, 80, 20)
    assert (report.train_good, report.val_good, report.val_defects) == (8, 2, 0)
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "list" and len(dataset.train) == 8 and all(sample.is_good for sample in dataset.test)


def test_list_layout_with_defects_in_training(tmp_path):
    for name in "abcde":
        write_image(tmp_path / f"images/{name}.png", ord(name))
    write_mask(tmp_path / "masks/c.png", 3, 3)
    (tmp_path / "train.txt").write_text(
        "images/a.png images/a.png\nimages/c.png masks/c.png\nimages/d.png images/d.png\n"
    )
    (tmp_path / "val.txt").write_text(
        "images/b.png images/b.png\nimages/c.png images/c.png\nimages/a.png images/a.png\n"
    )
    report = split(tmp_path, 50, 50)
    assert report.moved_defects == 1 and "1 image with defects was listed" in " ".join(report.lines)
    train, val = listed(tmp_path)
    assert train | val == {f"images/{name}.png" for name in "abcd"} and not train & val
    assert "images/c.png" in val and "images/c.png masks/c.png\n" in (tmp_path / "val.txt").read_text()


@pytest.mark.parametrize(("count", "percent", "train"), [(1, 50, 1), (2, 1, 1), (2, 99, 1), (3, 99, 2), (200, 33, 66)])
def test_each_part_gets_one(count, percent, train, tmp_path):
    tmp_path.joinpath("train.txt").write_text("".join(f"{number}.png\n" for number in range(count)))
    report = split(tmp_path, percent, 100 - percent)
    assert (report.train_good, report.val_good) == (train, count - train)


@pytest.mark.parametrize(
    ("train", "val"),
    [(0, 100), (100, 0), (-20, 120), (80, 30), (80, 19.99), (float("nan"), 20), (float("inf"), 20), (80, float("nan"))],
)
def test_wrong_percentages(train, val, mvtec):
    with pytest.raises(UsageError, match="percent"):
        split(mvtec, train, val)
    assert not list(mvtec.glob("*.txt"))


def test_percentages_with_fractions(mvtec):
    assert split(mvtec, 33.3, 66.7).train_good == 4


def test_what_is_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        split(tmp_path / "nowhere", 80, 20)
    with pytest.raises(DatasetError, match="no images"):
        split(tmp_path, 80, 20)
    write_image(tmp_path / "test/crack/a.png")
    with pytest.raises(DatasetError, match="no good images"):
        split(tmp_path, 80, 20)
    assert not list(tmp_path.glob("*.txt*"))


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n\0"), min_size=1).filter(lambda n: "\x00" not in n)
)
@settings(max_examples=300, deadline=None)
def test_any_name_comes_back_from_a_list(tmp_path_factory, name):
    path = tmp_path_factory.getbasetemp() / "names.txt"
    path.write_text(f"x {_quoted(name)}\n{_quoted(name)} y\n", encoding="utf-8", newline="")
    assert [line.columns for line in read_list(path)] == [("x", name), (name, "y")]


OLD = {"train.txt": "a.png\nc.png\n", "val.txt": "b.png\n"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_at_every_rename(moment, tmp_path):
    """Whenever the kill comes: no list is lost, and the next split of any kind completes to the same lists."""
    for case in itertools.count(1):
        root = tmp_path / str(case)
        for number, name in enumerate("abc"):
            write_image(root / f"{name}.png", number)
        for name, text in OLD.items():
            (root / name).write_text(text)
        images = {name: digest for name, digest in tree(root).items() if name.endswith(".png")}
        was_killed = killed_at(case, moment, "split", root, "--train-percent", "60", "--val-percent", "40")
        kept = [path.read_text() for path in root.glob("*.txt*")]
        assert set(OLD.values()) <= set(kept)
        split(root, 60, 40)
        train, val = listed(root)
        assert train | val == {"a.png", "b.png", "c.png"} and len(train) == 2 and len(val) == 1
        assert set(OLD.values()) <= {path.read_text() for path in root.glob("*.txt*")}
        left = {path.name for path in root.iterdir()} - {"a.png", "b.png", "c.png"}
        assert left <= {"train.txt", "val.txt", "train.txt.bak", "val.txt.bak"}
        assert {name: digest for name, digest in tree(root).items() if name.endswith(".png")} == images
        if not was_killed:
            assert case > 4
            break


@pytest.mark.parametrize("journal", ["", "[]", '{"train.txt": 3}'])
def test_a_damaged_journal(journal, mvtec):
    (mvtec / JOURNAL).write_text(journal)
    with pytest.raises(DatasetError, match=r"blemish-lists\.json"):
        split(mvtec, 80, 20)
    assert not list(mvtec.glob("*.txt"))


def test_a_journal_of_others_overwrites_nothing(mvtec):
    (mvtec / "train.txt").write_text("mine\n")
    (mvtec / JOURNAL).write_text('{"train.txt": "theirs\\n", "../x.txt": "theirs"}')
    write_lists(mvtec, {"train.txt": "new\n"})
    assert "mine\n" in {path.read_text() for path in mvtec.glob("*.txt*")}
    assert not (mvtec.parent / "x.txt").exists()


class TestCommand:
    def test_split(self, mvtec):
        done = blemish("split", f"{mvtec}/", "--train_percent", "75", "--val-percent", "25", "--seed", "3")
        assert done.code == 0, done.stderr
        assert done.stdout.splitlines() == [str(mvtec / "train.txt"), str(mvtec / "val.txt")]
        assert "train.txt: 9 good images" in done.stderr and "3 with defects" in done.stderr

    @pytest.mark.parametrize("arguments", [("--train-percent", "80"), ("--train-percent", "80", "--val-percent", "10")])
    def test_wrong_usage(self, arguments, mvtec):
        done = blemish("split", mvtec, *arguments)
        assert done.code == 2 and len(done.stderr.splitlines()) == 1 and not list(mvtec.glob("*.txt"))
