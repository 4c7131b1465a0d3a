"""What deploy/ promises, seen on running services: no root, one writable folder, TLS before it, passwords in files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from command import blemish
from served import grey, serving, tiny_folder
from servers import NGINX, Postgres, free_port, nginx
from test_deployment import DEPLOY, environment_lines, last_stage, made_secrets

HOST = "inspection.example.com"

# A mount namespace in which everything is read-only but one folder, as in a container with a read-only root.
SEALED = """
mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"
"""


def confined(output: Path) -> list[str]:
    """What starts a program as the image's user, who may write into one folder; without root, as we are."""
    if os.getuid() != 0:
        return []
    user = last_stage()["USER"].split(":")[0]
    seal = ["unshare", "--mount", "sh", "-c", SEALED, "sh", str(output)]
    if subprocess.run([*seal, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        seal = []  # a container that may not mount; the user keeps us from writing all the same
    return [*seal, "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users get to, with a model and an output folder of the image's user."""
    root = Path(tempfile.mkdtemp(prefix="blemish-deployed-", dir="/var/tmp"))
    root.chmod(0o755)
    tiny_folder(root / "bottle")
    (root / "out").mkdir()
    if os.getuid() == 0:
        user = int(last_stage()["USER"].split(":")[0])
        shutil.chown(root / "out", user, user)
        subprocess.run(["chmod", "-R", "a+rX", root / "bottle"], check=True)
    yield root
    shutil.rmtree(root)


def health(port: int) -> int:
    """The exit code of the image's health check."""
    command = json.loads(last_stage()["HEALTHCHECK"].partition("CMD ")[2])
    code = command[2].replace("8080", str(port))
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode


def test_it_serves_without_root_and_writes_into_its_folder_alone(place: Path) -> None:
    env = {"HOME": "/nonexistent", "TMPDIR": str(place / "out")}
    env |= dict(word.split("=", 1) for word in shlex.split(last_stage()["ENV"]) if not word.startswith("PATH="))
    env |= {"BLEMISH_OUTPUT": str(place / "out")}
    before = confined(place / "out")
    running = serving(f"bottle={place / 'bottle'}", "--json-logs", before=before, cwd=Path("/"), **env)
    with running as server, server.client() as client:
        process = Path(f"/proc/{server.process.pid}")
        if "unshare" in before:
            assert re.search(r"^\S+ / \S+ ro,", (process / "mounts").read_text(), re.MULTILINE)
        status = (process / "status").read_text()
        if os.getuid() == 0:
            assert re.search(r"^Uid:\t10001\t10001", status, re.MULTILINE)
            assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        answer = client.post("/v1/models/bottle/predict", content=grey(200)).raise_for_status().json()
        assert answer["results"][0]["label"] == "Anomaly"
        assert health(server.port) == 0
        port = server.port
        assert server.stop() == 0
    assert health(port) != 0
    assert (place / "out" / "store.db").exists() and list((place / "out" / "blobs").rglob("*"))


def test_a_name_that_a_proxy_answers_to_needs_a_token(place: Path) -> None:
    done = blemish("serve", place / "bottle", "--name", HOST, "--port", 0, "--output", place / "out")
    assert done.code == 2 and HOST in done.stderr and "--create-token admin" in done.stderr


class Stream(BaseHTTPRequestHandler):
    """Server-sent events: one at once, the second when the first has arrived."""

    arrived = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {self.headers['Host']} {self.headers['X-Forwarded-Proto']}\n\n".encode())
        if self.arrived.wait(20):
            self.wfile.write(b"data: second\n\n")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def proxied(folder: Path, upstream: int) -> Iterator[httpx.Client]:
    """A client of deploy/nginx.conf, which differs in ports and paths alone."""
    make = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST} -addext subjectAltName=DNS:{HOST}"
        f" -keyout {folder / 'privkey.pem'} -out {folder / 'fullchain.pem'}"
    )
    subprocess.run(shlex.split(make), check=True, capture_output=True)
    port = free_port()
    site = re.sub(r"^ *listen \[::\].*\n", "", (DEPLOY / "nginx.conf").read_text("utf-8"), flags=re.MULTILINE)
    for there, here in (
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("/etc/ssl/blemish", str(folder)),
    ):
        assert there in site
        site = site.replace(there, here)
    trusted = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
    with (
        nginx(folder, site, port),
        httpx.Client(
            base_url=f"https://127.0.0.1:{port}", verify=trusted, trust_env=False, timeout=60, headers={"Host": HOST}
        ) as client,
    ):
        client.event_hooks["request"].append(lambda request: request.extensions.update(sni_hostname=HOST))
        yield client


@pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="needs Debian's nginx, and openssl")
class TestNginx:
    def test_predictions_bounds_and_names(self, place: Path, tmp_path: Path) -> None:
        made = blemish("serve", "--create-token", "operator", "--output", place / "out")
        token = {"Authorization": f"Bearer {made.stdout.strip()}"}
        options = shlex.split(dict(line.split("=", 1) for line in environment_lines())["OPTIONS"])
        with (
            serving(place / "bottle", *options, "--output", place / "out") as running,
            proxied(tmp_path, running.port) as client,
        ):
            url = "/v1/models/bottle/predict"
            answer = client.post(url, content=grey(200), headers=token)
            assert answer.status_code == 200 and answer.json()["results"][0]["label"] == "Anomaly"
            assert answer.headers["strict-transport-security"]
            assert client.post(url, content=grey(200)).status_code == 401
            own, other = {"Origin": f"https://{HOST}"}, {"Origin": "https://evil.example"}
            assert client.post(url, content=grey(200), headers=token | own).status_code == 200
            assert client.post(url, content=grey(200), headers=token | other).status_code == 403
            assert client.get("/v1/health/live", headers={"Host": "evil.example"}).status_code == 421

            largest = 64 << 20
            head = token | {"Expect": "100-continue"}  # a refusal is read, not cut off
            refused = client.post(url, content=bytes(largest + 1), headers=head)
            assert refused.status_code == 413 and refused.json()["error"]["code"] == "too_large"
            passed = client.post(url, content=bytes(largest), headers=token)
            assert passed.json()["error"]["code"] == "unreadable_image"  # says the service

    @pytest.mark.parametrize("path", ["/train/1/events", "/jobs/1/events", "/v1/jobs/1/events"])
    def test_events_come_one_by_one(self, tmp_path: Path, path: str) -> None:
        Stream.arrived.clear()
        with ThreadingHTTPServer(("127.0.0.1", 0), Stream) as upstream:
            thread = threading.Thread(target=upstream.serve_forever)
            thread.start()
            try:
                with proxied(tmp_path, upstream.server_port) as client, client.stream("GET", path) as answer:
                    lines = (line for line in answer.iter_lines() if line)
                    assert next(lines) == f"data: {HOST} https"
                    Stream.arrived.set()
                    assert next(lines) == "data: second"
            finally:
                Stream.arrived.set()
                upstream.shutdown()
                thread.join()


