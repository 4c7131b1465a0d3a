"""An exported page in a real Chromium that reaches nothing but the folder's own server."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, sync_playwright

LOADING = 30_000  # ms; two cores, and a runtime of 14 MB to compile
OWN_HOST_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a plain server of static files."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright.chromium, *flags) as browser:
        yield browser


@contextmanager
def launched(kind: BrowserType, *flags: str) -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "the tests of the page need Chromium; scripts/system-packages.sh installs it"
    browser = kind.launch(executable_path=found, args=["--no-sandbox", OWN_HOST_ONLY, *flags])
    try:
        yield browser
    finally:
        browser.close()


def opened(context: BrowserContext, address: str) -> Page:
    """The page, ready to inspect."""
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#status:text-matches('^(Ready|Not ready)')", timeout=LOADING)
    assert page.is_hidden("#trouble"), page.inner_text("#trouble")
    return page


def trouble(context: BrowserContext, address: str) -> str:
    """The one line that a page shows that cannot start."""
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#status:text-is('Not ready')", timeout=LOADING)
    assert page.is_hidden("#source")
    return page.inner_text("#trouble")


def inspect(page: Page, files: Sequence[Path | dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of these files, as the page saves them."""
    if page.is_visible("#clear"):
        page.click("#clear")
    page.set_input_files("#files", list(files))  # type: ignore[arg-type]
    page.wait_for_selector(f"#rows tr:nth-child({len(files)})", timeout=LOADING)
    page.wait_for_selector("#status:text-matches('^Ready')")
    return json.loads(saved(page, "#save-json"))


def saved(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.click(button)
    return download.value.path().read_text("utf-8")
