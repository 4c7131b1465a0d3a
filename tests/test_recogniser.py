"""Layouts as published and as people have them: what is learned and judged of each, through every door."""

from __future__ import annotations

import io
import random
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import peoples_layouts
import published_layouts
import pytest
from made_layouts import LAYOUTS, Layout, Made, followed, good_names, offers, silently_wrong, verdict_of, wrong

from blemish.datasets import find_categories, load_dataset
from blemish.datasets.conversion.split import split
from blemish.datasets.layouts.recogniser import recognise
from blemish.datasets.tree import folder_tree, tree_of
from blemish.errors import DatasetError, ImageError
from blemish.service.datasets.zips import read_image_zip

assert peoples_layouts and published_layouts  # they register theirs
MOST = 1 << 24
NEUTRAL = ("Desktop", "data set 3", "export")


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """Where a layout is made, with room above for what lies beside it."""
    return tmp_path / "x" / "y" / "set"


def ids(outline: Layout) -> str:
    return outline.name


def named(pattern: str) -> Layout:
    return next(each for each in LAYOUTS if each.name == pattern)


@pytest.mark.parametrize("outline", LAYOUTS, ids=ids)
def test_a_layout_is_read_right_or_refused_with_a_way_out(outline, below):
    made = outline.make(below)
    dataset, refused = verdict_of(made)
    if dataset is not None:
        assert silently_wrong(made, dataset) == []
    assert re.search(outline.refused, refused) if outline.refused else refused == ""
    question = dataset.question if dataset else ""
    assert re.search(outline.asked, question) if outline.asked and dataset else question == ""
    line = refused or question
    assert "\n" not in line and (not line or str(made.root) in line or dataset is not None)
    if not line:
        assert wrong(made, dataset) == []
    if outline.way:
        assert offers(line, outline.way, made.root), line
        way_out(made, outline.way)


def way_out(made: Made, way: str) -> None:
    """Types what the line says, and finds everything read right; but for what nobody has said yet."""
    if way == "move" or way.startswith("--from"):
        return
    inner, dataset = followed(made, way)
    found = wrong(inner, dataset)
    assert [each for each in found if not dataset.question or "learned" in each] == []


@pytest.mark.parametrize("outline", LAYOUTS, ids=ids)
def test_wrapped_shuffled_and_zipped_it_is_the_same(outline, below):
    made = outline.make(below)
    dataset, refused = verdict_of(made)
    same_shuffled(made.root)
    beside = [path for above in made.root.parents[:2] for path in above.iterdir()]
    if beside == [made.root, made.root.parent] and not any(path.is_symlink() for path in made.root.rglob("*")):
        same_zipped(made, refused)
        for depth in (1, 3):
            same_wrapped(made, dataset, refused, NEUTRAL[:depth])


def same_shuffled(root: Path) -> None:
    tree = folder_tree(root)
    files = [*tree.images, *tree.texts]
    random.Random(len(files)).shuffle(files)
    other = replace(tree_of(tree.title, tree.own_name, files), others=tree.others)
    found = []
    for each in (tree, other):
        try:
            found.append(recognise(each))
        except DatasetError as error:
            found.append(str(error))
    assert found[0] == found[1]


def same_wrapped(made: Made, dataset, refused: str, outer: tuple[str, ...]) -> None:
    top = made.root.parent / "top"
    inside = top.joinpath(*outer, "set")
    inside.parent.mkdir(parents=True)
    made.root.rename(inside)
    try:
        found, also_refused = verdict_of(Made(top))
        assert bool(refused) == bool(also_refused), also_refused
        assert (dataset is None) == (found is None)
        if dataset is not None:
            start = f"{'/'.join(outer)}/set/"
            for before, after in ((dataset.train, found.train), (dataset.test, found.test)):
                assert [(start + one.name, one.kind) for one in before] == [(one.name, one.kind) for one in after]
                assert [[start + mask.relative_to(made.root).as_posix() for mask in one.masks] for one in before] == [
                    [mask.relative_to(top).as_posix() for mask in one.masks] for one in after
                ]
            assert bool(dataset.question) == bool(found.question)
    finally:
        inside.rename(made.root)
        for folder in (*reversed([top.joinpath(*outer[: n + 1]) for n in range(len(outer))]), top):
            folder.rmdir()


def same_zipped(made: Made, refused: str) -> None:
    packed = zipped(made.root)
    if packed is None:
        return
    if refused:
        with pytest.raises(ImageError):
            read_image_zip(packed, MOST)
        return
    learned, images = read_image_zip(packed, MOST)
    assert {name for name, _ in images} == made.learned and learned.startswith("learned: ")


def zipped(root: Path) -> bytes | None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path in root.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(root).as_posix())
    return target.getvalue() if archive.namelist() else None


