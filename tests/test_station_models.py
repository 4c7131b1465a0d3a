"""The page Models and its routes: the false-alarm rate of what is in service, over HTTP and in a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from command import blemish
from served import Server, grey, serving
from tiny_model import tiny_info, tiny_network

from blemish.calibration import Calibration
from blemish.models import CalibrationInfo, load_model, save_model
from blemish.pipeline.predictor import limit_at

SCORES = [float(level) for level in range(100, 140)]  # of forty good images, grey levels as the tiny model's scores


def calibrated_folder(folder: Path, bias: float = 0.0) -> Path:
    """A model whose score is the brightest cell plus the bias, with forty good images."""
    scores = [score + bias for score in SCORES]
    calibration = CalibrationInfo(
        scores=scores, peaks=scores, parts=list(range(40)), false_alarm_rate=0.05, kind="leave-one-part-out"
    )
    return save_model(folder, tiny_network(bias), tiny_info(calibration=calibration))


def calibration_of(folder: Path) -> Calibration:
    return Calibration.from_json(load_model(folder).info.calibration.model_dump())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrated_folder(tmp_path_factory.mktemp("model") / "bottle")


def served_version(client: httpx.Client, name: str = "bottle") -> dict[str, object]:
    model = client.get(f"/v1/models/{name}").json()
    return next(version for version in model["versions"] if version["active"])


def set_rate(client: httpx.Client, rate: float | None) -> httpx.Response:
    return client.post("/v1/models/bottle/threshold", json={"false_alarm_rate": rate})


def judged(client: httpx.Client, level: int) -> dict[str, object]:
    answer = client.post("/v1/models/bottle/predict", content=grey(level))
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]


def test_a_rate_decides_from_the_next_request_on_and_lasts(folder: Path, tmp_path: Path) -> None:
    expected = limit_at(calibration_of(folder), 0.2)
    own = limit_at(calibration_of(folder))
    level = int(expected.score) + 1
    assert own.score >= level  # the two rates disagree about this image
    with serving(folder, "--output", tmp_path) as server, server.client() as client:
        assert judged(client, level)["label"] == "Normal"
        answer = set_rate(client, 0.2)
        assert answer.status_code == 200
        assert answer.json()["versions"][0]["threshold"] == expected.score
        result = judged(client, level)
        assert (result["label"], result["threshold"], result["false_alarm_rate"]) == ("Anomaly", expected.score, 0.2)
        assert result["pixel_threshold"] == expected.pixel and result["regions"]
    with serving(folder, "--output", tmp_path) as server, server.client() as client:
        assert served_version(client)["false_alarm_rate"] == 0.2
        assert judged(client, level)["label"] == "Anomaly"
        assert set_rate(client, None).status_code == 200
        assert (served_version(client)["threshold"], judged(client, level)["label"]) == (own.score, "Normal")
    with serving(folder, "--output", tmp_path) as server, server.client() as client:
        assert served_version(client)["false_alarm_rate"] == 0.05
    assert calibration_of(folder).false_alarm_rate == 0.05  # the model itself is as it was


def test_a_renamed_model_and_each_version_keep_their_rates(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "--output", tmp_path) as server, server.client() as client:
        first = served_version(client)["version"]
        other = zipped(calibrated_folder(tmp_path / "other", bias=1000.0))
        assert client.post("/v1/models/bottle/versions", content=other).status_code == 201
        set_rate(client, 0.1)
        assert {one["false_alarm_rate"] for one in client.get("/v1/models/bottle").json()["versions"]} == {0.1, 0.05}
        (second,) = (
            one["version"] for one in client.get("/v1/models/bottle").json()["versions"] if one["version"] != first
        )
        client.post("/v1/models/bottle/active", json={"version": second})
        assert served_version(client)["false_alarm_rate"] == 0.05
        set_rate(client, 0.2)
        client.post("/v1/models/bottle/active", json={"version": first})
        assert served_version(client)["false_alarm_rate"] == 0.1
        client.post("/v1/models/bottle/rename", json={"name": "flask"})
        assert served_version(client, "flask")["false_alarm_rate"] == 0.1


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1e-9, 0.9, "x", "NaN", [0.1]])
def test_what_is_no_rate_is_refused(client: httpx.Client, rate: object) -> None:
    before = served_version(client)
    assert set_rate(client, rate).status_code == 422  # type: ignore[arg-type]
    assert served_version(client) == before


def test_a_model_without_good_images_has_no_rate(tmp_path: Path) -> None:
    fixed = CalibrationInfo(**Calibration.fixed(120.0, "imported").to_json())
    plain = save_model(tmp_path / "bottle", tiny_network(), tiny_info(calibration=fixed))
    with serving(plain, "--output", tmp_path / "out") as server, server.client() as client:
        answer = set_rate(client, 0.1)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_calibrated")
        page = client.get("/models/bottle")
        assert page.status_code == 200 and "Not calibrated" in page.text


def test_under_load_every_request_is_answered_by_one_of_the_two_limits(folder: Path, tmp_path: Path) -> None:
    limits = {limit_at(calibration_of(folder), rate).score: rate for rate in (0.05, 0.2)}
    answers: list[tuple[int, float, float, str]] = []
    ended = threading.Event()

    def ask(server: Server) -> None:
        with server.client() as client:
            while not ended.is_set():
                answer = client.post("/v1/models/bottle/predict", content=grey(134))
                result = answer.json()["results"][0]
                told = result["threshold"], result["false_alarm_rate"], result["label"]
                answers.append((answer.status_code, *told))

    with serving(folder, "--output", tmp_path, "--keep", "none") as server, server.client() as client:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for rate in (0.2, None) * 15:
            assert set_rate(client, rate).status_code == 200
        ended.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 20
    for status, threshold, rate, label in answers:
        assert status == 200 and limits[threshold] == rate
        assert label == ("Anomaly" if threshold < 134 else "Normal")


def test_only_an_admin_sets_a_rate(folder: Path, tmp_path: Path) -> None:
    tokens = {role: blemish("serve", "--create-token", role, "--output", tmp_path).stdout.strip() for role in ROLES}
    with serving(folder, "--output", tmp_path) as server, server.client() as client:
        for role, token in tokens.items():
            head = {"Authorization": f"Bearer {token}"}
            answer = client.post("/v1/models/bottle/threshold", json={"false_alarm_rate": 0.1}, headers=head)
            assert answer.status_code == (200 if role == "admin" else 403)
            page = client.get("/models/bottle", headers=head)
            assert page.status_code == 200 and ("data-address" in page.text) == (role == "admin")
            for job in ("compare", "update"):
                if role != "admin":
                    assert client.post(f"/models/bottle/{job}", headers=head).status_code == 403


ROLES = ("viewer", "operator", "admin")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(folder, "--output", tmp_path_factory.mktemp("out"), "--keep", "all") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def zipped(folder: Path) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
    return buffer.getvalue()
