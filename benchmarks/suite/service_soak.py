"""`blemish serve` under mixed load for as long as is wished: nothing lost, nothing doubled, nothing that grows.

Clients send raw, multipart, PaddleX and KServe requests, ask for heat maps, list models and metrics, and send malformed
requests, while the active version is switched every 20 s. At a third and at two thirds of the time, the server is
killed (SIGKILL) and started again with the same folder and port; what it did not answer then may be in the store or
not, what it answered must be. Every request has a source of its own, by which answers and store are compared.
Lines are fitted to memory and open files in each life of the server, the first fifth left out.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.http_client import NONE, Connection, ask_once, connect, request
from benchmarks.ledger import Ledger, Row
from benchmarks.malformed import malformed, upload
from benchmarks.process import fresh
from benchmarks.record import Figures
from benchmarks.served import Served, blemish_serve
from benchmarks.world import World

CORES = 2
BOUNDS = {
    "answered and not in the store, inspections": 0.0,
    "in the store twice, inspections": 0.0,
    "findings of the store's own check, findings": 0.0,
    "status 500 and more, answers": 0.0,
}
CLIENTS, SWITCH_S, SETTLE = 6, 20.0, 0.2
ANONYMOUS = "image 0"  # what the store calls the first image of a KServe request
ROOT = Path(__file__).resolve().parents[2]


def measure(world: World, minutes: float = 3.0, store: str = "sqlite") -> Iterator[Figures]:
    first, second = (world.model("PatchCore", "Model.preset=fast", f"Global.seed={seed}") for seed in (0, 1))
    with _database(store) as url:
        yield fresh(CORES, soak, first, second, world.bodies(40, 0), world.work / "soaked", minutes, url)


@contextmanager
def _database(store: str) -> Iterator[str | None]:
    """The URL of a new database: None for SQLite in the output folder."""
    if store not in ("sqlite", "postgres"):
        raise ValueError(f"store is sqlite or postgres, not {store}")
    if store == "sqlite":
        yield None
        return
    sys.path.insert(0, str(ROOT / "tests"))
    with import_module("servers").postgres() as server:
        yield server.new_database()


def soak(first: Path, second: Path, bodies: Path, output: Path, minutes: float, url: str | None) -> Figures:
    """All figures of one run; the output folder is emptied first."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    options = ["--output", output, "--device", "cpu", *(["--store", url] if url else [])]
    run = Run([f"part={first}", *options], output, [path.read_bytes() for path in sorted(bodies.iterdir())])
    asyncio.run(run.go(60 * minutes, _zipped(second)))
    return run.figures() | _compared(run.ledger, output, url)


@dataclass
class Run:
    """The server in its lives, its clients, and what they were told."""

    arguments: list[object]
    output: Path
    images: list[bytes]
    ledger: Ledger = field(default_factory=Ledger)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: Counter[int] = field(default_factory=Counter)  # of malformed requests
    latencies_ms: list[float] = field(default_factory=list)
    lives: list[list[tuple[float, float, int]]] = field(default_factory=list)  # seconds, MB, open files
    switches: int = 0
    exit_code: int = 0
    _numbers: Iterator[int] = field(default_factory=count)
    _end: float = 0.0

    async def go(self, seconds: float, second: bytes) -> None:
        """Serve and ask for so long."""
        self._server = await asyncio.to_thread(self._start, 0)
        self.address = self._server.address
        added = await ask_once(self.address, request("POST", "/v1/models/part/versions", second))
        self._versions = [one["version"] for one in json.loads(added.body)["versions"]]
        self._end = time.monotonic() + seconds
        work = [*(self._client(i) for i in range(CLIENTS)), self._wrong(), self._switch(), self._watch()]
        await asyncio.gather(*work, self._kill(seconds))
        self.exit_code = await asyncio.to_thread(self._server.stop)

    def figures(self) -> Figures:
        """What clients and system saw."""
        found = {
            "answers with status 200, answers": float(self.statuses[200]),
            "status 400 to 499 to good requests, answers": float(_between(self.statuses, 400, 499)),
            "status 500 and more, answers": float(_between(self.statuses, 500, 599) + _between(self.wrong, 500, 599)),
            "malformed requests, requests": float(self.wrong.total()),
            "not answered, while it was killed and started again, requests": float(self.statuses[0]),
            "switches of the version, switches": float(self.switches),
            "exit code at the end, code": float(self.exit_code),
            "median latency, ms": float(np.median(self.latencies_ms)),
            "p99 of the latency, ms": float(np.percentile(self.latencies_ms, 99)),
        }
        for number, life in enumerate(self.lives, 1):
            found |= _line(f"life {number}: resident memory", "MB", [(s, mb) for s, mb, _ in life])
            found |= _line(f"life {number}: open files", "files", [(s, float(files)) for s, _, files in life])
        return found

    def _start(self, port: int) -> Served:
        self.lives.append([])
        line = blemish_serve(*self.arguments, "--port", port)
        return Served(line, self.output / f"stderr{len(self.lives)}.txt")

    async def _client(self, index: int) -> None:
        """Requests of every kind in turn, each with a source that no other has."""
        connection: Connection | None = None
        for turn in count(index):
            if time.monotonic() > self._end:
                break
            kind, image = KINDS[turn % len(KINDS)], self.images[turn % len(self.images)]
            source = f"part-{next(self._numbers)}"
            if connection is None or not connection.is_open:
                connection = await self._connected()
            began = time.perf_counter()
            answer = NONE if connection is None else await connection.ask(kind.request(image, source))
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.latencies_ms.append(1e3 * (time.perf_counter() - began))
                kind.note(self.ledger, source, answer.body)
            if answer.status == 0:
                await asyncio.sleep(0.1)
        if connection is not None:
            connection.close()

    async def _connected(self) -> Connection | None:
        try:
            return await connect(self.address)
        except OSError:
            return None

    async def _wrong(self) -> None:
        requests = malformed("/v1/models/part/predict", self.images[0], "part")
        while time.monotonic() < self._end:
            self.wrong[(await ask_once(self.address, next(requests), 1.0)).status] += 1
            await asyncio.sleep(0.1)

    async def _switch(self) -> None:
        while time.monotonic() < self._end:
            body = json.dumps({"version": self._versions[self.switches % 2]}).encode()
            asked = request("POST", "/v1/models/part/active", body, "Content-Type: application/json")
            self.switches += (await ask_once(self.address, asked)).status == 200
            await asyncio.sleep(min(SWITCH_S, max(0.0, self._end - time.monotonic())))

    async def _watch(self) -> None:
        begun = time.monotonic()
        while time.monotonic() < self._end:
            try:
                sample = self._server.resident_mb, self._server.open_files
                self.lives[-1].append((time.monotonic() - begun, *sample))
            except (OSError, ValueError, IndexError):
                pass  # it is dead at the moment
            await asyncio.sleep(1.0)

    async def _kill(self, seconds: float) -> None:
        for _ in range(2):
            await asyncio.sleep(seconds / 3)
            self._server.kill()
            self._server = await asyncio.to_thread(self._start, self.address[1])


