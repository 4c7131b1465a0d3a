"""PDF pages as images, by pypdfium2 from the extra `blemish[pdf]`."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import install_command
from blemish.images.limits import Limits, check_pixels, refusal

_pdfium_lock = threading.Lock()  # PDFium may be called from one thread at a time


def page_count(data: bytes, name: str) -> int:
    """Number of pages of a PDF file."""
    with _document(data, name) as document:
        return len(document)


def render_page(data: bytes, name: str, limits: Limits, page: int) -> npt.NDArray[np.uint8]:
    """One page as RGB uint8 (H, W, 3) on white, at `limits.pdf_scale` pixels per point."""
    import pypdfium2

    with _document(data, name) as document:
        if not 0 <= page < len(document):
            raise refusal(name, f"has no page {page}, it has {len(document)}")
        try:
            sheet = document[page]
            width, height = (math.ceil(points * limits.pdf_scale) for points in sheet.get_size())
            check_pixels(name, width, height, limits)
            bitmap = sheet.render(scale=limits.pdf_scale, rev_byteorder=True)
            return np.array(bitmap.to_numpy()[:, :, :3], np.uint8)
        except (pypdfium2.PdfiumError, ValueError, MemoryError) as error:
            raise refusal(name, f"page {page} of the PDF cannot be rendered") from error


@contextmanager
def _document(data: bytes, name: str) -> Iterator[Any]:
    try:
        import pypdfium2
    except ImportError as error:
        raise refusal(name, f"PDF pages need a further package: {install_command('pdf')}") from error
    with _pdfium_lock:
        try:
            document = pypdfium2.PdfDocument(data)
        except (pypdfium2.PdfiumError, ValueError) as error:
            raise refusal(name, "is a damaged or encrypted PDF file") from error
        try:
            yield document
        finally:
            document.close()
