"""The benchmarks: what they keep is of the stated schema, the pages say what was kept, and the measuring measures."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from textures import plate

from benchmarks import page
from benchmarks.command import RESULTS, main
from benchmarks.harness import benchmarks, settings_of, settled
from benchmarks.http_client import closed_loop, open_loop, request
from benchmarks.images import SIZE, as_bodies, as_jpeg, prepared
from benchmarks.ledger import Ledger, Row
from benchmarks.malformed import malformed
from benchmarks.process import command, fresh, pinned
from benchmarks.record import Figure, Machine, Run, quartiles, read_runs, summarised, write_run
from benchmarks.suite.fit import fit_by_stage
from benchmarks.suite.latency import by_stage
from benchmarks.suite.soak import WINDOW, line
from blemish.fitting import FitReport

GUIDE = (ROOT / "benchmarks" / "README.md").read_text("utf-8")


def a_run(**changes: object) -> Run:
    machine = Machine(
        cpu="a processor",
        cores=2,
        memory_gb=8.0,
        system="Linux x86_64",
        python="3.11.0",
        packages={"numpy": "2.0.0"},
        load_before=0.5,
        load_after=1.0,
    )
    record = {
        "benchmark": "size",
        "date": "2026-11-20T12:00:00+00:00",
        "cores": 1,
        "threads": 1,
        "repeats": 3,
        "settings": {"images": 3},
        "data": "three images",
        "machine": machine,
        "figures": summarised([{"a, b, CPU ms": 3.0, "c, images/s": 5.0}, {"a, b, CPU ms": 4.0}], {"c, images/s": 6.0}),
        "notes": ["a note"],
    }
    return Run.model_validate({"schema_version": 1, **record, **changes})


class TestRecord:
    def test_a_file_comes_back_as_it_was(self, tmp_path):
        write_run(a_run(), tmp_path)
        assert read_runs(tmp_path) == {"size": a_run()}

    def test_figures_of_rows(self):
        first, second = a_run().figures
        assert (first.name, first.unit, first.values, first.bound) == ("a, b", "CPU ms", [3.0, 4.0], None)
        assert (second.name, second.unit, second.bound) == ("c", "images/s", 6.0)

    def test_a_bound_is_a_least_for_images_a_second_and_a_most_for_times(self):
        def kept(unit: str, value: float) -> bool | None:
            return summarised([{f"x, {unit}": value}], {f"x, {unit}": 6.0})[0].kept

        assert [kept("images/s", value) for value in (5, 6, 7)] == [False, True, True]
        assert [kept("CPU s", value) for value in (5, 6, 7)] == [True, True, False]
        assert summarised([{"x, s": 1.0}], {})[0].kept is None

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
    def test_quartiles_are_those_of_numpy(self, values):
        assert np.allclose(quartiles(values), np.percentile(values, [25, 50, 75]), rtol=1e-9, atol=1e-6)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"path": "x"}, "Extra inputs"),
            ({"schema_version": 2}, "schema_version"),
            ({"benchmark": "../x"}, "benchmark"),
            ({"figures": []}, "figures"),
            ({"cores": 0}, "cores"),
        ],
    )
    def test_another_schema_is_refused(self, tmp_path, changes, message):
        (tmp_path / "x.json").write_text(json.dumps(a_run().model_dump() | changes))
        with pytest.raises(ValidationError, match=message):
            read_runs(tmp_path)

    def test_a_median_that_is_not_of_the_values_is_refused(self):
        with pytest.raises(ValidationError, match="not those of the values"):
            Figure(name="x", unit="s", values=[1.0, 2.0, 9.0], median=1.5, q1=1.5, q3=5.5)


class TestResults:
    RUNS = read_runs(RESULTS)

    @pytest.mark.parametrize("name", RUNS)
    def test_a_kept_run_is_of_a_benchmark_that_there_is(self, name):
        run, benchmark = self.RUNS[name], benchmarks()[name]
        assert run.benchmark == name
        assert run.settings.keys() == settings_of(benchmark).keys()

    @pytest.mark.parametrize("name", RUNS)
    def test_every_promise_names_a_figure(self, name):
        run = self.RUNS[name]
        figures = {f"{figure.name}, {figure.unit}": figure for figure in run.figures}
        for key, bound in getattr(benchmarks()[name], "BOUNDS", {}).items():
            refused = figures.get(f"{key.split(':')[0]}, accepted")
            if refused is None or refused.median:
                assert figures[key].bound == bound

    @pytest.mark.parametrize("name", RUNS)
    def test_neither_machine_nor_place_is_named(self, name):
        text = (RESULTS / f"{name}.json").read_text("utf-8")
        assert not re.search(r"/(tmp|home|root|work|usr|Users)\b|[A-Z]:\\", text)
        assert socket.gethostname() not in text and str(Path.home()) not in text

    def test_the_page_is_made_of_them(self):
        assert page.PAGE.read_text("utf-8") == page.performance(self.RUNS), "python -m benchmarks table"

    def test_the_readme_s_table_is_made_of_them(self):
        readme = page.README.read_text("utf-8")
        assert readme == page.with_table(readme, self.RUNS), "python -m benchmarks table"

    def test_a_figure_that_changes_changes_the_page(self):
        run = self.RUNS["start"]
        figures = [*run.figures[:-1], run.figures[-1].model_copy(update={"median": 123456.0})]
        changed = self.RUNS | {"start": run.model_copy(update={"figures": figures})}
        assert "123456" in page.performance(changed) and "123456" not in page.performance(self.RUNS)

    def test_what_was_missed_is_said(self):
        missed = a_run(figures=summarised([{"x, CPU ms": 9.0}], {"x, CPU ms": 6.0}))
        assert "| size | x | at most 6 CPU ms | 9 | **missed** | 0.5 |" in page.performance({"size": missed})
        assert "MISSED" in page.show(missed) and "a note" in page.show(missed)

    def test_a_readme_without_its_marks_is_refused(self):
        with pytest.raises(ValueError, match="once"):
            page.with_table("# Blemish\n", self.RUNS)


class TestGuide:
    """benchmarks/README.md."""

    def table(self, heading: str) -> list[str]:
        section = GUIDE.split(f"## {heading}\n")[1].split("\n## ")[0]
        return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    def test_every_benchmark_is_described(self):
        assert self.table("What is measured") == list(benchmarks())

    @pytest.mark.parametrize(
        ("heading", "record"), [("A run", Run), ("The machine", Machine), ("A figure", Figure)], ids=str
    )
    def test_every_key_of_the_files_is_described(self, heading, record):
        assert self.table(heading) == list(record.model_fields)


class TestProcess:
    def test_a_program_s_memory_is_its_own(self):
        held = np.ones(40_000_000)  # 320 MB
        figures = command("x", [sys.executable, "-c", "pass"])
        assert held.all() and figures["x: peak memory, MB"] < 100

    def test_a_program_that_fails_is_no_figure(self):
        with pytest.raises(RuntimeError, match="ended with 3"):
            command("x", [sys.executable, "-c", "raise SystemExit(3)"])

    def test_memory_is_counted_in_megabytes(self):
        figures = command("x", [sys.executable, "-c", "held = bytearray(200_000_000)"])
        assert 200 < figures["x: peak memory, MB"] < 260

    def test_a_measurement_is_pinned_and_nothing_stays_so(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        before = os.sched_getaffinity(0)
        assert len(fresh(1, os.sched_getaffinity, 0)) == 1
        assert fresh(1, os.getenv, "OMP_NUM_THREADS") == "1"
        with pytest.raises(ZeroDivisionError), pinned(1):
            raise ZeroDivisionError
        assert os.sched_getaffinity(0) == before and "OMP_NUM_THREADS" not in os.environ

    def test_the_line_of_the_soak(self):
        values = [3.0 + 2.0 * WINDOW * i / 1e5 for i in range(1000)]
        found = line("x", "ms", values)
        assert found["x: gained over 100 000 images, ms"] == pytest.approx(2.0)
        assert found["x, ms"] == pytest.approx(np.median(values[100:]))


class _Slow(BaseHTTPRequestHandler):
    """Answers what it was sent; the body `stop` takes a while."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"stop":
            time.sleep(0.3)
        if body == b"end":
            self.close_connection = True
            return
        self.send_response(200 if body != b"bad" else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class TestLoad:
    """The generator: what it says of a server must be so."""

    @pytest.fixture
    def address(self) -> Iterator[tuple[str, int]]:
        """A server that answers one request at a time."""
        lock = threading.Lock()

        class OneAtATime(_Slow):
            def do_POST(self) -> None:
                with lock:
                    super().do_POST()

        with ThreadingHTTPServer(("127.0.0.1", 0), OneAtATime) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield ("127.0.0.1", server.server_address[1])
            server.shutdown()
            thread.join()

    def test_each_request_is_sent_once_and_its_answer_is_its_own(self, address):
        bodies = [bytes([65 + i % 26]) * (i * 5000) for i in range(20)]
        load = closed_loop(address, [request("POST", "/", body) for body in bodies], 4)
        assert sorted(answer.body for answer in load.answers) == sorted(bodies)
        assert load.count(200) == len(load.latencies_ms) == 20 and load.rate == pytest.approx(20 / load.wall_s)

    def test_refusals_and_ended_connections_are_no_good_answers(self, address):
        load = closed_loop(address, [request("POST", "/", body) for body in (b"bad", b"end", b"x")], 3)
        assert load.statuses == {400: 1, 0: 1, 200: 1} and len(load.latencies_ms) == 2

    def test_a_server_that_stalls_does_not_hide_it(self, address):
        """Of 30 requests at 100 a second, all that were due during the stall count what they waited."""
        load = open_loop(address, [request("POST", "/", b"stop" if i == 5 else b"x") for i in range(30)], 100)
        assert load.count(200) == 30
        assert sum(ms > 100 for ms in load.latencies_ms) >= 15

    def test_malformed_requests_are_many_kinds_and_the_same_each_time(self):
        made = [list(islice(malformed("/p", b"\xff\xd8" * 500, "part", seed=3), 120)) for _ in range(2)]
        assert made[0] == made[1] and len(set(made[0])) > 80


class TestLedger:
    ROWS = (Row(1, "a", 0.5), Row(2, "b", 0.25), Row(3, "image 0", 1.0))

    @pytest.mark.parametrize(
        ("told", "lost"),
        [
            ({"a": (1, 0.5), "b": (None, 0.25)}, 0),
            ({"a": (None, None)}, 0),
            ({"c": (None, None)}, 1),
            ({"a": (2, 0.5)}, 1),
            ({"a": (1, 0.25), "b": (2, 0.5)}, 2),
        ],
    )
    def test_what_was_told_and_is_not_so_is_lost(self, told, lost):
        assert Ledger(told).lost(self.ROWS, "image 0") == lost

    def test_answers_without_a_source_are_counted(self):
        assert [Ledger(anonymous=number).lost(self.ROWS, "image 0") for number in (0, 1, 3)] == [0, 0, 2]

    def test_a_source_that_is_there_again_is_doubled(self):
        rows = [*self.ROWS, Row(4, "a", 0.5), Row(5, "a", 0.5), Row(6, "image 0", 1.0)]
        assert Ledger.doubled(self.ROWS, "image 0") == 0 and Ledger.doubled(rows, "image 0") == 2


class TestImages:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        for kind in ("train/good", "test/good"):
            (tmp_path / "parts" / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / "parts" / kind / "0.jpg"), plate(0, 64))
        return tmp_path / "parts"

    def test_they_become_png_of_one_size_and_that_is_said(self, data, tmp_path):
        folder, words = prepared(data, tmp_path / "work")
        assert cv2.imread(str(folder / "train" / "good" / "0.png")).shape == (SIZE, SIZE, 3)
        assert words.startswith("parts: 1 good images") and words.endswith("made from JPG files of 64x64")
        jpegs = as_jpeg([folder / "test" / "good" / "0.png"], tmp_path / "jpeg", 3)
        assert [cv2.imread(str(path)).shape for path in sorted(jpegs.iterdir())] == [(SIZE, SIZE, 3)] * 3

    def test_bodies_are_all_different_and_one_in_ten_has_a_defect(self, tmp_path):
        for number, name in enumerate(("good0", "good1", "defect")):
            cv2.imwrite(str(tmp_path / f"{name}.png"), plate(number, 64))
        good = [tmp_path / "good0.png", tmp_path / "good1.png"]
        as_bodies(good, [tmp_path / "defect.png"], tmp_path / "first", 0, 20)
        as_bodies(good, [tmp_path / "defect.png"], tmp_path / "second", 20, 20)
        files = [path.read_bytes() for name in ("first", "second") for path in sorted((tmp_path / name).iterdir())]
        assert len(set(files)) == 40
        defect = cv2.resize(plate(2, 64), (512, 512), interpolation=cv2.INTER_AREA).astype(int)
        away = [np.abs(cv2.imdecode(np.frombuffer(file, np.uint8), 1) - defect).mean() for file in files]
        assert sorted(np.argsort(away)[:4]) == [9, 19, 29, 39]

    def test_files_that_are_so_already_are_taken_as_they_are(self, data, tmp_path):
        first, _ = prepared(data, tmp_path / "work")
        second, words = prepared(first, tmp_path / "again")
        name = Path("train") / "good" / "0.png"
        assert (first / name).read_bytes() == (second / name).read_bytes() and "made from" not in words


