"""Parts over HTTP: in one request or in several, never normal while an image is missing, and in the station."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from served import grey, serving
from tiny_model import tiny_info, tiny_network, tiny_parts

from blemish.models import save_model

LIMIT = 118.0  # of a part at 10 %


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Two models of two images a part: by a pattern on names, and by the pages of a file."""
    folder = tmp_path_factory.mktemp("models")
    patterns = {"views": r"(P\d+)_", "pages": r"(.+)\[\d+\]"}
    for name, pattern in patterns.items():
        save_model(folder / name, tiny_network(), tiny_info(calibration=tiny_parts(pattern), format_version=6))
    named = [f"{name}={folder / name}" for name in patterns]
    with serving(*named, "--output", tmp_path_factory.mktemp("output")) as server, server.client() as opened:
        yield opened


def judged(client: httpx.Client, query: str, *levels: int | None, model: str = "views") -> dict[str, Any]:
    """The one part of a request with images of these grey levels; None for one that cannot be read."""
    files = [("image", (f"{n}.png", b"no" if level is None else grey(level))) for n, level in enumerate(levels)]
    answer = client.post(f"/v1/models/{model}/predict?{query}", files=files)
    assert answer.status_code == 200, answer.text
    (part,) = answer.json()["parts"]
    return dict(part)


class TestOneRequest:
    def test_the_named_part_of_a_request(self, client: httpx.Client) -> None:
        part = judged(client, "part=A1", 90, 118)
        assert part == {
            "part": "A1", "images": 2, "images_per_part": [2, 2], "score": 118.0, "p_value": 0.15, "threshold": LIMIT,
            "is_anomalous": False, "label": "Normal", "false_alarm_rate": 0.1, "supported_rate": 0.1,
            "error": None, "expected": 2, "complete": True,
        }  # fmt: skip
        assert judged(client, "part=A2", 90, 119)["label"] == "Anomaly"

    @pytest.mark.parametrize("name", ["%20", "%09", "P1%0AP2", "P1%00"])
    def test_a_name_that_nobody_can_read_is_refused(self, client: httpx.Client, name: str) -> None:
        """A code reader that read nothing would make one part of many."""
        answer = client.post(f"/v1/models/views/predict?part={name}", content=grey(90))
        assert answer.status_code == 422 and "part is blank" in answer.json()["error"]["message"]

    def test_parts_by_the_names_of_files(self, client: httpx.Client) -> None:
        files = [(name, (f"{name}.png", grey(level))) for name, level in (("P1_a", 90), ("P2_a", 200), ("P1_b", 91))]
        answer = client.post("/v1/models/views/predict", files=files).json()
        assert [one["part"] for one in answer["results"]] == ["P1", "P2", "P1"]
        one, two = answer["parts"]
        assert (one["part"], one["label"], one["complete"]) == ("P1", "Normal", True)
        assert (two["part"], two["label"], two["complete"]) == ("P2", "Anomaly", False)
        assert client.post("/v1/models/views/predict", content=grey(90)).json()["parts"] == []

    def test_the_pages_of_a_file(self, client: httpx.Client) -> None:
        pages = [np.full((24, 48, 3), level, np.uint8) for level in (90, 200)]
        data = cv2.imencodemulti(".tiff", pages)[1].tobytes()
        (part,) = client.post("/v1/models/pages/predict", content=data).json()["parts"]
        assert (part["images"], part["label"], part["complete"]) == (2, "Anomaly", True)

    def test_an_image_that_cannot_be_read(self, client: httpx.Client) -> None:
        """The part has no verdict, until the image is taken again; an anomalous part stays anomalous."""
        part = judged(client, "part=A3", 90, None)
        assert (part["label"], part["complete"], part["images"]) == (None, False, 1)
        assert "is not an image" in part["error"]
        assert judged(client, "part=A3", 91)["label"] == "Normal"
        bad = judged(client, "part=A4", 200, None)
        assert (bad["label"], bad["complete"], bad["error"]) == ("Anomaly", False, None)
        last = judged(client, "part=A5&part_complete=true", 90, None, 91)
        assert (last["label"], last["expected"], last["complete"]) == (None, 3, False)


class TestSeveralRequests:
    def test_by_count(self, client: httpx.Client) -> None:
        found = [judged(client, "part=B1&part_images=3&source=camera", level) for level in (90, 90, 91, 92)]
        assert [(part["images"], part["label"]) for part in found] == [(1, None), (1, None), (2, None), (3, "Normal")]
        assert found[0]["error"] is None and not found[2]["complete"] and found[3]["complete"]
        again = judged(client, "part=B1&part_images=3&source=camera", 92)  # its answer was lost
        assert again == found[3]

    def test_the_count_of_the_calibration_and_no_source(self, client: httpx.Client) -> None:
        assert [judged(client, "part=B2", 90)["label"] for _ in range(2)] == [None, "Normal"]
        assert judged(client, "part=B2", 90)["images"] == 1  # another part of that name

    def test_when_told(self, client: httpx.Client) -> None:
        judged(client, "part=B3&part_images=9", 90)
        part = judged(client, "part=B3&part_images=9&part_complete=true", 91, 92)
        assert (part["images"], part["expected"], part["label"], part["complete"]) == (3, 3, "Normal", True)

    def test_anomalous_as_soon_as_one_image_is(self, client: httpx.Client) -> None:
        found = [judged(client, "part=B4&part_images=2", level) for level in (200, 90)]
        assert [(part["label"], part["complete"]) for part in found] == [("Anomaly", False), ("Anomaly", True)]

    def test_what_belongs_to_a_part_needs_one(self, client: httpx.Client) -> None:
        for query in ("part_images=2", "part_complete=true", "part=", "part=x&part_images=0"):
            answer = client.post(f"/v1/models/views/predict?{query}", content=grey(90))
            assert answer.status_code == 422 and answer.json()["error"]["code"] == "invalid_request"


