"""Overlay, heat map and panel: calm where the map is calm, honest about the threshold, right for every size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.pipeline.colours import THRESHOLD_INDEX, colour_table, steps, value_at
from blemish.pipeline.drawing import draw_heat_map, draw_overlay
from blemish.pipeline.overview import Entry, draw_overview


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def disk_map(height, width, radius, peak=2.0):
    """A cone: `peak` in the middle, 1 at `radius`, falling to 0."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    return np.clip(peak - (peak - 1) * distance / radius, 0, None).astype(np.float32)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.01, 1000), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_calm_map_leaves_the_image_as_it_is(height, width, threshold, seed):
    image = photo(height, width, seed)
    calm = np.random.default_rng(seed).random((height, width), np.float32) * np.float32(0.84 * threshold)
    before = image.copy()
    assert np.array_equal(draw_overlay(image, calm, threshold), image)
    nearly = np.full((height, width), 0.88 * threshold, np.float32)
    assert np.abs(draw_overlay(image, nearly, threshold).astype(int) - image).max() <= 16
    assert np.array_equal(image, before)


def test_overlay_reddens_with_the_value():
    image = np.full((1, 400, 3), 120, np.uint8)
    anomaly_map = np.linspace(0, 0.999, 400, dtype=np.float32)[None]
    drawn = draw_overlay(image, anomaly_map, 1.0).astype(int)
    warmth = drawn[0, :, 0] - drawn[0, :, 2]
    assert (np.diff(warmth) >= 0).all() and warmth[-1] > 60
    hot = draw_overlay(np.full((400, 400, 3), 120, np.uint8), np.full((400, 400), 2, np.float32), 1.0)[200, 200]
    assert hot[0] > 180 and hot[1] < 80 and hot[2] < 90


@pytest.mark.parametrize(("height", "width"), [(900, 900), (600, 500), (240, 300)])
def test_contours_lie_on_the_threshold(height, width):
    image = np.full((height, width, 3), 120, np.uint8)
    radius = min(height, width) / 4
    anomaly_map = disk_map(height, width, radius)
    drawn = draw_overlay(image, anomaly_map, 1.0).astype(int)
    light = drawn.min(axis=2) > 150  # nothing else in the picture is lighter than the ground
    y, x = np.nonzero(light)
    distance = np.hypot(y - height / 2, x - width / 2)
    assert len(y) > 4 * radius
    assert np.abs(distance - radius).max() <= 2.5
    assert distance.mean() == pytest.approx(radius, abs=0.5)
    angles = np.unique((np.arctan2(y - height / 2, x - width / 2) * 20 / np.pi).astype(int))
    assert len(angles) >= 39  # all the way round


def test_a_contour_reads_on_white_and_on_black():
    for ground in (0, 255):
        drawn = draw_overlay(np.full((900, 900, 3), ground, np.uint8), disk_map(900, 900, 200), 1.0)
        ring = drawn[450, 640:662].astype(int).sum(axis=1)  # from inside across the line to outside
        assert ring.max() > 600 and ring.min() < 250


def test_small_images_keep_every_pixel_that_no_line_touches():
    image = photo(48, 64)
    anomaly_map = np.zeros((48, 64), np.float32)
    anomaly_map[10:14, 10:14] = 3
    drawn = draw_overlay(image, anomaly_map, 1.0)
    away = np.ones((48, 64), bool)
    away[7:17, 7:17] = False
    assert np.array_equal(drawn[away], image[away])
    assert not np.array_equal(drawn, image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (37, 1500)])
@pytest.mark.parametrize("value", [0.0, 0.9, 5.0])
def test_every_size_can_be_drawn(shape, value):
    anomaly_map = np.full(shape, value, np.float32)
    anomaly_map.flags.writeable = False
    image = photo(*shape)
    image.flags.writeable = False
    for picture in (draw_overlay(image, anomaly_map, 1.0), draw_heat_map(anomaly_map, 1.0)):
        assert picture.shape == (*shape, 3) and picture.dtype == np.uint8
    assert draw_overview([Entry("x", "", False, image, anomaly_map)], 1.0).dtype == np.uint8


