"""Models that come, go and change while they are asked."""

from __future__ import annotations

import io
import json
import platform
import re
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from command import blemish
from served import Server, grey, serving, tiny_folder, version_of
from tiny_model import HEIGHT, WIDTH, tiny_info, tiny_network, tiny_parts

from blemish.errors import ModelError, UsageError
from blemish.graph import GraphBuilder
from blemish.models import load_model, save_model
from blemish.service.core import Service
from blemish.service.errors import ServiceError
from blemish.service.jobs import compare, update
from blemish.service.jobs.stored import described_service, described_version
from blemish.service.models import put_to_use
from blemish.service.registry import Version
from blemish.service.settings import ModelSource, Settings
from blemish.store import open_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "bottle")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another model of the same part."""
    return tiny_folder(tmp_path / "new" / "bottle", bias=1000)


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[Server]:
    with serving(folder, "--output", tmp_path / "out") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def zipped(folder: Path, prefix: str = "") -> bytes:
    """A model folder as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, prefix + path.name)
    return buffer.getvalue()


def score(client: httpx.Client, name: str = "bottle", level: int = 5) -> float:
    answer = client.post(f"/v1/models/{name}/predict", content=grey(level))
    assert answer.status_code == 200, answer.text
    return float(answer.json()["results"][0]["score"])


def test_a_version_is_uploaded_switched_to_and_back(client: httpx.Client, folder: Path, other: Path) -> None:
    old, new = version_of(folder), version_of(other)
    answer = client.post("/v1/models/bottle/versions", content=zipped(other, "bottle/"))
    assert answer.status_code == 201, answer.text
    assert {one["version"]: one["active"] for one in answer.json()["versions"]} == {old: True, new: False}
    assert score(client) == 5
    assert (
        client.post(f"/v1/models/bottle/predict?version={new}", content=grey(5)).json()["results"][0]["score"] == 1005
    )
    assert client.post("/v1/models/bottle/active", json={"version": new}).json()["active"] == new
    assert score(client) == 1005
    assert client.delete(f"/v1/models/bottle/versions/{new}").status_code == 409
    client.post("/v1/models/bottle/active", json={"version": old})
    assert client.delete(f"/v1/models/bottle/versions/{new}").status_code == 204
    assert score(client) == 5
    assert client.delete(f"/v1/models/bottle/versions/{new}").status_code == 404


def test_models_are_added_renamed_and_removed(client: httpx.Client, other: Path, server: Server) -> None:
    assert client.post("/v1/models/cap/versions", content=zipped(other)).status_code == 201
    assert (score(client, "cap"), score(client)) == (1005, 5)
    assert client.post("/v1/models/cap/rename", json={"name": "bottle"}).status_code == 409
    assert client.post("/v1/models/cap/rename", json={"name": "lid"}).json()["name"] == "lid"
    assert client.post("/v1/models/cap/predict", content=grey(0)).status_code == 404
    assert score(client, "lid") == 1005
    for name in ("../x", "a b", "", "x" * 65):
        assert client.post("/v1/models/lid/rename", json={"name": name}).status_code == 422
    for name in ("bottle", "lid"):
        assert client.delete(f"/v1/models/{name}").status_code == 204
    assert client.get("/v1/models").json() == {"models": []}
    assert client.get("/v1/health/ready").status_code == client.get("/v2/health/ready").status_code == 503
    assert client.get("/v1/health/live").status_code == client.get("/inspect").status_code == 200
    refused = client.post("/image-anomaly-detection", json={"image": "AAAA"})
    assert refused.status_code == refused.json()["errorCode"] == 404