@dataclass(frozen=True)
class Kind:
    """One way to ask, and what its answer tells."""

    request: Callable[[bytes, str], bytes]
    note: Callable[[Ledger, str, bytes], None]


def _raw(image: bytes, source: str) -> bytes:
    return request("POST", f"/v1/models/part/predict?source={source}", image)


def _picture(image: bytes, source: str) -> bytes:
    return request("POST", f"/v1/models/part/predict?source={source}", image, "Accept: image/png")


def _form(image: bytes, source: str) -> bytes:
    return upload(f"/v1/models/part/predict?source={source}", image)


def _paddlex(image: bytes, source: str) -> bytes:
    content = {"image": base64.b64encode(image).decode(), "source": source}
    return request("POST", "/image-anomaly-detection", json.dumps(content).encode(), "Content-Type: application/json")


def _kserve(image: bytes, _source: str) -> bytes:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}
    content = {"inputs": [tensor], "outputs": [{"name": "score"}]}
    return request("POST", "/v2/models/part/infer", json.dumps(content).encode(), "Content-Type: application/json")


def _note_own(ledger: Ledger, source: str, body: bytes) -> None:
    (result,) = json.loads(body)["results"]
    ledger.told[source] = result["inspection"], result["score"]


def _note_paddlex(ledger: Ledger, source: str, body: bytes) -> None:
    ledger.told[source] = None, json.loads(body)["result"]["score"]


def _note_picture(ledger: Ledger, source: str, _body: bytes) -> None:
    ledger.told[source] = None, None


def _note_kserve(ledger: Ledger, _source: str, _body: bytes) -> None:
    ledger.anonymous += 1


def _read(path: str) -> Kind:
    return Kind(lambda _image, _source: request("GET", path), lambda _ledger, _source, _body: None)


KINDS = (
    *(Kind(_raw, _note_own), Kind(_form, _note_own), Kind(_paddlex, _note_paddlex), Kind(_raw, _note_own)),
    *(Kind(_kserve, _note_kserve), Kind(_picture, _note_picture), Kind(_raw, _note_own)),
    *(_read("/v1/models"), Kind(_raw, _note_own), _read("/metrics"), _read("/v1/health/ready")),
)


def _compared(ledger: Ledger, output: Path, url: str | None) -> Figures:
    from blemish.store import open_store

    rows: list[Row] = []
    with open_store(url, output) as store:
        findings = store.check()
        while page := store.find(before=rows[-1].number if rows else None, limit=1000):
            rows += [Row(one.id, one.source, one.score) for one in page]
    return {
        "inspections in the store, inspections": float(len(rows)),
        "answered and not in the store, inspections": float(ledger.lost(rows, ANONYMOUS)),
        "in the store twice, inspections": float(ledger.doubled(rows, ANONYMOUS)),
        "findings of the store's own check, findings": float(len(findings)),
    }


def _zipped(model: Path) -> bytes:
    folder, packed = model / "best_model" / "inference", io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return packed.getvalue()


def _between(statuses: Counter[int], low: int, high: int) -> int:
    return sum(number for status, number in statuses.items() if low <= status <= high)


def _line(name: str, unit: str, points: list[tuple[float, float]]) -> Figures:
    """Median and the gain of a straight line over an hour, after settling; nothing of a life of a moment."""
    kept = np.array(points[int(SETTLE * len(points)) :])  # (points, 2)
    if len(kept) < 5:
        return {}
    slope = np.polyfit(kept[:, 0], kept[:, 1], 1)[0]
    return {
        f"{name}, {unit}": float(np.median(kept[:, 1])),
        f"{name}: gained over an hour, {unit}": float(3600 * slope),
    }