class TestMeasuring:
    def test_the_stages_of_a_fit(self, good, tmp_path):
        figures = fit_by_stage("x", good, tmp_path, ("Model.preset=fast", "Model.width=96", "Model.height=96"))
        stages = [figures[f"x: {stage}, CPU s"] for stage in ("features", "memory bank", "calibration", "save")]
        assert min(stages) >= 0 and figures["x: whole, CPU s"] > max(stages) > 0
        assert figures["x: learn, CPU s"] == pytest.approx(sum(stages[:3]))

    def test_the_stages_of_a_prediction(self, usual: FitReport, good: Path):
        rows = by_stage("x", usual.output, "onnxruntime", next(iter(sorted(good.iterdir()))), 2)
        assert len(rows) == 2
        stages = {"decode", "resize", "network", "full-size map", "regions", "whole", "whole with JSON record"}
        assert {f"x: {stage}, CPU ms" for stage in stages} <= rows[0].keys()


class TestCommand:
    def test_a_run_leaves_a_file_that_the_table_takes(self, tmp_path, capsys):
        small = ["--set", "metrics.maps=4", "--set", "metrics.side=80"]
        assert main(["run", "metrics", *small, "--repeats", "1", "--output", str(tmp_path), "--data", "."]) == 0
        run = read_runs(tmp_path)["metrics"]
        assert run.settings == {"maps": 4, "side": 80, "defect_share": 0.03} and run.data == "generated"
        assert run.machine.packages["numpy"] == np.__version__ and run.machine.cpu
        assert "exact AU-PRO" in capsys.readouterr().out
        assert "## metrics" in page.performance({"metrics": run})

    def test_one_that_fails_does_not_keep_the_others_from_their_figures(self, tmp_path, capsys):
        small = ["--set", "metrics.maps=2", "--set", "metrics.side=80", "--repeats", "1"]
        places = ["--output", str(tmp_path), "--data", ".", "--peers", str(tmp_path / "none")]
        assert main(["run", "peer_paddlex", "metrics", *small, *places]) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
        assert "benchmarks/peers/setup.sh" in capsys.readouterr().err

    def test_all_are_listed(self, capsys):
        assert main(["list"]) == 0
        listed = capsys.readouterr().out
        assert [text.split()[0] for text in listed.splitlines()] == list(benchmarks())

    def test_a_setting_that_there_is_not(self):
        with pytest.raises(ValueError, match="no such setting: pictures; there are: images, beside, budget"):
            settled(benchmarks()["fit_memory"], {"pictures": "3"})
        assert settled(benchmarks()["fit_memory"], {"images": "3"}) == {"images": 3, "beside": 1000, "budget": "2GB"}

    @pytest.mark.parametrize("text", ["fit_memory", "fit_memory.images", "nothing.images=3"])
    def test_a_setting_that_is_none(self, text):
        with pytest.raises(SystemExit, match=r"NAME\.key=value"):
            main(["run", "--set", text])

    def test_a_benchmark_that_there_is_not(self):
        with pytest.raises(SystemExit, match=r"no such benchmark: speed; there are: .*peer_anomalib"):
            main(["run", "speed"])
