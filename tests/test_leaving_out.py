"""Images that are left out by name: how they are named, what is refused, and what becomes of the rest."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import blemish
from plates import plate, scratched, write, write_set

from blemish.config import load_config
from blemish.datasets import find_good_images, load_dataset
from blemish.datasets.leaving_out import named_among, read_names
from blemish.errors import BlemishError, DatasetError, UsageError
from blemish.fitting import fit

NAMES = ["a.png", "sub/a.png", "sub/b [1].png", "lot 2/c.png", "doc.tif"]
HERE = Path("set")


class TestNames:
    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("a.png", ["a.png"]),  # a path is meant before a file name
            ("sub/a.png", ["sub/a.png"]),
            ("./sub\\a.png", ["sub/a.png"]),
            ("c.png", ["lot 2/c.png"]),
            ("b [1].png", ["sub/b [1].png"]),
            ("*.png", NAMES[:4]),
            ("sub/*", ["sub/a.png", "sub/b [1].png"]),
            ("?.png", ["a.png", "sub/a.png", "lot 2/c.png"]),
            ("doc.tif", ["doc.tif"]),
        ],
    )
    def test_what_they_mean(self, asked: str, found: list[str]) -> None:
        assert named_among(HERE, NAMES, [asked]) == found

    @pytest.mark.parametrize(
        ("asked", "kind", "what"),
        [
            ("b.png", UsageError, r"no image of set is called `b.png`. Did you mean"),
            ("x*", UsageError, r"no image of set is called `x\*`"),
            ("A.PNG", UsageError, "no image of set is called"),
            ("doc.tif[0]", UsageError, "no image of set is called"),  # a page, where whole images are judged
            ("*", DatasetError, "all 5 images are left out by name"),
        ],
    )
    def test_what_is_refused(self, asked: str, kind: type[BlemishError], what: str) -> None:
        with pytest.raises(kind, match=what):
            named_among(HERE, NAMES, ["a.png", asked])

    def test_a_file_name_that_several_have(self) -> None:
        with pytest.raises(UsageError, match=r"2 images are called `a.png`; name one by its path, such as x/a.png"):
            named_among(HERE, ["x/a.png", "y/a.png"], ["a.png"])
        assert named_among(HERE, ["x/a.png", "y/a.png", "z.png"], ["*/a.png"]) == ["x/a.png", "y/a.png"]

    def test_pages_where_they_are_read(self) -> None:
        assert named_among(HERE, NAMES, ["doc.tif[2]"], pages_too=True) == ["doc.tif[2]"]
        with pytest.raises(UsageError, match="no image"):
            named_among(HERE, NAMES, ["other.tif[2]"], pages_too=True)

    def test_files_of_names(self, tmp_path: Path) -> None:
        listed = tmp_path / "list.txt"
        listed.write_bytes("\ufeffa.png\r\n\r\n# looked at\r\n  Stück 1.png \r\n".encode("utf-16-le"))
        assert read_names([f"@{listed}", "b.png", str(listed)]) == [
            *("a.png", "Stück 1.png", "b.png", "a.png", "Stück 1.png")
        ]
        record = tmp_path / "train_result.json"
        record.write_text(json.dumps({"outliers": ["x.png"]}))
        assert read_names([f"@{record}"]) == ["x.png"]
        for content in ("[]", "{", '{"outliers": 3}', '{"outliers": []}'):
            record.write_text(content)
            with pytest.raises(UsageError, match=r"train_result\.json"):
                read_names([f"@{record}"])
        with pytest.raises(DatasetError, match=r"none\.txt: no such file"):
            read_names([str(tmp_path / "none.txt")])


class TestDataSets:
    def test_in_every_layout(self, tmp_path: Path) -> None:
        root = write_set(tmp_path / "set", train=4, good=1, defects=2)
        good = find_good_images(root, leave_out=["train/good/001.png"])
        assert "train/good/001.png" not in good.names and len(good.names) == 3
        assert good.left_out == ("train/good/001.png",)
        assert (
            good.learned
            == "learned: 3 images of train/good; left out: 1 by name, 2 masks, 1 of test/good, 2 of test/scratch"
        )
        found = load_dataset(root, leave_out=["test/scratch/*"])
        assert [sample.name for sample in found.test] == ["test/good/000.png"] and len(found.train) == 4
        (root / "train.txt").write_text("train/good/000.png\ntrain/good/002.png\n")
        assert find_good_images(root, leave_out=["002.png"]).names == ("train/good/000.png",)

    def test_before_anything_is_concluded_from_names(self, tmp_path: Path) -> None:
        for name in ("000", "001", "bad_7"):
            write(tmp_path / f"{name}.png", plate(0))
        with pytest.raises(DatasetError, match=r"named as defects: bad_7\.png\. .*--leave-out"):
            find_good_images(tmp_path)
        assert find_good_images(tmp_path, leave_out=["bad*"]).names == ("000.png", "001.png")

    def test_a_page_of_a_document(self, tmp_path: Path) -> None:
        pages = [plate(seed) for seed in range(4)]
        (tmp_path / "in").mkdir()
        assert cv2.imwritemulti(str(tmp_path / "in" / "doc.tif"), pages)
        chosen = [f"Global.dataset_dir={tmp_path / 'in'}", f"Global.output={tmp_path / 'out'}", "Model.preset=fast"]
        fit(load_config(None, [*chosen, 'Global.leave_out=["doc.tif[1]", "doc.tif[3]"]']))
        result = json.loads((tmp_path / "out" / "train_result.json").read_text())
        assert result["images"] == 2 and result["left_out"] == ["doc.tif[1]", "doc.tif[3]"]
        with pytest.raises(DatasetError, match="all pages are left out"):
            fit(load_config(None, [*chosen, f"Global.leave_out={[f'doc.tif[{page}]' for page in range(4)]}"]))


def spotted(seed: int) -> np.ndarray:
    """A plate with one dark spot, of a kind: always in the same place, a little larger or smaller."""
    picture = plate(seed)
    cv2.circle(picture, (80, 60), 7 + seed % 3, (20, 20, 20), -1)
    return picture


class TestTraining:
    """Five plates with one kind of defect among 41, which explain each other: no single one stands apart."""

    @pytest.fixture(scope="class")
    @classmethod
    def mixed(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("mixed") / "set"
        for number in range(36):
            write(root / f"{number:03}.png", plate(number))
        for number in range(5):
            write(root / f"q{number}.png", spotted(500 + number))
        return root

    def test_all_are_named_and_the_command_without_them_keeps_its_word(self, mixed: Path, tmp_path: Path) -> None:
        odd = [f"q{number}.png" for number in range(5)]
        done = blemish("train", mixed, "--output", tmp_path / "out", "--preset", "fast")
        assert done.code == 0
        result = json.loads((tmp_path / "out" / "train_result.json").read_text())
        assert sorted(result["outliers"]) == odd
        (line,) = (line for line in done.stderr.splitlines() if "stand apart: " in line)
        assert line.startswith("5 of 41 good images stand apart: ") and all(name in line for name in odd)
        assert f"without them {result['threshold_without_outliers']:.3g}." in line
        assert not result["threshold_without_is_estimate"]
        (command,) = (line for line in done.stderr.splitlines() if line.startswith("To train without"))
        again = blemish(*shlex.split(command.partition(": ")[2])[1:])
        assert again.code == 0 and "left out: 5 by name" in again.stderr and "stand apart" not in again.stderr
        fresh = json.loads((tmp_path / "out" / "train_result.json").read_text())
        assert fresh["images"] == 36 and sorted(fresh["left_out"]) == odd
        assert fresh["threshold"] == pytest.approx(result["threshold_without_outliers"], rel=0.02)
        assert fresh["threshold"] < result["threshold"]

    def test_a_run_file_and_the_option_together(self, mixed: Path, tmp_path: Path) -> None:
        done = blemish(
            *("train", mixed, "--output", tmp_path / "out", "--preset", "fast"),
            *("--leave-out", "q[0-3].png", "--leave-out", "q*", "-o", "Global.leave_out=000.png"),
        )
        assert done.code == 2 and "is called `q[0-3].png`" in done.stderr
        done = blemish(
            *("train", mixed, "--output", tmp_path / "out", "--preset", "fast"),
            *("--leave-out", "q*", "-o", "Global.leave_out=000.png"),
        )
        assert done.code == 0 and "learned: 35 images of the folder itself; left out: 6 by name" in done.stderr

    def test_check_and_evaluate(self, mixed: Path, tmp_path: Path) -> None:
        done = blemish("check", mixed, "--output", tmp_path / "check", "--leave-out", "q*")
        assert "36 training" in done.stdout + done.stderr and "left out by name" in done.stdout + done.stderr
        assert "suspicious_image" not in done.stdout + done.stderr
        for number in range(12):
            write(tmp_path / "good" / f"{number}.png", plate(900 + number))
        write(tmp_path / "good" / "odd.png", scratched(1, (40, 40))[0])
        model = tmp_path / "model"
        assert blemish("train", mixed, "--output", model, "--preset", "fast", "--leave-out", "q*").code == 0
        for arguments, count in (((), 1), (("--leave-out", "odd.png"), 0)):
            output = tmp_path / f"report{count}"
            done = blemish("evaluate", model, tmp_path / "good", "--output", output, *arguments)
            assert done.code == 0
            assert (output / "per_image.csv").read_text().count("odd.png") == count
