"""Data sets: their layouts and masks, and a generated sample."""

from blemish.datasets.layouts.loading import find_categories, find_good_images, load_dataset
from blemish.datasets.masks.reading import read_mask
from blemish.datasets.sample.generate import generate_sample
from blemish.datasets.samples import Dataset, GoodImages, Sample, relative_name

__all__ = [
    "Dataset",
    "GoodImages",
    "Sample",
    "find_categories",
    "find_good_images",
    "generate_sample",
    "load_dataset",
    "read_mask",
    "relative_name",
]
