"""History: what was judged is found, looked at, reviewed and taken along; by people in Chromium and by programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from served import Server, grey, serving, tiny_folder
from web_page import chromium

from blemish.service.pages.history_files import _table
from blemish.store import Filter, Inspection, open_store

ODD, FINE = 200, 1  # grey levels of images that the tiny model calls anomalous and normal


def spotted() -> bytes:
    """Dark, with a bright square: the only region of its map."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[10:20, 30:50] = 200
    return cv2.imencode(".png", image)[1].tobytes()


def two_pages() -> bytes:
    return cv2.imencodemulti(".tiff", [np.full((24, 48, 3), level, np.uint8) for level in (ODD, ODD + 9)])[1].tobytes()


SENT = [  # source, file; in the order of their numbers
    ("camera 1/part_1.png", spotted()),
    ("camera 1/part_2.png", grey(FINE)),
    ("camera 2/100%_<b>.jpg", grey(ODD, suffix=".jpg")),
    ("camera 2/pages.tif", two_pages()),
    *((f"belt/{n:03}.png", grey(FINE + n % 2)) for n in range(45)),
]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, output: Path) -> Iterator[Server]:
    model = tiny_folder(tmp_path_factory.mktemp("model") / "bottle")
    with serving(model, "--output", output, "--keep", "all") as running, running.client() as client:
        for source, data in SENT:
            client.post("/v1/models/bottle/predict", params={"source": source}, content=data).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, server: Server, client: httpx.Client) -> Iterator[Page]:
    """A page that must say nothing on the console; nothing is reviewed before."""
    review(client, list(range(1, 51)), None)
    told: list[str] = []
    with browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900}) as context:
        opened = context.new_page()
        # the browser itself tells of a refusal, which `test_a_refused_review...` means
        opened.on(
            "console", lambda said: told.append(said.text) if said.type == "error" and "409" not in said.text else None
        )
        opened.on("pageerror", lambda error: told.append(str(error)))
        yield opened
    assert told == []


def review(client: httpx.Client, ids: list[int], said: str | None, note: str | None = None) -> httpx.Response:
    return client.post("/v1/inspections/review", json={"ids": ids, "review": said, "note": note})


def one(client: httpx.Client, id: int) -> dict[str, Any]:
    return client.get(f"/v1/inspections/{id}").raise_for_status().json()


def listed(page: str) -> list[int]:
    """The numbers of the entries of a page."""
    return [int(number) for number in re.findall(r'id="entry-(\d+)"', page)]


def figure(page: str, name: str) -> str:
    return re.search(rf"<dt>{name}</dt><dd>(\d+)", page)[1]  # type: ignore[index]