class TestPassword:
    """PostgreSQL that asks for a password, which comes from a file and is in no command."""

    URL = "postgresql:///?service=blemish"  # as in compose.yaml

    @pytest.fixture
    def secrets(self, cluster: Postgres, tmp_path: Path) -> Iterator[Path]:
        """The secrets of make-secrets.sh, for a role of the cluster that has the password."""
        import psycopg

        folder = made_secrets(tmp_path)
        password = (folder / "postgres_password").read_text()
        access = cluster.folder / "data" / "pg_hba.conf"
        before = access.read_text()
        access.write_text("local all guarded scram-sha-256\n" + before)
        with psycopg.connect(
            host=str(cluster.folder), user="blemish", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{password}'")
            connection.execute("CREATE SCHEMA guarded AUTHORIZATION guarded")
            connection.execute("ALTER ROLE guarded SET search_path = guarded")
            connection.execute("SELECT pg_reload_conf()")
            service = folder / "pg_service"
            stated = (
                service.read_text().replace("host=db", f"host={cluster.folder}").replace("user=blemish", "user=guarded")
            )
            service.write_text(stated.replace("dbname=blemish", "dbname=postgres"))
            yield folder
            access.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP OWNED BY guarded CASCADE")
            connection.execute("DROP ROLE guarded")

    def test_the_first_token_and_the_service(self, secrets: Path, place: Path) -> None:
        env = {
            "BLEMISH_STORE": self.URL,
            "PGSERVICEFILE": str(secrets / "pg_service"),
            "BLEMISH_OUTPUT": str(place / "out"),
        }
        made = blemish("serve", "--create-token", "admin", **env)  # as `docker compose run` does
        assert made.code == 0, made.stderr
        token = {"Authorization": f"Bearer {made.stdout.strip()}"}
        with serving(place / "bottle", "--host", "0.0.0.0", **env) as running:
            password = (secrets / "postgres_password").read_text()
            assert password not in Path(f"/proc/{running.process.pid}/cmdline").read_text()
            with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False, timeout=60) as client:
                client.post("/v1/models/bottle/predict", content=grey(0), headers=token).raise_for_status()
                assert client.get("/v1/health/ready").status_code == 200
        assert not (place / "out" / "store.db").exists()

    def test_a_wrong_password_is_refused_and_not_told(self, secrets: Path, place: Path) -> None:
        service = secrets / "pg_service"
        service.write_text(re.sub("password=.*", "password=hunter2", service.read_text()))
        env = {"BLEMISH_STORE": self.URL, "PGSERVICEFILE": str(service)}
        done = blemish("serve", "--create-token", "admin", "--output", place / "out", **env)
        assert done.code == 2 and "hunter2" not in done.stderr and done.stderr.count("\n") == 1
        assert "password authentication failed" in done.stderr

    def test_the_option_goes_before_the_environment(self, place: Path) -> None:
        sqlite = f"sqlite:///{place / 'out' / 'other.db'}"
        env = {"BLEMISH_STORE": "postgresql://nobody@/nowhere?host=/nonexistent"}
        done = blemish("serve", "--create-token", "admin", "--output", place / "out", "--store", sqlite, **env)
        assert done.code == 0 and (place / "out" / "other.db").exists()
