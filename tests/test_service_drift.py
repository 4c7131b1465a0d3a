"""The drift alarm at work: a real server, a stream of images that becomes darker, restarts and kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from command import ROOT
from served import Server, serving, tiny_folder, version_of
from servers import wait_until
from test_service_models import zipped
from test_sinks import SECRET, Receiver

from blemish.drift import image_statistics, small_grey
from blemish.errors import UsageError
from blemish.service.stream import Stream

ENV = {"BLEMISH_WEBHOOK_SECRET": SECRET}
BEFORE = 40  # images until the light changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "bottle")


def part(number: int, level: float = 100, shift: int = 0) -> bytes:
    """An image of a bright part with a little noise, so that scores and statistics differ from image to image."""
    random = np.random.default_rng(number)
    image = np.full((48, 96, 3), level, np.float64)
    image[12:30, 20 + shift : 50 + shift] += 40
    return cv2.imencode(".png", np.clip(image + random.normal(0, 3, (48, 96, 1)), 0, 255).astype(np.uint8))[1].tobytes()


def judge(client: httpx.Client, number: int, level: float = 100, name: str = "bottle") -> None:
    answer = client.post(f"/v1/models/{name}/predict", content=part(number, level))
    assert answer.status_code == 200, answer.text


def drift(client: httpx.Client, name: str = "bottle") -> dict[str, object]:
    answer = client.get(f"/v1/models/{name}/drift")
    assert answer.status_code == 200, answer.text
    return answer.json()


def provoke(client: httpx.Client) -> dict[str, object]:
    """Good images, then brighter ones until the alarm is raised; it."""
    for number in range(BEFORE):
        judge(client, number)
    assert drift(client)["alarm"] is None
    for number in range(BEFORE, BEFORE + 100):
        judge(client, number, 130)
        if number % 10 == 9 and (alarm := drift(client)["alarm"]):
            return alarm
    raise AssertionError("no alarm")


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    (found,) = re.findall(rf"^{name}{{{re.escape(told)}}} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found)


def test_a_brighter_lamp_is_told_everywhere_once(folder: Path, tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        serving(folder, "--output", tmp_path / "out", "--webhook", receiver.url, **ENV) as server,
        server.client() as client,
    ):
        assert drift(client) == {"version": version_of(folder), "observed": 0, "evidence": 1.0, "alarm": None}
        start = datetime.now(timezone.utc)
        alarm = provoke(client)
        began, raised = (datetime.fromisoformat(str(alarm[at]).replace("Z", "+00:00")) for at in ("began", "raised"))
        assert start < began < raised < datetime.now(timezone.utc)
        assert alarm["cause"] == "brightness" and "brighter" in str(alarm["explanation"]) and alarm["evidence"] >= 100
        state = drift(client)
        assert state["evidence"] == alarm["evidence"] and BEFORE < state["observed"] < BEFORE + 100
        assert metric(client, "blemish_drift_alarm", model="bottle") == 1
        assert metric(client, "blemish_drift_evidence", model="bottle") == alarm["evidence"]
        wait_until(lambda: any(b'"drift"' in body for _, body in receiver.got))
        judge(client, 900, 130)
        wait_until(lambda: client.get("/v1/sinks").json()["sinks"][0]["waiting"] == 0)
        assert client.get("/v1/health/ready").status_code == 200
    told = [json.loads(body) for _, body in receiver.got]
    (message,) = [one for one in told if one["event"] == "drift"]
    assert (message["model"], message["version"]) == ("bottle", version_of(folder))
    assert [datetime.fromisoformat(message[at]) for at in ("began", "raised")] == [began, raised]
    for name in ("cause", "explanation", "evidence"):
        assert message[name] == alarm[name]
    times = [datetime.fromisoformat(one["time"]) for one in told if one["event"] == "inspection"]
    assert abs(sum(time < began for time in times) - BEFORE) <= 5  # the change is dated
    assert any("drift since" in line for line in server.said)


def test_what_is_recorded_of_an_image(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "--output", tmp_path / "out") as server, server.client() as client:
        for data in (part(1), part(2, shift=6)):
            assert client.post("/v1/models/bottle/predict", content=data).status_code == 200
    rows = sqlite3.connect(tmp_path / "out" / "store.db").execute(
        "SELECT brightness, focus, shift_x, shift_y FROM inspections ORDER BY id"
    )
    first, second = rows.fetchall()
    rows.connection.close()
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1] for data in (part(1), part(2, shift=6))]
    expected = image_statistics(images[1], small_grey(images[0]))
    assert first[2:] == (None, None) and first[0] == pytest.approx(image_statistics(images[0]).brightness)
    assert second == pytest.approx((expected.brightness, expected.focus, expected.shift_x, expected.shift_y))
    assert second[2] == pytest.approx(6 / 96, abs=0.01)


def test_a_restart_goes_on_and_reset_begins_anew(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "--output", tmp_path / "out") as server, server.client() as client:
        alarm, before = provoke(client), drift(client)
    with serving(folder, "--output", tmp_path / "out") as server, server.client() as client:
        assert drift(client) == before and before["alarm"] == alarm
        assert metric(client, "blemish_drift_alarm", model="bottle") == 1
        judge(client, 1)
        assert drift(client) == before  # an alarm stands until somebody attends to it
        for wrong in ({}, {"accept": "perhaps"}, {"accept": True, "x": 1}):
            assert client.post("/v1/models/bottle/drift/reset", json=wrong).status_code == 422
        anew = client.post("/v1/models/bottle/drift/reset", json={"accept": False}).json()
        assert (anew["observed"], anew["alarm"]) == (0, None)
        for number in range(200, 240):  # it was not mended: the images before the change are what is right
            judge(client, number, 130)
        assert drift(client)["alarm"] is not None
        assert client.post("/v1/models/bottle/drift/reset", json={"accept": True}).json()["alarm"] is None
        for number in range(300, 340):
            judge(client, number, 130)
        assert drift(client)["alarm"] is None and drift(client)["observed"] == 40
        assert metric(client, "blemish_drift_alarm", model="bottle") == 0
        assert client.get("/v1/models/nobody/drift").status_code == 404
        assert client.post("/v1/models/nobody/drift/reset", json={"accept": True}).status_code == 404
    assert _kept(tmp_path / "out") == 40


def test_kill_9_forgets_at_most_what_came_since_the_last_time(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blemish", "serve", str(folder), "--port", "0", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    server = Server(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    with server.client() as client:
        for number in range(60):
            judge(client, number)
        wait_until(lambda: _kept(tmp_path / "out") >= 50)
    server.stop(signal.SIGKILL)
    with serving(folder, "--output", tmp_path / "out") as again, again.client() as client:
        assert 50 <= drift(client)["observed"] <= 60


def _kept(output: Path) -> int:
    """Observations in the state that the store has."""
    database = sqlite3.connect(output / "store.db")
    row = database.execute("SELECT value FROM settings WHERE key = 'drift/bottle'").fetchone()
    database.close()
    return 0 if row is None else json.loads(row[0])["drift"]["martingale"]["steps"]


def test_it_follows_its_model(folder: Path, tmp_path: Path) -> None:
    other = tiny_folder(tmp_path / "new" / "bottle", bias=1000)
    with serving(folder, "--output", tmp_path / "out") as server, server.client() as client:
        for number in range(3):
            judge(client, number)
        assert client.post("/v1/models/bottle/rename", json={"name": "flask"}).status_code == 200
        assert drift(client, "flask")["observed"] == 3 and client.get("/v1/models/bottle/drift").status_code == 404
        assert 'blemish_drift_alarm{model="bottle"}' not in client.get("/metrics").text
        assert client.post("/v1/models/flask/versions", content=zipped(other)).status_code == 201
        new = version_of(other)
        client.post(f"/v1/models/flask/predict?version={new}", content=part(1))
        assert drift(client, "flask")["observed"] == 3  # that version does not answer
        assert client.post("/v1/models/flask/active", json={"version": new}).status_code == 200
        judge(client, 4, name="flask")
        assert (drift(client, "flask")["observed"], drift(client, "flask")["version"]) == (1, new)
        assert client.delete("/v1/models/flask").status_code == 204
        assert client.get("/v1/models/flask/drift").status_code == 404
    database = sqlite3.connect(tmp_path / "out" / "store.db")
    assert database.execute("SELECT key FROM settings WHERE key LIKE 'drift/%'").fetchall() == []
    database.close()


def test_the_state_of_a_stream_and_what_is_none() -> None:
    stream, time = Stream("a"), datetime(2026, 1, 1, tzinfo=timezone.utc)
    stream.reference = np.arange(6, dtype=np.uint8).reshape(2, 3)
    look = image_statistics(np.zeros((8, 8, 3), np.uint8))
    assert not stream.observe(float("nan"), look, time)
    for number in range(80):
        raised = stream.observe(float(number % 7 + 50 * (number >= 40)), look, time + timedelta(minutes=number))
        stream = Stream.from_json(json.loads(json.dumps(stream.to_json())))
        if raised:
            break
    alarm = stream.alarm()
    assert alarm is not None and alarm["began"].startswith("2026-01-01T00:") and stream.reference is not None
    assert abs(int(alarm["began"][14:16]) - 40) <= 2 and stream.reference.tolist() == [[0, 1, 2], [3, 4, 5]]
    for wrong in ({}, {**stream.to_json(), "times": []}, {**stream.to_json(), "reference": {"shape": [9, 9]}}):
        with pytest.raises(UsageError):
            Stream.from_json(wrong)
