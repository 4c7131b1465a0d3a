"""Data sets: their layouts and masks, and a generated sample."""

from blemish.datasets.layouts import (
    Dataset,
    GoodImages,
    Sample,
    find_categories,
    find_good_images,
    load_dataset,
    read_mask,
    relative_name,
)
from blemish.datasets.sample import generate_sample

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
