"""The station: signing in, Inspect and Trend, by HTTP and in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from command import ROOT, blemish
from playwright.sync_api import Browser
from served import Server, grey, serving, tiny_folder
from station import PHONE, TABLET, WIDE, check_accessible, check_fits, spotted_file, visited
from textures import plate
from web_page import FAKE_CAMERA, chromium

from blemish.fitting import FitReport

PAGES = ("/inspect", "/trend", "/docs")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*FAKE_CAMERA) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("station")
    tiny_folder(folder / "bottle")
    with serving(f"bottle={folder / 'bottle'}", "--output", folder / "out") as running:
        yield running


class TestSignIn:
    @pytest.fixture(scope="class")
    @staticmethod
    def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("locked")

    @pytest.fixture(scope="class")
    @staticmethod
    def tokens(output: Path) -> dict[str, str]:
        roles = ("viewer", "operator", "admin")
        return {role: blemish("serve", "--create-token", role, "--output", output).stdout.strip() for role in roles}

    @pytest.fixture(scope="class")
    @staticmethod
    def locked(output: Path, tokens: dict[str, str]) -> Iterator[Server]:
        with serving(tiny_folder(output / "bottle"), "--output", output) as running:
            yield running

    def signed_in(self, client: httpx.Client, token: str) -> httpx.Response:
        return client.post("/login", data={"token": token, "next": "/trend"}, headers={"Origin": str(client.base_url)})

    def csrf(self, client: httpx.Client) -> str:
        found = re.search(r'<meta name="csrf" content="(\w*)">', client.get("/inspect").text)
        assert found
        return found[1]

    def test_a_page_leads_to_the_form_and_back(self, locked: Server, tokens: dict[str, str]) -> None:
        with locked.client() as client:
            refused = client.get("/trend", headers={"Accept": "text/html"})
            assert (refused.status_code, refused.headers["location"]) == (303, "/login?next=/trend")
            filtered = client.get("/history?verdict=anomaly&span=today", headers={"Accept": "text/html"})
            assert filtered.headers["location"] == "/login?next=/history%3Fverdict%3Danomaly%26span%3Dtoday"
            assert client.get("/trend").json()["error"]["code"] == "unauthorized"
            assert client.get("/trend/banner", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/login"
            answer = self.signed_in(client, tokens["viewer"])
            assert (answer.status_code, answer.headers["location"]) == (303, "/trend")
            cookie = answer.headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
            assert tokens["viewer"] not in cookie
            assert client.get("/trend").status_code == 200

    def test_over_tls_the_cookie_is_for_tls_alone(self, locked: Server, tokens: dict[str, str]) -> None:
        with locked.client(headers={"X-Forwarded-Proto": "https"}) as client:
            assert "Secure" in self.signed_in(client, tokens["viewer"]).headers["set-cookie"]

    @pytest.mark.parametrize("token", ["", "nothing", "ä" * 40])
    def test_a_wrong_token_is_refused_on_the_form(self, locked: Server, token: str) -> None:
        with locked.client() as client:
            answer = self.signed_in(client, token or " ")
            assert answer.status_code == 401 and "not valid" in answer.text and "set-cookie" not in answer.headers

    def test_only_who_is_known_may_send_what_is_large(self, locked: Server, tokens: dict[str, str]) -> None:
        """JSON is parsed before a route asks who sends it, and takes much more memory then."""
        large = b'{"ids": [' + b"[]," * (1 << 20) + b"1]}"
        json_type = {"Content-Type": "application/json"}
        with locked.client() as client:
            assert client.post("/v1/inspections/review", content=large, headers=json_type).status_code == 413
            chunks = iter([large[: 1 << 20], large[1 << 20 :]])  # without a length
            assert client.post("/v1/inspections/review", content=chunks, headers=json_type).status_code == 413
            picture = grey(7, 1000, 1000, ".bmp")
            assert len(picture) > 2 << 20
            known = {"Authorization": f"Bearer {tokens['operator']}"}
            assert client.post("/v1/models/bottle/predict", content=picture).status_code == 401
            assert client.post("/v1/models/bottle/predict", content=picture, headers=known).status_code == 200
            files = {"image": ("a.bmp", picture)}
            assert client.post("/v1/models/bottle/predict", files=files, headers=known).status_code == 200

    @pytest.mark.parametrize(
        "next", ["https://evil.example/", "//evil.example", "/\\evil.example", "//[", "x", "javascript:1"]
    )
    def test_it_never_leads_to_another_site(self, locked: Server, tokens: dict[str, str], next: str) -> None:
        with locked.client() as client:
            answer = client.post("/login", data={"token": tokens["viewer"], "next": next})
            assert answer.headers["location"] == "/"

    def test_a_change_needs_the_secret_of_the_page(self, locked: Server, tokens: dict[str, str]) -> None:
        with locked.client() as client, locked.client() as other:
            self.signed_in(client, tokens["operator"])
            self.signed_in(other, tokens["operator"])
            own, others = self.csrf(client), self.csrf(other)

            def status(**headers: str | bytes) -> int:
                return client.post("/v1/models/bottle/predict", content=grey(9), headers=headers).status_code

            assert status() == 403 and status(**{"X-CSRF-Token": b"\xe4"}) == 403
            assert status(**{"X-CSRF-Token": own, "Origin": "https://evil.example"}) == 403
            assert status(**{"X-CSRF-Token": own}) == 200
            assert own == others or status(**{"X-CSRF-Token": others}) == 403
            # a program with a token has no session and needs no such secret
            assert status(Authorization=f"Bearer {tokens['operator']}") == 200

    def test_forged_and_changed_cookies_are_nobodys(self, locked: Server, tokens: dict[str, str]) -> None:
        with locked.client() as client:
            self.signed_in(client, tokens["viewer"])
            cookie = client.cookies["blemish_session"]
        number, end, signature = cookie.split(".")
        forged = [
            f"{int(number) + 2}.{end}.{signature}",
            f"{number}.{int(end) + 9}.{signature}",
            "",
            "..",
            "1.9999999999.",
        ]
        for value in forged:
            answer = httpx.get(f"{locked.url}/trend", cookies={"blemish_session": value}, trust_env=False)
            assert answer.status_code == 401

    def test_roles_hold_and_a_viewer_sees_no_buttons(self, locked: Server, tokens: dict[str, str]) -> None:
        with locked.client() as client:
            self.signed_in(client, tokens["viewer"])
            page = client.get("/inspect").text
            assert 'id="files"' not in page and "role operator" in page
            headers = {"X-CSRF-Token": self.csrf(client)}
            assert client.post("/inspect/bottle", content=grey(9), headers=headers).status_code == 403
            assert client.post("/trend/bottle/reset", data={"accept": "true"}, headers=headers).status_code == 403
            assert client.post("/jobs/1/cancel", headers=headers).status_code == 403

    def test_signing_out_and_in_in_a_browser(self, locked: Server, tokens: dict[str, str], browser: Browser) -> None:
        with visited(browser, locked.url, PHONE) as page:
            page.goto("/trend")
            check_accessible(page)
            check_fits(page)
            page.fill("[name=token]", tokens["operator"])
            page.keyboard.press("Enter")
            page.wait_for_url("**/trend")
            page.click("text=Sign out")
            page.wait_for_url("**/login")

    def test_a_session_ends_with_its_token(self, locked: Server, output: Path) -> None:
        from blemish.store import open_store

        with open_store(None, output) as store:
            token = store.tokens.create("guest", "viewer")
            with locked.client() as client:
                self.signed_in(client, token)
                assert client.get("/trend").status_code == 200
                assert store.tokens.revoke(store.tokens.find(token).id)  # type: ignore[union-attr]
                for _ in range(80):
                    if client.get("/trend").status_code != 200:
                        break
                    time.sleep(0.1)
                assert client.get("/trend").status_code == 401


@pytest.mark.parametrize("path", PAGES)
def test_every_page_forbids_what_it_does_not_need(server: Server, path: str) -> None:
    answer = httpx.get(server.url + path, trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe-eval" not in policy and "script-src" not in policy
    assert "frame-ancestors 'none'" in policy and answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|https?://", answer.text)
    assert str(ROOT) not in answer.text


def test_the_api_is_shown_without_asking_another_machine(server: Server, browser: Browser) -> None:
    with visited(browser, server.url, PHONE) as page:
        page.goto("/docs")
        page.wait_for_selector("#operations-models-predict_v1_models__name__predict_post")
        check_fits(page)


def test_an_unknown_page_says_so_to_readers_and_programs(server: Server) -> None:
    with server.client() as client:
        assert client.get("/nowhere").json() == {"error": {"code": "not_found", "message": "Not Found"}}
        page = client.get("/nowhere", headers={"Accept": "text/html"})
        assert page.status_code == 404 and "<h1>Not Found</h1>" in page.text


class TestInspect:
    @pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (TABLET, True), (PHONE, False)])
    def test_files(self, server: Server, browser: Browser, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
        calm, odd = spotted_file(tmp_path, "calm.png", 1), spotted_file(tmp_path, "odd.png")
        with visited(browser, server.url, size, dark) as page:
            page.goto("/")
            check_accessible(page)
            page.set_input_files("#files", [calm, odd])
            page.wait_for_selector("#strip li:nth-child(2)")
            card = page.locator(".result:visible")
            assert card.locator(".verdict strong").inner_text() == "Anomaly"
            assert card.locator(".regions li").count() == 1 and "odd.png" in card.inner_text()
            assert page.locator("#tally").inner_text() == "1 normal · 1 anomaly"
            check_accessible(page)
            check_fits(page)
            page.keyboard.press("ArrowRight")
            assert page.locator(".result:visible .verdict strong").inner_text() == "Normal"
            page.keyboard.press("ArrowLeft")
            height = page.locator(".result:visible .verdict strong").evaluate(
                "e => parseFloat(getComputedStyle(e).fontSize)"
            )
            assert height >= 50  # about 13 mm on a tablet: to be read from three metres

    def test_the_map_follows_slider_and_keys_and_is_remembered(
        self, server: Server, browser: Browser, tmp_path: Path
    ) -> None:
        with visited(browser, server.url) as page:
            page.goto("/inspect")
            page.set_input_files("#files", spotted_file(tmp_path, "odd.png"))
            heat = page.locator(".result:visible .heat")
            heat.wait_for()

            def opacity() -> float:
                return float(heat.evaluate("e => getComputedStyle(e).opacity"))

            assert opacity() == pytest.approx(0.6)
            page.keyboard.press("h")
            assert opacity() == 0
            page.keyboard.press("h")
            page.locator("[data-heat]:visible").fill("100")
            assert opacity() == 1
            page.keyboard.press("c")
            assert page.locator(".stage:visible path.line").count() == 1
            assert page.locator(".stage.plain:visible").count() == 1
            page.locator(".regions li:visible").focus()
            assert page.locator("rect.marked").count() == 1
            page.reload()
            page.set_input_files("#files", spotted_file(tmp_path, "odd.png"))
            heat.wait_for()
            assert opacity() == 1

    def test_the_colours_lie_where_the_map_is_high(self, server: Server, tmp_path: Path) -> None:
        """The layer that covers the image is opaque on the spot only, and of the image's shape."""
        import base64

        import cv2

        with server.client() as client:
            card = client.post("/inspect/bottle", content=spotted_file(tmp_path, "odd.png").read_bytes()).text
        (data,) = re.findall(r'class="heat" src="data:image/png;base64,([^"]+)"', card)
        layer = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
        assert layer.shape == (96, 160, 4)
        assert layer[36, 80, 3] > 100 and layer[90, 10, 3] == 0

    def test_what_cannot_be_read_is_named_and_the_others_go_on(
        self, server: Server, browser: Browser, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"\x89PNG\r\n\x1a\n no picture")
        with visited(browser, server.url, refused=2) as page:
            page.goto("/inspect")
            page.set_input_files("#files", [broken, spotted_file(tmp_path, "odd.png")])
            page.wait_for_selector(".note.bad:has-text('broken.png')")
            page.wait_for_selector("#strip li:nth-child(2)")
            assert page.locator(".verdict:visible strong").inner_text() == "Anomaly"
            assert page.locator("#tally").inner_text() == "0 normal · 1 anomaly · 1 without a verdict"
            page.set_input_files("#files", [broken])
            page.wait_for_selector("#strip li:nth-child(3)")  # no verdict of another part stays on the page
            assert page.locator(".verdict:visible strong").inner_text() == "No verdict"
            assert page.locator(".verdict:visible").inner_text().count("broken.png") == 1
            check_accessible(page)

    def test_a_name_is_text_and_nothing_else(self, server: Server, browser: Browser, tmp_path: Path) -> None:
        with visited(browser, server.url) as page:
            page.goto("/inspect")
            page.set_input_files("#files", spotted_file(tmp_path, "<img src=x onerror=alert(1)>.png"))
            page.wait_for_selector("#strip li")
            assert page.locator(".verdict img").count() == 0
            assert "<img src=x" in page.locator(".verdict:visible").inner_text()

    def test_a_camera(self, server: Server, browser: Browser) -> None:
        with visited(browser, server.url, TABLET) as page:
            page.goto("/inspect")
            page.click("#camera-open")
            page.wait_for_selector("#cameras option", state="attached")
            page.keyboard.press("Space")
            page.wait_for_selector("#strip li")
            assert page.locator(".verdict:visible b").inner_text().startswith("camera ")
            page.click("#camera-close")
            assert page.is_hidden("#camera")