def test_a_restart_remembers_uploads_and_the_active_version(folder: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(folder, "--output", out) as running, running.client() as client:
        client.post("/v1/models/bottle/versions?activate=true", content=zipped(other))
        client.post("/v1/models/cap/versions", content=zipped(other))
    with serving(folder, "--output", out) as running, running.client() as client:
        assert (score(client), score(client, "cap")) == (1005, 1005)
        assert client.delete("/v1/models/cap").status_code == 204
        assert score(client) == 1005  # the folder is another name's too
    third = tiny_folder(folder, bias=2000)  # trained again, into the same folder
    with serving(third, "--output", out) as running, running.client() as client:
        assert score(client) == 2005
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["bottle"]


def test_a_restart_remembers_new_names(folder: Path, other: Path, tmp_path: Path) -> None:
    def names(client: httpx.Client) -> list[str]:
        return [model["name"] for model in client.get("/v1/models").json()["models"]]

    out = tmp_path / "out"
    with serving(folder, "--output", out) as running, running.client() as client:
        client.post("/v1/models/bottle/rename", json={"name": "flask"})
        client.post("/v1/models/flask/versions?activate=true", content=zipped(other))
    for _ in range(2):
        with serving(folder, "--output", out) as running, running.client() as client:
            assert names(client) == ["flask"] and score(client, "flask") == 1005
            assert len(client.get("/v1/models/flask").json()["versions"]) == 2
    with serving(folder, f"flask={other}", "--output", out) as running, running.client() as client:
        assert (score(client, "bottle"), score(client, "flask")) == (5, 1005)  # each as it is given


def test_switches_and_removals_under_load_lose_no_request(server: Server, folder: Path, other: Path) -> None:
    old, new = version_of(folder), version_of(other)
    stopped, found = threading.Event(), []

    def ask(level: int) -> None:
        with server.client() as client:
            while not stopped.is_set():
                answer = client.post("/v1/models/bottle/predict", content=grey(level))
                found.append((answer.status_code, answer.json()["results"][0]["score"] - level))

    threads = [threading.Thread(target=ask, args=(level,)) for level in range(4)]
    for thread in threads:
        thread.start()
    data = zipped(other)
    with server.client() as client:
        for _ in range(8):
            assert client.post("/v1/models/bottle/versions?activate=true", content=data).status_code == 201
            client.post("/v1/models/bottle/active", json={"version": old}).raise_for_status()
            assert client.delete(f"/v1/models/bottle/versions/{new}").status_code == 204
    stopped.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in found} == {200}
    assert {bias for _, bias in found} <= {0, 1000} and len(found) >= 8


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A server that refuses all day, and the folder that it keeps its models in."""
    root = tmp_path_factory.mktemp("lasting")
    with serving(tiny_folder(root / "bottle"), "--output", root / "out") as running, running.client() as client:
        yield client, root / "out" / "models"


def linked(data: bytes) -> bytes:
    """`model.onnx` as a symbolic link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as archive:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == "model.onnx":
                member.external_attr, content = (stat.S_IFLNK | 0o777) << 16, b"/etc/passwd"
            archive.writestr(member, content)
    return buffer.getvalue()


def with_file(name: str, content: bytes = b"x") -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        buffer = io.BytesIO(data)
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        return buffer.getvalue()

    return change


def flooded(data: bytes) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(100):
            archive.writestr(f"{number}.txt", b"")
    return buffer.getvalue()


