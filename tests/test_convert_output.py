"""What a conversion leaves on the disk: the source untouched, nothing overwritten, whole again after a kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from annotated import killed_at, labelme, names, square, tree, write_image
from command import ROOT, blemish

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError, UsageError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve images, a third of them with a defect, one of them missing."""
    folder = tmp_path_factory.mktemp("source") / "with blank"
    for number in range(12):
        write_image(folder / f"{number}.png", number)
        labelme(folder / f"{number}.json", f"{number}.png", *([] if number % 3 else [square("x y", 3, 4, 5)]))
    labelme(folder / "12.json", "gone.png")
    return folder


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory):
    """What an undisturbed conversion writes."""
    output = tmp_path_factory.mktemp("expected") / "out"
    convert(source, "labelme", output)
    return tree(output)


def test_the_record(source, tmp_path):
    report = convert(source, "labelme", tmp_path / "out")
    record = json.loads((tmp_path / "out/conversion.json").read_text())
    assert record["finished"] and (record["from"], record["source"]) == ("labelme", "with blank")
    assert record["report"]["defects"] == {"x y": 4} and record["report"]["failed"] == report.failed
    assert str(tmp_path) not in json.dumps(record)


def test_a_second_run_of_a_finished_one_changes_nothing(source, tmp_path):
    report = convert(source, "labelme", tmp_path / "out")
    (tmp_path / "out/train/good/1.png").unlink()  # the user's own business now
    before = tree(tmp_path / "out")
    assert convert(source, "LabelMe", tmp_path / "out") == report
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_at_a_rename(moment, source, expected, tmp_path):
    untouched, output = tree(source), tmp_path / "out"
    for rename in (*(random.randint(2, 6) for _ in range(3)), 1):  # each resumes what the kill before has left
        assert killed_at(rename, moment, "convert", source, "--from", "labelme", "--output", output)
        left = {name: digest for name, digest in tree(output).items() if name in names(output)}
        assert {name: left[name] for name in left if not name.endswith(".partial")}.items() <= expected.items()
    done = blemish("convert", source, "--from", "labelme", "--output", output)
    assert done.code == 1 and tree(output) == expected and tree(source) == untouched


def test_kill_at_random_times(source, expected, tmp_path):
    untouched, output = tree(source), tmp_path / "out"
    for _ in range(3):
        command = [
            sys.executable,
            "-m",
            "blemish",
            "convert",
            str(source),
            "--from",
            "labelme",
            "--output",
            str(output),
        ]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(output.rglob("*.png"))) < random.randint(0, 12):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert blemish("convert", source, "--from", "labelme", "--output", output).code == 1
    assert tree(output) == expected and tree(source) == untouched


class TestRefused:
    def refused(self, source, output, match):
        before = tree(output.parent)
        with pytest.raises(DatasetError, match=match):
            convert(source, "labelme", output)
        assert tree(output.parent) == before

    def test_a_folder_with_anything_else(self, source, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine.txt").write_text("mine")
        self.refused(source, tmp_path / "out", "name a new folder with --output")

    def test_the_conversion_of_another_source(self, source, tmp_path):
        write_image(tmp_path / "other/a.png")
        labelme(tmp_path / "other/a.json", "a.png")
        convert(tmp_path / "other", "labelme", tmp_path / "out")
        self.refused(source, tmp_path / "out", "is no conversion of with blank")

    def test_a_source_that_has_changed(self, tmp_path):
        source = tmp_path / "source"
        write_image(source / "a.png")
        labelme(source / "a.json", "a.png")
        convert(source, "labelme", tmp_path / "out")
        labelme(source / "a.json", "a.png", square("x", 1, 1, 3))
        self.refused(source, tmp_path / "out", "as it is now")

    @pytest.mark.parametrize("record", ["", "[]", "{", '{"finished": true}'])
    def test_a_damaged_record(self, record, source, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/conversion.json").write_text(record)
        self.refused(source, tmp_path / "out", "name a new folder with --output")

    def test_a_file(self, source, tmp_path):
        (tmp_path / "out").write_text("")
        self.refused(source, tmp_path / "out", "is a file")

    @pytest.mark.parametrize("place", [".", "..", "out", "../with blank/out"])
    def test_the_source_itself_and_what_holds_it(self, place, source):
        self.refused(source, source / place, "overlap")


def test_a_changed_file_in_an_unfinished_conversion_is_kept(source, tmp_path):
    output = tmp_path / "out"
    assert killed_at(8, "after", "convert", source, "--from", "labelme", "--output", output)
    mine = next(output.rglob("*.png"))
    mine.write_bytes(b"mine")
    report = convert(source, "labelme", output)
    assert mine.read_bytes() == b"mine" and any("is there already" in line for line in report.failed)


def test_wrong_calls(tmp_path):
    with pytest.raises(UsageError, match="Did you mean `labelme`"):
        convert(tmp_path, "labelm", tmp_path / "out")
    with pytest.raises(DatasetError, match="no such folder"):
        convert(tmp_path / "nowhere", "labelme", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is a file, not a folder"):
        convert(tmp_path / "file", "voc", tmp_path / "out")


class TestCommand:
    def test_all_done(self, tmp_path):
        write_image(tmp_path / "in/ä b.png")
        labelme(tmp_path / "in/ä b.json", "ä b.png", square("x", 1, 1, 3))
        write_image(tmp_path / "in/good.png", 1)
        labelme(tmp_path / "in/good.json", "good.png")
        done = blemish("convert", tmp_path / "in", "--from", "LabelMe", cwd=tmp_path)
        assert done.code == 0, done.stderr
        assert done.stdout.splitlines() == ["output/converted", "blemish train output/converted"]
        assert "images with defects, in test: 1 x" in done.stderr
        assert (tmp_path / "output/converted/test/x/ä b.png").is_file()

    def test_some_failed(self, source, tmp_path):
        done = blemish("convert", source, "--from", "labelme", "--output", tmp_path / "a b")
        assert done.code == 1 and "gone.png" in done.stderr and "8 in train/good" in done.stderr
        assert done.stdout.splitlines()[-1] == f"blemish train '{tmp_path / 'a b'}'"

    def test_no_good_image(self, tmp_path):
        write_image(tmp_path / "in/a.png")
        labelme(tmp_path / "in/a.json", "a.png", square("x", 1, 1, 3))
        done = blemish("convert", tmp_path / "in", "--from", "labelme", "--output", tmp_path / "out")
        assert done.code == 0 and done.stdout.splitlines() == [str(tmp_path / "out")]
        assert "no good images to learn from" in done.stderr

    def test_nothing_that_can_be_converted(self, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in/cvat.xml").write_text("<annotations><image name='a.png'/></annotations>")
        done = blemish("convert", tmp_path / "in", "--from", "voc", "--output", tmp_path / "out")
        assert done.code == 2 and done.stdout == "" and "--from cvat" in done.stderr
        assert not (tmp_path / "out").exists()

    def test_nothing_there(self, tmp_path):
        done = blemish("convert", tmp_path, "--from", "coco", "--output", tmp_path / "out")
        assert done.code == 2 and len(done.stderr.splitlines()) == 1
