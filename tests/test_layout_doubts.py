"""What speaks against good images although their folder does not: other files, opposites, damage, hostile zips."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from pathlib import Path

import pytest
from plates import plate, write

from blemish.datasets import find_good_images, load_dataset
from blemish.datasets.files import parse_yaml
from blemish.errors import DatasetError, ImageError, UsageError
from blemish.service.datasets.zips import read_image_zip
from blemish.service.jobs.data import check_inside

CRACK = {"label": "crack", "shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 5]]}


def labelme(path: Path, *shapes: dict) -> None:
    path.write_text(json.dumps({"imagePath": f"{path.stem}.png", "imageData": None, "flags": {}, "shapes": shapes}))


def good_folder(root: Path, names: list[str], folder: str = "ok") -> Path:
    for number, name in enumerate(names):
        write(root / folder / name, plate(number))
    return root


def test_every_annotation_file_counts(tmp_path):
    good_folder(tmp_path, [f"good_{n}.png" for n in range(4)] + [f"bad_{n}.png" for n in range(4)], "")
    labelme(tmp_path / "good_0.json")
    labelme(tmp_path / "good_3.json", CRACK)
    assert "good_3.png" not in find_good_images(tmp_path).names


def test_accents_composed_in_another_way(tmp_path):
    stem = unicodedata.normalize("NFD", "tüte1")
    good_folder(tmp_path, ["a.png", f"{stem}.png"])
    labelme(tmp_path / "ok" / f"{stem}.json", CRACK)
    assert find_good_images(tmp_path).names == ("ok/a.png",)


def test_a_mark_beside_a_test_image_leaves_good_ones_of_its_number_alone(tmp_path):
    good_folder(tmp_path, ["000.png", "001.png"], "train/good")
    good_folder(tmp_path, ["000.png", "001.png"], "test/crack")
    labelme(tmp_path / "test/crack/000.json", CRACK)
    assert len(find_good_images(tmp_path).names) == 2


@pytest.mark.parametrize("content", ['{"annotations": [{"image_id": 1}], "images": [{"file_name": "1.pn'])
def test_a_damaged_annotation_file_refuses(content, tmp_path):
    good_folder(tmp_path, ["0.png", "1.png"])
    (tmp_path / "coco.json").write_text(content)
    with pytest.raises(DatasetError, match=r"coco\.json .*damaged"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("text", ["3.png\tscratch\n0.png\tgood\n", "image\tlabel\n3.png\tscratch\n0.png\tgood\n"])
def test_a_table_with_tabs(text, tmp_path):
    good_folder(tmp_path, [f"{n}.png" for n in range(4)])
    (tmp_path / "labels.tsv").write_text(text)
    assert "ok/3.png" not in find_good_images(tmp_path).names


@pytest.mark.parametrize(
    "pair", ["correct incorrect", "usable unusable", "dicht undicht", "passt passt_nicht", "voll nicht_voll", "可 不可"]
)
def test_a_name_and_its_opposite_are_not_both_good(pair, tmp_path):
    first, second = pair.split()
    for number, name in enumerate((first, second)):
        write(tmp_path / name / "a.png", plate(number))
    try:
        names = find_good_images(tmp_path).names
    except DatasetError as error:
        assert "--good" in str(error)
    else:
        assert names == (f"{first}/a.png",)


def test_an_impossible_address_is_no_crash(tmp_path):
    good_folder(tmp_path, ["a.png", "b.png"])
    labelme(tmp_path / "ok" / "a.json", CRACK)
    text = (tmp_path / "ok" / "a.json").read_text().replace("a.png", "http://[bad/a.png")
    (tmp_path / "ok" / "a.json").write_text(text)
    assert find_good_images(tmp_path).names == ("ok/b.png",)


@pytest.mark.parametrize("text", ["a: &a [1]\nb: *a", "<<: *a", "x: !!bool foo", 'x: !!int ""', "x: !!timestamp foo"])
def test_yaml_that_is_no_settings(text):
    with pytest.raises(DatasetError):
        parse_yaml(text.encode())


def zipped(*members: tuple[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return held.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_files_of_one_name(tmp_path):
    content = write(tmp_path / "a.png", plate(0)).read_bytes()
    with pytest.raises(ImageError, match="two files of one name"):
        read_image_zip(zipped(("good/a.png", content), ("good/a.png", content)), 1 << 26)


def test_a_zip_whose_annotation_is_damaged(tmp_path):
    content = write(tmp_path / "a.png", plate(0)).read_bytes()
    whole = zipped(("good/a.png", content), ("a.json", b'{"shapes": []}' * 50))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        at = archive.getinfo("a.json").header_offset + 30 + len("a.json")  # past the local header and the name
    with pytest.raises(ImageError):
        read_image_zip(whole[:at] + b"\xff" * 12 + whole[at + 12 :], 1 << 26)


def test_a_link_out_of_the_root_is_refused_before_it_is_read(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    good_folder(outside, ["a.png"])
    good_folder(root, ["a.png"])
    (root / "way").symlink_to(outside, target_is_directory=True)
    with pytest.raises(UsageError, match="way leads out"):
        check_inside({"folder": str(root), "root": str(root)})
