"""The exported page gives Blemish's scores, regions and verdicts: in a real browser, on files as people have them."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Page
from textures import plate
from tiny_model import FAULTS, HEIGHT, WIDTH, faulty_network, tiny_info, tiny_network
from web_page import chromium, inspect, opened, served, trouble

from blemish.calibration import Calibration, compact
from blemish.exporting import export_model
from blemish.fitting import FitReport
from blemish.images import Area
from blemish.images.decode import decode_image
from blemish.images.geometry import _resize
from blemish.models import InputInfo, save_model
from blemish.models.calibration_info import CalibrationInfo, SessionsInfo
from blemish.models.info import AreaInfo, TilesInfo
from blemish.pipeline import open_model
from blemish.pipeline.result import Result

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Any, usual: FitReport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of the usual model."""
    folder = export_model(usual.output, "browser", tmp_path_factory.mktemp("page") / "export")
    with served(folder) as address, browser.new_context() as context:
        yield opened(context, address)


def pixels(seed: int, width: int, height: int) -> Pixels:
    """A plate with colour, RGB (height, width, 3); every second one has a defect."""
    image = cv2.resize(plate(seed, max(width, height), defect=seed % 2 == 1)[:height, :width], (width, height))
    tint = np.linspace(0.7, 1.2, width)[None, :, None] * np.array([1.1, 0.9, 0.7])
    return np.clip(image * tint, 0, 255).astype(np.uint8)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def twenty(folder: Path) -> list[Path]:
    """Ten PNG and ten JPEG files: sizes, aspects, orientations, depths and kinds that occur."""
    folder.mkdir()
    sizes = [
        (96, 96),
        (300, 300),
        (511, 333),
        (333, 511),
        (64, 90),
        (1200, 100),
        (97, 640),
        (800, 800),
        (50, 40),
        (288, 192),
    ]
    for number, (width, height) in enumerate(sizes):
        rgb = pixels(number, width, height) if number else plate(0)  # one of the good ones
        image = Image.fromarray(rgb)
        if number == 2:
            image = image.convert("L")
        if number == 3:
            image.putalpha(Image.fromarray(np.tile(np.arange(width) % 256, (height, 1)).astype(np.uint8)))
        if number == 4:
            image = image.convert("P", palette=Image.Palette.ADAPTIVE)
        options: dict[str, Any] = {"exif": exif(1 + number % 8)} if number > 6 else {}
        image.save(folder / f"{number:02}.png", **options)
        jpeg = Image.fromarray(pixels(50 + number, width, height)).convert("L" if number == 5 else "RGB")
        jpeg.save(folder / f"{number:02}.jpg", quality=80 + number, subsampling=number % 3, exif=exif(1 + number % 8))
    cv2.imwrite(str(folder / "05.png"), pixels(5, 640, 200)[..., ::-1].astype(np.uint16) * 257 + 100)
    (folder / "06.png").write_bytes(interlaced(pixels(6, 97, 640)))
    return sorted(folder.iterdir())


def interlaced(rgb: Pixels) -> bytes:
    """An Adam7 PNG, whose rows are not filtered."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [b"\0" + row.tobytes() for x, y, dx, dy in passes for row in rgb[y::dy, x::dx]]
    header = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def assert_same(record: dict[str, Any], result: Result, tolerance: float) -> None:
    """The page's record is that of Python; regions may differ where the map only just touches the threshold."""
    expected = result.to_dict(mask=False)
    assert record["error"] is expected["error"] is None
    assert record["score"] == pytest.approx(expected["score"], rel=tolerance), record["input_path"]
    keys = ("size", "label", "is_anomalous", "model_name", "threshold", "pixel_threshold")
    for key in (*keys, "false_alarm_rate", "supported_rate"):
        assert record[key] == expected[key], (record["input_path"], key)
    if tolerance < 1e-4:
        assert record["p_value"] == pytest.approx(expected["p_value"], abs=1e-12)
        assert len(record["regions"]) == len(expected["regions"])
        for found, region in zip(record["regions"], expected["regions"], strict=True):
            assert np.abs(np.subtract(found["box"], region["box"])).max() <= 1, record["input_path"]
            assert found["area"] == pytest.approx(region["area"], rel=0.01, abs=3)
            assert found["peak"] == pytest.approx(region["peak"], rel=1e-3)
            assert found["centroid"] == pytest.approx(region["centroid"], abs=1)


