"""Sinks of a real server: a web server, the broker Mosquitto, an OPC UA client; and what is refused at the start."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import socket
from pathlib import Path

import pytest
from command import blemish
from served import grey, serving, tiny_folder
from servers import Mosquitto, free_port, wait_until
from test_sinks import SECRET, Listener, Receiver, needs_broker

from blemish.errors import UsageError
from blemish.service.settings import SinkSettings
from blemish.service.sinks import Sinks
from blemish.store import open_store

ENV = {"BLEMISH_WEBHOOK_SECRET": SECRET}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "bottle")


def judge(client, level: int = 5) -> int:
    answer = client.post("/v1/models/bottle/predict", content=grey(level))
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]["inspection"]


def states(client) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in client.get("/v1/sinks").json()["sinks"]}


def test_two_webhooks_one_of_them_away(folder: Path, tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}/hook?key=classified"
    arguments = [folder, "--output", tmp_path / "out"]
    with Receiver() as receiver:
        with (
            serving(*arguments, "--webhook", receiver.url, "--webhook", away, **ENV) as server,
            server.client() as client,
        ):
            numbers = [judge(client, level) for level in (1, 2, 3)]
            wait_until(lambda: len(receiver.got) == 3)
            wait_until(lambda: [one["failure"] is None for one in states(client).values()] == [True, False])
            here, gone = states(client)
            assert states(client)[gone]["waiting"] == 3
            text = client.get("/metrics").text
            assert f'blemish_sink_waiting{{sink="{gone}"}} 3.0' in text
            assert f'blemish_sink_failing{{sink="{gone}"}} 1.0' in text
            assert f'blemish_sink_failing{{sink="{here}"}} 0.0' in text
            assert client.get("/v1/health/ready").status_code == 200
            assert "classified" not in client.get("/v1/sinks").text + text
        assert "classified" not in "".join(server.said) and SECRET not in "".join(server.said)
        assert [json.loads(body)["id"] for _, body in receiver.got] == numbers
        headers, body = receiver.got[0]
        moment, signature = (part.split("=")[1] for part in headers["Blemish-Signature"].split(","))
        assert signature == hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        with serving(*arguments, "--webhook", receiver.url, **ENV) as server, server.client() as client:
            judge(client)
            wait_until(lambda: len(receiver.got) == 4)
            assert list(states(client)) == [here]
        assert any(re.search(f"{gone} is no longer a sink; 3 messages wait", line) for line in server.said)
    with open_store(None, tmp_path / "out") as store:
        assert (store.outbox.subscribed(), store.outbox.waiting(gone)) == ([here], 3)
        store.outbox.subscribe("again")
        store.outbox.put("again", "key", {})
        store.outbox.unsubscribe("again")
        assert store.outbox.waiting("again") == 0


def test_what_waited_arrives_when_the_sink_is_named_again(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    webhook = ["--webhook", f"http://127.0.0.1:{port}/"]
    with serving(folder, "--output", tmp_path / "out", *webhook, **ENV) as server, server.client() as client:
        before = judge(client)
    with serving(folder, "--output", tmp_path / "out") as server, server.client() as client:
        judge(client)  # nobody is told of this one
    with (
        Receiver(port) as receiver,
        serving(folder, "--output", tmp_path / "out", *webhook, **ENV) as server,
        server.client() as client,
    ):
        after = judge(client)
        wait_until(lambda: len(receiver.got) == 2)
    assert [json.loads(body)["id"] for _, body in receiver.got] == [before, after]


@needs_broker
def test_mqtt_with_a_login(folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    listener = Listener(broker.port, "plant/3")
    try:
        arguments = ["--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--mqtt-topic", "plant/3"]
        login = {"BLEMISH_MQTT_USER": "plant", "BLEMISH_MQTT_PASSWORD": "opensesame"}
        with serving(folder, "--output", tmp_path / "out", *arguments, **login) as server, server.client() as client:
            judge(client)
            judge(client)
            wait_until(lambda: len(set(listener.got)) == 2)
            wait_until(lambda: states(client)["mqtt"] == {"name": "mqtt", "waiting": 0, "failure": None})
        assert "opensesame" not in "".join(server.said)
    finally:
        listener.close()
        broker.kill()


def test_opc_ua_shows_what_was_judged(folder: Path, tmp_path: Path) -> None:
    from asyncua import Client

    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/blemish"

    async def look() -> dict[str, object]:
        async with Client(endpoint) as client:
            space = await client.get_namespace_index("urn:blemish:inspections")
            shown = await client.nodes.objects.get_child([f"{space}:Blemish", f"{space}:bottle"])
            variables = {(await node.read_browse_name()).Name: node for node in await shown.get_children()}
            return {name: await variables[name].read_value() for name in ("Score", "IsAnomalous", "Inspected")}

    with serving(folder, "--output", tmp_path / "out", "--opcua", endpoint) as server, server.client() as client:
        judge(client, 1)
        judge(client, 200)
        assert asyncio.run(look()) == {"Score": 200.0, "IsAnomalous": True, "Inspected": 2}
        assert states(client) == {"opcua": {"name": "opcua", "waiting": 0, "failure": None}}


@pytest.mark.parametrize(
    "settings, said",
    [
        (SinkSettings(webhooks=("ftp://x/",), webhook_secret=SECRET), "https://HOST/PATH"),
        (SinkSettings(webhooks=("http://[/",), webhook_secret=SECRET), "https://HOST/PATH"),
        (SinkSettings(mqtt="http://x"), "mqtt://HOST"),
        (SinkSettings(mqtt="mqtt://x", mqtt_topic="a/#"), "wildcards"),
        (SinkSettings(mqtt="mqtts://x", mqtt_ca_file=Path("nowhere.pem")), "nowhere.pem"),
        (SinkSettings(opcua="nonsense"), "opc.tcp://HOST:PORT/PATH"),
    ],
)
def test_what_is_refused(settings: SinkSettings, said: str, tmp_path: Path) -> None:
    with open_store(None, tmp_path) as store, pytest.raises(UsageError, match=said):
        Sinks(settings, store)


def test_what_is_refused_is_one_line(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"opc.tcp://127.0.0.1:{taken.getsockname()[1]}/blemish"
        for arguments, said in (
            (["--webhook", "http://127.0.0.1:1/"], "BLEMISH_WEBHOOK_SECRET"),
            (["--opcua", endpoint], f"{endpoint} cannot be used"),
        ):
            done = blemish("serve", folder, "--port", 0, "--output", tmp_path / "out", *arguments)
            assert done.code == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_sinks_need_a_store_and_keep_their_secrets() -> None:
    settings = SinkSettings(webhooks=("http://x/",), webhook_secret="classified", mqtt_password="opensesame")
    with pytest.raises(UsageError, match="no store"):
        Sinks(settings, None)
    assert "classified" not in repr(settings) and "opensesame" not in repr(settings)