def lying(data: bytes) -> bytes:
    """The central directory states other sizes than the data has."""
    at = data.rfind(b"PK\x01\x02")
    return data[: at + 24] + (10).to_bytes(4, "little") + data[at + 28 :]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda data: b"", "no body"),
        (lambda data: b"PK\x03\x04", "no zip file"),
        (lambda data: data[: len(data) // 2], "no zip file"),
        (linked, "holds a link"),
        (with_file("../model.txt"), "leads out of its folder"),
        (with_file("/abs.txt"), "leads out of its folder"),
        (with_file("b/model.json"), "two files called model.json"),
        (with_file("bomb.bin", bytes(50 << 20)), "compressed more than any model"),
        (flooded, "more than 64 files"),
        (lying, "no zip file"),
    ],
)
def test_uploads_that_are_refused(
    lasting: tuple[httpx.Client, Path], other: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    client, kept = lasting
    answer = client.post("/v1/models/bottle/versions", content=change(zipped(other)))
    assert answer.status_code == 400 and said in answer.text, answer.text
    assert not kept.exists() or not list(kept.iterdir())
    assert score(client) == 5


def test_a_model_that_is_none_is_refused_without_a_path(lasting: tuple[httpx.Client, Path], other: Path) -> None:
    client, kept = lasting
    (other / "model.onnx").write_bytes(tiny_network(7))
    answer = client.post("/v1/models/bottle/versions", content=zipped(other))
    assert answer.status_code == 400 and "SHA-256 is not the one" in answer.text
    assert str(kept.parent.parent) not in answer.text
    (other / "model.onnx").unlink()
    answer = client.post("/v1/models/bottle/versions", content=zipped(other))
    assert answer.status_code == 400 and "model.onnx is missing" in answer.text
    assert not list(kept.iterdir())


def test_an_upload_whose_pattern_some_name_could_keep_busy(client: httpx.Client, tmp_path: Path) -> None:
    slow, quick = (
        save_model(tmp_path / name, tiny_network(9), tiny_info(calibration=tiny_parts(pattern), format_version=6))
        for name, pattern in (("slow", r"(([a-z])+)+\d$"), ("quick", r"(P\d+)_"))
    )
    answer = client.post("/v1/models/nut/versions", content=zipped(slow))
    assert answer.status_code == 400 and "has a repeat inside another" in answer.json()["error"]["message"]
    assert client.get("/v1/models/nut").status_code == 404
    assert client.post("/v1/models/nut/versions", content=zipped(quick)).status_code == 201


def test_a_slow_pattern_of_the_command_line_works(tmp_path: Path) -> None:
    info = tiny_info(calibration=tiny_parts(r"(([a-z])+)+\d$"), format_version=6)
    folder = save_model(tmp_path / "m", tiny_network(), info)
    with serving(f"m={folder}", "--output", tmp_path / "out") as server, server.client() as client:
        answer = client.post("/v1/models/m/predict", files={"image": ("a1", grey(5))})
        assert [one["part"] for one in answer.json()["parts"]] == ["a"]


def test_a_record_that_is_damaged_is_begun_anew(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "models.json").write_text(json.dumps({"bottle": 5}))
    with serving(folder, "--output", tmp_path / "out") as running, running.client() as client:
        assert score(client) == 5
    assert "is begun anew" in "".join(running.said)


def test_the_name_of_a_model(tmp_path: Path) -> None:
    run = tmp_path / "my run (3)" / "best_model" / "inference"
    save_model(run, tiny_network(), tiny_info())
    tiny_folder(tmp_path / "x")
    with serving(run, f"cap={tmp_path / 'x'}", "--output", tmp_path / "out") as running, running.client() as client:
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["my-run-3", "cap"]


@pytest.fixture
def service(folder: Path, tmp_path: Path) -> Iterator[Service]:
    settings = Settings((ModelSource("bottle", folder),), tmp_path / "out", device="cpu")
    with open_store(None, tmp_path / "out") as store:
        opened = Service(settings, store)
        yield opened
        opened.close()


def test_a_model_that_cannot_be_loaded_twice_stays_where_it_was(
    service: Service, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = service.shelf.keep(zipped(other))
    put_to_use(service, "cap", kept, activate=True)

    def full(_folder: Path) -> Version:
        raise ModelError("there is no memory for it")

    monkeypatch.setattr(service.registry, "_open", full)
    with pytest.raises(ServiceError, match="cannot be loaded"):
        put_to_use(service, "lid", service.shelf.keep(zipped(other)), activate=False)
    assert kept.is_dir() and service.registry.model("cap").versions
    third = service.shelf.keep(zipped(tiny_folder(other.parent / "third", bias=5)))
    with pytest.raises(ServiceError, match="cannot be loaded"):
        put_to_use(service, "lid", third, activate=False)
    assert not third.exists()


def test_an_update_goes_to_the_model_that_was_updated(service: Service, folder: Path, other: Path) -> None:
    """Another model may have taken the name while the update was at work."""
    old = described_version(service.registry.model("bottle").versions[version_of(folder)])
    parameters = {"model": "bottle", "version": old}
    result = {"folder": str(other), "after": {}}
    service.registry.rename("bottle", "flask")
    put_to_use(service, "bottle", service.shelf.keep(zipped(tiny_folder(other.parent / "third", bias=5))), True)
    with pytest.raises(ServiceError, match="renamed meanwhile"):
        update.finish(service, parameters, result)
    service.registry.remove("bottle")
    service.registry.rename("flask", "bottle")
    assert update.finish(service, parameters, result) == {"after": {"id": version_of(other)}}
    assert set(service.registry.model("bottle").versions) == {version_of(folder), version_of(other)}


def test_a_rate_that_was_set_during_an_update_is_not_lost(service: Service, folder: Path, other: Path) -> None:
    parameters = {
        "model": "bottle",
        "version": described_version(service.registry.model("bottle").versions.popitem()[1]),
    }
    service.registry.set_rate("bottle", 0.4)
    with pytest.raises(ServiceError, match="the false-alarm rate of bottle was changed meanwhile") as refused:
        update.finish(service, parameters, {"folder": str(other), "after": {}})
    assert refused.value.status_code == 409
    assert set(service.registry.model("bottle").versions) == {version_of(folder)}


def test_work_on_a_folder_that_the_command_line_has_changed_is_refused(service: Service, folder: Path) -> None:
    old = described_version(service.registry.model("bottle").versions[version_of(folder)])
    given = {**described_service(service), "version": old, "versions": [old, old], "images": [], "reviewed": []}
    given["work"] = str(folder.parent / "work")
    assert blemish("update", folder, "--false-alarm-rate", "0.4").code == 0
    for kind in (update, compare):
        with pytest.raises(UsageError, match=f"changed meanwhile: it holds version {version_of(folder)}"):
            kind.run(given, lambda *_: None)
    assert load_model(folder).info.calibration.false_alarm_rate == 0.4


def test_equal_models_are_one_version(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    info = tiny_info().model_copy(update={"created": "2020-01-01T00:00:00+00:00"})
    twin = save_model(tmp_path / "twin", tiny_network(), info)
    assert load_model(twin).info.checksum != load_model(folder).info.checksum
    answer = client.post("/v1/models/bottle/versions?activate=true", content=zipped(twin)).json()
    assert [one["version"] for one in answer["versions"]] == [version_of(folder)] == [answer["active"]]


def large_network(bias: float) -> bytes:
    """As `tiny_network`, with 12 MB of weights that change nothing."""
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", HEIGHT, WIDTH, 3])
    grey_levels = graph.node("ReduceMean", graph.node("Cast", image, to=onnx.TensorProto.FLOAT), axes=[3], keepdims=0)
    anomaly_map = graph.node("Add", grey_levels, graph.constant(np.float32(bias), "bias"))
    weights = np.random.default_rng(0).standard_normal((HEIGHT * WIDTH, 24576), np.float32)
    flat = graph.node("Reshape", grey_levels, graph.constant(np.array([-1, HEIGHT * WIDTH])))
    product = graph.node("ReduceMax", graph.node("MatMul", flat, graph.constant(weights)), axes=[1], keepdims=0)
    nothing = graph.node("Mul", product, graph.constant(np.float32(0)))
    score_alone = graph.node("ReduceMax", anomaly_map, axes=[1, 2], keepdims=0)
    graph.output(anomaly_map, "anomaly_map", np.float32, ["N", HEIGHT, WIDTH])
    graph.output(graph.node("Add", score_alone, nothing), "score", np.float32, ["N"])
    return graph.model("large").SerializeToString()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries decide for themselves")
def test_unloaded_versions_give_their_memory_back(client: httpx.Client, server: Server, tmp_path: Path) -> None:
    def resident() -> float:
        """Memory of the server, MB."""
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    versions = [zipped(save_model(tmp_path / str(bias), large_network(bias), tiny_info())) for bias in range(1, 5)]

    def load_and_unload() -> tuple[float, float]:
        for bias, version in enumerate(versions, 1):
            assert client.post("/v1/models/line/versions?activate=true", content=version).status_code == 201
            assert score(client, "line") == 5 + bias
        loaded = resident()
        assert client.delete("/v1/models/line").status_code == 204
        return loaded, resident()

    load_and_unload()
    before = resident()
    loaded, after = load_and_unload()
    assert loaded - before > 40 and after - before < 0.3 * (loaded - before), (before, loaded, after)
