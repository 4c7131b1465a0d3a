"""The hot folder: every image once, whole, through restarts and kills; the journal; signals; strange files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command import ROOT, blemish
from runs import fitted
from textures import plate, write, write_all

from blemish.errors import BlemishError, DatasetError, UsageError
from blemish.pipeline import Predictor, open_model
from blemish.pipeline.journal import Answer, Journal, Version
from blemish.pipeline.watching import HotFolder, Watch

SIZE = 96


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_all(tmp_path_factory.mktemp("good"), [plate(seed, SIZE) for seed in range(12)])
    return fitted(data, tmp_path_factory.mktemp("run") / "out", "Calibrate.false_alarm_rate=0.1").output


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return open_model(model, "cpu")


@pytest.fixture
def hot(tmp_path: Path) -> Path:
    """Four images, one of them in a sub-folder, all written long ago."""
    folder = tmp_path / "hot"
    for number, name in enumerate(("a.png", "b.png", "sub/a.png", "b.bmp")):
        old(write(folder / name, plate(number, SIZE, defect=number == 1)))
    return folder


def old(path: Path, seconds: float = 3600) -> Path:
    os.utime(path, (time.time() - seconds,) * 2)
    return path


Say = list[tuple[str, bool]]


def run(
    folder: Path,
    predictor: Predictor,
    stopped: threading.Event | None = None,
    after: Callable[[Say], None] | None = None,
    **settings: object,
) -> Say:
    """What one watch says; `after` is called with all of it after every answer."""
    said: Say = []

    def say(text: str, failed: bool) -> None:
        said.append((text, failed))
        if after is not None:
            after(said)

    watch = Watch(folder, **{"interval": 0.02, "patience": 0.1, "once": True} | settings)  # type: ignore[arg-type]
    with Journal(folder.parent / "journal.sqlite") as journal:
        hot = HotFolder(watch, predictor, journal, lambda results: "\n".join(result.str for result in results))
        assert hot.run(say, stopped or threading.Event()) == sum(failed for _, failed in said)
    return said


def names(said: Say, folder: Path) -> list[str]:
    return [Path(text.split("  ")[0]).relative_to(folder).as_posix() for text, _ in said]


class TestOnce:
    def test_every_image_once_and_never_again(self, hot: Path, predictor: Predictor) -> None:
        said = run(hot, predictor)
        assert sorted(names(said, hot)) == ["a.png", "b.bmp", "b.png", "sub/a.png"]
        wanted = {result.str for result in predictor.predict(hot)}
        assert {text for text, _ in said} == wanted
        assert run(hot, predictor) == []
        old(write(hot / "new.png", plate(7, SIZE)))
        assert names(run(hot, predictor), hot) == ["new.png"]

    def test_the_oldest_comes_first(self, hot: Path, predictor: Predictor) -> None:
        for hours, name in enumerate(("b.bmp", "sub/a.png", "b.png", "a.png"), 1):
            old(hot / name, 3600 * hours)
        assert names(run(hot, predictor), hot) == ["a.png", "b.png", "sub/a.png", "b.bmp"]

    def test_what_is_overwritten_is_new(self, hot: Path, predictor: Predictor) -> None:
        run(hot, predictor)
        old(write(hot / "a.png", plate(50, SIZE, defect=True)), 60)
        ((text, _),) = run(hot, predictor)
        assert text == next(predictor.predict(hot / "a.png")).str

    def test_a_file_renamed_in_is_seen(self, hot: Path, predictor: Predictor, tmp_path: Path) -> None:
        run(hot, predictor)
        write(tmp_path / "elsewhere.png", plate(8, SIZE)).rename(hot / "sub" / "arrived.png")
        write(hot / ".hidden.png", plate(9, SIZE))
        assert names(run(hot, predictor), hot) == ["sub/arrived.png"]

    def test_a_name_that_is_no_unicode(self, hot: Path, predictor: Predictor) -> None:
        run(hot, predictor)
        try:
            (hot / "a.png").rename(hot / os.fsdecode(b"\xff.png"))
        except OSError:
            pytest.skip("this file system takes Unicode alone")
        ((text, failed),) = run(hot, predictor)
        assert not failed and "udcff.png  " in text
        assert run(hot, predictor) == []

    def test_pages_are_one_answer(self, hot: Path, predictor: Predictor) -> None:
        import cv2

        run(hot, predictor)
        cv2.imwritemulti(str(hot / "all.tiff"), [plate(seed, SIZE) for seed in range(3)])
        ((text, failed),) = run(hot, predictor)
        assert not failed and [line.split("  ")[0][-3:] for line in text.splitlines()] == ["[0]", "[1]", "[2]"]

    def test_results_of_two_formats_stay_apart_through_restarts(self, hot: Path, predictor: Predictor) -> None:
        out = hot / "results"
        for name in ("b.png", "b.bmp"):
            (hot / name).rename(hot.parent / name)
        for name in ("b.png", "b.bmp"):
            (hot.parent / name).rename(hot / name)
            run(hot, predictor, save_path=out)
        saved = {path.relative_to(out).as_posix() for path in out.rglob("*.json")}
        assert saved == {"a.png_res.json", "b.png_res.json", "b.bmp_res.json", "sub/a.png_res.json"}
        assert json.loads((out / "b.bmp_res.json").read_text())["input_path"].endswith("b.bmp")
        assert run(hot, predictor, save_path=out) == [], "its own results were watched"

    def test_answered_images_move_away(self, hot: Path, predictor: Predictor) -> None:
        (hot / "bad.png").write_text("no image")
        done = hot / "done"
        write(done / "a.png", plate(0, 32))  # of an earlier day
        run(hot, predictor, move=done)
        left = [path for path in hot.rglob("*.*") if not path.is_relative_to(done)]
        moved = {path.relative_to(done).as_posix() for path in done.rglob("*.*")}
        assert left == []
        assert moved == {"a.png", "a_2.png", "b.png", "b.bmp", "sub/a.png", "failed/bad.png"}
        write(hot / "b.png", plate(1, SIZE))
        assert names(run(hot, predictor, move=done), hot) == ["b.png"]

    def test_a_move_that_was_missed_is_made_up_for(self, hot: Path, predictor: Predictor, tmp_path: Path) -> None:
        run(hot, predictor)
        assert run(hot, predictor, move=tmp_path / "done") == []
        assert sorted(p.name for p in (tmp_path / "done").rglob("*.*")) == ["a.png", "a.png", "b.bmp", "b.png"]

    def test_thousands_of_answered_files_cost_no_decoding(self, hot: Path, predictor: Predictor) -> None:
        for number in range(2000):
            os.link(hot / "a.png", hot / "sub" / f"{number}.png")
        with Journal(hot.parent / "journal.sqlite") as journal:
            for path in hot.rglob("*.png"):
                status = path.stat()
                version = Version(str(path), status.st_size, status.st_mtime_ns)
                journal.record(Answer(version, "x", False))
                journal.mark_said(version)
        assert names(run(hot, predictor), hot) == ["b.bmp"]


class TestJournal:
    @staticmethod
    def kept(hot: Path) -> list[str]:
        with Journal(hot.parent / "journal.sqlite") as journal:
            return sorted(Path(path).relative_to(hot).as_posix() for path in journal.versions())

    def test_files_that_are_gone_are_let_go(self, hot: Path, predictor: Predictor) -> None:
        run(hot, predictor)
        (hot / "b.bmp").unlink()
        shutil.rmtree(hot / "sub")
        assert run(hot, predictor) == []
        assert self.kept(hot) == ["a.png", "b.png"]
        old(write(hot / "sub" / "a.png", plate(2, SIZE)))
        assert names(run(hot, predictor), hot) == ["sub/a.png"], "what comes in the place of one that is gone is new"

    @pytest.mark.parametrize("away", [".", "sub"])
    def test_a_share_that_comes_back_has_its_answers(self, hot: Path, predictor: Predictor, away: str) -> None:
        """Its files are gone, and where it was mounted is an empty folder, or none."""
        run(hot, predictor)
        mounted, elsewhere = hot / away, hot.parent / "elsewhere"
        mounted.rename(elsewhere)
        if away == ".":
            with pytest.raises(DatasetError):
                run(hot, predictor)
        mounted.mkdir()
        assert run(hot, predictor) == []
        assert self.kept(hot) == ["a.png", "b.bmp", "b.png", "sub/a.png"]
        mounted.rmdir()
        elsewhere.rename(mounted)
        assert run(hot, predictor) == []

    def test_a_folder_that_cannot_be_read_keeps_its_answers(self, hot: Path, predictor: Predictor) -> None:
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        run(hot, predictor)
        (hot / "sub").chmod(0)
        assert run(hot, predictor) == []
        (hot / "sub").chmod(0o700)
        assert run(hot, predictor) == []

    def test_what_was_not_said_is_not_let_go(self, tmp_path: Path) -> None:
        version = Version("/a.png", 1, 2)
        with Journal(tmp_path / "j.sqlite") as journal:
            journal.record(Answer(version, "x", False))
            journal.forget([version])
            assert journal.unsaid() == [Answer(version, "x", False)]

    def test_a_look_at_answered_files_does_not_ask_the_journal(self, hot: Path, predictor: Predictor) -> None:
        run(hot, predictor)
        with Journal(hot.parent / "journal.sqlite") as journal:
            looking, asked = HotFolder(Watch(hot), predictor, journal, str), []
            journal._base.set_trace_callback(asked.append)
            assert looking._look() == [] and asked == []

    def test_a_settled_file_that_is_overwritten_is_new_within_a_few_looks(
        self, hot: Path, predictor: Predictor
    ) -> None:
        stopped = threading.Event()

        def overwrite(said: Say) -> None:
            if len(said) == 4:
                threading.Timer(0.2, lambda: old(write(hot / "a.png", plate(9, SIZE, defect=True)), 7200)).start()
            elif len(said) == 5:
                stopped.set()

        for path in hot.rglob("*.*"):
            old(path, 7300)
        said = run(hot, predictor, stopped, overwrite, once=False)
        assert names(said, hot)[4] == "a.png" and "Anomaly" in said[4][0]


class TestUnfinished:
    def test_a_half_written_file_is_waited_for(self, hot: Path, predictor: Predictor) -> None:
        """It grows while the watch looks; not one failure is said, and one answer for the whole file."""
        run(hot, predictor)
        whole = write(hot.parent / "whole.png", plate(20, SIZE)).read_bytes()
        growing = hot / "growing.png"
        growing.write_bytes(whole[:100])
        stopped = threading.Event()

        def grow() -> None:
            for end in np.linspace(100, len(whole), 20).astype(int):
                growing.write_bytes(whole[:end])
                time.sleep(0.03)

        writer = threading.Thread(target=grow)
        writer.start()
        said = run(hot, predictor, stopped, lambda _: stopped.set(), once=False, patience=60)
        writer.join()
        assert [failed for _, failed in said] == [False] and names(said, hot) == ["growing.png"]

    @pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
    def test_what_stays_broken_is_said_once(self, hot: Path, predictor: Predictor, content: bytes) -> None:
        (hot / "bad.png").write_bytes(content)
        said = run(hot, predictor)
        assert sorted(failed for _, failed in said) == [False] * 4 + [True]
        assert run(hot, predictor) == []
        old(write(hot / "bad.png", plate(3, SIZE)), 5)
        assert [failed for _, failed in run(hot, predictor)] == [False], "it was mended"

    def test_patience_is_kept(self, hot: Path, predictor: Predictor) -> None:
        (hot / "bad.png").write_text("no image")
        stopped = threading.Event()

        def look_on(said: Say) -> None:
            if len(said) == 4:  # however long they took, some more looks follow
                threading.Timer(0.3, stopped.set).start()

        assert len(run(hot, predictor, stopped, look_on, once=False, patience=3600)) == 4
        assert [failed for _, failed in run(hot, predictor, patience=0)] == [True]

    def test_a_file_that_vanishes_is_no_failure(self, hot: Path, predictor: Predictor) -> None:
        def vanish(said: Say) -> None:
            for path in hot.rglob("*.*"):
                path.unlink()

        assert len(run(hot, predictor, after=vanish)) == 1


class TestRestarts:
    def test_what_was_recorded_and_not_said_is_said(self, hot: Path, predictor: Predictor) -> None:
        class Killed(Exception):
            pass

        def die(said: Say) -> None:
            first.append(said[-1])
            if len(said) == 2:
                raise Killed

        first: Say = []
        with pytest.raises(Killed):
            run(hot, predictor, after=die)
        second = run(hot, predictor)
        assert second[0] == first[1], "the same line, not a new score"
        assert sorted({text for text, _ in first + second}) == sorted(r.str for r in predictor.predict(hot))
        assert len(first + second) == 5
        assert run(hot, predictor) == []

    def test_a_stop_finishes_the_current_image_only(self, hot: Path, predictor: Predictor) -> None:
        stopped = threading.Event()
        first = run(hot, predictor, stopped, lambda said: stopped.set(), once=False)
        assert len(first) == 1 and len(run(hot, predictor)) == 3

    def test_two_watches_of_one_journal(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "j.sqlite"), pytest.raises(UsageError, match="another watch uses it"):
            Journal(tmp_path / "j.sqlite")

    def test_a_journal_of_another_version(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "j.sqlite") as journal:
            journal._run("PRAGMA user_version=7")
        for _ in range(2):  # the refusal changes nothing
            with pytest.raises(UsageError, match="another version"):
                Journal(tmp_path / "j.sqlite")

    def test_a_disk_that_refuses_is_one_line(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "j.sqlite") as journal:
            journal._run("PRAGMA max_page_count=2")
            with pytest.raises(UsageError, match=r"j\.sqlite cannot be used any more: .*full"):
                journal.record(Answer(Version("/a.png", 1, 2), "x" * 100_000, False))

    def test_a_journal_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "j.sqlite").write_text("this is a text, and a long one at that" * 10)
        for path in (tmp_path / "j.sqlite", tmp_path, tmp_path / "j.sqlite" / "below"):
            with pytest.raises(UsageError, match=r"journal .*--journal"):
                Journal(path)


class TestSettings:
    def test_refused(self, hot: Path) -> None:
        with pytest.raises(DatasetError, match="not a folder"):
            Watch(hot / "nowhere")
        for settings in (
            {"interval": 0.0}, {"interval": float("nan")}, {"interval": float("inf")}, {"patience": -1.0},
        ):  # fmt: skip
            with pytest.raises(UsageError, match="interval"):
                Watch(hot, **settings)
        for place in (hot, hot.parent):
            with pytest.raises(BlemishError, match="contains the watched folder"):
                Watch(hot, move=place)


class TestCommand:
    @pytest.fixture
    def start(self, model: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
        running: list[subprocess.Popen[str]] = []

        def begin(folder: Path, output: Path, *options: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-W", "error", "-m", "blemish", "watch", str(folder), str(model), *options]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            with output.open("a") as out:
                running.append(
                    subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment)
                )
            return running[-1]

        yield begin
        for process in running:
            process.kill()
            process.communicate()

    def lines(self, output: Path, count: int, process: subprocess.Popen[str]) -> list[str]:
        deadline = time.monotonic() + 240
        while len(output.read_text().splitlines()) < count and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        return output.read_text().splitlines()

    def test_killed_again_and_again_nothing_is_lost(
        self, start: Callable[..., subprocess.Popen[str]], hot: Path, predictor: Predictor, tmp_path: Path
    ) -> None:
        """Killed in the middle of work, five times: every image scored once; only a very same line may come twice."""
        for number in range(150):
            shutil.copy(hot / "a.png", hot / f"{number:03}.png")
        output = tmp_path / "lines"
        for round_ in range(4):
            process = start(hot, output, "--json", "--interval", "0.05", "--save_path", str(tmp_path / "out"))
            self.lines(output, 25 * round_ + 20, process)
            process.send_signal(signal.SIGKILL)
            process.wait()
        process = start(hot, output, "--json", "--once", "--save_path", str(tmp_path / "out"))
        process.wait(600)
        assert process.returncode == 0
        found = [json.loads(line) for line in output.read_text().splitlines()]
        assert {record["input_path"] for record in found} == {
            str(p) for p in hot.rglob("*.*") if p.suffix != ".sqlite" and not p.name.startswith(".")
        }
        assert len({json.dumps(record) for record in found}) == 154, "an image was scored twice"
        assert max(Counter(record["input_path"] for record in found).values()) <= 2 and len(found) <= 154 + 4
        assert len(list((tmp_path / "out").rglob("*_res.json"))) == 154

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_stop_it_with_0(
        self, start: Callable[..., subprocess.Popen[str]], hot: Path, tmp_path: Path, number: signal.Signals
    ) -> None:
        output = tmp_path / "lines"
        process = start(hot, output, "--interval", "0.05")
        assert len(self.lines(output, 4, process)) == 4
        process.send_signal(number)
        _, said = process.communicate(timeout=240)
        assert (process.returncode, said) == (0, "")

    def test_once_says_what_failed(self, hot: Path, model: Path) -> None:
        (hot / "bad.png").write_text("no image")
        done = blemish("watch", hot, model, "--once", "--patience", "0.1", "--interval", "0.05")
        assert done.code == 1 and len(done.stdout.splitlines()) == 4
        assert done.stderr.startswith("blemish: ") and "bad.png" in done.stderr
        assert blemish("watch", hot, model, "--once") == (0, "", "")

    def test_wrong_usage(self, hot: Path, model: Path) -> None:
        for arguments, word in (
            ((hot / "nowhere", model), "not a folder"),
            ((hot, hot), "not a model"),
            ((hot, model, "--journal", hot / "a.png"), "no journal"),
            ((hot, model, "--move", hot), "contains"),
        ):
            done = blemish("watch", *arguments, "--once")
            assert done.code == 2 and word in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_is_passed_over_is_named_once(hot: Path, predictor: Predictor, caplog: pytest.LogCaptureFixture) -> None:
    (hot / "a.jfif").write_bytes((hot / "b.bmp").read_bytes())
    (hot / "c.heic").write_bytes(b"\0" * 9)
    (hot / "sub" / "d.heic").write_bytes(b"\0" * 9)
    (hot / "camera.7").write_bytes((hot / "a.png").read_bytes())
    (hot / "notes.txt").write_text("text")
    for path in hot.rglob("*.*"):
        old(path)
    with caplog.at_level("WARNING", "blemish"):
        said = run(hot, predictor)
    assert len(said) == 5 and not any(failed for _, failed in said)
    said_of = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said_of == [f"{hot}: left out: 2 .heic, 1 .7 (images by their content; rename them)"]
