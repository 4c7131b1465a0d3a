"""Real servers for tests, in temporary folders, as Debian packs them: PostgreSQL, the MQTT broker Mosquitto, nginx."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
POSTGRES = _PROGRAMS[-1] if _PROGRAMS else None
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
MOSQUITTO = shutil.which("mosquitto", path=_PATH)
NGINX = shutil.which("nginx", path=_PATH)


class Postgres:
    """A cluster on a Unix socket; root starts it as the user `postgres`, since it refuses to run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._as:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", folder / "data", "-A", "trust", "-U", "blemish", "-N")
        self._count = 0

    def start(self) -> None:
        """Start the server, or start it again."""
        options = f"-k {self.folder} -h '' -c max_connections=50"
        self._run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """End it at once, as a crash would."""
        with suppress(RuntimeError):
            self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")

    def kill(self) -> None:
        """kill -9, and wait until its other processes have noticed."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _processes_of(self.folder))
        for lock in (self.folder / "data" / "postmaster.pid", self.folder / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)  # until its parent has seen it, a dead process counts as running

    def new_database(self) -> str:
        """The URL of an empty schema, which is as good as a database, and much faster to make and to remove."""
        self._count += 1
        schema = f"test{self._count}"
        self._run("psql", "-q", "-h", self.folder, "-U", "blemish", "-c", f"CREATE SCHEMA {schema}", "postgres")
        return f"postgresql://blemish@/postgres?host={self.folder}&options=-csearch_path%3D{schema}"

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._as, str(POSTGRES / program), *map(str, arguments)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", check=False, timeout=60
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{command}: {done.stdout!r} {log.read_text()[-2000:] if log.exists() else ''}")


def _processes_of(folder: Path) -> list[str]:
    """Processes that work in a cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder / "data":
                found.append(process.name)
    return found


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running cluster. Its folder's name is short, since that of a socket has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="blemish-pg-"))
    server = Postgres(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Mosquitto:
    """A broker on a port of its own, which keeps its messages and sessions over a restart."""

    def __init__(self, folder: Path, lines: str = "") -> None:
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        anonymous = "false" if "password_file" in lines else "true"
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous {anonymous}\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n{lines}"
            + ("user root\n" if os.getuid() == 0 else "")  # it would give up its rights to this folder
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._file)], stderr=subprocess.DEVNULL)
        wait_until(lambda: _listens(self.port))

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def nginx(folder: Path, site: str, port: int) -> Iterator[None]:
    """nginx with one site, which listens on that port."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder / 'nginx.pid'};\nerror_log stderr;\n"
        + ("user root;\n" if os.getuid() == 0 else "")  # another one does not get into the tests' folder
        + f"events {{}}\nhttp {{\naccess_log off;\n{scratch}{site}}}\n"
    )
    command = [str(NGINX), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with (folder / "nginx.log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, (folder / "nginx.log").read_text()
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as channel:
        channel.bind(("127.0.0.1", 0))
        return int(channel.getsockname()[1])


def wait_until(condition: Callable[[], bool], limit_s: float = 30) -> None:
    """Wait for something that other processes do; raises `TimeoutError` if they do not."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(str(condition))
        time.sleep(0.02)
