"""Requests that are wrong in many ways: files, forms, JSON, tensors, heads; made from a seed and a good JPEG."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from benchmarks.http_client import request

Kind = Callable[[random.Random, bytes], bytes]
_BOUNDARY = "----part"
_OCTETS = "Content-Type: application/octet-stream"
_JSON = "Content-Type: application/json"


def form(data: bytes, filename: str = "a.jpg") -> tuple[bytes, str]:
    """A file as multipart form: body and header."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return body, f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"


def upload(path: str, data: bytes) -> bytes:
    """A good request with a file as multipart form."""
    body, header = form(data)
    return request("POST", path, body, header)


def malformed(path: str, good: bytes, model: str | None, seed: int = 0) -> Iterator[bytes]:
    """Without end: wrong files and heads for a route that takes forms; where there is a model's name, wrong requests
    to every route of Blemish too.
    """
    random_ = random.Random(seed)
    for kind in cycle([*_files(path), *_heads(path), *([] if model is None else _own(model))]):
        yield kind(random_, good)


def _files(path: str) -> list[Kind]:
    """Forms with files that are none, and forms that are none."""

    def sent(make: Kind) -> Kind:
        return lambda r, good: upload(path, make(r, good))

    body, header = form(b"x")
    return [
        sent(lambda r, good: good[: r.randrange(1, len(good) // 2)]),
        sent(lambda r, _: r.randbytes(r.randrange(1, 2000))),
        sent(lambda _r, _good: b""),
        sent(lambda r, good: good[:20] + r.randbytes(len(good) // 4)),
        sent(lambda r, _: _png(r.randrange(1, 1 << 31), r.randrange(1, 1 << 31))),
        sent(lambda r, _: _png(64, 64) + r.randbytes(200)),
        sent(lambda r, _: b"BM" + r.randbytes(100)),
        sent(lambda r, _: b"II*\0" + r.randbytes(200)),
        sent(lambda r, _: b"GIF89a" + r.randbytes(100)),
        sent(lambda r, _: b"RIFF" + r.randbytes(4) + b"WEBPVP8 " + r.randbytes(100)),
        lambda r, _: request("POST", path, body[: r.randrange(1, len(body))], header),
        lambda _r, _good: request("POST", path, body.replace(b"filename", b"filenam"), header),
        lambda _r, _good: request("POST", path, body, "Content-Type: multipart/form-data"),
        lambda r, _: request("POST", path, r.randbytes(300), header),
    ]


def _heads(path: str) -> list[Kind]:
    """What is no HTTP, or not much of it."""
    start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"

    def sent(text: str, end: str = "\r\n\r\n") -> Kind:
        return lambda _r, _good: (start + text + end).encode()

    return [
        lambda r, _: r.randbytes(r.randrange(1, 300)) + b"\r\n\r\n",
        lambda r, _: (start + f"X-Long: {'a' * r.randrange(70_000, 300_000)}\r\n\r\n").encode(),
        lambda r, _: (start + "".join(f"X-{i}: {i}\r\n" for i in range(r.randrange(5000, 9000))) + "\r\n").encode(),
        sent("Content-Length: -5"),
        sent("Content-Length: many"),
        sent("Content-Length: 4\r\nContent-Length: 5", "\r\n\r\nabcde"),
        sent("Content-Length: 99999999999999"),
        sent("Content-Length: 3", "\r\n\r\nabcdefgh"),
        sent("Transfer-Encoding: chunked", "\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"),
        sent("Transfer-Encoding: gzip, chunked", "\r\n\r\n5\r\nabc"),
        lambda _r, _good: b"POST " + path.encode() + b" HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        lambda _r, _good: b"POST " + path.encode() + b" HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        lambda r, _: request(r.choice(("PUT", "DELETE", "PATCH", "BREW")), path, b"x"),
        lambda r, _: request("GET", f"/{'x' * r.randrange(1, 5000)}"),
        lambda _r, _good: request("GET", "/%00%ff%2e%2e/%2e%2e/etc"),
        lambda _r, _good: request("POST", path, b"", _OCTETS),
    ]


def _own(name: str) -> list[Kind]:
    """Wrong requests to the routes of Blemish: raw bodies, queries, PaddleX's JSON, KServe's tensors, models."""
    raw, infer, paddlex = f"/v1/models/{name}/predict", f"/v2/models/{name}/infer", "/image-anomaly-detection"

    def to(path: str, make: Callable[[random.Random, bytes], Any], *headers: str, method: str = "POST") -> Kind:
        def kind(r: random.Random, good: bytes) -> bytes:
            made = make(r, good)
            body = made if isinstance(made, bytes) else json.dumps(made).encode()
            return request(method, path, body, *(headers or (_JSON,)))

        return kind

    def tensor(**changes: Any) -> dict[str, Any]:
        known = {"name": "image", "datatype": "UINT8", "shape": [1, 4, 4, 3], "data": [0] * 48}
        return {"inputs": [{**known, **changes}]}

    return [
        to(raw, lambda r, good: good[: r.randrange(1, len(good) // 2)], _OCTETS),
        to(raw, lambda r, _: r.randbytes(500), _OCTETS),
        to(raw, lambda _r, _good: {"image": 1}),
        to(f"{raw}?version=zzz", lambda _r, good: good, _OCTETS),
        to(f"{raw}?mask=perhaps&source={'s' * 300}", lambda _r, good: good, _OCTETS),
        to("/v1/models/nobody/predict", lambda _r, good: good, _OCTETS),
        to(raw, lambda _r, good: good, _OCTETS, "Origin: http://elsewhere.example"),
        to(paddlex, lambda r, _: r.randbytes(200)),
        to(paddlex, lambda _r, _good: b'{"image": "abc'),
        to(paddlex, lambda _r, _good: {"image": "%%%"}),
        to(paddlex, lambda r, _: {"image": r.choice([5, None, [], {}, True])}),
        to(paddlex, lambda r, good: {"image": base64.b64encode(good).decode()[: r.randrange(5, 4000)]}),
        to(paddlex, lambda _r, good: {"image": base64.b64encode(good).decode(), "model": "nobody"}),
        to(paddlex, lambda r, _: {"image": base64.b64encode(r.randbytes(300)).decode()}),
        to(paddlex, lambda _r, _good: {"image": "http://169.254.169.254/latest"}),
        to(paddlex, lambda _r, _good: b"[" * 20_000),
        to(infer, lambda _r, _good: b"{"),
        to(infer, lambda r, _: tensor(shape=r.choice([[1, 4, 4], [0, 4, 4, 3], [-1, 4, 4, 3], [1 << 40] * 4, "x"]))),
        to(infer, lambda r, _: tensor(data=r.choice([[0] * 47, [256] * 48, ["a"] * 48, [[0]], None, [1.5] * 48]))),
        to(infer, lambda r, _: tensor(datatype=r.choice(["FP32", "INT8", 3, None, "BYTES"]))),
        to(infer, lambda _r, _good: tensor(parameters={"binary_data_size": 1 << 60})),
        to(infer, lambda _r, _good: {"inputs": []}),
        to(infer, lambda _r, _good: {**tensor(), "outputs": [{"name": "nothing"}]}),
        to(infer, lambda r, _: r.randbytes(300), _OCTETS, "Inference-Header-Content-Length: 10"),
        to(infer, lambda r, _: r.randbytes(50), _OCTETS, "Inference-Header-Content-Length: 99999"),
        to(infer, lambda r, _: r.randbytes(50), _OCTETS, f"Inference-Header-Content-Length: {'9' * 5000}"),
        to(f"/v1/models/{name}/versions", lambda r, _: b"PK\x03\x04" + r.randbytes(400), _OCTETS),
        to(f"/v1/models/{name}/active", lambda r, _: {"version": r.choice(["0" * 12, "x", 7, None])}),
        to(f"/v1/models/{name}/rename", lambda r, _: {"name": r.choice(["", "../x", 7, "a" * 100, name])}),
        to(f"/v1/models/{name}/versions/{'0' * 12}", lambda _r, _good: b"", _OCTETS, method="DELETE"),
    ]


def _png(width: int, height: int) -> bytes:
    """A PNG of this size that ends after its header."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
