"""The exported page as people meet it: offline, with a camera, on small screens, and with whatever can be wrong."""

from __future__ import annotations

import csv
import io
import re
import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page
from textures import plate, write
from tiny_model import tiny_info, tiny_network
from web_page import FAKE_CAMERA, LOADING, SOFTWARE_GPU, chromium, inspect, launched, opened, saved, served, trouble

from blemish.cli import main
from blemish.errors import ModelError, UsageError
from blemish.exporting import export_model
from blemish.exporting.browser import runtime
from blemish.models import load_model, save_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exported")
    return export_model(save_model(root / "model", tiny_network(), tiny_info()), "browser", root / "page")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*FAKE_CAMERA, *SOFTWARE_GPU) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Any, exported: Path) -> Iterator[Page]:
    with served(exported) as address, browser.new_context(permissions=["camera"]) as context:
        yield opened(context, address)


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def refusals(page: Page, tmp_path: Path, files: dict[str, bytes]) -> dict[str, str]:
    """What is said of each file; none of them stops the good image at the end."""
    paths = [tmp_path / name for name in files]
    for path in paths:
        path.write_bytes(files[path.name])
    *records, good = inspect(page, [*paths, write(tmp_path / "good.png", plate(1))])
    assert good["error"] is None and good["score"] > 0
    return {record["input_path"]: record["error"] for record in records}


