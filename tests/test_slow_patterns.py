"""Which patterns some name could keep busy, and which are what people write."""

from __future__ import annotations

import pytest

from blemish.calibration import why_slow


@pytest.mark.parametrize(
    "pattern, said",
    [
        (r"(([a-z])+)+\d$", "inside another"),
        (r"(?=(a+)+)b", "inside another"),
        (r"([a-z]{1,30}){1,30}\d", "inside another"),
        (r"(\w)\1", "backreference"),
        (r"(a)?(?(1)b|c)", "backreference"),
        (r"(a?){30}a{30}", "may be nothing"),
        (r"(a|a)*$", "overlap"),
        (r"(a|aa)+$", "overlap"),
        (r"(?:[^a]|b)+\d", "overlap"),
        (r"(?i)(ab|Ab)+x", "overlap"),
        (r"(?i:(ab|Ab)+)x", "overlap"),
        (r".*.*.*x", "overlap"),
        (r".*.*\d+x", "overlap"),
    ],
)
def test_refused(pattern: str, said: str) -> None:
    assert said in (why_slow(pattern) or "")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(P\d+)_",
        r"(.+)\[\d+\]",
        r"(?i)part(\d+)",
        r"(.+)_\d+\.png",
        r"^(.*)_(.*)\.png$",
        r"([^/]+)/[^/]+$",
        r"^(.+?)_cam\d+_light\d+\.\w+$",
        r"^(\d{8}_\d{6}_\d+)_(?:left|right|top)\.(?:png|jpe?g)$",
        r"(?:OK|NG)+_(\d+)",
        r"(?P<part>[A-Z]{2,4}-\d+)(?:_|-)\d+",
    ],
)
def test_taken(pattern: str) -> None:
    assert why_slow(pattern) is None
