"""File names that never collide, and files that are whole or absent."""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blemish.errors import UsageError
from blemish.pipeline.result import Result
from blemish.pipeline.saving import ResultNamer, image_suffix, safe_stem, write_text


def result(name, namer=None, **fields):
    """A small result with a real map and image."""
    fields = {"input_path": name, "score": 1.5, "threshold": 1.0, "pixel_threshold": 1.0, "size": (40, 30)} | fields
    grid = np.zeros((3, 4), np.float32)
    grid[1, 2] = 3
    return Result(
        name=PurePosixPath(name),
        grid_map=grid,
        full_map=lambda g: np.kron(g, np.ones((10, 10), np.float32)),
        image=np.full((30, 40, 3), (200, 30, 90), np.uint8),
        namer=namer or ResultNamer(),
        **fields,
    )


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def saved_input(path):
    return json.loads(path.read_text("utf-8"))["input_path"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".JPG", ".bmp", ".tif", ".tiff", ".webp"])
def test_the_picture_keeps_the_suffix_of_its_input(tmp_path, suffix):
    result(f"part{suffix}").save_all(tmp_path)
    assert files(tmp_path) == sorted([f"part_res{suffix}", "part_res.json"])
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(suffix[1:].lower(), suffix[1:].upper())
    with Image.open(tmp_path / f"part_res{suffix}") as picture:
        assert (picture.format, picture.mode, picture.size) == (kind, "RGB", (40, 30))
        corner = np.asarray(picture.convert("RGB"))[0, 0].astype(int)
    assert np.abs(corner - (200, 30, 90)).max() <= 12


@pytest.mark.parametrize("name", ["scan.pdf", "scan.gif", "scan.pgm", "scan", "scan.PNG.bak"])
def test_other_inputs_get_a_png(tmp_path, name):
    result(name).save_all(tmp_path)
    assert [f for f in files(tmp_path) if f.endswith("_res.png")]
    with Image.open(next(tmp_path.glob("*.png"))) as picture:
        assert picture.format == "PNG"


def test_pages(tmp_path):
    namer = ResultNamer()
    for page in (0, 1, 10):
        result("doc/scan.pdf", namer, page_index=page).save_all(tmp_path)
    assert files(tmp_path) == sorted(f"doc/scan_{page}_res.{kind}" for page in (0, 1, 10) for kind in ("json", "png"))


def test_mirrored_folders_keep_their_names(tmp_path):
    namer = ResultNamer()
    for name in ("good/000.png", "crack/000.png", "crack/deep/000.png"):
        result(name, namer).save_all(tmp_path)
    assert [f for f in files(tmp_path) if f.endswith(".json")] == [
        "crack/000_res.json",
        "crack/deep/000_res.json",
        "good/000_res.json",
    ]


def test_two_inputs_never_share_a_file(tmp_path):
    namer = ResultNamer()
    inputs = ["/x/a.png", "/x/a.jpg", "/y/a.png", "/z/A.png", "/x/a_2.png"]
    results = [result(Path(path).name, namer, input_path=path) for path in inputs]
    for one in results:
        one.save_all(tmp_path)
    for one in reversed(results):  # saving again, in whatever order, finds its own files
        one.save_all(tmp_path)
    found = {saved_input(p): p.name for p in tmp_path.glob("*.json")}
    assert sorted(found) == sorted(inputs)
    assert [found[path] for path in inputs] == [
        "a_res.json",
        "a_2_res.json",
        "a_3_res.json",
        "A_4_res.json",
        "a_2_2_res.json",
    ]
    assert len(files(tmp_path)) == 10
    assert (tmp_path / "a_2_res.jpg").is_file()
    assert len({f.casefold() for f in files(tmp_path)}) == 10


def test_arrays_have_no_path_and_still_no_collision(tmp_path):
    namer = ResultNamer()
    first, second = (result("image.png", namer, input_path=None) for _ in range(2))
    for one in (first, second, first):
        one.save_all(tmp_path)
    assert files(tmp_path) == ["image_2_res.json", "image_2_res.png", "image_res.json", "image_res.png"]


def test_a_page_and_a_file_of_that_name_do_not_collide(tmp_path):
    namer = ResultNamer()
    result("scan.pdf", namer, page_index=2).save_to_json(tmp_path)
    result("scan_2.png", namer).save_to_json(tmp_path)
    assert files(tmp_path) == ["scan_2_2_res.json", "scan_2_res.json"]


def test_another_folder_starts_anew(tmp_path):
    namer = ResultNamer()
    result("a.png", namer, input_path="/x/a.png").save_to_json(tmp_path / "x")
    result("a.png", namer, input_path="/y/a.png").save_to_json(tmp_path / "y")
    result("a.png", namer, input_path="/z/a.png").save_to_json(tmp_path / "y" / ".." / "x")
    assert files(tmp_path) == ["x/a_2_res.json", "x/a_res.json", "y/a_res.json"]


