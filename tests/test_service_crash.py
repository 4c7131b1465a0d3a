"""kill -9: what was answered is in the store, once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
from command import ROOT
from served import Server, grey, serving, tiny_folder


def test_no_answered_inspection_is_lost_or_kept_twice(tmp_path: Path) -> None:
    folder, answered = tiny_folder(tmp_path / "bottle"), []
    for _ in range(2):
        command = [sys.executable, "-m", "blemish", "serve", str(folder), "--port", "0", "--output", str(tmp_path)]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        server = Server(process)
        enough = threading.Event()

        def ask(level: int, url: str = server.url, enough: threading.Event = enough) -> None:
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
                try:
                    while True:
                        answer = client.post(f"/v1/models/bottle/predict?source={level}", content=grey(level))
                        (result,) = answer.json()["results"]
                        answered.append((result["inspection"], str(level), result["score"]))
                        if len(answered) % 20 == 0:
                            enough.set()
                except httpx.TransportError:
                    return  # it was killed

        threads = [threading.Thread(target=ask, args=(level,)) for level in (3, 7, 200)]
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        server.stop(signal.SIGKILL)
        for thread in threads:
            thread.join()
    database = sqlite3.connect(tmp_path / "store.db")
    rows = database.execute("SELECT id, source, score FROM inspections").fetchall()
    database.close()
    assert set(answered) <= set(rows) and len(set(answered)) == len(answered) >= 20
    assert len({row[0] for row in rows}) == len(rows) <= len(answered) + 6  # those that were on their way


def test_a_picture_that_cannot_be_kept_is_the_store_s_failure_and_the_next_request_is_answered(tmp_path: Path) -> None:
    folder, output = tiny_folder(tmp_path / "bottle"), tmp_path / "out"
    with serving(folder, "--output", output) as server, server.client() as client:
        (output / "blobs").rmdir()
        (output / "blobs").write_text("in the way")
        for _ in range(2):
            refused = client.post("/v1/models/bottle/predict", content=grey(3))
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "store_failed"
        (output / "blobs").unlink()
        assert client.post("/v1/models/bottle/predict", content=grey(3)).json()["results"][0]["inspection"] == 1
