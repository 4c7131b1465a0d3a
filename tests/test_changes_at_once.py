"""Changes of one model at a time: none overtakes another, and equal ones make equal versions."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, blemish
from runs import fitted
from test_models_folder import _edit
from test_training_again import trained
from test_versions import accept, advance, updated
from textures import plate, write_all
from tiny_model import tiny_info, tiny_network

from blemish.errors import BusyError, ModelError
from blemish.fitting import FitReport
from blemish.models import (
    LoadedModel,
    bring_back,
    kept_versions,
    load_model,
    replace_model,
    save_model,
    saving,
    set_false_alarm_rate,
)
from blemish.models.lock import locked
from blemish.updating import update

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="kill -9")

_HOLD = """
import sys
from blemish.models.lock import locked
from pathlib import Path
with locked(Path(sys.argv[1]), "held"):
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", tiny_network(), tiny_info())


@contextmanager
def held(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the lock until it is told to end."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(file)], env=environment, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


class TestTheLock:
    def test_one_process_at_a_time_has_it_and_nothing_is_left(self, tmp_path: Path) -> None:
        file = tmp_path / "lock"
        with held(file):
            with pytest.raises(BusyError, match="it is taken"), locked(file, "it is taken", wait=0.1):
                pass
            assert file.exists()
        with locked(file, "it is taken"), pytest.raises(BusyError), locked(file, "it is taken"):
            pass
        assert list(tmp_path.iterdir()) == []

    @needs_kill
    def test_it_ends_with_a_kill(self, tmp_path: Path) -> None:
        file = tmp_path / "lock"
        with held(file) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert file.exists()  # and locks nothing
            with locked(file, "it is taken"):
                pass
        assert not file.exists()

    def test_threads_exclude_each_other(self, tmp_path: Path) -> None:
        """Each removes the file that the next has opened: none of them may hold one that is no longer there."""
        inside, most = [], []

        def work() -> None:
            for _ in range(40):
                with locked(tmp_path / "lock", "it is taken", wait=60):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(most) == 160 and max(most) == 1

    def test_a_model_waits_until_another_process_has_saved(self, folder: Path) -> None:
        place = folder.with_name(f".{folder.name}.lock")
        with held(place) as process:
            waiting = threading.Thread(target=save_model, args=(folder, tiny_network(1), tiny_info()))
            waiting.start()
            waiting.join(0.3)
            assert waiting.is_alive() and load_model(folder).model == tiny_network(0)
            assert process.stdin is not None
            process.stdin.close()
            waiting.join()
        assert load_model(folder).model == tiny_network(1)
        assert not place.exists()


class TestWhatCameBetween:
    def refused(self, folder: Path, old: LoadedModel, by: str) -> None:
        before = load_model(folder)
        with pytest.raises(ModelError, match=rf"was changed meanwhile \({by}.*run the command again"):
            replace_model(old, tiny_network(5), updated(old.info), accept)
        assert load_model(folder).info == before.info

    def test_another_update(self, folder: Path) -> None:
        old = load_model(folder)
        first = advance(folder, 1)
        self.refused(folder, old, "an update with 2 images of new, ")
        assert kept_versions(folder) == [first] and load_model(folder).model == tiny_network(1)

    def test_a_rate(self, folder: Path) -> None:
        old = load_model(folder)
        set_false_alarm_rate(folder, 0.4)
        self.refused(folder, old, r"its false-alarm rate is 0\.4 now")
        assert load_model(folder).info.calibration.false_alarm_rate == 0.4

    def test_an_undo_and_a_training(self, folder: Path) -> None:
        first = advance(folder, 1)
        old = load_model(folder)
        bring_back(folder)
        self.refused(folder, old, f"version {first} was put there")
        save_model(folder, tiny_network(7), tiny_info())
        self.refused(folder, old, f"version {load_model(folder).info.version[:12]} was put there")

    def test_while_the_new_version_is_verified(self, folder: Path) -> None:
        old = load_model(folder)

        def verify(_written: LoadedModel) -> None:
            set_false_alarm_rate(folder, 0.4)

        with pytest.raises(ModelError, match="changed meanwhile"):
            replace_model(old, tiny_network(5), updated(old.info), verify)
        assert load_model(folder).info.calibration.false_alarm_rate == 0.4

    def test_nothing_comes_between_within_a_block(self, folder: Path) -> None:
        """Another thread waits until the block ends, this one may save."""
        with saving(folder):
            other = threading.Thread(target=set_false_alarm_rate, args=(folder, 0.4))
            other.start()
            save_model(folder, tiny_network(3), tiny_info())
            other.join(0.2)
            assert load_model(folder).info.calibration.false_alarm_rate != 0.4
        other.join()
        present = load_model(folder)
        assert present.model == tiny_network(3) and present.info.calibration.false_alarm_rate == 0.4


# An update whose images are read, so that its model is, and that waits before it learns.
_PAUSED = """
import sys
from blemish.updating import update as module
import importlib
module = importlib.import_module("blemish.updating.update")
reads = module.read_incoming

def paused(*arguments):
    found = reads(*arguments)
    print("there", flush=True)
    sys.stdin.readline()
    return found

module.read_incoming = paused
from blemish.cli.entry import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def paused_update(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _PAUSED, "update", *map(str, arguments), "--device", "cpu"]
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        yield process


class TestRealCommands:
    @pytest.fixture
    def run(self, usual: FitReport, tmp_path: Path) -> Path:
        return Path(shutil.copytree(usual.output, tmp_path / "run"))

    def test_of_two_updates_at_once_the_second_is_refused(self, run: Path, tmp_path: Path) -> None:
        first, second = (write_all(tmp_path / str(i), [plate(600 + 10 * i + k) for k in range(3)]) for i in (1, 2))
        with paused_update(run, first) as process:
            assert blemish("update", run, second, "--device", "cpu").code == 0
            _, said = process.communicate("\n")
        assert process.returncode == 2
        told = [line for line in said.splitlines() if line.startswith("blemish: error: ")]
        assert len(told) == 1 and "(an update with 3 images of 2, " in told[0]
        (record,) = load_model(run).info.history or []
        assert record.folder == "2" and kept_versions(run) == [record.version_before[:12]]

    @needs_kill
    def test_a_rate_that_is_set_while_an_update_runs_stays(self, run: Path, tmp_path: Path) -> None:
        new = write_all(tmp_path / "new", [plate(620 + k) for k in range(3)])
        with paused_update(run, new) as process:
            assert blemish("update", run, "--false-alarm-rate", "0.3").code == 0
            _, said = process.communicate("\n")
        assert process.returncode == 2 and "its false-alarm rate is 0.3 now" in said
        with paused_update(run, new) as process:
            process.send_signal(signal.SIGKILL)
        info = load_model(run).info
        assert info.calibration.false_alarm_rate == 0.3 and info.history is None
        assert blemish("update", run, new, "--device", "cpu").code == 0

    def test_of_two_into_one_folder_both_are_there(self, run: Path, tmp_path: Path) -> None:
        output = tmp_path / "output"
        for i in (1, 2):
            update(run, write_all(tmp_path / str(i), [plate(640 + 10 * i)]), output=output, device="cpu")
        (kept,) = kept_versions(output)
        folders = [
            (load_model(each).info.history or [])[-1].folder for each in (output, tmp_path / "output_history" / kept)
        ]
        assert folders == ["2", "1"]


class TestEqualVersions:
    def test_the_same_training_in_two_folders(self, good: Path, tmp_path: Path) -> None:
        infos = [load_model(fitted(good, tmp_path / name).folder).info for name in ("a", "b")]
        later = infos[1].model_copy(update={"created": "2099-01-01T00:00:00+00:00", "blemish_version": "9"})
        assert infos[0].version == infos[1].version == later.version
        other = load_model(fitted(good, tmp_path / "c", "Global.seed=1").folder).info
        assert other.version != infos[0].version

    def test_the_same_update_of_it(self, tmp_path: Path) -> None:
        infos = []
        for name in ("a", "b"):
            folder = save_model(tmp_path / name, tiny_network(), tiny_info().model_copy(update={"created": name}))
            advance(folder, 1)
            _edit(folder, lambda stated, name=name: stated["history"][0].update(when=name))
            infos.append(load_model(folder).info)
        assert infos[0].version == infos[1].version and infos[0].checksum != infos[1].checksum

    @pytest.mark.parametrize("key", ["false_alarm_rate", "network", "history"])
    def test_what_changes_results_or_tells_of_them_is_another(self, folder: Path, key: str) -> None:
        before = load_model(folder).info.version
        if key == "false_alarm_rate":
            set_false_alarm_rate(folder, 0.4)
        elif key == "network":
            save_model(folder, tiny_network(1), tiny_info())
        else:
            info = load_model(folder).info
            save_model(folder, tiny_network(), updated(info))
        assert load_model(folder).info.version != before

    def test_a_model_of_before_keeps_its_checksum_as_its_version(self, tmp_path: Path) -> None:
        info = tiny_info()
        del info.versions["identity"]
        folder = save_model(tmp_path / "model", tiny_network(), info)
        info = load_model(folder).info
        assert info.version == info.checksum
        assert advance(folder, 1) == info.checksum[:12]  # the name under which it is kept, as before
        assert load_model(folder).info.version == load_model(folder).info.checksum
        assert bring_back(folder).info == info

    def test_a_training_that_makes_the_same_says_the_same_version(self, tmp_path: Path) -> None:
        trained(tmp_path / "a", 1)
        trained(tmp_path / "b", 1)
        assert blemish("update", tmp_path / "a").stdout == blemish("update", tmp_path / "b").stdout
