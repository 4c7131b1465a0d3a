"""kill -9 at any moment: what was answered is in the store, once. On SQLite and on a real PostgreSQL."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from command import ROOT
from test_store import seen

from blemish.store import Retention, open_store

# Four threads record images and say so; each says beforehand what it is about to record.
RECORDER = """
import os, sys, threading
from pathlib import Path
from datetime import datetime, timezone
from blemish.store import Inspection, open_store

url, folder, run = sys.argv[1] or None, Path(sys.argv[2]), sys.argv[3]
store = open_store(url, folder)
store.outbox.subscribe("plant")

def work(thread):
    for n in range(1_000_000):
        name = f"{run}-{thread}-{n}"
        os.write(1, f"begins {name}\\n".encode())
        now, content = datetime.now(timezone.utc), f"map {thread}-{n % 50}".encode()
        both = [
            Inspection(time=now, model="m", version="v", score=1.0, threshold=2.0, is_anomalous=False,
                       request_id=f"{name}/{page}", map_hash=store.blobs.put(content))
            for page in range(2)
        ]
        store.record(both)
        os.write(1, f"answered {name}\\n".encode())

for thread in range(4):
    threading.Thread(target=work, args=[thread]).start()
"""


@contextmanager
def recorder(url, folder, run) -> Iterator[tuple[subprocess.Popen, list[str]]]:
    """The program and the lines that it has said; killed at the end."""
    arguments = [url or "", str(folder), run]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RECORDER, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(line.decode().strip() for line in process.stdout))
    reader.start()
    with process:
        try:
            yield process, lines
        finally:
            process.kill()
            reader.join()


def said(lines: list[str], word: str) -> set[str]:
    """The names that a program has said with a word."""
    return {line.split()[1] for line in lines if line.startswith(word + " ")}


def wait_for(lines: list[str], word: str, count: int) -> None:
    end = time.monotonic() + 60
    while len(said(lines, word)) < count:
        assert time.monotonic() < end, f"only {len(lines)} lines"
        time.sleep(0.01)


def test_killed_while_recording(store_url, tmp_path):
    lines: list[str] = []
    for run in range(3):
        with recorder(store_url, tmp_path, str(run)) as (_, new):
            wait_for(new, "answered", 20 + 13 * run)
        lines += new
    answered, begun = said(lines, "answered"), said(lines, "begins")
    with open_store(store_url, tmp_path) as store:
        stored = [one.request_id for one in store.find(limit=100_000)]
        names = {name.split("/")[0] for name in stored}
        assert len(stored) == len(set(stored))
        assert answered <= names <= begun
        assert len(stored) == 2 * len(names)  # both images of a request, or none
        assert sorted(message.key for message in store.outbox.oldest("plant", 100_000)) == sorted(stored)
        assert store.check() == []  # what is referred to is whole
        again = store.record([seen(0, request_id=name + "/0") for name in sorted(begun)])  # clients ask again
        assert len(set(again)) == len(begun) and store.counts().total == len(names) + len(begun)


def test_killed_while_forgetting(store_url, tmp_path):
    with open_store(store_url, tmp_path) as store:
        hashes = [store.blobs.put(b"%d" % n) for n in range(300)]
        store.record([seen(n, map_hash=hashes[n]) for n in range(300)])
        for name in hashes:
            os.utime(store.blobs.path(name), (1, 1))
    code = """
import sys
from pathlib import Path
from blemish.store import Retention, open_store
store = open_store(sys.argv[1] or None, Path(sys.argv[2]))
print("ready", flush=True)
store.retain(Retention(max_count=5, keep_unreviewed_defects=False))
"""
    command = [sys.executable, "-c", code, store_url or "", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        process.stdout.readline()
        time.sleep(0.02)
        process.kill()
    with open_store(store_url, tmp_path) as store:
        assert store.check() == []
        store.retain(Retention(max_count=5, keep_unreviewed_defects=False))
        assert store.counts().total == 5 and len(list(store.blobs.folder.glob("??/*"))) == 5


def test_the_database_server_killed_while_recording(cluster, tmp_path):
    url = cluster.new_database()
    with recorder(url, tmp_path, "0") as (process, lines):
        wait_for(lines, "answered", 20)
        cluster.kill()
        before = len(said(lines, "answered"))
        cluster.start()
        wait_for(lines, "answered", before + 20)  # nobody had to do anything
        assert process.poll() is None
    with open_store(url, tmp_path) as store:
        stored = [one.request_id for one in store.find(limit=100_000)]
        assert len(stored) == len(set(stored))
        assert said(lines, "answered") <= {name.split("/")[0] for name in stored}


def test_a_server_that_stays_away_is_said(cluster, tmp_path, monkeypatch):
    from blemish.errors import StoreError
    from blemish.store import recording

    monkeypatch.setattr(recording, "_PAUSES_S", (0.01, 0.01))
    with open_store(cluster.new_database(), tmp_path) as store:
        cluster.kill()
        try:
            with pytest.raises(StoreError, match="refuses"):
                store.record([seen(1)])
            with pytest.raises(StoreError, match="refuses"):
                store.ping()
        finally:
            cluster.start()
        assert store.record([seen(1)]) == [1]
