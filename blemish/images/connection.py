"""A connection to exactly the address that was checked, cut at a deadline whatever the other side does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from ipaddress import IPv4Address, IPv6Address
    from ssl import SSLSocket

# IPv4-compatible, IPv4-translated, and NAT64's well-known prefix (RFC 6052); its local prefix is never global, and
# Teredo's (2001::/32) neither
_LAST_32_BITS = ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")


class NotPublicError(Exception):
    """A host that leads to an address which is not a public one."""


@contextmanager
def connection(host: str, port: int, *, tls: bool, limit_s: float, allow_private: bool) -> Iterator[socket.socket]:
    """A socket to a host, in verified TLS if asked for, that ends after so many seconds.

    The name is resolved once, so one that resolves differently a moment later (DNS rebinding) leads nowhere. Raises
    `NotPublicError`, or `OSError` where there is no connection.
    """
    host = host if host.isascii() else host.encode("idna").decode()
    channel = _connect(host, port, limit_s, allow_private)
    if tls:
        channel = _secured(channel, host)
    with channel, _cut_after(channel, limit_s):
        if tls:
            channel.do_handshake()  # type: ignore[attr-defined]
        yield channel


def _connect(host: str, port: int, limit_s: float, allow_private: bool) -> socket.socket:
    import socket

    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(map(is_public, addresses)):
        raise NotPublicError(f"leads to {host[:80]!r}, which is not a public address")
    failure = OSError("the host has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=limit_s)
        except OSError as error:
            failure = error
    raise failure


def _secured(channel: socket.socket, host: str) -> SSLSocket:
    """The socket in verified TLS, before the handshake."""
    import ssl

    return ssl.create_default_context().wrap_socket(channel, server_hostname=host, do_handshake_on_connect=False)


@contextmanager
def _cut_after(channel: socket.socket, seconds: float) -> Iterator[None]:
    """End the connection from another thread when time is up; even a server that drips single bytes is left."""
    timer = threading.Timer(seconds, _cut, [channel])
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


def is_public(address: str) -> bool:
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