def test_the_bands_of_a_large_image_join_without_a_seam():
    anomaly_map = np.random.default_rng(0).random((1500, 1100), np.float32) * 1.4
    whole = draw_heat_map(anomaly_map, 1.0)
    assert np.array_equal(whole, colour_table()[steps(anomaly_map, 1.0)])
    image = photo(1500, 1100)
    calm = anomaly_map * np.float32(0.71)  # tinted in places, no contour
    parts = [draw_overlay(image[rows], calm[rows], 1.0) for rows in (slice(0, 700), slice(700, 1500))]
    assert np.array_equal(draw_overlay(image, calm, 1.0), np.concatenate(parts))


def test_the_scale_is_absolute():
    good, bad = np.full((4, 4), 0.3, np.float32), np.full((4, 4), 0.3, np.float32)
    bad[0, 0] = 9.0
    assert np.array_equal(draw_heat_map(good, 1.0)[2:], draw_heat_map(bad, 1.0)[2:])
    assert np.array_equal(draw_heat_map(good, 1.0), draw_heat_map(good * np.float32(8), 8.0))


@pytest.mark.parametrize("threshold", [3.0, 0.25, 0.0, -2.0, 1e-20, 1e20])
def test_the_threshold_has_its_colour_for_any_sign(threshold):
    levels = np.array([[value_at(level, threshold) for level in (0.0, 1.0, 2.0, 99.0)]], np.float32)
    assert steps(levels, threshold).tolist() == [[0, THRESHOLD_INDEX, 2 * THRESHOLD_INDEX, 255]]


def test_no_threshold_within_reach():
    anomaly_map = np.array([[0.0, 5.0]], np.float32)
    assert steps(anomaly_map, float("inf")).tolist() == [[0, 0]]
    assert steps(anomaly_map, float("-inf")).tolist() == [[255, 255]]


# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009
EYES = {
    "normal": np.eye(3),
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("eye", EYES)
def test_no_eye_takes_a_calm_colour_for_a_hot_one(eye):
    import cv2

    srgb = colour_table() / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(EYES[eye]).T, 0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    calm, hot = lab[: int(0.9 * THRESHOLD_INDEX)], lab[THRESHOLD_INDEX:]
    assert np.linalg.norm(calm[:, None] - hot[None], axis=2).min() > 20  # CIE76; about 2.3 is just noticeable


@pytest.mark.parametrize("shape", [(900, 900), (48, 64), (300, 2000), (2000, 300), (10, 3000)])
@pytest.mark.parametrize("count", [1, 5])
def test_overview_layouts(shape, count):
    entry = Entry("a" * 400, "b" * 400, True, photo(*shape), disk_map(*shape, 5))
    page = draw_overview([entry] * count, 1.0, title="c" * 400, caption="d")
    assert page.ndim == 3 and 900 <= page.shape[1] < 1500 and page.shape[0] < 1900
    assert (page[:10] == 255).all() and (page[:, :10] == 255).all()  # margins stay free
    assert (page[:, -10:] == 255).all() and (page[-5:] == 255).all()


def test_overview_shows_the_image_the_verdict_and_letters_beyond_ascii():
    image = np.full((400, 400, 3), (10, 200, 30), np.uint8)
    calm = np.zeros((400, 400), np.float32)
    good, bad = (draw_overview([Entry("x", "", verdict, image, calm)], 1.0) for verdict in (False, True))
    assert (good == (10, 200, 30)).all(axis=2).sum() >= 2 * 250 * 250  # image and overlay
    assert good.shape == bad.shape
    assert bad[36, 40, 0] > bad[36, 40, 2] and good[36, 40, 0] < good[36, 40, 2]
    named = draw_overview([Entry("\u041f\u0440\u043e\u0431\u0430 \u00fc", "", False, image, calm)], 1.0)
    assert not np.array_equal(named, good)


def test_images_of_different_shapes_stand_in_one_overview():
    entries = [Entry("x", "", True, photo(*shape), disk_map(*shape, 5)) for shape in ((90, 90), (90, 60), (30, 300))]
    page = draw_overview(entries, 1.0)
    assert (page[:, :10] == 255).all() and (page[:, -10:] == 255).all() and (page[-5:] == 255).all()