@given(st.lists(st.tuples(st.sampled_from(["a", "A", "a_2", "a_3", "b/a", "B/a"]), st.integers(0, 5)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_stems_are_stable_and_distinct(asked):
    namer = ResultNamer()
    stems = {(name, owner): namer.stem(Path("out"), PurePosixPath(name), (name, owner)) for name, owner in asked}
    assert len({stem.as_posix().casefold() for stem in stems.values()}) == len(stems)
    assert all(namer.stem(Path("out"), PurePosixPath(key[0]), key) == stem for key, stem in stems.items())


@pytest.mark.parametrize("owner", [str, lambda _: None], ids=["paths", "arrays"])
def test_many_inputs_of_one_name(owner):
    namer = ResultNamer()
    stems = [namer.stem(Path("out"), PurePosixPath("a"), owner(number)) for number in range(20_000)]
    assert len(set(stems)) == 20_000 and stems[-1] == PurePosixPath("a_20000")


def test_inputs_of_several_calls_never_share_a_file(tmp_path):
    """Each call has a namer of its own; what the others have saved is read from the folder."""
    for _ in range(2):  # the second time everybody finds his own again
        for path in ("/x/a.png", "/y/a.png", "/z/a.png", "/x/a_2.png"):
            one = result(Path(path).name, input_path=path)
            one.save_to_img(tmp_path)
            one.save_to_json(tmp_path)
        found = {saved_input(p): p.name for p in tmp_path.glob("*.json")}
        assert found == {
            "/x/a.png": "a_res.json",
            "/y/a.png": "a_2_res.json",
            "/z/a.png": "a_3_res.json",
            "/x/a_2.png": "a_2_2_res.json",
        }
        assert len(files(tmp_path)) == 8


def test_pages_of_several_calls_never_share_a_file(tmp_path):
    for _ in range(2):
        for path, page in (("/x/a.tif", 0), ("/x/a.tif", 1), ("/y/a.tif", 1)):
            result("a.tif", input_path=path, page_index=page).save_to_json(tmp_path)
    assert files(tmp_path) == ["a_0_res.json", "a_1_2_res.json", "a_1_res.json"]


@pytest.mark.parametrize("ways", [["save_to_json"], ["save_to_img"], ["save_all"], ["save_to_img", "save_to_json"]])
def test_arrays_of_several_calls_never_share_a_file(tmp_path, ways):
    for _ in range(11):
        one = result("image.png", input_path=None)
        for way in ways * 2:
            getattr(one, way)(tmp_path)
    stems = {Path(name).stem for name in files(tmp_path)}
    assert stems == {"image_res", *(f"image_{number}_res" for number in range(2, 12))}
    assert len(files(tmp_path)) == (11 if len(ways) == 1 and ways != ["save_all"] else 22)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"input_path": 3}', b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_record_is_not_replaced(tmp_path, content):
    (tmp_path / "a_res.json").write_bytes(content)
    assert result("a.png").save_to_json(tmp_path).name == "a_2_res.json"
    assert (tmp_path / "a_res.json").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("/etc/passwd.png", "etc/passwd"),
        ("../../up.png", "up"),
        ("a/../../b.png", "a/b"),
        ("a:b*c?.png", "a_b_c_"),
        ("a\\..\\b.png", "a_.._b"),
        ("line\nbreak.png", "line_break"),
        ("", "image"),
        ("..", "image"),
        (".hidden", ".hidden"),
        ("a.b.c.png", "a.b.c"),
    ],
)
def test_a_name_never_leads_out_of_the_folder(name, stem):
    assert safe_stem(PurePosixPath(name), None) == PurePosixPath(stem)


def test_a_long_name_is_cut_and_saved(tmp_path):
    namer = ResultNamer()
    for last in "xy":
        result("\u00fc" * 120 + f"{last}.png", namer).save_all(tmp_path)
    assert len(files(tmp_path)) == 4


def test_a_named_file_is_that_file(tmp_path):
    one = result("part.png")
    assert one.save_to_json(tmp_path / "new" / "x.json") == tmp_path / "new" / "x.json"
    assert one.save_to_img(str(tmp_path / "y.jpg")) == tmp_path / "y.jpg"
    with Image.open(tmp_path / "y.jpg") as picture:
        assert picture.format == "JPEG"
    one.save_all(tmp_path / "z.webp")
    result("part.tif").save_all(tmp_path / "w.json")
    assert files(tmp_path) == ["new/x.json", "w.json", "w.tif", "y.jpg", "z.json", "z.webp"]


def test_a_folder_with_a_file_suffix_is_a_folder(tmp_path):
    folder = tmp_path / "run.json"
    folder.mkdir()
    result("part.png").save_all(folder)
    assert files(tmp_path) == ["run.json/part_res.json", "run.json/part_res.png"]


def test_saving_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "out").write_text("a file")
    for save in (result("a.png").save_all, result("a.png").save_to_img):
        with pytest.raises(UsageError, match=r"out.*a_res"):
            save(tmp_path / "out")


@contextmanager
def without_privileges():
    """The superuser may write everywhere, so the block runs as nobody where the tests run as root."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.skipif(os.name != "posix", reason="needs file permissions")
def test_a_read_only_folder():
    with TemporaryDirectory() as folder:  # tmp_path lies where nobody may not even look
        Path(folder).chmod(0o555)
        with without_privileges(), pytest.raises(UsageError, match=r"a_res\.json: Permission denied"):
            result("a.png").save_to_json(folder)
        assert files(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs the file size limit")
@pytest.mark.parametrize("kind", ["json", "png", "jpg", "tif", "webp", "bmp"])
def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path, kind):
    path = tmp_path / f"old.{kind}"
    path.write_bytes(b"old")
    one = result("a.png")
    assert one.img and one.to_dict()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))  # bytes: every write beyond fails, as on a full disk
    try:
        with pytest.raises(UsageError, match=f"old.{kind}"):
            one.save_to_json(path) if kind == "json" else one.save_to_img(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(tmp_path) == [f"old.{kind}"]
    assert path.read_bytes() == b"old"


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a.json", "{}")
    finally:
        os.umask(before)
    if os.name == "posix":
        assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_image_suffix():
    assert [image_suffix(PurePosixPath(n)) for n in ("a.JPEG", "a.pdf", "a", "a.Tif")] == [
        ".JPEG",
        ".png",
        ".png",
        ".Tif",
    ]
