"""Downloads from a real server on this machine, friendly and hostile."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.images import Limits, expand
from blemish.images.connection import is_public
from blemish.images.fetch import fetch

RGB = np.random.default_rng(1).integers(0, 256, (12, 17, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with suppress(ConnectionError):
            ROUTES[self.path.split("?")[0]](self)

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, body: bytes, kind: str = "image/png", length: int | None = -1, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def drip(self) -> None:
        self.answer(PNG[:20], length=len(PNG))
        while True:  # until the reader hangs up
            time.sleep(0.05)
            self.wfile.write(b"x")

    def drip_header(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:  # until the reader hangs up
            time.sleep(0.05)
            self.wfile.write(b"x")

    def chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(PNG), 100):
            part = PNG[start : start + 100]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")


def endless(handler: Handler) -> None:
    handler.answer(b"", length=None)
    for _ in range(1000):
        handler.wfile.write(PNG)


ROUTES: dict[str, Callable[[Handler], None]] = {
    "/ok.png": lambda h: h.answer(PNG),
    "/no-length.png": lambda h: h.answer(PNG, length=None),
    "/chunked.png": Handler.chunked,
    "/snapshot": lambda h: h.answer(PNG),
    "/an%20image%20(1).png": lambda h: h.answer(PNG),
    "/moved.png": lambda h: h.redirect("/twice.png"),
    "/twice.png": lambda h: h.redirect("ok.png"),
    "/loop.png": lambda h: h.redirect("/loop.png"),
    "/to-file.png": lambda h: h.redirect("file:///etc/hostname"),
    "/to-ftp.png": lambda h: h.redirect("ftp://127.0.0.1/x.png"),
    "/to-nowhere.png": lambda h: h.redirect("https:///x.png"),
    "/large.png": lambda h: h.answer(PNG, length=10**12),
    "/endless.png": endless,
    "/drip.png": Handler.drip,
    "/drip-header.png": Handler.drip_header,
    "/silent.png": lambda h: time.sleep(3),
    "/short.png": lambda h: h.answer(PNG[:-50], length=len(PNG)),
    "/html.png": lambda h: h.answer(b"<html>please log in</html>", kind="text/html"),
    "/missing.png": lambda h: h.answer(b"gone", status=404),
    "/cut.png": lambda h: h.answer(PNG[:-50]),
    "/garbage.png": lambda h: h.wfile.write(b"\x00\x01\x02 no http here\r\n\r\n"),
}


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on this machine; its port."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    if tls:
        httpd.socket = tls.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield httpd.server_port
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", ["/ok.png", "/no-length.png", "/chunked.png", "/snapshot", "/moved.png?x=1&y=a b"])
def test_an_image_is_read_whatever_the_transfer(server: str, path: str) -> None:
    (ref,) = expand(server + path)
    assert np.array_equal(ref.read(), RGB)
    assert (ref.input_path, ref.page_index) == (server + path, None)
    assert ref.name == PurePosixPath(path.lstrip("/").split("?")[0])


@pytest.mark.parametrize("path", ["/an image (1).png", "/an%20image%20(1).png"])
def test_names_are_decoded_and_requests_encoded(server: str, path: str) -> None:
    (ref,) = expand(server + path + "?token=secret#part")
    assert ref.name == PurePosixPath("an image (1).png")
    assert np.array_equal(ref.read(), RGB)


@pytest.mark.parametrize(
    "path, reason",
    [
        ("/loop.png", "more than 2 redirects"),
        ("/to-file.png", "only http and https addresses are read, not 'file'"),
        ("/to-ftp.png", "only http and https addresses are read, not 'ftp'"),
        ("/to-nowhere.png", "names no host"),
        ("/large.png", "larger than the limit of 5000 bytes"),
        ("/endless.png", "larger than the limit of 5000 bytes"),
        ("/drip.png", "took longer than 0.4 s"),
        ("/drip-header.png", "took longer than 0.4 s"),
        ("/silent.png", "took longer than 0.4 s"),
        ("/short.png", "cut short, 50 bytes are missing"),
        ("/cut.png", "the end of the PNG data is missing"),
        ("/html.png", "sent no image .content type 'text/html'"),
        ("/missing.png", "answered 404"),
        ("/garbage.png", "cannot be fetched"),
    ],
)
def test_what_fails_names_the_url_and_the_reason(server: str, path: str, reason: str) -> None:
    limits = Limits(url_timeout_s=0.4, url_max_bytes=5000, max_redirects=2)
    bad, good = expand([server + path, server + "/ok.png"], limits)
    with pytest.raises(ImageError, match=reason) as caught:
        bad.read()
    assert str(caught.value).startswith(server + path + ": ") and "\n" not in str(caught.value)
    assert np.array_equal(good.read(), RGB)


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "file:/etc/hostname", "ftp://x/y.png", "data:image/png;base64,"]
)
def test_other_schemes_are_refused(url: str) -> None:
    (ref,) = expand(url)
    with pytest.raises(ImageError, match="only http and https"):
        ref.read()


@pytest.mark.parametrize(
    "url", ["http://", "http:///x.png", "http://[::1/x.png", "http://x:99999999/y.png", "https://127.0.0.1:1/x.png"]
)
def test_malformed_and_unreachable_addresses_are_refused(url: str) -> None:
    (ref,) = expand(url)
    with pytest.raises(ImageError):
        ref.read()


def test_urls_can_be_forbidden(server: str) -> None:
    (ref,) = expand(server + "/ok.png", Limits(allow_urls=False))
    with pytest.raises(ImageError, match="not allowed"):
        ref.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
def test_private_addresses_can_be_forbidden_in_any_spelling(server: str, host: str) -> None:
    url = server.replace("127.0.0.1", host) + "/ok.png"
    with pytest.raises(ImageError, match="not a public address"):
        fetch(url, Limits(allow_private_urls=False))


def test_the_address_is_checked_again_at_a_redirect(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # the first hop counts as public, as an attacker's own server would be; the second must not be let through
    answers = iter([True, False])
    monkeypatch.setattr("blemish.images.connection.is_public", lambda address: next(answers))
    with pytest.raises(ImageError, match="not a public address"):
        fetch(server + "/moved.png", Limits(allow_private_urls=False))


SPECIAL = """
    127.0.0.1 10.1.2.3 192.168.0.1 172.16.9.9 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 240.0.0.1 255.255.255.255
    ::1 :: fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:10.0.0.1 2002:7f00:1::
    64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe ::127.0.0.1 ::ffff:0:7f00:1 2002:a9fe:a9fe:: fec0::1
    2001:0:a9fe:a9fe::1 2001:0:808:808::80ff:fffe 2001:0:808:808::f7f7:f7f7 100::1
"""


@pytest.mark.parametrize("address", SPECIAL.split())
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_global_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    paths = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *paths], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(tls) as port:
        with pytest.raises(ImageError, match="certificate verify failed"):
            fetch(f"https://localhost:{port}/ok.png", Limits())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(f"https://localhost:{port}/ok.png", Limits()) == PNG
        with pytest.raises(ImageError, match="certificate"):
            fetch(f"https://127.0.0.1:{port}/ok.png", Limits())
        with pytest.raises(ImageError, match=r"took longer than 0\.4 s"):
            fetch(f"https://localhost:{port}/drip.png", Limits(url_timeout_s=0.4))


def test_a_server_that_never_finishes_the_handshake_is_left() -> None:
    late = pytest.raises(ImageError, match=r"took longer than 0\.2 s")
    with socket.create_server(("127.0.0.1", 0)) as mute, late:
        fetch(f"https://127.0.0.1:{mute.getsockname()[1]}/x.png", Limits(url_timeout_s=0.2))
