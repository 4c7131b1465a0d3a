"""Download of one image, with every address checked and every cost bounded.

Each hop is checked anew. Proxies from the environment are not used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from blemish.errors import ImageError
from blemish.images.connection import NotPublicError, connection
from blemish.images.kinds import image_format
from blemish.images.limits import Limits, refusal

if TYPE_CHECKING:
    from http.client import HTTPResponse

_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_QUERY_SAFE = "/%:@!$&'()*+,;=~?[]"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class _Download:
    """The address that the user gave, which every refusal names, and what its download may cost."""

    url: str
    limits: Limits
    deadline: float

    def refuse(self, reason: str) -> ImageError:
        return refusal(self.url, reason)

    def remaining(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.refuse(f"the download took longer than {self.limits.url_timeout_s:g} s")
        return left


def fetch(url: str, limits: Limits) -> bytes:
    """The body behind an http(s) URL, checked by its first bytes to be an image or PDF.

    Raises `ImageError` naming the URL for anything else, and when a limit on size, time, redirects or addresses is hit.
    The time limit does not cover the system's name lookup, which has its own.
    """
    from http.client import HTTPException

    download = _Download(url, limits, time.monotonic() + limits.url_timeout_s)
    if not limits.allow_urls:
        raise download.refuse("URLs are not allowed here")
    try:
        data, content_type = _follow(download)
        download.remaining()
    except (OSError, HTTPException, ValueError) as error:
        download.remaining()
        raise download.refuse(f"cannot be fetched: {_first_line(error)}") from error
    if image_format(data) is None:
        raise download.refuse(f"the server sent no image (content type {content_type[:80]!r})")
    return data


def _follow(download: _Download) -> tuple[bytes, str]:
    """Body and content type at the end of the redirects."""
    target = download.url
    for _ in range(download.limits.max_redirects + 1):
        with _response(_checked(target, download), download) as response:
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                target = urljoin(target, location)
                continue
            if response.status != HTTPStatus.OK:
                raise download.refuse(f"the server answered {response.status} {response.reason[:80]!r}")
            return _body(response, download), response.getheader("Content-Type") or "none"
    raise download.refuse(f"more than {download.limits.max_redirects} redirects")


def _checked(target: str, download: _Download) -> SplitResult:
    """The parts of an http(s) address; anything else is refused."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https"):
        raise download.refuse(f"only http and https addresses are read, not {parts.scheme[:20]!r}")
    if not parts.hostname:
        raise download.refuse("the address names no host")
    return parts


@contextmanager
def _response(parts: SplitResult, download: _Download) -> Iterator[HTTPResponse]:
    """The answer to one GET."""
    from http.client import HTTPConnection

    host, port, tls = str(parts.hostname), parts.port or _PORTS[parts.scheme], parts.scheme == "https"
    limits = download.limits
    try:
        with connection(
            host, port, tls=tls, limit_s=download.remaining(), allow_private=limits.allow_private_urls
        ) as channel:
            http = HTTPConnection(host if host.isascii() else host.encode("idna").decode(), port)
            http.sock = channel
            http.request("GET", _path(parts), headers={"Accept": "image/*,*/*;q=0.5", "User-Agent": "blemish"})
            with http.getresponse() as response:
                yield response
    except NotPublicError as error:
        raise download.refuse(str(error)) from None


def _body(response: HTTPResponse, download: _Download) -> bytes:
    most = download.limits.url_max_bytes
    data = bytearray()
    while len(data) + (response.length or 0) <= most and (chunk := response.read(_CHUNK)):
        data += chunk
    if len(data) + (response.length or 0) > most:
        raise download.refuse(f"the answer is larger than the limit of {most} bytes")
    download.remaining()
    if response.length:
        raise download.refuse(f"the answer is cut short, {response.length} bytes are missing")
    return bytes(data)


def _path(parts: SplitResult) -> str:
    """Path and query of the request line, with what HTTP does not allow percent-encoded."""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return path + (f"?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else "")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