def accessible(page: Page) -> None:
    """Nothing that axe finds, in light and dark, and no sideways scrolling on a phone."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = Axe().run(page)
        assert not found.response["violations"], found.generate_report()
    size = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size(size)  # type: ignore[arg-type]


def test_the_newest_come_first_and_the_rest_in_pages(client: httpx.Client) -> None:
    first = client.get("/history").text
    assert listed(first) == list(range(50, 10, -1)) and figure(first, "Inspections") == "50"
    more = re.search(r'hx-get="(/history/rows\?[^"]+)"', first)[1]  # type: ignore[index]
    last = client.get(more).text
    assert listed(last) == list(range(10, 0, -1)) and "hx-get" not in last
    assert "100%_&lt;b&gt;.jpg" in last and "<b>.jpg" not in last


@pytest.mark.parametrize(
    "query, found",
    [
        ("verdict=anomaly", [5, 4, 3, 1]),
        ("verdict=anomaly&source=camera 1", [1]),
        ("source=CAMERA", [5, 4, 3, 2, 1]),
        ("source=100%25_", [3]),  # neither % nor _ is a wildcard
        ("source=%25", [3]),
        ("source=t__", []),
        ("model=bottle&source=camera 1&verdict=&review=&span=&utc=&since=", [2, 1]),
        ("model=cap", []),
        ("review=any", [3, 2]),
        ("review=confirmed", [2]),
        ("review=none&verdict=anomaly", [5, 4, 1]),
        ("span=hour&source=camera 1", [2, 1]),
        ("span=today&utc=-840&source=camera 1", [2, 1]),
        ("until=2020-01-01T00:00:00Z", []),
        ("since=2020-01-01T00:00:00%2B14:00&source=camera 1", [2, 1]),
        ("since=2199-01-01", []),
        ("before=3", [2, 1]),
    ],
)
def test_a_filter_means_the_same_for_pages_and_programs(client: httpx.Client, query: str, found: list[int]) -> None:
    review(client, list(range(1, 51)), None)
    review(client, [3], "false_alarm")
    review(client, [2], "confirmed")
    page = client.get(f"/history?{query}").text
    assert listed(page) == found
    told = client.get(f"/v1/inspections?{query}").json()
    assert [record["id"] for record in told["inspections"]] == found
    assert str(told["counts"]["total"]) == figure(page, "Inspections")
    table = client.get(f"/history/export.csv?{query}").text
    assert len(list(csv.DictReader(io.StringIO(table)))) == told["counts"]["total"]


@pytest.mark.parametrize(
    "query",
    [
        "verdict=perhaps",
        "review=x",
        "span=year",
        "utc=900",
        "utc=x",
        "since=yesterday",
        "since=0001-01-01T00:00:00%2B14:00",
        "before=0",
        f"before={2**63}",
        f"source={'x' * 201}",
        "version=../../etc",
    ],
)
def test_a_filter_that_is_none_is_refused(client: httpx.Client, query: str) -> None:
    for path in ("/history", "/v1/inspections"):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 422 and answer.json()["error"]["code"] == "invalid_request", answer.text
    page = client.get(f"/history?{query}", headers={"Accept": "text/html"})  # a link that was cut short, in a browser
    assert page.status_code == 422 and "<nav" in page.text, page.text


def test_pages_of_a_program(client: httpx.Client) -> None:
    seen, before = [], None
    while True:
        told = client.get("/v1/inspections", params={"limit": 20} | ({"before": before} if before else {})).json()
        seen += [record["id"] for record in told["inspections"]]
        before = told["next"]
        if before is None:
            break
    assert seen == list(range(50, 0, -1)) and told["counts"]["total"] == 50


def test_one_inspection_has_what_was_answered(client: httpx.Client) -> None:
    record = one(client, 1)
    answer = client.post("/v1/models/bottle/predict?source=again", content=spotted()).json()["results"][0]
    again = one(client, answer["inspection"])
    for name in ("score", "threshold", "p_value", "pixel_threshold", "is_anomalous", "regions"):
        assert record[name] == again[name] == answer[name], name
    assert record["page_index"] is None
    pages = {one(client, id)["page_index"]: one(client, id)["score"] for id in (4, 5)}
    assert pages == {0: ODD, 1: ODD + 9}
    for id in (0, 2**60, "x"):
        assert client.get(f"/v1/inspections/{id}").status_code == 422
    assert client.get("/v1/inspections/99999").status_code == client.get("/history/99999").status_code == 404


def test_pictures(client: httpx.Client) -> None:
    thumbnail = client.get("/history/1/thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(thumbnail.content, np.uint8), cv2.IMREAD_COLOR).shape == (40, 80, 3)
    for id, name, kind in ((1, "part_1.png", "png"), (3, "100-_-b.jpg", "jpeg"), (5, "pages.tif", "tiff")):
        original = client.get(f"/history/{id}/image")
        assert original.content == SENT[min(id, 4) - 1][1] and original.headers["content-type"] == f"image/{kind}"
        assert original.headers["content-disposition"] == f'attachment; filename="inspection-{id}-{name}"'
        assert (
            "immutable" in original.headers["cache-control"]
            and "sandbox" in original.headers["content-security-policy"]
        )
        assert original.headers["x-content-type-options"] == "nosniff"
    for path in ("/history/99999/image", "/history/99999/thumbnail"):
        assert client.get(path).status_code == 404


def test_a_review_and_those_that_a_verdict_rules_out(client: httpx.Client) -> None:
    assert review(client, [1, 5, 99999], "false_alarm", "a reflection").json() == {"reviewed": 2}
    record = one(client, 1)
    assert (record["review"], record["reviewed_by"], record["note"]) == ("false_alarm", "local", "a reflection")
    for ids, said, number in (([1, 2], "false_alarm", 2), ([2, 3], "missed_defect", 3)):
        before = [one(client, id) for id in ids]
        refused = review(client, ids, said)
        assert refused.status_code == 409 and f"inspection {number} was judged" in refused.json()["error"]["message"]
        assert [one(client, id) for id in ids] == before
    assert review(client, [1], None).json() == {"reviewed": 1} and one(client, 1)["reviewed_at"] is None
    for wrong in ({"ids": []}, {"ids": [0]}, {"ids": [1], "note": "x" * 1001}, {"ids": list(range(1, 502))}):
        answer = client.post("/v1/inspections/review", json={"review": "confirmed", "note": None, **wrong})
        assert answer.status_code == 422
    assert client.post("/history/undo", data={"former": "[]"}).status_code == 422
    assert client.post("/history/undo", data={"former": '[{"id": 1}]'}).status_code == 422
    assert client.post("/history/review", data={"ids": [99999], "review": "none"}).status_code == 404


def test_tables_for_other_programs(client: httpx.Client) -> None:
    from pyarrow import parquet

    answer = client.get("/history/export.csv?verdict=anomaly")
    assert answer.headers["content-disposition"] == 'attachment; filename="inspections.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows][:4] == ["1", "3", "4", "5"] and rows[0]["source"] == "camera 1/part_1.png"
    table = parquet.read_table(io.BytesIO(client.get("/history/export.parquet?source=camera").content))
    assert table.column("id").to_pylist() == [1, 2, 3, 4, 5]
    assert client.get("/history/export.xls").status_code == 422


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_needs_no_room_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    with open_store(None, tmp_path) as store, _table(store, Filter(), kind, tmp_path) as file:
        assert file.read(4) == {"csv": b"time", "parquet": b"PAR1"}[kind]
        assert not list(tmp_path.glob("tmp*"))  # nothing that a crash would leave


def test_a_viewer_looks_and_says_nothing(tmp_path: Path) -> None:
    model, out = tiny_folder(tmp_path / "bottle"), tmp_path / "out"
    with open_store(None, out) as store:
        tokens = {role: store.tokens.create(role, role) for role in ("viewer", "operator")}  # type: ignore[arg-type]
    with serving(model, "--output", out, "--keep", "none") as running, running.client() as asking:
        head = {role: {"Authorization": f"Bearer {text}"} for role, text in tokens.items()}
        empty = asking.get("/history", headers=head["viewer"]).text
        assert "Nothing has been inspected yet" in empty and "export" not in empty
        asking.post("/v1/models/bottle/predict", content=grey(ODD), headers=head["operator"]).raise_for_status()
        pages = [asking.get(path, headers=head["viewer"]).text for path in ("/history", "/history/1")]
        assert listed(pages[0]) == [1] and not any("data-say" in page or "checkbox" in page for page in pages)
        assert "data-say" in asking.get("/history/1", headers=head["operator"]).text
        assert "No picture was kept" in pages[1] and "--keep all" in pages[1]
        for path in ("/history/1/image", "/history/1/thumbnail"):
            assert asking.get(path, headers=head["viewer"]).json()["error"]["code"] == "not_kept"
        body = {"ids": [1], "review": "confirmed"}
        changes: dict[str, dict[str, Any]] = {
            "/v1/inspections/review": {"json": body},
            "/history/review": {"data": body},
            "/history/1/review": {"data": body},
            "/history/undo": {"data": {"former": "[]"}},
        }
        for path, send in changes.items():
            assert asking.post(path, headers=head["viewer"], **send).status_code == 403
            assert asking.post(path, **send).status_code == 401
        assert asking.get("/history").status_code == asking.get("/v1/inspections").status_code == 401
        assert asking.post("/v1/inspections/review", headers=head["operator"], json=body).json() == {"reviewed": 1}
        assert asking.get("/v1/inspections/1", headers=head["viewer"]).json()["reviewed_by"] == "operator"


@pytest.mark.parametrize("harm", ["image", "map", "wrong map", "no array", "another size"])
def test_what_is_damaged_is_said(server: Server, client: httpx.Client, output: Path, harm: str) -> None:
    """Records beside those of the service, as a faulty disk or a foreign program would leave them."""
    array = io.BytesIO()
    np.save(array, np.zeros((3, 6), np.complex64 if harm == "wrong map" else np.float32))
    with open_store(None, output) as store:
        put = store.blobs.put
        image = put(grey(7 if harm != "another size" else 8, height=24 if harm != "another size" else 30))
        grid = put({"no array": b"\x93NUMPY\x01\0\xff\xffhello"}.get(harm, array.getvalue()))
        now = datetime.now(timezone.utc)
        seen = Inspection(
            time=now, model="bottle", version="0" * 64, score=1.0, threshold=9.0, is_anomalous=False, width=48,
            height=24, image_hash="1" * 64 if harm == "image" else image, map_hash="2" * 64 if harm == "map" else grid,
        )  # fmt: skip
        (id,) = store.record([seen])
    shown = client.get(f"/history/{id}")
    assert shown.status_code == 200 and "Image and map cannot be shown" in shown.text
    assert str(output) not in shown.text and "<figure" not in shown.text
    assert client.get(f"/history/{id}/image").status_code == (404 if harm == "image" else 200)


def test_a_kept_map_is_drawn_without_its_model(server: Server, client: httpx.Client, output: Path) -> None:
    kept = one(client, 1)
    record = {name: kept[name] for name in ("score", "threshold", "pixel_threshold", "is_anomalous", "width", "height")}
    record |= {name: kept[name] for name in ("image_hash", "map_hash")}
    now = datetime.now(timezone.utc)
    with open_store(None, output) as store:
        (id,) = store.record(
            [Inspection(time=now, model="gone", version="0" * 64, source="<script>x</script>", **record)]
        )
    plain, own = client.get(f"/history/{id}").text, client.get("/history/1").text
    assert "is not loaded" in plain and "is not loaded" not in own and "<script>x" not in plain
    contours = [re.search(r'class="line" d="(M[^"]+Z)"', page)[1] for page in (plain, own)]  # type: ignore[index]
    assert contours[0] == contours[1]  # the tiny model neither crops nor letterboxes


def test_no_answer_names_a_path_of_the_server(client: httpx.Client, output: Path) -> None:
    for path in ("/history", "/history/1", "/v1/inspections", "/history/export.csv", "/history/0", "/history/99999"):
        assert str(output) not in client.get(path).text


def test_the_main_path_by_keys(page: Page, client: httpx.Client) -> None:
    page.goto("/history")
    accessible(page)
    page.select_option("[name=verdict]", "anomaly")
    expect(page.locator(".entry.normal")).to_have_count(0)
    page.fill("#source", "CAMERA")
    expect(page.locator(".entry")).to_have_count(4)
    assert page.url.endswith("/history?verdict=anomaly&source=CAMERA")
    page.locator("#source").blur()
    for key in ("j", "j"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.id") == "open-4"
    page.keyboard.press("x")
    page.keyboard.press("Shift+j")
    expect(page.locator("#tally")).to_have_text("2 selected")
    page.fill("#note", "dust")
    page.locator("#note").blur()
    page.keyboard.press("f")
    expect(page.locator("#entry-4 .said")).to_have_text("False alarm")
    expect(page.locator("#said")).to_contain_text("2 inspections: false alarm")
    expect(page.locator("#figures")).to_contain_text("False alarms2")
    accessible(page)
    assert [(one(client, id)["review"], one(client, id)["note"]) for id in (3, 4, 5)] == [
        ("false_alarm", "dust"), ("false_alarm", "dust"), (None, None)]  # fmt: skip
    page.click("#said button")
    expect(page.locator("#entry-4 .said")).to_be_empty()
    assert one(client, 4)["review"] is None
    page.keyboard.press("k")
    page.keyboard.press("c")  # nothing is selected: the one where the keys are
    expect(page.locator("#said")).to_contain_text("confirmed")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator(".entry")).to_have_count(4)


def test_a_refused_review_changes_nothing_and_says_why(page: Page, client: httpx.Client) -> None:
    page.goto("/history?source=camera 1")
    page.locator(".pick input").first.click()
    page.locator(".pick input").last.click(modifiers=["Shift"])
    expect(page.locator("#tally")).to_have_text("2 selected")
    page.click("[data-say=false_alarm]")
    expect(page.locator(".note.bad")).to_contain_text("inspection 2 was judged normal")
    expect(page.locator(".said .badge")).to_have_count(0)
    expect(page.locator("#tally")).to_have_text("2 selected")
    assert one(client, 1)["review"] is None


def test_one_inspection(page: Page, client: httpx.Client) -> None:
    page.goto("/history?verdict=anomaly")
    page.keyboard.press("j")
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "open-1":
            break
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/history/1?verdict=anomaly")
    expect(page.locator(".stage .picture")).to_be_visible()
    assert page.get_attribute(".stage .line", "d")
    assert page.locator(".regions li").count() == 1 and page.locator("[data-say=missed_defect]").count() == 0
    accessible(page)
    page.fill("textarea", "a scratch")
    page.locator("textarea").blur()
    page.keyboard.press("c")
    expect(page.locator("#review .badge")).to_have_text("Confirmed")
    expect(page.locator(".htmx-added")).to_have_count(0)  # its buttons work
    assert one(client, 1)["note"] == "a scratch"
    page.keyboard.press("u")
    expect(page.locator("#review .badge")).to_have_count(0)
    page.keyboard.press("k")
    page.wait_for_url("**/history/3?verdict=anomaly")
    page.keyboard.press("Escape")
    page.wait_for_url("**/history?verdict=anomaly")


def test_a_stretch_of_time_in_the_readers_zone(browser: Browser, server: Server) -> None:
    with browser.new_context(base_url=server.url, timezone_id="Asia/Kolkata") as context:
        page = context.new_page()
        page.goto("/history")
        page.select_option("#span", "today")
        page.wait_for_url("**/history?span=today&utc=330")
        page.select_option("#span", index=4)
        page.fill("[data-moment=since]", "2026-01-02T03:04:05")
        page.wait_for_url("**/history?since=2026-01-01T21%3A34%3A05.000Z")
        page.reload()
        assert page.input_value("[data-moment=since]") == "2026-01-02T03:04:05"
        page.click("text=Clear the filter")
        page.click("#more")
        expect(page.locator("#more")).to_have_count(0)
        assert page.locator(".entry").count() > 40
