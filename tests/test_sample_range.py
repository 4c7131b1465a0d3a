"""Which 16-bit samples are black and white: the type, what it does to samples, and what is said where it fits badly."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from command import blemish
from flavours import GREY, RGB, deep, shown, three
from hypothesis import given
from hypothesis import strategies as st
from image_writers import write_pnm, write_tiff
from runs import fitted
from textures import plate
from tiny_model import tiny_info, tiny_network

from blemish.checking import check_dataset
from blemish.config import dump_config, load_config
from blemish.errors import UsageError
from blemish.images import SampleMeter, decode_image
from blemish.images.decode import array_to_rgb
from blemish.models import InputInfo, load_model, save_model
from blemish.pipeline import open_model
from blemish.sample_range import FULL, SampleRange

EVERY = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize(
    "written, low, high", [(10, 0, 1023), (16, 0, 65535), ("800-1200", 800, 1200), (" 0 - 1000 ", 0, 1000)]
)
def test_it_is_written_as_bits_or_as_a_window(written: int | str, low: int, high: int) -> None:
    found = SampleRange.of(written)
    assert (found.low, found.high) == (low, high)
    assert SampleRange.of(found.written) == found and str(found) == str(found.written)


def test_a_window_of_whole_bits_is_that_many_bits() -> None:
    assert SampleRange.of("0-4095").written == 12 and SampleRange.of("1-4095").bits is None
    assert SampleRange.of("0-511").written == "0-511"


@pytest.mark.parametrize(
    "wrong", [9, 17, True, 12.0, None, "", "12", "9-8", "5-5", "0-65536", "-1-5", "1-2-3", "a-b", b"1-2"]
)
def test_what_is_no_range_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"bit depth .* should be a number of bits, 10 to 16, or a window LOW-HIGH"):
        SampleRange.of(wrong)


@given(st.integers(0, 65534), st.data())
def test_a_window_is_scaled_linearly_and_clipped(low: int, data: st.DataObject) -> None:
    high = data.draw(st.integers(low + 1, 65535))
    above = np.clip(EVERY.astype(np.int64) - low, 0, high - low)
    want = (above * 510 + high - low) // (2 * (high - low))  # halves rounded up
    assert np.array_equal(array_to_rgb(EVERY, "x", f"{low}-{high}"), three(want))


def test_colours_and_alpha_are_scaled_alike() -> None:
    colour = deep(RGB, 12).astype(np.uint16)
    for array in (colour, np.dstack([colour, colour[..., 0]])):
        assert np.array_equal(array_to_rgb(array[..., [2, 1, 0, *range(3, array.shape[2])]], "x", "0-4095"), RGB)
        assert array_to_rgb(array, "x", "100-200").max() == 255


def test_what_a_file_says_of_its_range_is_not_said_again() -> None:
    """PNM and TIFF of 12 bits have their own range, and a number of bits changes nothing about it."""
    grey = deep(GREY, 12)
    for data in (write_pnm(grey, 5, 4095), write_pnm(grey, 2, 4095), write_tiff(grey, 12)):
        for bit_depth in (10, 12, 16):
            assert np.array_equal(decode_image(data, "x", bit_depth=bit_depth), three(shown(grey, 4095)))
        window = np.clip((grey.astype(float) - 800) * 255 / 1200, 0, 255)
        found = decode_image(data, "x", bit_depth="800-2000")
        assert np.abs(found - three(window)).max() <= 0.5


def test_8_bit_images_are_never_scaled() -> None:
    assert np.array_equal(decode_image(cv2.imencode(".png", GREY)[1].tobytes(), "x", bit_depth="3-9"), three(GREY))


def test_the_run_file_takes_both_and_writes_what_it_takes(tmp_path: Path) -> None:
    for written, want in (("800-1200", "800-1200"), ("12", 12), ("0-1023", 10)):
        config = load_config(None, [f"Model.bit_depth={written}"])
        assert config.Model.bit_depth.written == want
        (tmp_path / "c.yaml").write_text(dump_config(config))
        assert load_config(str(tmp_path / "c.yaml"), []).Model.bit_depth == config.Model.bit_depth
    with pytest.raises(UsageError, match=r"Model\.bit_depth is '1200-800', but should be a number of bits"):
        load_config(None, ["Model.bit_depth=1200-800"])


@pytest.mark.parametrize("bit_depth, version", [(12, 1), (16, 1), ("0-4095", 1), ("800-1200", 5)])
def test_only_a_window_asks_for_a_newer_reader(bit_depth: int | str, version: int, tmp_path: Path) -> None:
    described = InputInfo(width=16, height=8, aspect=2.0, bit_depth=bit_depth)
    info = tiny_info(input=described, format_version=described.least_version)
    folder = save_model(tmp_path / "model", tiny_network(), info)
    stated = json.loads((folder / "model.json").read_text())
    assert stated["format_version"] == version and stated["input"]["bit_depth"] == SampleRange.of(bit_depth).written
    assert load_model(folder).info.input.bit_depth == SampleRange.of(bit_depth)


def span_of(*images: npt.NDArray[np.integer], bit_depth: int | str = 16) -> SampleMeter:
    meter = SampleMeter()
    for image in images:
        array_to_rgb(image.astype(np.uint16), "x", SampleRange.of(bit_depth).metered(meter))
    return meter


@pytest.mark.parametrize(
    "image, bit_depth, wanted",
    [
        (deep(GREY, 16), 16, None),
        (deep(GREY, 12), 16, "12"),
        (GREY.astype(int) * 16, 16, "12"),  # 8 bits in a container of 12
        (deep(GREY, 10), 16, "10"),
        (deep(GREY, 14), 16, "14"),
        (deep(GREY, 12) << 4, 16, None),  # shifted to the top: nothing is lost
        (deep(GREY, 10) << 6, 16, None),
        (800 + GREY.astype(int) * 400 // 255, 16, "830-1170"),
        (30_000 + GREY.astype(int) * 30, 16, "30600-37000"),
        (deep(GREY, 12), 12, None),
        (1000 + GREY.astype(int) // 4, 12, "1005-1058"),
        (800 + GREY.astype(int) * 400 // 255, "800-1200", None),
        (np.full((9, 9), 700), 16, "10"),
        (np.zeros((9, 9)), 16, None),
    ],
)  # fmt: skip
def test_few_bits_and_narrow_windows_are_noticed(image: np.ndarray, bit_depth: int | str, wanted: str | None) -> None:
    span = span_of(image, bit_depth=bit_depth).span
    assert span is not None and span.clipped() is None
    said = span.unused()
    assert (
        (said is None) if wanted is None else said is not None and re.search(rf"-o Model\.bit_depth={wanted}[,.]", said)
    )
    if wanted is not None and "-" in wanted:
        low, high = map(int, wanted.split("-"))
        assert low <= image.min() < low + 100 and high - 100 < image.max() <= high


def test_all_images_count_together_and_8_bit_ones_not_at_all() -> None:
    meter = span_of(deep(GREY, 10), deep(GREY, 16))
    assert meter.span is not None and meter.span.images == 2 and meter.span.unused() is None
    only_8 = SampleMeter()
    array_to_rgb(GREY, "x", FULL.metered(only_8))
    assert only_8.span is None


def test_samples_beyond_the_range_are_noticed() -> None:
    span = span_of(deep(GREY, 16), bit_depth=12).span
    assert span is not None and span.unused() is None
    assert "of the samples of 16-bit images lie outside 0 to 4095" in str(span.clipped())
    hot = deep(GREY, 12)
    hot[0, 0] = 65535
    assert span_of(hot, bit_depth=12).span.clipped() is None  # type: ignore[union-attr]


def write_16(folder: Path, top: int, low: int = 0, count: int = 12) -> Path:
    """Grey plates as 16-bit PNG from `low` to `top`."""
    folder.mkdir(parents=True)
    for number in range(count):
        grey = plate(number)[..., 0].astype(np.int64)
        full = (grey - grey.min()) * (top - low) // (grey.max() - grey.min()) + low
        cv2.imwrite(str(folder / f"{number:03}.png"), full.astype(np.uint16))
    return folder


@pytest.mark.parametrize("low, top, wanted", [(0, 1023, "10"), (0, 4080, "12"), (800, 1200, "800-1200")])
def test_the_check_and_the_training_name_the_key(low: int, top: int, wanted: str, tmp_path: Path) -> None:
    data = write_16(tmp_path / "in", top, low)
    found = [finding for finding in check_dataset(data, tmp_path / "check").findings if finding.code == "unused_range"]
    assert len(found) == 1 and found[0].severity == "warning"
    assert f"hold samples from {low} to {top} only, of 0 to 65535" in found[0].message
    assert re.search(rf"-o Model\.bit_depth={wanted}[,.]", found[0].message)
    report = fitted(data, tmp_path / "out")
    assert found[0].message in report.lines and found[0].message in (tmp_path / "out" / "train.log").read_text()
    again = fitted(data, tmp_path / "again", f"Model.bit_depth={wanted}")
    assert load_model(again.folder).info.input.bit_depth == SampleRange.of(int(wanted) if wanted.isdigit() else wanted)
    assert not [line for line in again.lines if "bit_depth" in line]
    bit_depth = load_model(again.folder).info.input.bit_depth
    codes = {finding.code for finding in check_dataset(data, tmp_path / "check", bit_depth=bit_depth).findings}
    assert not codes & {"unused_range", "clipped_samples"}


def test_full_16_bit_and_8_bit_sets_are_not_spoken_of(tmp_path: Path) -> None:
    data = write_16(tmp_path / "in", 65535)
    codes = {finding.code for finding in check_dataset(data, tmp_path / "check").findings}
    assert not codes & {"unused_range", "clipped_samples"}
    report = check_dataset(data, tmp_path / "check", bit_depth=12)
    assert [finding.code for finding in report.findings if "sample" in finding.code] == ["clipped_samples"]


def test_a_window_learns_what_8_bit_files_of_the_same_pictures_give(tmp_path: Path) -> None:
    narrow = write_16(tmp_path / "narrow", 800 + 255, 800)
    eight = tmp_path / "eight"
    eight.mkdir()
    for path in narrow.iterdir():
        samples = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(eight / path.name), (samples - 800).astype(np.uint8))
    windowed, plain = fitted(narrow, tmp_path / "one", "Model.bit_depth=800-1055"), fitted(eight, tmp_path / "two")
    assert load_model(windowed.folder).model == load_model(plain.folder).model
    scores = [
        [r.score for r in open_model(m.folder, "cpu").predict(d)] for m, d in ((windowed, narrow), (plain, eight))
    ]
    assert scores[0] == scores[1]


def test_a_model_says_once_that_images_have_another_range(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = fitted(write_16(tmp_path / "twelve", 4095), tmp_path / "out", "Model.bit_depth=12")
    sixteen = write_16(tmp_path / "sixteen", 65535, count=3)
    predictor = open_model(model.folder, "cpu")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "blemish"):
        list(predictor.predict(tmp_path / "twelve"))
        assert not caplog.records
        list(predictor.predict(sixteen))
        list(predictor.predict(cv2.imread(str(sixteen / "000.png"), cv2.IMREAD_UNCHANGED)))
    assert len(caplog.records) == 1
    assert "reads 16-bit samples from 0 to 4095, but an image has samples from 0 to 65535" in caplog.text
    shutil.rmtree(tmp_path / "twelve")
    said = blemish("predict", model.folder, sixteen)
    assert said.stderr.count("reads 16-bit samples from 0 to 4095") == 1 and said.code == 0
