"""Between the MVTec layout and list files."""

from __future__ import annotations

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, killed_at, names, read_mask, tree, write_image
from command import blemish

from blemish.datasets import load_dataset
from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError


def write_mask(path, *corner):
    import cv2

    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[: corner[0], : corner[1]] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, mask)[1].tobytes())


@pytest.fixture
def mvtec(tmp_path):
    """A set with blanks, umlauts, dots, quotes and equal names."""
    root = tmp_path / "my set"
    for number in range(3):
        write_image(root / f"train/good/{number:03}.png", number)
    write_image(root / "test/good/000.png", 10)
    write_image(root / "test/good/a b.jpg", 11)
    for number, (kind, stem) in enumerate((("crack", "000"), ("crack", "it's 1.b"), ("große Löcher", "000")), 20):
        write_image(root / f"test/{kind}/{stem}.png", number)
        write_mask(root / f"ground_truth/{kind}/{stem}_mask.png", 3, number)
    write_image(root / "test/crack/bare.png", 30)  # no mask
    return root


TRAIN = "".join(f"train/good/{n:03}.png train/good/{n:03}.png\n" for n in range(3))
VAL = [
    "test/crack/000.png ground_truth/crack/000_mask.png",
    '''"test/crack/it's 1.b.png" "ground_truth/crack/it's 1.b_mask.png"''',
    "test/crack/bare.png",
    "test/good/000.png test/good/000.png",
    "'test/good/a b.jpg' 'test/good/a b.jpg'",
    "'test/große Löcher/000.png' 'ground_truth/große Löcher/000_mask.png'",
]


def test_lists_beside_the_images(mvtec):
    before = tree(mvtec)
    report = convert(mvtec, "mvtec", mvtec)
    assert (mvtec / "train.txt").read_text(encoding="utf-8") == TRAIN
    assert sorted((mvtec / "val.txt").read_text(encoding="utf-8").splitlines()) == sorted(VAL)
    assert (report.train_good, report.test_good, report.defects) == (3, 2, {"crack": 3, "große Löcher": 1})
    assert "bare.png" in report.warnings[0]
    assert {name: digest for name, digest in tree(mvtec).items() if not name.endswith(".txt")} == before


def test_the_lists_say_what_the_folders_say(mvtec):
    folders = load_dataset(mvtec)
    convert(mvtec, "mvtec", mvtec)
    lists = load_dataset(mvtec)
    assert (folders.layout, lists.layout) == ("mvtec", "list")
    for split in ("train", "test"):
        by_name = {sample.name: sample for sample in getattr(lists, split)}
        assert by_name == {sample.name: sample for sample in getattr(folders, split)}


def test_again_after_images_were_added(mvtec):
    (mvtec / "val.txt").write_text("mine\n")
    convert(mvtec, "MVTec_AD", mvtec)
    write_image(mvtec / "train/good/new.png")
    report = convert(mvtec, "mvtec", mvtec)
    assert "train/good/new.png" in (mvtec / "train.txt").read_text()
    assert (mvtec / "train.txt.bak").read_text() == TRAIN and (mvtec / "val.txt.bak").read_text() == "mine\n"
    assert any("train.txt.bak" in warning for warning in report.warnings)
    convert(mvtec, "mvtec", mvtec)
    assert not (mvtec / "train.txt.bak2").exists()


def test_round_trip(mvtec, tmp_path):
    convert(mvtec, "mvtec", tmp_path / "lists")
    assert load_dataset(tmp_path / "lists").layout == "list"
    report = convert(tmp_path / "lists", "list", tmp_path / "back")
    assert names(tmp_path / "back") == set(tree(mvtec)) and report.failed == []
    before, after = tree(mvtec), tree(tmp_path / "back")
    for name in names(tmp_path / "back"):
        if name.startswith("ground_truth"):
            assert np.array_equal(read_mask(mvtec / name), read_mask(tmp_path / "back" / name))
        else:
            assert before[name] == after[name]
    convert(tmp_path / "back", "mvtec", tmp_path / "again")
    for name in ("train.txt", "val.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "lists" / name).read_bytes()


def test_lists_of_paddlex(tmp_path):
    root = tmp_path / "in"
    for number, name in enumerate(("a", "b", "c", "d", "e")):
        write_image(root / f"images/{name}.jpg", number)
    write_mask(root / "annotations/c.png", 2, 5)
    write_mask(root / "annotations/d.png", 0, 0)
    (root / "train.txt").write_text("images/a.jpg images/a.jpg\nimages/c.jpg annotations/c.png\n\n")
    lines = ["images/b.jpg", "images/d.jpg annotations/d.png", "images/gone.jpg", "a b c", "../x.jpg", "/etc/hostname"]
    (root / "val.txt").write_text("\r\n".join(lines))
    report = convert(root, "list", tmp_path / "out")
    assert names(tmp_path / "out") == {
        *("train/good/a.jpg", "test/good/b.jpg", "test/good/d.jpg", "test/defect/c.jpg"),
        "ground_truth/defect/c_mask.png",
    }
    assert (read_mask(tmp_path / "out/ground_truth/defect/c_mask.png") > 0).sum() == 10
    assert len(report.failed) == 4 and sum("val.txt, line 4" in line for line in report.failed) == 1
    assert any("listed for training" in warning and "c.jpg" in warning for warning in report.warnings)


def test_a_mask_that_does_not_fit_or_is_empty(tmp_path):
    root = tmp_path / "in"
    for name in ("a", "b"):
        write_image(root / f"test/x/{name}.png", ord(name), size=(10, 10) if name == "a" else (HEIGHT, WIDTH))
    write_mask(root / "m/a.png", 3, 3)
    write_mask(root / "m/b.png", 0, 0)
    (root / "val.txt").write_text("test/x/a.png m/a.png\ntest/x/b.png m/b.png\n")
    report = convert(root, "list", tmp_path / "out")
    assert len(report.failed) == 2 and "10x10" in report.failed[0] and "no marked defect" in report.failed[1]
    assert names(tmp_path / "out") == set()


@pytest.mark.parametrize("kind", ["mvtec", "list"])
def test_not_that_layout(kind, tmp_path):
    write_image(tmp_path / "in/a.png")
    with pytest.raises(DatasetError, match=r"train\.txt|train/good"):
        convert(tmp_path / "in", kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_list_can_hold(mvtec):
    write_image(mvtec / "train/good/a\tb.png")
    with pytest.raises(DatasetError, match="no list file can hold"):
        convert(mvtec, "mvtec", mvtec)
    assert not (mvtec / "train.txt").exists()


def test_kill_while_copying(mvtec, tmp_path):
    convert(mvtec, "mvtec", tmp_path / "expected")
    before = tree(mvtec)
    for rename in (6, 4, 2, 1):
        assert killed_at(rename, "before", "convert", mvtec, "--from", "mvtec", "--output", tmp_path / "out")
    assert blemish("convert", mvtec, "--from", "mvtec", "--output", tmp_path / "out").code == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "expected") and tree(mvtec) == before


def test_the_command_writes_beside_the_images(mvtec):
    done = blemish("convert", f"{mvtec}/", "--from", "mvtec")
    assert done.code == 0 and (mvtec / "train.txt").is_file()
    assert done.stdout.splitlines() == [str(mvtec), f"blemish train '{mvtec}'"]
