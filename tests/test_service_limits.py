"""Hostile and unlucky clients: nothing they do stops the service, and none of it is a fault of the service's (5xx)."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from command import blemish
from served import Server, grey, serving, tiny_folder

MB = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "bottle")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(folder, "--output", tmp_path_factory.mktemp("out"), "--max-body", 1, "--keep", "none") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def works(client: httpx.Client) -> bool:
    """Whether an image is judged."""
    return client.post("/v1/models/bottle/predict", content=grey(7)).json()["results"][0]["score"] == 7


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def rss(server: Server) -> int:
    """Resident memory in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10  # type: ignore[index]


@pytest.mark.parametrize("path", ["/v1/models/bottle/predict", "/image-anomaly-detection", "/v2/models/bottle/infer"])
def test_a_stated_length_over_the_limit_is_refused_and_the_client_can_read_it(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"x" * (40 * MB), headers={"Connection": "close"})
    assert answer.status_code == 413 and "1048576" in answer.text
    assert works(client)


def test_a_body_without_a_length_is_cut_off_while_it_is_read(server: Server, client: httpx.Client) -> None:
    before, sent = rss(server), [0]

    def endless() -> Iterator[bytes]:
        while sent[0] < 200 * MB:
            sent[0] += MB
            yield b"x" * MB

    answer = client.post("/v1/models/bottle/predict", content=endless())
    assert answer.status_code == 413
    assert rss(server) - before < 50 * MB
    assert works(client)


def test_a_form_that_is_too_large_is_refused_too(client: httpx.Client) -> None:
    answer = client.post("/v1/models/bottle/predict", files={"a": b"x" * (3 * MB)})
    assert answer.status_code == 413