def test_twenty_images_score_as_in_python(page: Page, usual: FitReport, tmp_path: Path) -> None:
    files = twenty(tmp_path / "twenty")
    records = inspect(page, files)
    results = list(open_model(usual.output, "cpu").predict(files))
    assert len(records) == 20 and {record["label"] for record in records} == {"Normal", "Anomaly"}
    assert sum(len(record["regions"]) for record in records) > 5
    for record, result in zip(records, results, strict=True):
        assert_same(record, result, 1e-5 if record["input_path"].endswith(".png") else 1e-3)


def frames() -> dict[str, InputInfo]:
    """Inputs of the tiny network (16 x 8): whole, in tiles, with an area, and both."""
    tiles = TilesInfo(columns=3, rows=2, step_x=8, step_y=5)
    whole = {"width": 16, "height": 8}

    def area(width: int, height: int) -> AreaInfo:
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, (width // 3, height // 2), height // 2 - 1, 1, -1)
        mask[1:3, -4:-1] = 1
        return AreaInfo(**Area(mask > 0).to_rle())

    return {
        "whole": InputInfo(**whole, aspect=2.0),
        "tiles": InputInfo(**whole, aspect=32 / 13, tiles=tiles),
        "area": InputInfo(**whole, aspect=2.0, area=area(16, 8)),
        "both": InputInfo(**whole, aspect=32 / 13, tiles=tiles, area=area(32, 13)),
        "stretched": InputInfo(**whole),
        "stretched tiles": InputInfo(**whole, tiles=tiles),
        "12 bits": InputInfo(**whole, aspect=2.0, bit_depth=12),
        "12 bits, a window": InputInfo(**whole, aspect=2.0, bit_depth="700-3001"),
    }


@pytest.mark.parametrize("name", frames())
def test_frames_are_those_of_python(name: str, browser: Any, tmp_path: Path) -> None:
    record, days = frames()[name], SessionsInfo(numbers=[1, 1, 0, 1], names=["monday", "tuesday"], learned=1)
    calibration = CalibrationInfo(
        scores=[200.0, 180.0, 170.5, 120.25], peaks=[170.0, 160.0, 150.0, 90.0], parts=[0, 0, 1, 2],
        false_alarm_rate=0.3, kind="leave-one-part-out",
        sessions=days if name == "whole" else None,
        interpolated=name in ("both", "stretched", "12 bits, a window"),
    )  # fmt: skip
    if name == "12 bits":  # of many images, in few entries
        rising = np.linspace(90, 250, 80)
        full = Calibration(rising, rising[::-1] - 20, np.arange(80) // 2, 0.3)
        calibration = CalibrationInfo(**compact(full, 20).to_json())
        assert calibration.counted is not None
    version = max(record.least_version, calibration.least_version)
    model = save_model(
        tmp_path / "model",
        tiny_network(),
        tiny_info(input=record, calibration=calibration, format_version=version),
    )
    sizes = [(64, 26), (320, 130)] if "both" in name else [(64, 32), (500, 250)]
    if record.area is None:
        sizes += [(40, 90), (300, 40), (7, 5)]
    files = []
    for number, (width, height) in enumerate(sizes):
        noise = np.random.default_rng(number).normal(0, 1, (height, width, 3)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), max(1, width / 12))
        image = np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint16)
        files.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(files[-1]), image * 16 + 7 if name.startswith("12 bits") else image.astype(np.uint8))
    folder = export_model(model, "browser", tmp_path / "export")
    with served(folder) as address, browser.new_context(service_workers="block") as context:
        found = inspect(opened(context, address), files)
    for each, result in zip(found, open_model(model, "cpu").predict(files), strict=True):
        assert_same(each, result, 1e-5)


