"""The drift alarm: its promise on false alarms, its delay, the moment and the cause that it names."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.drift import Alarm, DriftAlarm, ImageStatistics, image_statistics, small_grey
from blemish.drift.causes import likely_cause
from blemish.drift.martingale import BETS, Martingale
from blemish.errors import UsageError
from blemish.store import open_store


def run(alarm: DriftAlarm, scores) -> Alarm | None:
    """The alarm that a stream raises."""
    return next((found for score in scores if (found := alarm.observe(float(score)))), None)


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0, 0.3))
def test_the_capital_is_a_martingale(p_values, tolerance):
    martingale = Martingale(tolerance)
    for p_value in p_values:
        martingale.observe(p_value)
    assert martingale.value >= 0
    state = martingale.to_json()
    # the bets are linear in the p-value, so two points give the exact mean over uniform ones
    following = []
    for p_value in (0.25, 0.75):
        copy = Martingale(**json.loads(json.dumps(state)))
        following.append(copy.observe(p_value))
    mean = float(np.mean(following))
    assert mean <= martingale.value * (1 + 1e-12)
    if tolerance == 0:
        assert mean == pytest.approx(martingale.value, rel=1e-9)


def test_contamination_is_tolerated_exactly():
    # a defect has the smallest p-value; the worst mean over a tenth of them and nine tenths of uniform ones is below 1
    for bet in BETS:
        worst = 0.9 * 1 + 0.1 * (1 + abs(bet))
        assert worst / (1 + 0.1 * abs(bet)) <= 1 + 1e-12


@pytest.mark.parametrize(("count", "tolerance"), [(0, 0.0), (20, 0.0), (60, 0.05)])
def test_false_alarms_are_as_rare_as_promised(count, tolerance):
    alpha, streams, alarms = 0.2, 120, 0
    for seed in range(streams):
        random = np.random.default_rng(seed)
        alarm = DriftAlarm(random.gamma(3, size=count), alpha=alpha, tolerance=tolerance, seed=seed)
        alarms += run(alarm, random.gamma(3, size=400)) is not None
    assert alarms <= alpha * streams + 3 * np.sqrt(alpha * (1 - alpha) * streams)
    if tolerance == 0:
        assert alarms > 0  # the promise is not kept by sleeping


def test_defects_are_no_drift():
    for seed in range(5):
        random = np.random.default_rng(seed)
        stream = random.normal(size=2000) + 20 * (random.random(2000) < 0.03)
        assert run(DriftAlarm(random.normal(size=100), seed=seed), stream) is None


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("before", "change", "most"), [(60, 2.0, 40), (2000, 2.0, 50), (500, 1.0, 120)])
def test_a_change_is_noticed_soon_and_dated(sign, before, change, most):
    for seed in range(5):
        random = np.random.default_rng(seed)
        stream = np.concatenate([random.normal(size=before), random.normal(sign * change, size=500)])
        alarm = run(DriftAlarm(random.normal(size=80), seed=seed), stream)
        assert before < alarm.raised < before + most
        assert abs(alarm.began - before) <= 60 / change
        assert alarm.evidence >= 100 and "since image" in alarm.explanation and "\n" not in alarm.explanation


def test_images_that_differ_from_the_first_on():
    random = np.random.default_rng(0)
    alarm = run(DriftAlarm(random.normal(size=200)), random.normal(2, size=100))
    assert alarm.began <= 5 and alarm.raised < 40


@given(st.integers(0, 120), st.integers(0, 2**32))
def test_a_restart_changes_nothing(stop, seed):
    random = np.random.default_rng(seed)
    stream = [float(score) for score in np.concatenate([random.normal(size=60), random.normal(3, size=60)])]
    looks = [ImageStatistics(100 + score, 0.5, 0.0, 0.01) for score in stream]
    whole = DriftAlarm(stream[:10], seed=1)
    halved = DriftAlarm(stream[:10], seed=1)
    for at, (score, look) in enumerate(zip(stream, looks, strict=True)):
        if at == stop:
            halved = DriftAlarm.from_json(json.loads(json.dumps(halved.to_json())))
        assert whole.observe(score, look) == halved.observe(score, look)
    assert whole.alarm == halved.alarm is not None and whole.evidence == halved.evidence


def test_the_state_in_a_store(tmp_path):
    alarm = DriftAlarm(np.arange(50.0))
    run(alarm, np.arange(30.0))
    with open_store(None, tmp_path) as store:
        store.settings.set("drift/bottle", alarm.to_json())
        back = DriftAlarm.from_json(store.settings.get("drift/bottle"))
    assert (back.observed, back.evidence) == (30, alarm.evidence)
    for wrong in ({}, {**alarm.to_json(), "seen": "many"}, {**alarm.to_json(), "alpha": 2}):
        with pytest.raises(UsageError):
            DriftAlarm.from_json(wrong)


def test_after_the_alarm():
    random = np.random.default_rng(0)
    good, new = random.normal(size=100), random.normal(4, size=(3, 300))
    alarm = DriftAlarm(good)
    assert run(alarm, new[0]) is not None
    assert alarm.observe(0.0) is None and alarm.observed == alarm.alarm.raised + 1
    alarm.reset()
    assert alarm.alarm is None and alarm.observed == 0
    assert run(alarm, new[1]) is not None  # nothing was mended
    alarm.reset(accept=True)
    assert run(alarm, new[2]) is None  # the world is to be so
    assert run(alarm, good) is not None


def test_after_the_alarm_of_a_stream_that_was_its_own_reference():
    random = np.random.default_rng(1)
    good, other = random.normal(size=(2, 200)), random.normal(4, size=(2, 100))
    alarm = DriftAlarm()
    assert run(alarm, [*good[0], *other[0]]).began == pytest.approx(200, abs=20)
    alarm.reset()  # says that it was mended, and it was not
    assert run(alarm, other[1]).began <= 5
    alarm.reset()
    assert run(alarm, good[1]) is None


def test_the_beginnings_hold_the_one_that_an_alarm_names():
    random = np.random.default_rng(2)
    alarm, before = DriftAlarm(), frozenset({0})
    for score in [*random.normal(size=150), *random.normal(3, size=100)]:
        if found := alarm.observe(score):
            break
        before = alarm.beginnings
    assert found.began in alarm.beginnings & before and len(before) <= len(BETS)


def test_what_cannot_be():
    for score in (np.nan, np.inf):
        with pytest.raises(UsageError, match="finite"):
            DriftAlarm([1.0]).observe(score)
    for wrong in ({"alpha": 0}, {"alpha": 1}, {"tolerance": -0.1}, {"tolerance": 1}):
        with pytest.raises(UsageError):
            DriftAlarm([1.0], **wrong)
    many = DriftAlarm(np.arange(5000.0))
    for score in range(3000):
        many.observe(float(score % 50))
    assert len(json.dumps(many.to_json())) < 200_000  # its state does not grow with the stream


def picture(seed: int) -> np.ndarray:
    """A part on a table (240, 320, 3): blocks of grey that lie a pixel elsewhere each time."""
    random = np.random.default_rng(seed)
    image = np.full((240, 320, 3), 60, np.uint8)
    x, y = random.integers(-1, 2, 2)
    for n in range(12):
        left, top = 60 + 17 * n, 50 + (n * 37) % 130
        cv2.rectangle(image, (left + x, top + y), (left + x + 25, top + y + 30), (90 + 12 * n,) * 3, -1)
    return np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def moved(image: np.ndarray, right: int, down: int) -> np.ndarray:
    return cv2.warpAffine(image, np.float32([[1, 0, right], [0, 1, down]]), (320, 240), borderMode=cv2.BORDER_REPLICATE)


def test_statistics_of_an_image():
    image = picture(0)
    reference = small_grey(image)
    assert reference.shape == (96, 128)
    plain = image_statistics(image, reference)
    assert plain.brightness == pytest.approx(image.mean(), abs=1) and abs(plain.shift_x) < 0.001
    darker = image_statistics(cv2.convertScaleAbs(image, alpha=0.7), reference)
    assert darker.brightness == pytest.approx(0.7 * plain.brightness, rel=0.02)
    assert darker.focus == pytest.approx(plain.focus, rel=0.05)  # a darker lamp is no blur
    assert image_statistics(cv2.GaussianBlur(image, (0, 0), 1.5)).focus < 0.5 * plain.focus
    shifted = image_statistics(moved(image, 16, -12), reference)
    assert (shifted.shift_x, shifted.shift_y) == pytest.approx((0.05, -0.05), abs=0.006)


def test_statistics_of_odd_images():
    flat = image_statistics(np.zeros((1, 1, 3), np.uint8))
    assert flat == ImageStatistics(0.0, 0.0)
    other = image_statistics(picture(0)[:100], small_grey(picture(0)))
    assert other.shift_x is None and other.shift_y is None
    blank = image_statistics(np.zeros((96, 128, 3), np.uint8), np.zeros((96, 128), np.uint8))
    assert blank.shift_x is None or abs(blank.shift_x) <= 1


CHANGES = {
    "brightness": lambda image: cv2.convertScaleAbs(image, alpha=0.85),
    "focus": lambda image: cv2.GaussianBlur(image, (0, 0), 1.2),
    "position": lambda image: moved(image, 20, 9),
    None: lambda image: image,
}


@pytest.mark.parametrize("cause", CHANGES)
def test_the_cause_is_named(cause):
    random, reference = np.random.default_rng(0), small_grey(picture(0))
    alarm, found = DriftAlarm(random.normal(size=100)), None
    for seed in range(120):
        image, score = picture(seed), random.normal()
        if seed >= 60:
            image, score = CHANGES[cause](image), score + 3
        found = found or alarm.observe(score, image_statistics(image, reference))
    assert found.cause == cause
    words = {"brightness": "darker", "focus": "less sharp", "position": "of the width", None: "Neither"}
    assert words[cause] in found.explanation


def test_reference_statistics_of_good_images_serve_from_the_first_image_on():
    good = [image_statistics(picture(seed)) for seed in range(20)]
    random = np.random.default_rng(0)
    alarm, found = DriftAlarm(random.normal(size=100), reference=good), None
    for seed in range(60):
        look = image_statistics(CHANGES["brightness"](picture(100 + seed)))
        found = found or alarm.observe(random.normal(3), look)
    assert (found.began, found.cause) == (0, "brightness")
    assert likely_cause(good[:2], good)[0] is None
