"""Sinks against real receivers: a web server, the broker Mosquitto that is killed, an OPC UA client."""

import asyncio
import gc
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from command import ROOT
from servers import MOSQUITTO, Mosquitto, free_port, wait_until
from test_store import seen

from blemish.errors import UsageError
from blemish.sinks import Courier, MqttSink, OpcUaServer, WebhookSink
from blemish.store import open_store

SECRET = "shared"
QUICK = {"first_pause_s": 0.05, "longest_pause_s": 0.2}
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="needs Debian's mosquitto")


class Receiver(ThreadingHTTPServer):
    """A web server that keeps what it is sent, and answers with the next of its `answers`, then with 200."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook?line=3"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=[0.02]).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def keys(self) -> list[str]:
        return [headers["Idempotency-Key"] for headers, _ in self.got]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({**self.headers, "path": self.path}, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def store(tmp_path):
    with open_store(None, tmp_path) as opened:
        yield opened


def test_a_webhook_gets_every_inspection_signed_and_in_order(store):
    with Receiver() as receiver, Courier(store, WebhookSink(receiver.url, SECRET, allow_private=True), **QUICK):
        store.record([seen(n) for n in range(5)])
        store.outbox.put("webhook", "drift-1", {"event": "drift"})
        wait_until(lambda: store.outbox.waiting("webhook") == 0)
    assert receiver.keys() == [*(f"request-{n}" for n in range(5)), "drift-1"]
    headers, body = receiver.got[0]
    assert json.loads(body) == {"event": "inspection", **store.get(1).to_dict()}
    moment, signature = (part.split("=")[1] for part in headers["Blemish-Signature"].split(","))
    assert signature == hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert abs(int(moment) - time.time()) < 60
    assert (headers["path"], headers["Content-Type"]) == ("/hook?line=3", "application/json")


def test_a_webhook_that_refuses_gets_it_again_and_nothing_overtakes(store):
    with Receiver() as receiver:
        receiver.answers = [500, 302, 404, 200, 503]
        courier = Courier(store, WebhookSink(receiver.url, SECRET, allow_private=True), **QUICK)
        with courier:
            store.record([seen(1), seen(2)])
            wait_until(lambda: courier.failure == "the webhook answered 500")
            wait_until(lambda: store.outbox.waiting("webhook") == 0)
            wait_until(lambda: courier.failure is None)
    assert receiver.keys() == ["request-1"] * 4 + ["request-2"] * 2
    assert {headers["path"] for headers, _ in receiver.got} == {"/hook?line=3"}  # the redirect was not followed


def test_what_waits_survives_the_program(store, tmp_path):
    port = free_port()
    code = """
import sys, time
from pathlib import Path
from datetime import datetime, timezone
from blemish.sinks import Courier, WebhookSink
from blemish.store import Inspection, open_store
store = open_store(None, Path(sys.argv[1]))
Courier(store, WebhookSink(sys.argv[2], "shared", allow_private=True), first_pause_s=0.05).start()
store.record([Inspection(time=datetime.now(timezone.utc), model="m", version="v", score=1.0, threshold=2.0,
                         is_anomalous=False, request_id=f"r{n}") for n in range(3)])
print("recorded", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(tmp_path), f"http://127.0.0.1:{port}/"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout.readline() == b"recorded\n"
        process.kill()
    assert store.outbox.waiting("webhook") == 3
    sink = WebhookSink(f"http://127.0.0.1:{port}/", SECRET, allow_private=True)
    with Receiver(port) as receiver, Courier(store, sink, **QUICK):
        wait_until(lambda: store.outbox.waiting("webhook") == 0)
    assert receiver.keys() == ["r0", "r1", "r2"]


def test_a_private_address_is_not_called_unless_allowed(store):
    with Receiver() as receiver:
        courier = Courier(store, WebhookSink(receiver.url, SECRET), **QUICK)
        with courier:
            store.record([seen(1)])
            wait_until(lambda: courier.failure is not None)
    assert "not a public address" in courier.failure and receiver.got == [] and store.outbox.waiting("webhook") == 1


def test_a_receiver_that_never_answers_is_left(store):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        courier = Courier(store, WebhookSink(url, SECRET, allow_private=True, timeout_s=0.2), **QUICK)
        with courier:
            store.record([seen(1)])
            wait_until(lambda: courier.failure is not None)
    assert store.outbox.waiting("webhook") == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http://",
        "https://user:pass@x/",
        "http://x/a b",
        "http://x:99999/",
        "http://[/",
        "http://x/\r\nA: b",
    ],
)
def test_a_webhook_address_that_is_refused(url):
    with pytest.raises(UsageError, match="https://HOST/PATH"):
        WebhookSink(url, SECRET)
    with pytest.raises(UsageError, match="secret"):
        WebhookSink("https://example.com/", "")