class TestImagesSentAgain:
    def test_an_earlier_image_that_failed_is_missing_at_the_end(self, client: httpx.Client) -> None:
        for query in ("part=D1", "part=D2&source=camera"):
            assert client.post(f"/v1/models/views/predict?{query}", content=b"no").status_code == 400
            part = judged(client, f"{query}&part_complete=true", 90)
            assert (part["label"], part["images"], part["expected"], part["complete"]) == (None, 1, 2, False)
            assert "is not an image" in part["error"]
            part = judged(client, query, 91)
            assert (part["label"], part["images"], part["complete"], part["error"]) == ("Normal", 2, True, None)
        client.post("/v1/models/views/predict?part=D3", content=b"no")
        part = judged(client, "part=D3&part_complete=true", 200)
        assert (part["label"], part["complete"]) == ("Anomaly", False)

    def test_the_end_is_not_undone_by_a_failed_image_that_is_sent_again(self, client: httpx.Client) -> None:
        for query in ("part=D4", "part=D4b&part_images=9"):
            for again in ("", "&part_complete=true"):
                assert judged(client, f"{query}{again}&part_complete=true", 90, 91, None)["expected"] == 3
                part = judged(client, query + again, 92)
                assert (part["label"], part["images"], part["expected"]) == ("Normal", 3, 3)

    def test_a_stated_number_decides_where_a_failed_image_came_again_before_the_end(self, client: httpx.Client) -> None:
        query = "part=D5&part_images=2"
        client.post(f"/v1/models/views/predict?{query}", content=b"no")
        assert judged(client, query, 90)["label"] is None
        part = judged(client, f"{query}&part_complete=true", 91)
        assert (part["label"], part["expected"], part["error"]) == ("Normal", 2, None)

    def test_the_same_image_at_another_place_counts_once(self, client: httpx.Client) -> None:
        query = "part=D6&part_images=3&source=camera"
        found = [judged(client, query, *levels) for levels in ((90, 91), (91,), (91, 90))]
        assert [(part["images"], part["label"]) for part in found] == [(2, None)] * 3
        assert judged(client, query, 91, 91)["images"] == 3  # two equal images in one request are two

    def test_a_number_holds_until_another_is_stated(self, client: httpx.Client) -> None:
        judged(client, "part=D7&part_images=4", 90)
        found = [judged(client, "part=D7", level) for level in (91, 92)]
        assert [(part["expected"], part["label"]) for part in found] == [(4, None)] * 2
        part = judged(client, "part=D7&part_images=5", 93)
        assert (part["expected"], part["label"]) == (5, None)
        assert judged(client, "part=D7", 94)["label"] == "Normal"


class TestTheStation:
    def test_history_has_the_part_and_its_verdict(self, client: httpx.Client) -> None:
        files = [("a", ("a.png", grey(90))), ("b", ("b.png", grey(200)))]
        results = client.post("/v1/models/views/predict?part=C1", files=files).json()["results"]
        one, two = (result["inspection"] for result in results)
        stored = client.get(f"/v1/inspections/{one}").json()
        assert (stored["part"], stored["part_images"], stored["part_threshold"]) == ("C1", 2, LIMIT)
        assert stored["part_key"] == client.get(f"/v1/inspections/{two}").json()["part_key"]
        page = client.get(f"/history/{one}").text
        assert "C1: <b>Anomaly</b>, largest score 200" in page and f'<a href="/history/{two}">' in page
        assert "C1 · a.png" in client.get("/history").text
        assert "part,part_key,part_images,part_threshold" in client.get("/history/export.csv").text.splitlines()[0]

    def test_history_calls_no_part_normal_that_misses_an_image(self, client: httpx.Client) -> None:
        """An image that was sent twice counts once there too."""
        for _ in range(2):
            answer = client.post("/v1/models/views/predict?part=C2&source=camera", content=grey(90))
        number = answer.json()["results"][0]["inspection"]
        assert "C2: <b>no verdict, 1 of 2 images</b>" in client.get(f"/history/{number - 1}").text

    def test_inspect_shows_the_part_of_a_file_with_pages(self, client: httpx.Client) -> None:
        pages = [np.full((24, 48, 3), level, np.uint8) for level in (90, 100)]
        data = cv2.imencodemulti(".tiff", pages)[1].tobytes()
        headers = {"Content-Type": "application/octet-stream"}
        card = client.post("/inspect/pages?source=nut.tiff", content=data, headers=headers).text
        assert card.count("Part nut.tiff: <b>Normal</b>, 2 of 2 images, largest score 100") == 2


def test_parts_are_forgotten_beyond_a_bound(tmp_path: Path) -> None:
    """Neither names without end nor a part that never ends fill the memory."""
    from blemish.pipeline import open_model
    from blemish.service import parts
    from blemish.service.registry import Version

    folder = save_model(tmp_path / "m", tiny_network(), tiny_info(calibration=tiny_parts(), format_version=6))
    predictor = open_model(folder, "cpu")

    class Idle:
        limit = predictor.limit

    version, held = Version(predictor, Idle(), folder), parts.OpenParts()  # type: ignore[arg-type]
    for number in range(parts._MOST_OPEN + 50):
        held.of("m", version, [], parts.Named(f"P{number}"))
    assert len(held._open) == parts._MOST_OPEN