def encoded(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(plate(3)).convert(options.pop("mode", "RGB")).save(stream, kind, **options)
    return stream.getvalue()


def test_whatever_is_no_image_gets_one_line(page: Page, tmp_path: Path) -> None:
    png, jpeg = encoded("PNG"), encoded("JPEG")
    header = b"IHDR" + struct.pack(">IIBBBBB", 120_000, 90_000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + png[-12:]
    transparent = Image.fromarray(plate(3)).convert("RGBA")
    transparent.putalpha(100)
    webp = io.BytesIO()
    transparent.save(webp, "WEBP", lossless=True)
    files = {
        "text.png": b"hello", "empty.png": b"", "huge.png": huge, "cut.png": png[:-300], "cut.jpg": jpeg[:-300],
        "damaged.png": png[:200] + bytes([png[200] ^ 1]) + png[201:], "page.pdf": b"%PDF-1.7",
        "clear.webp": webp.getvalue(), "scan.png": encoded("TIFF"),
    }  # fmt: skip
    assert refusals(page, tmp_path, files) == {
        "text.png": "text.png: is not an image that can be read (JPEG, PNG, WebP, BMP)",
        "empty.png": "empty.png: is empty (0 bytes)",
        "huge.png": "huge.png: has 120000x90000 pixels, more than the 100 million that a page can take",
        "cut.png": "cut.png: is cut short: the end of the PNG data is missing",
        "cut.jpg": "cut.jpg: is cut short: the end of the JPEG data is missing",
        "damaged.png": "damaged.png: is a damaged PNG file",
        "page.pdf": "page.pdf: is a PDF file, which browsers do not read; save it as PNG",
        "clear.webp": "clear.webp: has transparent pixels, whose colours browsers change; save it as PNG",
        "scan.png": "scan.png: is a TIFF file, which browsers do not read; save it as PNG",
    }


def test_the_table_is_saved_for_spreadsheets(page: Page, tmp_path: Path) -> None:
    names = ["plain.png", "=1+1.png", 'with "quotes", and more.png', "text.png"]
    for seed, name in enumerate(names):
        write(tmp_path / name, plate(seed))
    (tmp_path / "text.png").write_text("no image")
    records = inspect(page, [tmp_path / name for name in names])
    rows = list(csv.DictReader(io.StringIO(saved(page, "#save-csv"))))
    assert [row["input_path"] for row in rows] == ["plain.png", "'=1+1.png", names[2], "text.png"]
    assert [float(row["score"] or "nan") for row in rows[:3]] == [record["score"] for record in records[:3]]
    assert rows[3]["error"].startswith("text.png: is not an image") and rows[3]["score"] == ""


@pytest.mark.parametrize(
    ("name", "damage", "line"),
    [
        ("model.onnx", lambda data: data[:-1] + b"\0", "model.onnx has been changed or damaged"),
        ("model.onnx", lambda data: data[:-1], "it is cut short or changed"),
        ("model.onnx", None, "model.onnx is missing: the server answers 404"),
        ("model.json", None, "model.json is missing: the server answers 404"),
        ("model.json", lambda data: data.replace(b"leave-one-out", b"leave-two-out"), "its checksum does not match"),
        ("model.json", lambda data: data[:500], "model.json is damaged: it is not JSON"),
        ("model.json", lambda data: data.replace(b'"format_version": 1', b'"format_version": 9'), "by a newer Blemish"),
        ("colours.json", None, "colours.json is missing or damaged"),
        ("frame.js", None, "The page is incomplete"),
        ("runtime/ort-wasm-simd-threaded.wasm", lambda data: data[:9999], "it is cut short or changed"),
    ],
)
def test_files_that_are_missing_or_changed(name: str, damage: Any, line: str, copy: Path, browser: Any) -> None:
    if damage is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(damage((copy / name).read_bytes()))
    with served(copy) as address, browser.new_context(service_workers="block") as context:
        said = trouble(context, address)
    assert line in said and "\n" not in said


def test_a_model_that_was_updated_opens_too(tmp_path: Path, browser: Any) -> None:
    info = tiny_info()
    history = [
        {
            "version_before": "a" * 64,
            "images": 3,
            "parts": 1,
            "fingerprint": "b" * 64,
            "folder": "new",
            "size": [5, 7],
            "threshold": [1.5, 2.0],
            "false_alarms": [2, 0],
        }
    ]
    updated = type(info).model_validate({**dict(info), "format_version": 3, "history": history})
    page = export_model(save_model(tmp_path / "model", tiny_network(), updated), "browser", tmp_path / "page")
    assert load_model(tmp_path / "model").info.history and '"history"' in (page / "model.json").read_text("utf-8")
    with served(page) as address, browser.new_context() as context:
        opened(context, address)


@pytest.mark.parametrize("feature", ["OffscreenCanvas", "DecompressionStream", "createImageBitmap"])
def test_an_old_browser_is_told(feature: str, exported: Path, browser: Any) -> None:
    with served(exported) as address, browser.new_context() as context:
        context.add_init_script(f"delete self.{feature}")
        assert trouble(context, address) == (
            f"This browser is too old: it lacks {feature}. Any browser of 2023 or later will do."
        )


def test_without_a_server_it_says_what_to_do(exported: Path, browser: Any) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((exported / "index.html").as_uri())
        page.wait_for_selector("#trouble:visible")
        assert "python -m http.server" in page.inner_text("#trouble") and page.is_hidden("#source")


def test_it_works_offline_isolated_and_asks_no_other_server(exported: Path, browser: Any, tmp_path: Path) -> None:
    image = write(tmp_path / "plate.png", plate(1))
    asked: list[str] = []
    with browser.new_context() as context:
        context.on("request", lambda request: asked.append(request.url))
        with served(exported) as address:
            page = opened(context, address)
            (first,) = inspect(page, [image])
            assert page.evaluate("crossOriginIsolated") and "also without a network" in page.inner_text("#status")
        page.reload()  # the server is gone
        page.wait_for_selector("body[data-ready]", timeout=LOADING)
        (second,) = inspect(page, [image])
        elsewhere = page.evaluate("fetch('https://example.com').then(() => 'reached', (error) => String(error))")
        assert "Failed to fetch" in elsewhere
    assert first["score"] == second["score"]
    assert {url for url in asked if not url.startswith((address, f"blob:{address}"))} <= {"https://example.com/"}


def test_a_new_export_replaces_the_kept_one_when_its_tabs_are_closed(copy: Path, browser: Any, tmp_path: Path) -> None:
    image = write(tmp_path / "plate.png", plate(1))
    other = save_model(tmp_path / "other", tiny_network(5.0), tiny_info())
    with served(copy) as address, browser.new_context() as context:
        page = opened(context, address)
        (first,) = inspect(page, [image])
        for file in sorted(export_model(other, "browser", tmp_path / "new").iterdir()):
            if file.is_file():
                shutil.copy(file, copy / file.name)
        page.reload()
        page.wait_for_selector("#status:text-matches('^Ready')", timeout=LOADING)
        (second,) = inspect(page, [image])
        page.evaluate("""async () => {
            const registration = await navigator.serviceWorker.ready;
            while (!registration.waiting) await new Promise((settle) => setTimeout(settle, 50));
        }""")
        page.close()
        (third,) = inspect(opened(context, address), [image])
    assert second["score"] == first["score"] and third["score"] == pytest.approx(first["score"] + 5)


def test_the_graphics_processor_is_used_or_its_refusal_stated(page: Page) -> None:
    said = page.locator("#runs-on:text-matches('graphics processor')")
    said.wait_for(timeout=LOADING)
    assert (
        "graphics processor is not faster" in said.inner_text() or "checked against the processor" in said.inner_text()
    )


def test_the_camera_gives_frames_and_live_verdicts(page: Page) -> None:
    page.click("#camera-open")
    page.wait_for_selector("#video:visible")
    page.click("#camera-inspect")
    page.wait_for_selector("#rows button:text-is('frame 1')", timeout=LOADING)
    page.click("#camera-live")
    page.wait_for_selector("#name:text-is('Live')")
    assert page.inner_text("#label") in ("Normal", "Anomaly")
    page.click("#camera-live")
    page.click("#rows tr:last-child button")
    page.wait_for_selector("#name:text-is('frame 1')")
    page.click("#camera-close")
    assert page.is_hidden("#camera")


def test_a_refused_camera_is_one_line(exported: Path, browser: Any) -> None:
    with (
        launched(browser.browser_type) as plain,
        served(exported) as address,
        plain.new_context(service_workers="block") as context,
    ):
        page = opened(context, address)
        page.click("#camera-open")
        page.wait_for_selector("#result[data-kind=trouble]")
        assert page.inner_text("#name") in (
            "There is no camera.",
            "The camera was not allowed; allow it in the browser's settings for this page.",
        )


@pytest.mark.parametrize("width", [360, 1500])
def test_nothing_sticks_out_and_the_verdict_is_large(width: int, page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    inspect(page, [write(tmp_path / f"{'long' * 20}.png", plate(seed)) for seed in range(2)])
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("parseFloat(getComputedStyle(document.getElementById('label')).fontSize)") > 44
    image, overlay = (page.locator(f"#{name}").bounding_box() for name in ("image", "overlay"))
    assert image == overlay and image is not None and image["width"] == pytest.approx(image["height"], abs=2)


def test_it_is_dark_where_the_reader_wants_it_dark(page: Page) -> None:
    brightness = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        brightness.append(picture[:, 2].mean())
    assert brightness[0] > 240 and brightness[1] < 40


def test_the_keyboard_is_enough(page: Page, tmp_path: Path) -> None:
    inspect(page, [write(tmp_path / f"{seed}.png", plate(seed)) for seed in range(2)])
    page.focus("#files")
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"camera-open", "strength", "contours", "save-csv", "save-json", "clear", "0.png", "1.png"} <= reached
    page.focus("#rows tr:first-child button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#name:text-is('0.png')")


class TestRuntime:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return save_model(tmp_path / "model", tiny_network(), tiny_info())

    def test_a_page_is_no_model(self, exported: Path) -> None:
        with pytest.raises(ModelError, match="is an export for other programs"):
            load_model(exported)

    @pytest.mark.parametrize("damage", [None, 0, 1000, -1000], ids=["missing", "empty", "changed", "cut short"])
    def test_where_ours_is_missing_or_damaged_both_ways_are_named(
        self, damage: int | None, model: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
    ) -> None:
        content = runtime.VENDORED.read_bytes()
        monkeypatch.setattr(runtime, "VENDORED", tmp_path / "archive.tar.xz")
        if damage == 1000:
            runtime.VENDORED.write_bytes(content[:damage] + b"ours" + content[damage + 4 :])
        elif damage is not None:
            runtime.VENDORED.write_bytes(content[:damage])
        page = tmp_path / "page"
        assert main(["export", str(model), "--format", "browser", "--output", str(page)]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "onnxruntime-web" in told and not page.exists()
        assert re.search(r"archive\.tar\.xz.*install Blemish again.*npm pack onnxruntime-web@\d.*--runtime", told)

    def test_it_may_be_given_as_a_folder_or_as_npms_archive(self, model: Path, tmp_path: Path, capsys: Any) -> None:
        with tarfile.open(runtime.VENDORED) as ours:
            ours.extractall(tmp_path, filter="data")
        archive, folder = tmp_path / "onnxruntime-web.tgz", tmp_path / "package" / "dist"
        with tarfile.open(archive, "w:gz", compresslevel=1) as file:
            file.add(folder, "package/dist")
        for given in (archive, folder):
            arguments = ["export", model, "--format", "browser", "--runtime", given, "--output", tmp_path / "page"]
            assert main([str(argument) for argument in arguments]) == 0
            for name in runtime.FILES:
                assert (tmp_path / "page" / "runtime" / name).read_bytes() == (folder / name).read_bytes()
        capsys.readouterr()

    @pytest.mark.parametrize("kind", ["gz", "xz"])
    def test_a_given_archive_that_is_damaged_is_refused(self, kind: str, model: Path, tmp_path: Path) -> None:
        given = tmp_path / "given"
        with tarfile.open(given, f"w:{kind}") as file:
            for name in ("first", "second"):
                member = tarfile.TarInfo(name)
                member.size = 1 << 20
                file.addfile(member, io.BytesIO(np.random.default_rng(0).bytes(1 << 20)))
        content = given.read_bytes()
        for damaged in (content[: len(content) // 2], content[: 1 << 19] + bytes(1000) + content[(1 << 19) + 1000 :]):
            given.write_bytes(damaged)
            with pytest.raises(UsageError, match=r"onnxruntime-web"):
                export_model(model, "browser", tmp_path / "page", runtime=given)

    @pytest.mark.parametrize("kind", ["folder", "archive", "text", "nothing"])
    def test_what_is_none_is_refused(self, kind: str, model: Path, tmp_path: Path) -> None:
        given = tmp_path / "given"
        if kind == "folder":
            given.mkdir()
        elif kind == "archive":
            with tarfile.open(given, "w:gz") as file:
                file.add(model / "model.json", "package/dist/model.json")
        elif kind == "text":
            given.write_text("hello")
        with pytest.raises(UsageError, match=r"is not a whole onnxruntime-web|cannot be read as onnxruntime-web"):
            export_model(model, "browser", tmp_path / "page", runtime=given)
        assert not (tmp_path / "page").exists()

    def test_it_goes_with_no_other_format(self, model: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="format browser alone"):
            export_model(model, "onnx", tmp_path / "page", runtime=tmp_path)
