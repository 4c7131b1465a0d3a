"""Reading ahead: order, bounds, errors in their place, a clean end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.images import ImageRef, expand, read_ahead


def numbered(count: int, taken: list[int] | None = None) -> Iterator[ImageRef]:
    """References whose images hold their number; every seventh fails, and even ones are slower."""

    def decode(number: int, bit_depth: int) -> np.ndarray:
        time.sleep(0.002 * (number % 2 == 0))
        if number % 7 == 3:
            raise ImageError(f"{number}: broken")
        return np.full((1, 1, 3), number, np.uint8)

    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield ImageRef(str(number), None, PurePosixPath(f"{number}.png"), lambda depth, n=number: decode(n, depth))


@pytest.mark.parametrize("workers, depth", [(1, 1), (2, 8), (4, 3)])
def test_order_is_kept_and_errors_stand_in_their_place(workers: int, depth: int) -> None:
    results = list(read_ahead(numbered(30), 16, workers, depth))
    assert [ref.input_path for ref, _, _ in results] == [str(i) for i in range(30)]
    for number, (_, image, seconds) in enumerate(results):
        assert seconds >= 0
        if number % 7 == 3:
            assert isinstance(image, ImageError)
        else:
            assert isinstance(image, np.ndarray) and image[0, 0, 0] == number


def test_no_more_than_depth_are_taken_ahead() -> None:
    taken: list[int] = []
    results = read_ahead(numbered(100, taken), 16, workers=2, depth=4)
    for seen in range(1, 10):
        next(results)
        assert len(taken) <= seen + 4
    results.close()


def test_an_abandoned_generator_leaves_no_threads() -> None:
    results = read_ahead(numbered(1000), 16, workers=3, depth=8)
    next(results)
    results.close()
    deadline = time.monotonic() + 60
    while any(t.name.startswith("blemish-read") for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_defect_of_the_program_is_not_swallowed() -> None:
    def broken(bit_depth: int) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_ahead([ImageRef("x", None, PurePosixPath("x.png"), broken)], 16))


def test_the_bit_depth_reaches_the_reader() -> None:
    array = np.full((2, 2), 1023, np.uint16)
    for bit_depth, want in ((10, 255), (16, 4)):
        ((_, image, _),) = read_ahead(expand(array), bit_depth)
        assert isinstance(image, np.ndarray) and (image == want).all()


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["cv2", "PIL", "http.client", "ssl", "urllib.request", "pypdfium2", "concurrent.futures", "pydantic"]
    code = f"import sys, blemish.images; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