class TestTrend:
    @pytest.fixture(scope="class")
    @staticmethod
    def drifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        """A stream whose images become brighter in the end."""
        folder = tmp_path_factory.mktemp("trend")
        random = np.random.default_rng(0)
        levels = [*random.integers(40, 60, 150).tolist(), *random.integers(120, 140, 60).tolist()]
        with serving(tiny_folder(folder / "bottle"), "--output", folder / "out") as running:
            with running.client() as client:
                for level in levels:
                    client.post("/v1/models/bottle/predict", content=grey(level)).raise_for_status()
            yield running

    def test_nothing_yet(self, tmp_path: Path) -> None:
        served = serving(tiny_folder(tmp_path / "bottle"), "--output", tmp_path / "out")
        with served as running, running.client() as client:
            assert "Nothing was inspected" in client.get("/trend").text
            assert client.get("/trend?model=nobody").status_code == 200
            assert client.get("/trend?span=century").status_code == 422
            assert client.post("/trend/nobody/reset", data={"accept": "true"}).status_code == 404

    @pytest.mark.parametrize(("size", "dark"), [(WIDE, True), (PHONE, False)])
    def test_the_alarm_stands_on_every_page_until_it_is_attended_to(
        self, drifted: Server, browser: Browser, size: tuple[int, int], dark: bool
    ) -> None:
        with visited(browser, drifted.url, size, dark) as page:
            page.goto("/inspect")
            page.wait_for_selector(".drift")
            check_accessible(page)
            page.click(".drift a")
            page.wait_for_url("**/trend?model=bottle")
            assert "became brighter" in page.locator(".alarm").inner_text()
            assert page.locator(".figures dd").first.inner_text() == "210"
            check_accessible(page)
            check_fits(page)
            page.select_option("[name=span]", "hour")
            page.wait_for_url("**/trend?model=bottle&span=hour")
            page.click("summary")
            rows = page.locator("tbody tr")
            assert sum(int(rows.nth(i).locator("td").nth(1).inner_text()) for i in range(rows.count())) == 210

    def test_attending_to_it(self, drifted: Server, browser: Browser) -> None:
        with visited(browser, drifted.url) as page:
            page.goto("/trend")
            page.click("text=This is how it should be now")
            page.wait_for_selector("text=No drift: 0 images watched")
            page.reload()
            assert page.locator(".alarm").count() == 0


def test_beside_a_region_stands_what_good_looks_like(usual: FitReport, tmp_path: Path) -> None:
    with serving(f"plate={usual.output}", "--output", tmp_path) as running, running.client() as client:
        card = client.post("/inspect/plate", content=cv2.imencode(".png", plate(3, defect=True))[1].tobytes()).text
    assert "Anomaly" in card and "what good looks like here" in card
    assert len(re.findall(r'<img src="data:image/jpeg;base64,[^"]+" alt="The (?:place|nearest)', card)) >= 2
