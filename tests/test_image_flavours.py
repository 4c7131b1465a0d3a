"""Hundreds of flavours of image files: each shows what was written, or is refused with its true reason."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from command import ROOT
from flavours import GROUPS, WHOLE, Flavour, flavours

from blemish.errors import ImageError
from blemish.images import Limits, decode_image, expand

BLACK = 8  # mean grey level; no picture here is so dark


def fault(flavour: Flavour) -> str | None:
    """What is wrong with how a file is read, None if nothing."""
    try:
        image = decode_image(flavour.data, "x")
    except ImageError as error:
        if flavour.want is not None:
            return f"{flavour.name}: refused: {error}"
        return None if flavour.words in str(error) else f"{flavour.name}: {error} does not say {flavour.words!r}"
    if flavour.want is None:
        return f"{flavour.name}: read, though it should say {flavour.words!r}; mean {image.mean():.0f}"
    if image.shape != flavour.want.shape:
        return f"{flavour.name}: {image.shape} instead of {flavour.want.shape}"
    off = np.abs(image.astype(int) - flavour.want).max()
    return None if off <= flavour.tolerance else f"{flavour.name}: off by {off}; mean {image.mean():.0f}"


@pytest.mark.parametrize("group", GROUPS)
def test_every_flavour_is_read_rightly_or_refused_with_its_reason(group: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a decoder that warns has found something that a person would have to see
        faults = [found for flavour in flavours(group) if (found := fault(flavour))]
    assert not faults, "\n".join(faults)


def test_there_are_hundreds_of_flavours_none_of_them_black() -> None:
    lines, total = [], 0
    for group in GROUPS:
        found = flavours(group)
        read = [flavour for flavour in found if flavour.want is not None]
        assert all(flavour.want is not None and flavour.want.mean() > BLACK for flavour in read)
        assert len({flavour.name for flavour in found}) == len(found)
        total += len(found)
        lines.append(f"| {group} | {len(found)} | {len(read)} | {len(found) - len(read)} |")
    print(
        "\n".join(["", "| files | flavours | read | refused |", "|---|---|---|---|", *lines, f"| all | {total} | | |"])
    )
    page = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
    in_all = sum(flavour.want is not None for group in GROUPS for flavour in flavours(group))
    assert total >= 500 and f"write {total:,} flavours" in page and f" {in_all} are read" in page


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_that_is_cut_short_is_told_from_one_that_is_not_supported(kind: str) -> None:
    data = WHOLE[kind]()
    decode_image(data, "x")
    ends = [int(len(data) * share) for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)]
    for end in {*ends, len(data) - 2, len(data) - 3}:
        if kind in ("P1", "P2", "P3") and end >= len(data) - 3:
            continue  # white space, or a digit of the last number
        if kind in ("GIF", "TIFF with its directory at the end") and end >= len(data) - 3:
            continue  # the picture ends before
        with pytest.raises(ImageError) as caught:
            decode_image(data[:end], "x")
        assert re.search(r"cut short( or malformed)?(:|$)|cut short after \d+ (bytes|kB)", str(caught.value)), end


@pytest.mark.parametrize("kind", WHOLE)
def test_the_content_decides_whatever_the_suffix_says(kind: str, tmp_path: Path) -> None:
    data = WHOLE[kind]()
    want = decode_image(data, "x")
    for suffix in ("jpg", "png", "tif", "bmp", "webp", "pgm", "gif", "jp2", "avif", "jfif", "jpe", "pdf"):
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(data)
        (ref,) = expand(path)
        assert np.array_equal(ref.read(), want), suffix


@pytest.mark.parametrize("kind", WHOLE)
def test_the_pixel_limit_is_kept_by_every_decoder(kind: str) -> None:
    with pytest.raises(ImageError, match="50x61 pixels are more than the limit of 3000"):
        decode_image(WHOLE[kind](), "x", Limits(max_pixels=3000))