def page_of(network: bytes, calibration: CalibrationInfo, folder: Path) -> Path:
    """The exported page of a model of a few nodes."""
    model = save_model(folder / "model", network, tiny_info(calibration=calibration))
    return export_model(model, "browser", folder / "export")


ONE_PART = CalibrationInfo(scores=[40.0], peaks=[40.0], parts=[0], false_alarm_rate=0.01, kind="one part")


def test_no_number_is_no_verdict_and_a_guess_is_called_one(browser: Any, tmp_path: Path) -> None:
    files = [tmp_path / f"{level}.png" for level in (50, *FAULTS)]
    for file in files:
        cv2.imwrite(str(file), np.full((HEIGHT, WIDTH, 3), int(file.stem), np.uint8))
    folder = page_of(faulty_network(), ONE_PART, tmp_path)
    with served(folder) as address, browser.new_context(service_workers="block") as context:
        page = opened(context, address)
        sound, *failed = inspect(page, files)
        page.click("#rows tr:first-child button")
        assert "Not calibrated: the good images show one part only" in page.inner_text("#meaning")
        assert page.inner_text("#p-value") == "unknown"
    assert (sound["label"], sound["p_value"], sound["false_alarm_rate"]) == ("Anomaly", None, None)
    for record in failed:
        assert "gets no verdict: the model gives" in record["error"]
        assert record["score"] is record["label"] is record["is_anomalous"] is None


def test_a_model_that_gives_no_numbers_is_refused(browser: Any, tmp_path: Path) -> None:
    folder = page_of(faulty_network(grey=True), ONE_PART, tmp_path)
    with served(folder) as address, browser.new_context(service_workers="block") as context:
        assert "A grey or noisy image gets no verdict" in trouble(context, address)


RESIZES = [
    ((900, 900), (256, 256)), ((512, 512), (256, 256)), ((300, 200), (100, 50)), ((300, 200), (100, 200)),
    ((641, 479), (320, 96)), ((97, 640), (96, 64)), ((50, 40), (96, 96)), ((50, 400), (96, 96)),
    ((333, 333), (96, 111)), ((31, 17), (64, 96)), ((1, 1), (64, 64)), ((96, 96), (96, 96)),
]  # fmt: skip


def computed(page: Page, module: str, call: str, data: bytes) -> tuple[int, int, Pixels]:
    """Width, height and pixels of the image that an expression over the bytes `data` gives, in the page."""
    code = f"""async (text) => {{
        const {{ {call.partition("(")[0]} }} = await import("./{module}.js");
        const data = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        const image = await {call};
        let found = "";
        for (const value of image.data) found += String.fromCharCode(value);
        return [image.width, image.height, btoa(found)];
    }}"""
    width, height, found = page.evaluate(code, base64.b64encode(data).decode())
    return width, height, np.frombuffer(base64.b64decode(found), np.uint8)


def test_the_resize_is_opencvs(page: Page) -> None:
    for (width, height), (to_width, to_height) in RESIZES:
        image = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), np.uint8)
        call = f"resize({{ width: {width}, height: {height}, data }}, {to_width}, {to_height})"
        *_, found = computed(page, "resize", call, image.tobytes())
        difference = np.abs(found.astype(int) - _resize(image, to_width, to_height).ravel())
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3, (width, height, difference.mean())


def test_a_png_is_decoded_to_the_bit(page: Page) -> None:
    rgb = pixels(1, 61, 37)
    deep = rgb[..., ::-1].astype(np.uint16) * 257 + 60
    kinds = {"interlaced": interlaced(rgb), "16 bits": cv2.imencode(".png", deep)[1].tobytes()}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        stream = io.BytesIO()
        Image.fromarray(rgb).convert(mode).save(stream, "PNG")
        kinds[mode] = stream.getvalue()
    for kind, data in kinds.items():
        width, height, found = computed(page, "decode", "decode(new Blob([data]), 16)", data)
        expected = decode_image(data, kind)
        assert (height, width) == expected.shape[:2] and (found == expected.ravel()).all(), kind
