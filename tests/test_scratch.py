"""Arrays beyond a bound of memory: what comes back, what it costs, and what a disk that refuses says."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from blemish.errors import UsageError
from blemish.scratch import Scratch

KINDS = (np.arange(7, dtype=np.float32), np.eye(3, dtype=np.uint8)[::-1, :2], np.full((2, 1, 5), -1, np.int32))


@pytest.mark.parametrize("room", [0, 30, 10_000])
def test_what_is_kept_comes_back(tmp_path: Path, room: int) -> None:
    scratch = Scratch(room, tmp_path)
    kept = [scratch.keep(array) for array in KINDS * 2]
    for one, array in zip(kept[::-1], (KINDS * 2)[::-1], strict=True):
        assert (one.shape, one.dtype, one.size) == (array.shape, array.dtype, array.size)
        np.testing.assert_array_equal(one.read(), array)
        for size in (1, 4, 100):
            blocks = list(one.blocks(size))
            assert max(map(len, blocks)) <= size
            np.testing.assert_array_equal(np.concatenate(blocks), array.ravel())


def test_memory_is_bounded_and_the_file_leaves_no_trace(tmp_path: Path) -> None:
    tracemalloc.start()
    scratch = Scratch(3_000_000, tmp_path)
    kept = [scratch.keep(np.full(1_000_000, number, np.uint8)) for number in range(40)]
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3_500_000 and peak < 5_500_000
    assert [int(one.read()[-1]) for one in kept] == list(range(40))
    assert list(tmp_path.iterdir()) == [], "a process that is killed would leave this behind"


def test_within_the_room_nothing_is_copied(tmp_path: Path) -> None:
    array = np.arange(10)
    assert Scratch(80, tmp_path).keep(array).read() is array


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    scratch = Scratch(0, tmp_path)
    scratch.keep(np.zeros(1))
    assert scratch._file is not None
    scratch._file._file = full = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115 - closed below
    with pytest.raises(UsageError, match=rf"^{tmp_path}: {os.strerror(errno.ENOSPC)}: what does not fit"):
        scratch.keep(np.zeros(1_000_000, np.uint8))
    full.close()


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        Scratch(0, tmp_path / "gone").keep(np.zeros(10))


class Drawn:
    """Images that are made anew whenever they are gone through, as those of a training are read again."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        for seed in range(self.count):
            yield np.random.default_rng(seed).integers(0, 256, (self.size, self.size, 3), np.uint8)


def test_a_memory_budget_holds_for_the_images_of_a_training_and_changes_none(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from blemish.training.features import Features
    from blemish.training.networks import load_teacher

    teacher, images = load_teacher("efficientnet_lite0", None, (8, 16)), Drawn(48, 256)  # 9.4 MB
    device, rows = torch.device("cpu"), np.array([47, 0, 20])
    everything = Features(teacher, images, device, 40_000_000)
    tracemalloc.start()
    bounded = Features(teacher, images, device, 4_000_000, folder=tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000, "a quarter of the budget, and the images of one step"
    assert len(bounded) == 48 and bounded.held == 0
    assert torch.equal(bounded.planes(rows), everything.planes(rows))
