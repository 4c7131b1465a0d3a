"""Download of one image, with every address checked and every cost bounded.

Each hop resolves its host once, checks what it got, and connects to exactly that address, so that a name which resolves
differently a moment later (DNS rebinding) leads nowhere. Proxies from the environment are not used.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from blemish.errors import ImageError
from blemish.images.headers import image_format
from blemish.images.limits import Limits, refusal

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse
    from ipaddress import IPv4Address, IPv6Address
    from ssl import SSLSocket

_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_QUERY_SAFE = "/%:@!$&'()*+,;=~?[]"
_CHUNK = 1 << 16
# IPv4-compatible, IPv4-translated, and NAT64's well-known prefix (RFC 6052); its local prefix is never global, and
# Teredo's (2001::/32) neither
_LAST_32_BITS = ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")


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
    """The answer to one GET, on a connection that is cut at the deadline whatever the server does."""
    from http.client import HTTPConnection

    host = str(parts.hostname)
    host = host if host.isascii() else host.encode("idna").decode()
    port = parts.port or _PORTS[parts.scheme]
    channel = _connect(host, port, download)
    if parts.scheme == "https":
        channel = _secured(channel, host)
    with channel, _cut_at_deadline(channel, download):
        if parts.scheme == "https":
            channel.do_handshake()  # type: ignore[attr-defined]
        connection = HTTPConnection(host, port)
        connection.sock = channel
        connection.request("GET", _path(parts), headers={"Accept": "image/*,*/*;q=0.5", "User-Agent": "blemish"})
        with connection.getresponse() as response:
            yield response


def _connect(host: str, port: int, download: _Download) -> socket.socket:
    """A socket to the very address that was checked."""
    import socket

    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not download.limits.allow_private_urls and not all(map(_is_public, addresses)):
        raise download.refuse(f"leads to {host[:80]!r}, which is not a public address")
    failure = OSError("the host has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=download.remaining())
        except OSError as error:
            failure = error
    raise failure


def _secured(channel: socket.socket, host: str) -> SSLSocket:
    """The socket in verified TLS, before the handshake."""
    import ssl

    return ssl.create_default_context().wrap_socket(channel, server_hostname=host, do_handshake_on_connect=False)


@contextmanager
def _cut_at_deadline(channel: socket.socket, download: _Download) -> Iterator[None]:
    """End the connection from another thread when time is up; even a server that drips single bytes is left."""
    timer = threading.Timer(download.remaining(), _cut, [channel])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(channel: socket.socket) -> None:
    import socket

    with suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


def _is_public(address: str) -> bool:
    """Whether an IP address, or the IPv4 address that it carries inside, is a global unicast one."""
    from ipaddress import IPv6Address, ip_address

    ip = ip_address(address.partition("%")[0])
    return _is_global_unicast(_carried(ip) or ip if isinstance(ip, IPv6Address) else ip)


def _is_global_unicast(ip: IPv4Address | IPv6Address) -> bool:
    special = ip.is_multicast or ip.is_reserved or ip.is_unspecified or getattr(ip, "is_site_local", False)
    return ip.is_global and not special


def _carried(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which a translator or tunnel would bring an IPv6 address."""
    from ipaddress import IPv4Address, ip_network

    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if any(ip in ip_network(prefix) for prefix in _LAST_32_BITS):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


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