def test_a_refusal_is_read_before_the_body_was_sent(server: Server) -> None:
    with connected(server) as channel:
        channel.sendall(
            b"POST /v1/models/bottle/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        )
        assert channel.recv(4096).startswith(b"HTTP/1.1 413 ")


def png_of(width: int, height: int) -> bytes:
    """A header that states this size, and no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_a_bomb_of_pixels_is_refused_by_its_header(server: Server, client: httpx.Client) -> None:
    before = rss(server)
    answer = client.post("/v1/models/bottle/predict", content=png_of(50_000, 50_000))
    assert answer.status_code == 400 and "more than the limit" in answer.text
    assert rss(server) - before < 50 * MB


def test_clients_that_leave_in_the_middle_of_the_body(server: Server, client: httpx.Client) -> None:
    head = b"POST /v1/models/bottle/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    for sent in (b"", b"x" * 10, b"x" * 999):
        for _ in range(5):
            with connected(server) as channel:
                channel.sendall(head + sent)
    with connected(server) as channel:  # a reset instead of an end
        channel.sendall(head)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert works(client)
    assert "500" not in {line[-4:-1] for line in server.said}


def test_requests_that_are_none(server: Server, client: httpx.Client) -> None:
    rng = random.Random(0)
    head = b"POST /v1/models/bottle/predict HTTP/1.1\r\nHost: localhost\r\n"
    good = head + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello"
    for number in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if number % 3 == 0:
            del data[rng.randrange(len(data)) :]
        with connected(server) as channel:
            channel.sendall(data)
            channel.shutdown(socket.SHUT_WR)
            answer = channel.recv(4096)
        assert not re.match(rb"HTTP/1\.1 5", answer), (bytes(data), answer)
    assert works(client)


def test_images_that_are_none(client: httpx.Client) -> None:
    rng = random.Random(1)
    good = [grey(9), grey(9, suffix=".jpg"), grey(9, suffix=".tiff"), grey(9, suffix=".webp"), grey(9, suffix=".bmp")]
    for number in range(200):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if number % 3 == 0:
            del data[rng.randrange(len(data)) :]
        answer = client.post("/v1/models/bottle/predict", content=bytes(data))
        assert answer.status_code in (200, 400), answer.text
    assert works(client)


def test_a_page_of_another_site_gets_nothing(client: httpx.Client) -> None:
    post = {"url": "/v1/models/bottle/predict", "content": grey(0)}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = client.post(**post, headers={"Origin": origin})  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
    own = str(client.base_url).rstrip("/")
    assert client.post(**post, headers={"Origin": own}).status_code == 200  # type: ignore[arg-type]
    assert client.post(**post, headers={"Origin": "http://[::1"}).status_code == 403  # type: ignore[arg-type]
    rebound = client.get("/v1/models", headers={"Host": "evil.example"})
    assert rebound.status_code == 421 and "bottle" not in rebound.text


@pytest.fixture(scope="module")
def strict(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little patience."""
    output = tmp_path_factory.mktemp("strict")
    with serving(folder, "--output", output, "--head-timeout", 1, "--body-timeout", 2) as running:
        yield running


def test_connections_that_send_nothing_do_not_stop_it_and_are_closed(strict: Server) -> None:
    with ExitStack() as stack, strict.client() as client:
        silent = [stack.enter_context(connected(strict)) for _ in range(300)]
        dripping = stack.enter_context(connected(strict))
        dripping.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-")
        assert works(client)
        for channel in (*silent, dripping):
            assert channel.recv(1) == b""  # closed by the server


def test_a_head_that_drips_is_cut_off(strict: Server) -> None:
    with connected(strict) as channel, pytest.raises(ConnectionError):
        for _ in range(2400):  # two minutes
            channel.sendall(b"G")
            time.sleep(0.05)


def test_a_body_that_drips_is_refused(strict: Server) -> None:
    with connected(strict) as channel:
        channel.sendall(b"POST /image-anomaly-detection HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        answer = channel.makefile("rb").read()  # to the end, since the server closes
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"errorCode": 408' in answer


def test_rates_are_limited_for_each_client(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "--output", tmp_path, "--rate", 1) as running, running.client() as client:
        answers = [client.get("/v1/models") for _ in range(6)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 200 and len(refused) >= 3
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 200  # a probe is never too often


def test_overload_is_refused_and_nothing_is_lost(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "--output", tmp_path, "--max-waiting", 2) as running, running.client() as client:
        many = [("a", (f"{i}.png", grey(i))) for i in range(3)]
        answer = client.post("/v1/models/bottle/predict", files=many)
        assert answer.status_code == 400  # more than may ever wait
        big = grey(3, 3000, 3000)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.post("/v1/models/bottle/predict", content=big), range(24)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)
        assert "blemish_queue_images 0.0" in client.get("/metrics").text
        assert works(client)


def test_tokens_and_roles(folder: Path, tmp_path: Path) -> None:
    made = [blemish("serve", "--create-token", role, "--output", tmp_path) for role in ("viewer", "operator", "admin")]
    viewer, operator, admin = (done.stdout.strip() for done in made)
    with serving(folder, "--output", tmp_path, "-v") as running, running.client() as client:

        def status(token: str | None, method: str, path: str) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = client.request(method, path, headers=headers, content=grey(0) if method == "POST" else None)
            assert "Traceback" not in answer.text
            return answer.status_code

        for path in ("/health", "/v1/health/live", "/v1/health/ready", "/v2/health/live", "/v2/health/ready"):
            assert status(None, "GET", path) == 200
        for path in ("/inspect", "/metrics", "/v1/models", "/v2", "/v2/models/bottle"):
            assert status(None, "GET", path) == 401 and status(viewer[:-1], "GET", path) == 401
            assert status(viewer, "GET", path) == status(admin, "GET", path) == 200
        for path in ("/v1/models/bottle/predict", "/image-anomaly-detection", "/v2/models/bottle/infer"):
            assert (status(None, "POST", path), status(viewer, "POST", path)) == (401, 403)
            assert status(operator, "POST", path) in (200, 400, 422)
        assert status(operator, "DELETE", "/v1/models/bottle") == 403
        assert status(admin, "DELETE", "/v1/models/bottle") == 204
        told = "".join(running.said)
    kept = (tmp_path / "store.db").read_bytes()
    for token in (viewer, operator, admin):
        assert len(token) > 40 and token not in told and token.encode() not in kept


def test_logs_as_json(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "--output", tmp_path, "--json-logs") as running, running.client() as client:
        client.post("/v1/models/bottle/predict?source=hall", content=b"no image")
        client.get("/nowhere?token=secret")
    lines = [json.loads(line) for line in running.said if line.startswith("{")]
    requests = [line for line in lines if line["message"] == "request"]
    assert [(line["route"], line["status"]) for line in requests] == [
        ("/v1/models/{name}/predict", 400),
        ("other", 404),
    ]
    assert all(line["client"] == "127.0.0.1" and line["ms"] > 0 for line in requests)
    assert "secret" not in "".join(running.said)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_others_are_not_let_in_without_a_token(folder: Path, tmp_path: Path, host: str) -> None:
    done = blemish("serve", folder, "--host", host, "--port", 0, "--output", tmp_path)
    assert done.code == 2 and "--create-token admin" in done.stderr and done.stderr.count("\n") == 1


def waiting(client: httpx.Client) -> int:
    """How many images are accepted and not answered."""
    lines = client.get("/metrics").text.splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith("blemish_queue_images")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_was_accepted(folder: Path, tmp_path: Path, number: int) -> None:
    with serving(folder, "--output", tmp_path) as running, running.client() as client:
        url, data, answers = f"{running.url}/v1/models/bottle/predict", grey(7, 2500, 2500), []

        def ask() -> None:
            answers.append(httpx.post(url, content=data, timeout=60, trust_env=False))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(answers) + waiting(client) < 6:  # none is still on its way
            time.sleep(0.01)
        assert running.stop(number) == 0
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 6


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "nowhere is not a model"),
        (["bottle", "other/bottle"], "two models are called bottle"),
        (["b d=bottle"], "is not a model"),
        (["bottle", "--port", "70000"], "the port is 70000"),
        (["bottle", "--store", "mysql://x/y"], "mysql"),
        (["bottle", "--rate", "0"], "must be more than 0"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    tiny_folder(tmp_path / "bottle"), tiny_folder(tmp_path / "other" / "bottle")
    done = blemish("serve", *arguments, cwd=tmp_path)
    assert done.code == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_port_that_is_taken(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = blemish("serve", folder, "--port", taken.getsockname()[1], "--output", tmp_path)
    assert done.code == 2 and "choose another --port" in done.stderr
