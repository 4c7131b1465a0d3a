"""What the tests of the station's pages share: a browser that notices errors, and the accessibility check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

WIDE, TABLET, PHONE = (1440, 900), (820, 1180), (390, 844)


@contextmanager
def visited(
    browser: Browser, url: str, size: tuple[int, int] = WIDE, dark: bool = False, refused: int = 0
) -> Iterator[Page]:
    """A page of a window of its own; fails for whatever the browser complains of but so many refused requests."""
    viewport: Any = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light", base_url=url)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    unexpected = [text for text in complaints if "status of 4" not in text]
    assert not unexpected and len(complaints) == refused, complaints


def check_accessible(page: Page) -> None:
    """axe finds nothing, of WCAG 2.2 AA or its own advice."""
    page.wait_for_timeout(250)  # colours in the middle of an animation have no contrast to speak of
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def check_fits(page: Page) -> None:
    """Nothing has to be scrolled sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def spotted_file(folder: Path, name: str, bright: int = 200) -> Path:
    """Dark, with a bright square."""
    image = np.zeros((96, 160, 3), np.uint8)
    image[24:48, 60:100] = bright
    path = folder / name
    cv2.imwrite(str(path), image)
    return path
