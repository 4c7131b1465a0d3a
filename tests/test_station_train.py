"""The page Train: images, their check, trainings that outlive the service, and what is refused."""

from __future__ import annotations

import html
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from command import ROOT
from playwright.sync_api import Browser, BrowserContext, Page, expect
from served import Server, grey, serving
from textures import plate, write_all
from web_page import chromium

from blemish.calibration import one_session_line
from blemish.calibration.remarks import IF_SO
from blemish.checking import CODES
from blemish.checking.advice import ADVICE
from blemish.datasets import generate_sample
from blemish.errors import UsageError
from blemish.service.datasets import Sources
from blemish.service.errors import ServiceError
from blemish.service.jobs import KINDS
from blemish.service.jobs.data import with_settings
from blemish.service.jobs.train import configure
from blemish.store import open_store

SMALL = "Model.width=96\nModel.height=96"
WAIT = 120_000  # ms; a shared machine imports slowly
FORM = {"detector": "PatchCore", "preset": "fast", "rate": "5", "overrides": SMALL}


@dataclass(frozen=True)
class Place:
    """A server with tokens, the folder that it may learn from, and one beside it."""

    server: Server
    output: Path
    root: Path
    tokens: dict[str, str]

    def client(self, role: str = "admin") -> httpx.Client:
        return self.server.client(headers={"Authorization": f"Bearer {self.tokens[role]}"})


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_sample(tmp_path_factory.mktemp("sample") / "nuts", train=12, good=1, per_defect=1, size=128)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("train")
    root, output = folder / "plant", folder / "out"
    shutil.copytree(sample, root / "nuts")
    with open_store(None, output) as store:
        tokens = {role: store.tokens.create(role, role) for role in ("viewer", "operator", "admin")}
    with serving("--output", output, "--data", root) as server:
        yield Place(server, output, root, tokens)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def zipped(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def picture(seed: int) -> bytes:
    return cv2.imencode(".png", plate(seed))[1].tobytes()


def sent(client: httpx.Client, folder: str, data: bytes, source: str = "image.png") -> httpx.Response:
    return client.post(f"/train/data/{folder}/images", params={"source": source}, content=data)


def begun(client: httpx.Client, **form: str) -> int:
    answer = client.post("/train/start", data={**FORM, **form})
    assert answer.status_code == 200, answer.text
    return number_of(answer.text)


def number_of(card: str) -> int:
    """Which job a card is of."""
    return int(re.search(r'id="job-(\d+)"', card)[1])  # type: ignore[index]


def state(client: httpx.Client, job: int) -> tuple[str, str]:
    """The word on the badge, and the line beside it."""
    text = client.get(f"/jobs/{job}").text
    found = re.search(r'class="badge[^"]*">([^<]*)</span>\s*<span class="grow">([^<]*)<', text)
    assert found, text
    return found[1], html.unescape(found[2])


def until(client: httpx.Client, job: int, *words: str) -> str:
    """The line of a job once its badge has one of the words."""
    deadline = time.monotonic() + WAIT / 1000
    while (now := state(client, job))[0] not in words:
        assert now[0] not in ("done", "failed", "cancelled") and time.monotonic() < deadline, now
        time.sleep(0.1)
    return now[1]


def children(process: int) -> list[int]:
    """The process ids of a server's work."""
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def faults(page: Page) -> list[str]:
    """What axe finds in light and in dark."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += [f"{scheme}: {one['id']} {one['nodes'][0]['html']}" for one in Axe().run(page).response["violations"]]
    return found


def opened(context: BrowserContext, said: list[str]) -> Page:
    page = context.new_page()
    page.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page


def test_from_images_to_a_model_in_the_browser(place: Place, browser: Browser, sample: Path) -> None:
    files = sorted((sample / "train" / "good").glob("*.png"))
    said: list[str] = []
    headers = {"Authorization": f"Bearer {place.tokens['admin']}"}
    with browser.new_context(base_url=place.server.url, extra_http_headers=headers) as context:
        page = opened(context, said)
        page.goto("/train")
        assert page.inner_text("#check-title + *, [aria-labelledby=check-title] p") == "Choose images first."
        page.fill("#folder", "nuts-new")
        page.set_input_files("#files", files)  # type: ignore[arg-type]
        page.wait_for_url("**/train?data=uploaded%2Fnuts-new", timeout=WAIT)
        assert "12 images" in page.inner_text(".sources [aria-current]")
        page.click("#check-start")
        page.wait_for_selector("#check .findings", timeout=WAIT)
        assert "There are few images" in page.inner_text("#check .findings")
        page.select_option("[name=preset]", "fast")
        page.fill("[name=rate]", "8")
        page.click("summary")
        page.fill("[name=overrides]", SMALL)
        page.click("#train .primary")
        page.wait_for_selector("#trainings progress", timeout=WAIT)
        page.click("#train .primary")  # a second time: the card comes once more, and is there once
        page.wait_for_selector("#trainings .job >> text=This training was started already.")
        expect(page.locator("#trainings .job")).to_have_count(1)
        page.wait_for_selector(
            "#trainings >> text=/^(starting|.*: \\d+ of)/", timeout=WAIT
        )  # the progress as it happens
        page.wait_for_selector("#trainings .figures", timeout=WAIT)
        told = page.inner_text("#trainings .job")
        assert "96 x 96" in told and "12 good images" in told and "answers now" in told
        assert page.get_attribute("#trainings a.primary", "href") == "/inspect?model=nuts-new"
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not faults(page)
        assert not said
        assert str(place.output) not in page.content()
    assert names(place.output / "trainings") == []
    with place.client("operator") as client:
        answer = client.post("/v1/models/nuts-new/predict", content=files[0].read_bytes())
        assert answer.json()["results"][0]["label"] == "Normal"


def test_a_check_shows_the_images_that_it_names(place: Place, browser: Browser) -> None:
    with place.client() as client:
        for seed in range(3):
            assert sent(client, "twins", picture(seed), f"{seed}.png").json()["added"] == 1
        pixels = cv2.imencode(".bmp", plate(0))[1].tobytes()  # the picture of 0.png in another file
        assert sent(client, "twins", pixels, "again.bmp").json()["added"] == 1
        card = client.post("/train/check", params={"data": "uploaded/twins"}).text
        until(client, job := int(re.search(r"job-(\d+)", card)[1]), "done")  # type: ignore[index]
        card = client.get(f"/jobs/{job}").text
        assert "The same picture is there several times" in card and str(place.output) not in card
        (first, *_) = re.findall(r'src="(/train/thumbnail[^"]*)"', card)
        thumbnail = client.get(html.unescape(first))
        assert thumbnail.headers["content-type"] == "image/jpeg"
        assert cv2.imdecode(np.frombuffer(thumbnail.content, np.uint8), cv2.IMREAD_COLOR).shape == (96, 96, 3)
    headers = {"Authorization": f"Bearer {place.tokens['admin']}"}
    said: list[str] = []
    with browser.new_context(base_url=place.server.url, extra_http_headers=headers) as context:
        page = opened(context, said)
        page.goto("/train?data=uploaded/twins")
        assert not faults(page)
        before = page.locator("#check figure").count()
        page.click("button[aria-label='Remove again.bmp']")
        page.wait_for_selector("button[aria-label='Remove again.bmp']", state="detached")
        assert page.locator("#check figure").count() == before - 1
        page.reload()
        assert "came or went since" in page.inner_text("[aria-labelledby=check-title]")
        assert not said
    assert names(place.output / "datasets" / "twins") == ["0.png", "1.png", "2.png"]
    with place.client() as client:
        assert client.post("/train/data/twins/remove").headers["hx-redirect"] == "/train"
        assert client.get("/train", params={"data": "uploaded/twins"}).status_code == 404
    assert "twins" not in names(place.output / "datasets")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("name it: --good A.", "name it: the setting Global.good=A."),
        ("-o 'Calibrate.sessions=^([^/]+)/' covers each.", "the setting Calibrate.sessions=^([^/]+)/ covers each."),
        ("-o Calibrate.sessions=time covers each.", "the setting Calibrate.sessions=time covers each."),
        (f"{IF_SO}", "If so, more good parts alarm than is stated: name the part by a pattern, the setting "
         "Calibrate.group_by."),
        (one_session_line(["a.png"], lambda: None), "The rate holds for images like these: for one session (light, "
         "camera, day). To cover another day, train with good images of it held out: blemish train DIR --holdout DIR."),
    ],
)  # fmt: skip
def test_options_of_the_command_line_are_told_as_settings(line: str, shown: str) -> None:
    assert with_settings(line) == shown


def test_a_training_again_without_what_stands_apart(place: Place) -> None:
    with place.client() as client:
        for seed in range(14):
            assert sent(client, "mixed", picture(seed), f"{seed}.png").json()["added"] == 1
        for seed in range(2):
            spotted = cv2.imencode(".png", plate(90 + seed, defect=True))[1].tobytes()
            assert sent(client, "mixed", spotted, f"odd {seed}.png").json()["added"] == 1
        job = begun(client, data="uploaded/mixed", name="mixed")
        until(client, job, "done")
        card = client.get(f"/jobs/{job}").text
        assert "2 of 16 good images stand apart" in card and "Train again without these" in card
        boxes = [html.unescape(name) for name in re.findall(r'name="leave_out" value="([^"]*)"', card)]
        assert len(boxes) == 2 and all(name.startswith("odd") for name in boxes)
        for source in re.findall(r'src="(/train/thumbnail[^"]*)"', card):
            assert client.get(html.unescape(source)).status_code == 200
        assert client.post(f"/train/{job}/again", data={"leave_out": "3.png"}).status_code == 409
        assert client.post(f"/train/{job}/again").status_code == 422
        assert client.post("/train/99999/again", data={"leave_out": boxes}).status_code == 404
        answer = client.post(f"/train/{job}/again", data={"leave_out": boxes})
        assert answer.status_code == 200 and "without 2 images" in answer.text
        until(client, second := int(re.search(r'id="job-(\d+)"', answer.text)[1]), "done")  # type: ignore[index]
        card = client.get(f"/jobs/{second}").text
        assert "14 images of the folder itself; left out: 2 by name" in card and "stand apart" not in card
    with place.client("operator") as client:
        assert client.post(f"/train/{job}/again", data={"leave_out": boxes}).status_code == 403
        assert "Train again" not in client.get(f"/jobs/{job}").text


def test_uploads_are_verified_named_safely_and_kept_once(place: Place) -> None:
    with place.client() as client:
        for number, (source, kept) in enumerate(
            (
                ("../../etc/a.png", "a.png"),
                ("C:\\photos\\b.png", "b.png"),
                (".hidden", "hidden.png"),
                ("train.txt", "train.txt.png"),
                ("a.png", "a-2.png"),
            ),
            1,
        ):
            assert sent(client, "safe", picture(1000 + number), source).json()["added"] == 1, source
            assert kept in names(place.output / "datasets" / "safe")
        assert sent(client, "safe", picture(1001), "other.png").json() == {
            "added": 0,
            "known": 1,
            "refused": 0,
            "told": [],
        }
        whole = zipped(
            {
                "set/train/good/1.png": picture(2001),
                "set/train/good/2.png": picture(2002),
                "set/train/good/cut.png": b"no image",
                "set/test/crack/1.png": picture(2003),
                "set/readme.txt": b"x",
                "__MACOSX/1.png": b"x",
            }
        )
        answer = sent(client, "zip", whole, "set.zip").json()
        assert (answer["added"], answer["refused"]) == (2, 1) and answer["told"][1].startswith("cut.png: ")
        assert answer["told"][0] == "learned: 3 images of set/train/good; left out: 1 of set/test/crack"
    assert names(place.output / "datasets" / "zip") == ["1.png", "2.png"]
    assert not list(place.output.rglob("*.partial"))


@pytest.mark.parametrize(
    "data, told",
    [
        (b"no image at all", "is not an image"),
        (picture(1)[:200], ""),
        (zipped({"../../evil.png": picture(1)}), "leads out of its folder"),
        (zipped({"/evil.png": picture(1)}), "leads out of its folder"),
        (zipped({"a.png": bytes(30 << 20)}), "compressed more than any"),
        (zipped({"readme.txt": b"x"}), "holds no good image"),
        (zipped({"test/crack/1.png": picture(1)}), "no good image"),
        (zipped({"1.png": b"x", "2.png": b"y"}), "1.png: is not an image"),
        (b"PK\x03\x04 and nothing", "no zip file"),
    ],
)
def test_hostile_uploads_leave_nothing(place: Place, data: bytes, told: str) -> None:
    with place.client() as client:
        answer = sent(client, "evil", data)
    assert answer.status_code == 400 and told in answer.json()["error"]["message"]
    assert not (place.output / "datasets" / "evil").exists() and not list(place.output.parent.rglob("evil.png"))


@pytest.mark.parametrize("folder", ["..", "a%2Fb", ".x", "%2e%2e", "a b"])
def test_folders_have_plain_names(place: Place, folder: str) -> None:
    with place.client() as client:
        assert client.post(f"/train/data/{folder}/images", content=grey(9)).status_code in (404, 405, 422)


def test_only_folders_below_the_roots(place: Place, tmp_path: Path) -> None:
    outside = write_all(tmp_path / "outside", [plate(1)])
    links, lists = place.root / "links", place.root / "lists"
    links.mkdir()
    (links / "a.png").symlink_to(outside / "000.png")
    (place.root / "way-out").symlink_to(outside, target_is_directory=True)
    lists.mkdir()
    (lists / "train.txt").write_text(f"{outside / '000.png'}\n")
    with place.client() as client:
        page = client.get("/train").text
        assert ">nuts</b>" in page and "way-out" not in page and str(place.root) not in page
        for key in ("0/..", "0/../../..", f"0/{outside}", "0/way-out", "1/nuts", "uploaded/../nuts", "0/nuts\0", "x"):
            for answer in (
                client.get("/train", params={"data": key}),
                client.post("/train/start", data={**FORM, "data": key, "name": "n"}),
            ):
                assert answer.status_code in (404, 422), (key, answer.text)
                assert str(tmp_path) not in answer.text
        for file in ("../../out/store.db", "README.txt", "/etc/passwd", "a.png"):
            key = "0/links" if file == "a.png" else "0/nuts"
            assert client.get("/train/thumbnail", params={"data": key, "file": file}).status_code == 404
        for key in ("0/links", "0/lists"):
            told = until(client, begun(client, data=key, name="never"), "failed")
            assert "leads out of the folders" in told and str(outside) not in told
        assert "never" not in client.get("/v1/models").text
    shutil.rmtree(links)
    shutil.rmtree(lists)


def test_the_same_form_sent_twice_is_one_training(place: Place) -> None:
    """At once, too; another rate is another training."""
    with place.client() as client:
        form = {**FORM, "data": "0/nuts", "name": "twice", "overrides": "Model.width=320\nModel.height=320"}
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: client.post("/train/start", data=form), range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4
        (job,) = {number_of(answer.text) for answer in answers}
        assert sum("This training was started already" in answer.text for answer in answers) == 3
        other = client.post("/train/start", data={**form, "rate": "7"})
        assert "started already" not in other.text and number_of(other.text) != job
        assert client.get("/train", params={"data": "0/nuts"}).text.count(f'id="job-{job}"') == 1
        for number in (job, number_of(other.text)):
            client.post(f"/jobs/{number}/cancel")


def test_who_may_look_may_not_act(place: Place) -> None:
    for role in ("viewer", "operator"):
        with place.client(role) as client:
            page = client.get("/train", params={"data": "0/nuts"})
            assert page.status_code == 200 and "hx-post" not in page.text.replace('hx-post="/logout"', "")
            assert sent(client, "mine", picture(5)).status_code == 403
            assert client.post("/train/start", data={**FORM, "data": "0/nuts", "name": "mine"}).status_code == 403
            assert client.post("/train/check", params={"data": "0/nuts"}).status_code == 403
            assert client.post("/train/data/zip/remove").status_code == 403
            assert client.post("/jobs/1/cancel").status_code == 403
    with place.server.client() as client:
        assert client.get("/train").status_code == 401


@pytest.mark.parametrize(
    "form, told",
    [
        ({"overrides": "Train.epochs=3"}, "Train.epochs_iters"),
        ({"overrides": "Model.width=33"}, "Model.width"),
        ({"overrides": "Model.neighbors_=1"}, "neighbors_"),
        ({"overrides": "nonsense"}, "here can be set"),
        ({"overrides": "Global.output=/tmp/x"}, "no files"),
        ({"overrides": "Train.resume_path=/etc"}, "no files"),
        ({"overrides": "Model.backbone=/etc/x.onnx"}, "not a file"),
        ({"overrides": "Model.roi=/etc/mask.png"}, "not files"),
        ({"overrides": "Calibrate.holdout=/etc"}, "names folders"),
        ({"detector": "Nothing"}, "cannot be trained here"),
        ({"rate": "0"}, "rate"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_a_wrong_setting_is_one_line(place: Place, form: dict[str, str], told: str) -> None:
    with place.client() as client:
        answer = client.post("/train/start", data={**FORM, "data": "0/nuts", "name": "x", **form})
    message = answer.json()["error"]["message"]
    assert answer.status_code in (400, 422) and told in message and "\n" not in message


def test_cancelled_killed_and_impossible_trainings_leave_nothing(place: Place) -> None:
    with place.client() as client:
        nothing = place.root / "empty"
        (nothing / "train" / "good").mkdir(parents=True)
        assert "no images found" in until(client, begun(client, data="0/empty", name="no"), "failed")
        shutil.rmtree(nothing)
        job = begun(client, data="0/nuts", name="no", preset="accurate", overrides="")
        waiting = begun(client, data="0/nuts", name="no")
        until(client, job, "at work")
        assert state(client, waiting)[0] == "waits"  # one after the other
        assert client.post(f"/jobs/{waiting}/cancel").status_code == 200
        assert client.post(f"/jobs/{job}/cancel").status_code == 200
        until(client, job, "cancelled")
        job = begun(client, data="0/nuts", name="no", preset="accurate", overrides="")
        until(client, job, "at work")
        while not (found := children(place.server.process.pid)):
            time.sleep(0.05)
        os.kill(found[0], signal.SIGKILL)  # as the kernel does where memory is short
        assert "SIGKILL" in until(client, job, "failed")
        assert '"no"' not in client.get("/v1/models").text
    assert names(place.output / "trainings") == []


def test_a_training_goes_on_after_kill_9_and_its_model_lasts(tmp_path: Path, sample: Path) -> None:
    shutil.copytree(sample, tmp_path / "plant" / "nuts")
    command = [sys.executable, "-m", "blemish", "serve", "--port", "0", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path / "plant")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server(process)
    with server.client() as client:
        job = begun(client, data="0/nuts", name="lasting", preset="balanced", overrides="")
        until(client, job, "at work")
        while not names(tmp_path / "out" / "trainings"):
            time.sleep(0.05)
    server.stop(signal.SIGKILL)
    arguments = ("--output", tmp_path / "out", "--data", tmp_path / "plant")
    with serving(*arguments) as server, server.client() as client:
        until(client, job, "done")
        card = client.get(f"/jobs/{job}").text
        assert "answers now" in card and "for 7.7 % false alarms at best; 5 % asked for" in card
    assert names(tmp_path / "out" / "trainings") == []
    with serving(*arguments) as server, server.client() as client:
        (model,) = client.get("/v1/models").json()["models"]
        assert model["name"] == "lasting" and model["versions"][0]["images"] == 12
        image = (sample / "train" / "good" / "000.png").read_bytes()
        assert client.post("/v1/models/lasting/predict", content=image).status_code == 200
        assert client.delete("/v1/models/lasting").status_code == 204
    assert names(tmp_path / "out" / "models") == []


def test_a_student_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    good = write_all(tmp_path / "good", [plate(seed, 64) for seed in range(6)])
    parameters = {
        **{"key": "0/good", "data": "good", "folder": str(good), "root": str(good), "output": str(tmp_path / "out")},
        **{"name": "pupil", "detector": "STFPM", "preset": "fast", "rate": 0.2, "device": "cpu"},
        "overrides": [
            *("Model.width=64", "Model.height=64", "Train.epochs_iters=6", "Train.eval_interval=2"),
            *("Train.log_interval=1", "Train.batch_size=2", "Train.warmup_steps=1"),
        ],
    }

    class Killed(Exception):
        """In the place of kill -9."""

    told: list[tuple[str, Any]] = []

    def tell(_progress: float | None, message: str, so_far: Any = None) -> None:
        told.append((message, so_far))

    def fall(_progress: float | None, message: str, so_far: Any = None) -> None:
        if list((tmp_path / "out").glob("iter_4")):
            raise Killed
        del message, so_far

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blemish.service.jobs.data._LEAST_S", 0.0)
        with pytest.raises(Killed):
            KINDS["train"].run(parameters, fall)
        result = KINDS["train"].run(parameters, tell)
    learning = [line for line, _ in told if line.startswith("learning")]
    assert learning[0].startswith("learning: 5 of 6") and len(learning) == 2
    assert [step for step, _ in told[-1][1]["losses"]] == [step for step, _ in result["losses"]] == [1, 2, 3, 4, 5, 6]
    again = KINDS["train"].run(parameters, tell)  # as after a kill between the end of the work and its record
    assert again == result


def test_every_finding_has_plain_words() -> None:
    assert set(ADVICE) == set(CODES)


def test_keys_of_folders(tmp_path: Path) -> None:
    write_all(tmp_path / "a" / "one", [plate(1)])
    write_all(tmp_path / "b" / "one", [plate(1)])
    sources = Sources(tmp_path / "out", [tmp_path / "a", tmp_path / "b"])
    assert [(source.key, source.name) for source in sources.all()] == [("0/one", "a/one"), ("1/one", "b/one")]
    assert sources.find("1/one").folder == (tmp_path / "b" / "one").resolve()
    with pytest.raises(ServiceError):
        sources.find("2/one")


def test_a_run_file_of_the_page() -> None:
    given = {"detector": "STFPM", "preset": "fast", "rate": 0.05, "device": "cpu", "overrides": ["Train.batch_size=2"]}
    config = configure(given)
    assert (config.Global.model, config.Train.batch_size, config.Calibrate.false_alarm_rate) == ("STFPM", 2, 0.05)
    with pytest.raises(UsageError, match="Predict"):
        configure({**given, "overrides": ["Predict.input=/etc"]})
