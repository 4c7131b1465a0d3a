"""Defects planted into any image: where they are, how strong, and that they can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from textures import plate

from blemish.datasets.sample.planting import KINDS, draw_change, plant

CHANGES = {kind: draw_change(kind, 0) for kind in KINDS}


def planted(image: np.ndarray, kind: str, contrast: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return plant(image, CHANGES[kind], contrast, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
class TestPlanted:
    image = plate(0, 160)[:120]  # (120, 160, 3)

    def test_the_image_differs_where_the_mask_says_and_nowhere_else(self, kind):
        before = self.image.copy()
        image, mask = planted(self.image, kind, 40)
        assert np.array_equal((image != before).any(axis=2), mask == 255) and np.array_equal(self.image, before)
        assert 0.0002 < (mask > 0).mean() < 0.35

    def test_it_is_as_strong_as_asked_for(self, kind):
        apart = [
            np.quantile(np.abs(planted(self.image, kind, contrast)[0].astype(int) - self.image).max(axis=2), 0.999)
            for contrast in (10, 80)
        ]
        assert 2 < apart[0] < 25 and 3 < apart[1] / apart[0] < 14

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_it_shows_on_black_grey_and_white_and_is_grey_there(self, kind, level):
        image, mask = planted(np.full((128, 128, 3), level, np.uint8), kind, 60)
        assert np.abs(image[mask > 0].astype(int) - level).max() > 15
        assert (image == image[..., :1]).all()

    def test_it_is_the_same_for_a_seed_and_elsewhere_for_another(self, kind):
        first, again, other = (planted(self.image, kind, 40, seed)[1] for seed in (1, 1, 2))
        assert np.array_equal(first, again) and not np.array_equal(first, other)

    @pytest.mark.parametrize("shape", [(32, 32), (8, 400), (400, 8), (1, 1)])
    def test_any_shape_of_image_will_do(self, kind, shape):
        image, mask = planted(np.full((*shape, 3), 100, np.uint8), kind, 90)
        assert image.shape == (*shape, 3) and mask.shape == shape