class Listener:
    """An MQTT client whose session the broker keeps; `got` are the keys in the order of arrival."""

    def __init__(self, port: int, topic: str = "plant/line") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: list[str] = []
        self.ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda *_: self.client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda _, __, message: self.got.append(json.loads(message.payload)["key"])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(20)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path_factory):
    server = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.kill()


@needs_broker
def test_mqtt_through_an_outage(store, broker):
    listener = Listener(broker.port)
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}", topic="plant/line", timeout_s=3)
    courier = Courier(store, sink, **QUICK)
    with courier:
        store.record([seen(n) for n in range(60)])
        wait_until(lambda: len(set(listener.got)) == 60)
        wait_until(lambda: store.outbox.waiting("mqtt") == 0)
        broker.kill()
        store.record([seen(n) for n in range(60, 90)])
        wait_until(lambda: courier.failure is not None)
        assert store.outbox.waiting("mqtt") == 30
        broker.start()
        wait_until(lambda: store.outbox.waiting("mqtt") == 0)
        wait_until(lambda: len(set(listener.got)) == 90)
    listener.close()
    first = list(dict.fromkeys(listener.got))  # at least once, and the first arrivals in order
    assert first == [f"request-{n}" for n in range(90)]


@needs_broker
def test_mqtt_killed_again_and_again(store, broker):
    listener = Listener(broker.port)
    with Courier(store, MqttSink(f"mqtt://127.0.0.1:{broker.port}", topic="plant/line", timeout_s=3), **QUICK):
        for round in range(3):
            store.record([seen(1000 * round + n) for n in range(200)])
            wait_until(lambda: store.outbox.waiting("mqtt") < 200)
            broker.kill()
            broker.start()
        wait_until(lambda: store.outbox.waiting("mqtt") == 0)
        wait_until(lambda: len(set(listener.got)) >= 500)
    listener.close()
    delivered = {f"request-{1000 * round + n}" for round in range(3) for n in range(200)}
    assert set(listener.got) <= delivered


@needs_broker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho drops a socket of failed TLS
def test_a_login_and_tls(store, tmp_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        f" -keyout {folder}/key.pem -out {folder}/cert.pem && chmod 644 {folder}/key.pem"
        f" && mosquitto_passwd -b -c {folder}/users plant opensesame && chmod 644 {folder}/users",
        shell=True,
        check=True,
        capture_output=True,
    )
    lines = f"certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\npassword_file {folder}/users\n"
    server = Mosquitto(folder, lines)
    server.start()
    url = f"mqtts://127.0.0.1:{server.port}"
    try:
        store.outbox.put("mqtt", "a", {"event": "drift"})
        messages = store.outbox.oldest("mqtt")
        for wrong, reason in (
            (MqttSink(url, user="plant", password="opensesame"), "CERTIFICATE_VERIFY_FAILED"),
            (MqttSink(url, user="plant", password="wrong", ca_file=folder / "cert.pem"), "Not authorized"),
            (MqttSink(url, ca_file=folder / "cert.pem"), "Not authorized"),
        ):
            with pytest.raises(OSError, match=reason):
                wrong.send(messages)
        gc.collect()
        sink = MqttSink(url, user="plant", password="opensesame", ca_file=folder / "cert.pem")
        sink.send(messages)
        sink.close()
    finally:
        server.kill()


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://u:p@x", "mqtt://x/topic", "x:1883", "mqtt://x:port"])
def test_a_broker_address_that_is_refused(url):
    with pytest.raises(UsageError, match="mqtt://HOST"):
        MqttSink(url)
    with pytest.raises(UsageError, match="wildcards"):
        MqttSink("mqtt://x", topic="a/#")


def test_opc_ua_shows_the_last_verdict():
    from asyncua import Client
    from asyncua.ua import UaStatusCodeError

    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/blemish"

    async def look() -> dict[str, object]:
        async with Client(endpoint) as client:
            space = await client.get_namespace_index("urn:blemish:inspections")
            shown = await client.nodes.objects.get_child([f"{space}:Blemish", f"{space}:bottle"])
            variables = {(await node.read_browse_name()).Name: node for node in await shown.get_children()}
            with pytest.raises(UaStatusCodeError):  # nobody but us writes
                await variables["Score"].write_value(1.0)
            return {name: await node.read_value() for name, node in variables.items()}

    with OpcUaServer(endpoint) as server:
        server.update(seen(3))
        server.update(seen(9, p_value=None, source=None)).result(10)
        server.update(seen(0, model="grid")).result(10)
        values = asyncio.run(look())
    assert values.pop("Time").replace(tzinfo=None) == seen(9).time.replace(tzinfo=None)
    assert values == {
        "Source": "",
        "Score": 14.0,
        "Threshold": 13.5,
        "PValue": -1.0,
        "IsAnomalous": True,
        "Inspected": 2,
        "Anomalous": 1,
    }


def test_an_opc_ua_endpoint_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"opc.tcp://127.0.0.1:{taken.getsockname()[1]}/blemish"
        with pytest.raises(UsageError, match="cannot be used"):
            OpcUaServer(endpoint).start()
