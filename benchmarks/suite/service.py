"""`blemish serve` on two cores: throughput beside the engine's own, latency at half load, silence, nonsense, a peer.

Server and load generator share the two cores. The bodies are JPEG files of 512x512 pixels, one defect in ten, each sent
once to a new server with a store (SQLite), so that every picture is a new one. Engine, server and peer work in turns.
*Saturated*: so many connections that always wait for an answer. *Half load*: at half of the saturated rate of the same
turn, at even distances, latency from the moment when a request was due. The peer is FastAPI around anomalib's OpenVINO
inferencer as people write it; it keeps nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.http_client import Load, closed_loop, connect, open_loop, request, spread
from benchmarks.malformed import malformed, upload
from benchmarks.peers.job import job, script
from benchmarks.process import fresh
from benchmarks.record import Figures
from benchmarks.served import Served, blemish_serve, serving
from benchmarks.suite.stream import one_pass
from benchmarks.world import World

CORES = 2
ENGINE = "onnxruntime"
PRESETS = ("fast", "balanced")
WARM_UP = 20  # requests
SENDERS, GIVE_UP_S, SETTLE_S = 16, 1.0, 3.0  # of malformed requests: connections at a time, and seconds
BOUNDS = {
    **{f"{preset}: throughput of the engine's, by the clock, share": 0.85 for preset in PRESETS},
    **{f"{preset}: throughput of the engine's, by CPU time, share": 0.85 for preset in PRESETS},
    **{f"{preset}: half load, p99 over median, times": 3.0 for preset in PRESETS},
    "silent connections: not answered, requests": 0.0,
    "malformed: status 500 and more, answers": 0.0,
    "malformed: resident memory gained, MB": 16.0,
    "malformed: open files gained, files": 0.0,
}


def measure(
    world: World, images: int = 300, connections: int = 8, silent: int = 1000, nonsense: int = 10_000
) -> Iterator[Figures]:
    first, second = world.bodies(images, 0), world.bodies(images, images)
    peer = _peer(world)
    for _ in range(world.repeats):
        for preset in PRESETS:
            model = world.model("PatchCore", f"Model.preset={preset}")
            alone = fresh(CORES, one_pass, f"{preset}, engine alone", model, ENGINE, first)
            found = fresh(CORES, under_load, preset, _own(world, model), connections, first, second)
            yield alone | found | _beside(preset, alone, found)
            bare = _own(world, model, "none")
            yield fresh(CORES, under_load, f"{preset}, --keep none", bare, connections, first)
        if peer is not None:
            yield fresh(CORES, under_load, "anomalib", peer, connections, first, second)
    own = _own(world, world.model("PatchCore", "Model.preset=fast"))
    for name, target in (("", own), *([] if peer is None else [("anomalib, ", peer)])):
        yield fresh(CORES, beside_silence, f"{name}silent connections", target, first, silent)
        yield fresh(CORES, under_nonsense, f"{name}malformed", target, first, nonsense)


@dataclass(frozen=True)
class Target:
    """What is started, where it keeps what it keeps, and the route that takes images, as forms or as they are."""

    line: list[object]
    folder: Path
    route: str
    takes_forms: bool
    model: str | None = None  # its name in Blemish's other routes

    def request(self, image: bytes) -> bytes:
        return upload(self.route, image) if self.takes_forms else request("POST", self.route, image)

    def requests(self, images: Path) -> list[bytes]:
        return [self.request(path.read_bytes()) for path in sorted(images.iterdir())]


def _own(world: World, model: Path, keep: str = "anomalous") -> Target:
    folder = world.work / "served"
    options = ("--port", 0, "--output", folder, "--device", "cpu", "--engine", ENGINE, "--keep", keep)
    return Target(blemish_serve(f"part={model}", *options), folder, "/v1/models/part/predict", False, "part")


def _peer(world: World) -> Target | None:
    """The peer, its model fitted where there is none; None where it is not installed."""
    if not (world.peers / "anomalib").exists():
        world.note("the peer was not installed, and is left out")
        return None
    model = world.work / "anomalib" / "model.xml"
    if not model.exists():
        job(world, "anomalib", "fit", world.png, model.parent, 0.01, 0)
    return Target(
        [*script(world, "anomalib", "anomalib_server.py"), model], world.work / "peer_served", "/predict", True
    )


def _beside(preset: str, alone: Figures, found: Figures) -> Figures:
    cpu = alone[f"{preset}, engine alone: an image, CPU ms"]
    rate = found[f"{preset}: saturated, requests/s"] / alone[f"{preset}, engine alone, images/s"]
    return {
        f"{preset}: throughput of the engine's, by the clock, share": rate,
        f"{preset}: throughput of the engine's, by CPU time, share": cpu / found[f"{preset}: a request, CPU ms"],
    }


def under_load(name: str, target: Target, connections: int, first: Path, second: Path | None = None) -> Figures:
    """Saturated by the images of one folder, then at half load by those of another."""
    busy = target.requests(first)
    with _warm(target, busy) as server:
        before = server.cpu_s
        full = closed_loop(server.address, busy, connections)
        spent = server.cpu_s - before
        found = {
            f"{name}: saturated, requests/s": full.rate,
            f"{name}: a request, CPU ms": 1e3 * spent / len(busy),
            f"{name}: load generator, CPU ms": 1e3 * full.cpu_s / len(busy),
            f"{name}: saturated and not answered with 200, requests": float(len(busy) - full.count(200)),
        }
        if second is not None:
            half = open_loop(server.address, target.requests(second), full.rate / 2)
            found |= _latency(f"{name}: half load", half)
            found[f"{name}: half load, p99 over median, times"] = float(
                np.percentile(half.latencies_ms, 99) / np.median(half.latencies_ms)
            )
    return found


def beside_silence(name: str, target: Target, images: Path, silent: int) -> Figures:
    """Requests one after another while so many connections say nothing."""
    asked = target.requests(images)
    with _warm(target, asked) as server:
        load = asyncio.run(_in_silence(server, asked, silent))
    return {f"{name}: not answered, requests": float(len(asked) - load.count(200)), **_latency(name, load)}


async def _in_silence(server: Served, asked: Sequence[bytes], silent: int) -> Load:
    held = [await connect(server.address) for _ in range(silent)]
    load = await asyncio.to_thread(closed_loop, server.address, asked, 1)
    for connection in held:
        connection.close()
    return load


def under_nonsense(name: str, target: Target, images: Path, count: int) -> Figures:
    """Malformed requests; what a tenth of them left is the level from which memory and files are counted."""
    good = target.requests(images)[:WARM_UP]
    requests = malformed(target.route, min(images.iterdir()).read_bytes(), target.model)
    with _warm(target, good) as server:
        send_all(server, list(islice(requests, count // 10)))
        memory, files = _settled(server)
        statuses = send_all(server, list(islice(requests, count)))
        after = closed_loop(server.address, good, 1)
        memory_after, files_after = _settled(server)
    return {
        f"{name}: status 500 and more, answers": float(sum(status >= 500 for status in statuses)),
        f"{name}: status 400 to 499, answers": float(sum(400 <= status < 500 for status in statuses)),
        f"{name}: status below 400, answers": float(sum(0 < status < 400 for status in statuses)),
        f"{name}: connection closed or nothing said, answers": float(statuses.count(0)),
        f"{name}: resident memory, MB": memory,
        f"{name}: resident memory gained, MB": memory_after - memory,
        f"{name}: open files gained, files": float(files_after - files),
        f"{name}: good requests afterwards and not answered with 200, requests": float(len(good) - after.count(200)),
    }


def send_all(server: Served, requests: Sequence[bytes]) -> list[int]:
    """The statuses of requests on connections of their own; 0 where the server ends it, or waits for more."""
    return [answer.status for answer in asyncio.run(spread(server.address, requests, SENDERS, GIVE_UP_S))]


def _settled(server: Served) -> tuple[float, int]:
    time.sleep(SETTLE_S)
    return server.resident_mb, server.open_files


def _latency(name: str, load: Load) -> Figures:
    found = {
        f"{name}, median latency, ms": float(np.median(load.latencies_ms)),
        f"{name}, p99 of the latency, ms": float(np.percentile(load.latencies_ms, 99)),
    }
    if load.late_ms:
        found[f"{name}, p99 of what the generator sent too late, ms"] = float(np.percentile(load.late_ms, 99))
    return found


@contextmanager
def _warm(target: Target, requests: Sequence[bytes]) -> Iterator[Served]:
    """The target with an empty folder, after a few requests that are not looked at."""
    shutil.rmtree(target.folder, ignore_errors=True)
    target.folder.mkdir(parents=True)
    with serving(target.line, target.folder / "stderr.txt") as server:
        closed_loop(server.address, requests[:WARM_UP], 2)
        yield server
