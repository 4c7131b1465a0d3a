"""Data sets: where the good images are, and a generated sample."""

from blemish.datasets.layouts import GoodImages, find_good_images
from blemish.datasets.sample import generate_sample

__all__ = ["GoodImages", "find_good_images", "generate_sample"]
