"""What holds for all tests, and the fit that several files of them look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from runs import fitted
from servers import POSTGRES, Postgres, postgres
from textures import plate, write_all

from blemish.fitting import FitReport

# How long an example takes depends on what else the machine does.
settings.register_profile("blemish", deadline=None)
settings.load_profile("blemish")


@pytest.fixture(scope="session")
def plates() -> list[npt.NDArray[np.uint8]]:
    """Images of good plates."""
    return [plate(seed) for seed in range(24)]


@pytest.fixture(scope="session")
def good(plates: list[npt.NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of them."""
    return write_all(tmp_path_factory.mktemp("good"), plates)


@pytest.fixture(scope="session")
def usual(good: Path, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    """A fit on that folder; a test that changes its files makes its own."""
    return fitted(good, tmp_path_factory.mktemp("usual") / "out", "Calibrate.false_alarm_rate=0.1")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    """A PostgreSQL of our own."""
    if POSTGRES is None:
        pytest.skip("needs Debian's postgresql")
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str | None:
    """An empty store on each database."""
    return None if request.param == "sqlite" else request.getfixturevalue("cluster").new_database()