GOOD_WORDS = (
    "good",
    "OK",
    "ok",
    "Normal",
    "pass",
    "gut",
    "IO",
    "bon",
    "bueno",
    "buoni",
    "合格",
    "良品",
    "正常",
    "양품",
    "good_parts",
    "defect-free",
    "no_defect",
    "годные",
    "dobre",
)
BAD_WORDS = (
    "bad",
    "NG",
    "ng",
    "Abnormal",
    "fail",
    "schlecht",
    "NIO",
    "défaut",
    "defectuoso",
    "scarti",
    "不合格",
    "不良",
    "异常",
    "불량",
    "bad_parts",
    "defects",
    "брак",
    "złe",
)
DRESSES = ("{}", "img_{}", "{}_images", "01_{}", "{}-2026", "{} dir", "set {}", "{}_cam2")
PLACES = ("", "line 1", "2026-11-20", "Lot 4711/shift B", "cam1", "images")
MASKS = ("", "", "masks/{:03}.png", "GT/{:03}_mask.png", "{place}{bad}/{:03}_mask.png", "anything/{:03}.png")


@pytest.mark.parametrize("seed", range(60))
def test_any_dress_of_words_places_and_masks(seed, below):
    """Trees of words, cases, places, splits and masks drawn at random are read right or refused, never wrong."""
    draw = random.Random(seed)
    dress, case = draw.choice(DRESSES), draw.choice((str, str.upper, str.capitalize))
    good, bad = (case(dress.format(draw.choice(words))) for words in (GOOD_WORDS, BAD_WORDS))
    place = draw.choice(PLACES)
    place = f"{place}/" if place else ""
    train, test = draw.choice([("", ""), ("train/", "test/"), ("Training/", "Validation/")])
    masks = draw.choice(MASKS).replace("{place}", f"{test}{place}").replace("{bad}", bad)
    made = Made(below)
    made.learn(f"{train}{place}{good}/a{{:03}}.jpg", 4)
    if test:
        made.good(f"{test}{place}{good}/b{{:03}}.jpg", 3)
    made.bad(f"{test}{place}{bad}/{{:03}}.jpg", 3, kind=bad, masks=masks)
    dataset, refused = verdict_of(made)
    assert refused == "" and dataset.question == "" and wrong(made, dataset) == []


class TestDoors:
    def test_products_are_those_that_are_no_set_together(self, tmp_path):
        for name, expected in (
            ("MVTec AD, root", ["bottle", "cable"]),
            ("VisA as published, root", ["candle", "pcb1"]),
            ("Real-IAD, realiad_256", ["audiojack", "button_battery"]),
            ("BTAD, root", ["01", "02"]),
            ("days, then OK and NG", []),
            ("KolektorSDD", []),
            ("Magnetic tile", []),
            ("cameras", []),
            ("OK and NG, then days", []),
        ):
            made = named(name).make(tmp_path / name.replace(",", "") / "set")
            assert [folder.name for folder in find_categories(made.root)] == expected, name

    @pytest.mark.parametrize(
        "name", ["VisA as published, product alone", "anomalib hazelnut_toy", "KolektorSDD2", "casting"]
    )
    def test_a_split_lists_good_ones_to_learn_and_all_defects_to_test(self, name, below):
        made = next(each for each in LAYOUTS if each.name.lower().startswith(name.lower())).make(below)
        split(made.root, 50, 50)
        dataset = load_dataset(made.root)
        goods = made.learned | {each for each, (kind, _) in made.tested.items() if kind == "good"}
        assert dataset.layout == "list" and all(sample.name in goods for sample in dataset.train)
        tested = {sample.name: sample.kind != "good" for sample in dataset.test}
        assert all(is_bad == (each not in goods) for each, is_bad in tested.items())
        assert {each for each, (kind, _) in made.tested.items() if kind != "good"} <= tested.keys()

    @pytest.mark.parametrize(
        ("source", "is_taken"),
        [
            ("parts/good/a.png", True),
            ("2026-11-20/cam 1/a.png", True),
            ("set/test/good/a.png", True),
            ("a.png", True),
            ("parts/NG/a.png", False),
            ("parts\\masks\\a.png", False),
            ("set/test/a.png", False),
            ("set/positive/a.png", False),
            ("良品/不良/a.png", False),
        ],
    )
    def test_an_upload_with_a_path_in_doubt_is_refused(self, source, is_taken):
        from blemish.service.pages.train import _refuse_by_folder

        if is_taken:
            _refuse_by_folder(source)
            return
        with pytest.raises(ImageError, match="lies in a folder called"):
            _refuse_by_folder(source)


def test_there_are_enough_layouts_and_each_has_a_name_of_its_own():
    assert len({each.name for each in LAYOUTS}) == len(LAYOUTS) >= 100


def test_names_of_good_folders_are_read_as_a_shell_does():
    assert good_names("--good 'a b' --good c") == ["a b", "c"]
