"""The generated sample set: what it holds, that it is the same each time, and that its masks tell the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from blemish.datasets.sample import generate as sample
from blemish.datasets.sample.camera import NOISE, expose
from blemish.datasets.sample.defects import DEFECTS
from blemish.datasets.sample.generate import generate_sample, render_defect, render_part
from blemish.datasets.sample.part import grow_part
from blemish.errors import DatasetError, UsageError

SIZE = 128
COUNTS = {"train": 3, "good": 2, "per_defect": 2}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_sample(tmp_path_factory.mktemp("sample"), size=SIZE, **COUNTS)


@pytest.mark.parametrize("size", [64, SIZE, 200])
def test_a_part_lies_whole_and_bright_on_a_dark_table(size: int) -> None:
    image = render_part(np.random.default_rng(3), size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert border.max() < 70
    assert image[size // 2, size // 2, 0] > 80
    assert image[..., 0].sum() > 1.3 * image[..., 2].sum(), "channels are RGB and a nut is brown"


def test_good_parts_differ_in_shape_pose_and_shell() -> None:
    parts = [grow_part(np.random.default_rng(seed), SIZE) for seed in range(6)]
    areas = [part.cover.mean() for part in parts]
    assert 0.2 < min(areas) < max(areas) < 0.5
    assert np.std(areas) > 0.01
    assert np.std([part.albedo[:, part.cover > 0.9].mean() for part in parts]) > 0.01


def test_surface_is_sane() -> None:
    part = grow_part(np.random.default_rng(8), SIZE)
    inside = part.cover > 0.99
    np.testing.assert_allclose(np.linalg.norm(part.normal, axis=0)[inside], 1, atol=1e-3)
    assert part.normal[2][inside].min() > -0.05, "a visible surface looks to the camera"
    for field in (part.albedo, part.relief, part.gloss, part.open, part.point):
        assert field.dtype == np.float32 and np.isfinite(field).all()


def test_normals_are_those_of_the_points() -> None:
    part = grow_part(np.random.default_rng(2), 512)
    smooth = part.normal[2] > 0.6
    rise_x, rise_y = (np.gradient(part.point[2], axis=axis) * 256 for axis in (1, 0))
    slope_x, slope_y = -part.normal[0] / part.normal[2], -part.normal[1] / part.normal[2]
    assert np.percentile(np.abs(rise_x - slope_x)[smooth], 95) < 0.1
    assert np.percentile(np.abs(rise_y - slope_y)[smooth], 95) < 0.1


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("seed", range(4))
def test_mask_is_where_the_defect_changed_the_picture(defect: str, seed: int) -> None:
    good = render_part(np.random.default_rng(seed), SIZE).astype(float)
    image, mask = render_defect(np.random.default_rng(seed), SIZE, defect)
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    change = np.abs(image - good).max(axis=2)  # both carry the same noise
    specks = (change > sample.VISIBLE + 2) & (mask == 0)
    assert specks.sum() <= 4, "only lone specks are left out"
    assert (change > sample.VISIBLE - 2)[mask > 0].all()
    assert np.median(change[mask > 0]) > 8 * NOISE
    assert (mask > 0).mean() < 0.15


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_leaves_the_rest_of_the_part_alone(defect: str) -> None:
    part = grow_part(np.random.default_rng(1), SIZE)
    spoiled = DEFECTS[defect](part, np.random.default_rng(5))
    assert spoiled.size == SIZE
    np.testing.assert_array_equal(spoiled.cover, part.cover)
    np.testing.assert_array_equal(spoiled.normal, part.normal)
    assert np.abs(spoiled.albedo - part.albedo).max() > 0.02
    pictures = [expose(p, np.random.default_rng(0)) for p in (part, spoiled)]
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 0.5
    assert 0 < changed.mean() < 0.2


def test_a_hole_is_dark_and_a_scratch_is_light() -> None:
    for defect, sign in (("hole", -1), ("scratch", 1), ("crack", -1)):
        good = render_part(np.random.default_rng(4), SIZE).astype(float)
        image, mask = render_defect(np.random.default_rng(4), SIZE, defect)
        assert sign * (image - good)[mask > 0].mean() > 5, defect


def test_layout(made: Path) -> None:
    images = {f"train/good/{i:03d}.png" for i in range(3)} | {f"test/good/{i:03d}.png" for i in range(2)}
    pairs = [(f"test/{d}/{i:03d}.png", f"ground_truth/{d}/{i:03d}_mask.png") for d in DEFECTS for i in range(2)]
    assert set(DEFECTS) == {"scratch", "hole", "print", "crack"}
    assert set(contents(made)) == images | {file for pair in pairs for file in pair} | {"README.txt"}
    for name in images | {image for image, _ in pairs}:
        assert cv2.imread(str(made / name), cv2.IMREAD_UNCHANGED).shape == (SIZE, SIZE, 3)
    for _, name in pairs:
        mask = cv2.imread(str(made / name), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (SIZE, SIZE) and set(np.unique(mask)) == {0, 255}
    assert "seed 0" in (made / "README.txt").read_text()


def test_files_hold_the_colours_in_their_order(made: Path) -> None:
    bgr = cv2.imread(str(made / "train/good/000.png"))
    assert bgr[..., 2].sum() > 1.3 * bgr[..., 0].sum()


def test_no_two_images_are_equal(made: Path) -> None:
    images = [content for name, content in contents(made).items() if not name.startswith("ground_truth")]
    assert len(set(images)) == len(images)


def test_same_seed_same_bytes_in_a_new_process(made: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from blemish.datasets.sample.generate import generate_sample;"
        f"generate_sample(Path({str(tmp_path / 'again')!r}), size={SIZE}, train=3, good=2, per_defect=2)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert contents(tmp_path / "again") == contents(made)


def test_other_seed_other_images(made: Path, tmp_path: Path) -> None:
    other = contents(generate_sample(tmp_path / "other", seed=1, train=3, good=0, per_defect=0, size=SIZE))
    assert not set(other.values()) & set(contents(made).values())


def test_a_count_does_not_change_other_images(made: Path, tmp_path: Path) -> None:
    few = contents(generate_sample(tmp_path / "few", train=1, good=1, per_defect=1, size=SIZE))
    assert few.items() <= contents(made).items()


def test_more_of_the_same_set_keeps_what_is_there(tmp_path: Path) -> None:
    generate_sample(tmp_path, train=1, good=0, per_defect=0, size=SIZE)
    before = (tmp_path / "train/good/000.png").stat().st_mtime_ns
    generate_sample(tmp_path, train=2, good=0, per_defect=0, size=SIZE)
    assert (tmp_path / "train/good/000.png").stat().st_mtime_ns == before
    assert (tmp_path / "train/good/001.png").is_file()


def test_completes_its_own_set_after_an_interruption(made: Path, tmp_path: Path) -> None:
    folder = generate_sample(tmp_path / "set", size=SIZE, **COUNTS)
    for name in sorted(contents(folder))[1::2]:
        (folder / name).unlink()
    (folder / "train/good/.000.png.1.partial").write_bytes(b"cut off")
    (folder / "README.txt").write_text((made / "README.txt").read_text())
    generate_sample(folder, size=SIZE, **COUNTS)
    (folder / "train/good/.000.png.1.partial").unlink()
    assert contents(folder) == contents(made)


def test_an_error_while_writing_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        generate_sample(tmp_path, train=1, good=0, per_defect=0, size=SIZE)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["holiday.jpg", "train/good/mine.png", "train/good/000.jpg", ".hidden", "README.txt"])
def test_refuses_a_folder_of_others(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"not ours")
    with pytest.raises(DatasetError, match="name a new or empty folder"):
        generate_sample(tmp_path, size=SIZE, **COUNTS)
    assert contents(tmp_path) == {name: b"not ours"}


def test_refuses_images_of_its_layout_without_its_note(tmp_path: Path) -> None:
    (tmp_path / "train/good").mkdir(parents=True)
    (tmp_path / "train/good/000.png").write_bytes(b"some other data set")
    with pytest.raises(DatasetError, match="another sample set"):
        generate_sample(tmp_path, size=SIZE, **COUNTS)


@pytest.mark.parametrize("other", [{"seed": 1}, {"size": 96}, {"train": 2}])
def test_refuses_another_set_of_its_own(made: Path, other: dict[str, int]) -> None:
    before = contents(made)
    with pytest.raises(DatasetError, match="name a new or empty folder"):
        generate_sample(made, **{"size": SIZE, **COUNTS, **other})
    assert contents(made) == before


def test_refuses_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is a file"):
        generate_sample(tmp_path / "file")


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"train": -1}, {"good": -1}, {"per_defect": -2}, {"size": 8}, {"size": 10**6}]
)
def test_refuses_numbers_out_of_range(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        generate_sample(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_import_loads_no_opencv() -> None:
    code = "import blemish.datasets.sample.generate, sys; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
