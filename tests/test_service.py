"""The routes as their clients see them: PaddleX's, ours, and what a person opens first."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from command import ROOT, blemish
from served import Server, grey, serving, tiny_folder, version_of

from blemish import create_model

GOLDEN = ROOT / "tests" / "golden" / "openapi.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "bottle")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def server(folder: Path, output: Path) -> Iterator[Server]:
    with serving(folder, "--output", output, "--max-body", 1) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def spotted() -> bytes:
    """Dark, with a bright square: the only region of its map."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[10:20, 30:50] = 200
    return cv2.imencode(".png", image)[1].tobytes()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_paddlex_health(client: httpx.Client) -> None:
    first, second = (client.get("/health").json() for _ in range(2))
    assert {key: first[key] for key in ("errorCode", "errorMsg")} == {"errorCode": 0, "errorMsg": "Healthy"}
    assert len(first["logId"]) == 36 and first["logId"] != second["logId"]


def test_paddlex_answer_has_its_fields_and_ours(client: httpx.Client, folder: Path) -> None:
    answer = client.post("/image-anomaly-detection", json={"image": base64_of(spotted()), "logId": "mine"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["logId", "errorCode", "errorMsg", "result"]
    assert (content["errorCode"], content["errorMsg"]) == (0, "Success")
    result = content["result"]
    assert set(result) == {
        *("labelMap", "size", "image"),
        *("score", "threshold", "pValue", "isAnomalous", "regions"),
    }
    (expected,) = create_model(folder).predict(cv2.imdecode(np.frombuffer(spotted(), np.uint8), cv2.IMREAD_COLOR))
    assert result["size"] == [40, 80]
    assert np.array_equal(np.reshape(result["labelMap"], (40, 80)), expected.pred)
    known = expected.to_dict(mask=False)
    assert (result["score"], result["threshold"], result["pValue"]) == (
        known["score"],
        known["threshold"],
        known["p_value"],
    )
    assert result["isAnomalous"] is True and result["regions"] == known["regions"] != []
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(result["image"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (40, 80, 3)


@pytest.mark.parametrize("visualize, drawn", [(True, True), (False, False), (None, True)])
def test_paddlex_visualize(client: httpx.Client, visualize: bool | None, drawn: bool) -> None:
    answer = client.post("/image-anomaly-detection", json={"image": base64_of(grey(0)), "visualize": visualize})
    assert ("image" in answer.json()["result"]) is drawn


@pytest.mark.parametrize(
    "content, status",
    [
        ({}, 422),
        ({"image": None}, 422),
        ({"image": 5}, 422),
        ({"image": "x", "visualize": "perhaps"}, 422),
        ([], 422),
        ({"image": ""}, 400),
        ({"image": "%%%"}, 400),
        ({"image": base64_of(b"hello")}, 400),
        ({"image": base64_of(grey(0)[:60])}, 400),
        ({"image": base64_of(grey(0)), "model": "nobody"}, 404),
        ({"image": "http://127.0.0.1:1/x.png"}, 400),
        ({"image": "file:///etc/passwd"}, 400),
        ({"image": "data:image/png;base64,AAAA"}, 400),
    ],
)
def test_paddlex_mistakes_of_the_client(client: httpx.Client, content: object, status: int) -> None:
    answer = client.post("/image-anomaly-detection", json=content)
    found = answer.json()
    assert answer.status_code == found["errorCode"] == status and found["logId"] and found["errorMsg"]
    assert "result" not in found and "root:" not in answer.text


@pytest.mark.parametrize("method, path, status", [("GET", "/image-anomaly-detection", 405), ("POST", "/health", 405)])
def test_paddlex_envelope_for_other_methods(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == answer.json()["errorCode"] == status


def test_no_json_at_all_is_refused_in_the_envelope(client: httpx.Client) -> None:
    answer = client.post("/image-anomaly-detection", content=b"\xff\xfe{")
    assert answer.status_code == answer.json()["errorCode"] == 422


def test_a_raw_body_gets_what_the_command_prints(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "part.png").write_bytes(spotted())
    line = json.loads(blemish("predict", folder, tmp_path / "part.png", "--json").stdout)
    (result,) = client.post("/v1/models/bottle/predict", content=spotted()).json()["results"]
    assert set(result) == {*line, "inspection"} and result["part"] is None
    unequal = ("input_path", "timings", "inspection")
    assert {k: v for k, v in result.items() if k not in unequal} == {k: v for k, v in line.items() if k not in unequal}


def test_a_form_with_many_images_in_order_one_of_them_broken(client: httpx.Client) -> None:
    files = [
        ("a", ("dark.png", grey(0))),
        ("b", ("../bad.png", b"no image")),
        ("c", ("bright.jpg", grey(250, suffix=".jpg"))),
    ]
    answer = client.post("/v1/models/bottle/predict?mask=true&source=line 3", files=files)
    dark, bad, bright = answer.json()["results"]
    assert answer.status_code == 200
    assert [one["input_path"] for one in (dark, bad, bright)] == ["dark.png", "bad.png", "bright.jpg"]
    assert (dark["is_anomalous"], bad["is_anomalous"], bright["is_anomalous"]) == (False, None, True)
    assert bad["error"].startswith("bad.png: is not an image") and dark["pred"]["size"] == [24, 48]


def test_pages_of_a_file_are_results_of_their_own(client: httpx.Client) -> None:
    pages = [np.full((24, 48, 3), level, np.uint8) for level in (0, 90)]
    data = cv2.imencodemulti(".tiff", pages)[1].tobytes()
    results = client.post("/v1/models/bottle/predict", content=data).json()["results"]
    assert [(one["page_index"], one["score"]) for one in results] == [(0, 0.0), (1, 90.0)]


def test_the_heat_map_as_a_picture(client: httpx.Client) -> None:
    answer = client.post("/v1/models/bottle/predict", content=spotted(), headers={"Accept": "image/png"})
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert answer.headers["content-type"] == "image/png" and picture.shape == (40, 80, 3)
    two = [("a", ("1.png", spotted())), ("b", ("2.png", spotted()))]
    refused = client.post("/v1/models/bottle/predict", files=two, headers={"Accept": "image/png"})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "too_many_images"


@pytest.mark.parametrize(
    "path, send, status, code",
    [
        ("bottle/predict", {"content": b"hello"}, 400, "unreadable_image"),
        ("bottle/predict", {"content": b""}, 400, "empty_body"),
        ("bottle/predict", {"json": {"image": ""}}, 415, "unsupported_media_type"),
        ("bottle/predict", {"files": {"a": b"hello"}}, 400, "unreadable_image"),
        ("bottle/predict", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "bad_request"),
        ("nobody/predict", {"content": b"x"}, 404, "no_such_model"),
        ("%2e%2e/predict", {"content": b"x"}, 422, "invalid_request"),
        ("bottle/predict?version=000000000000", {"content": b"x"}, 404, "no_such_version"),
        ("bottle/predict?version=../../etc", {"content": b"x"}, 422, "invalid_request"),
    ],
)
def test_our_mistakes_have_one_shape(
    client: httpx.Client, path: str, send: dict[str, object], status: int, code: str
) -> None:
    answer = client.post(f"/v1/models/{path}", **send)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"} and set(answer.json()["error"]) == {"code", "message"}
    assert answer.json()["error"]["code"] == code


def test_models_health_metrics_and_the_first_page(client: httpx.Client, folder: Path) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["name"], model["active"]) == ("bottle", version_of(folder))
    assert client.get("/v1/models/bottle").json() == model
    assert client.get("/v1/health/live").json() == {"status": "live"}
    assert client.get("/v1/health/ready").json() == {"status": "ready"}
    client.post("/v1/models/bottle/predict", content=spotted())
    metrics = client.get("/metrics").text
    assert 'blemish_verdicts_total{model="bottle",verdict="anomaly"}' in metrics
    assert 'route="/v1/models/{name}/predict",status="200"' in metrics
    for stage in ("read", "resize", "wait", "network", "answer", "record"):
        assert f'blemish_stage_seconds_count{{stage="{stage}"}}' in metrics
    assert client.get("/").headers["location"] == "/inspect"
    page = client.get("/inspect")
    assert page.headers["content-type"].startswith("text/html") and "bottle" in page.text


def test_no_answer_names_a_path_of_the_server(client: httpx.Client, folder: Path, output: Path) -> None:
    paths = [
        "/inspect",
        "/v1/models",
        "/v1/models/bottle",
        "/v2/models/bottle",
        "/metrics",
        "/openapi.json",
        "/v1/models/x",
    ]
    told = "".join(client.get(path).text for path in paths)
    told += client.post("/v1/models/up/versions", content=b"PK\x03\x04").text
    assert str(folder.parent) not in told and str(output) not in told and str(ROOT) not in told


def test_what_is_answered_is_in_the_store(client: httpx.Client, output: Path, folder: Path) -> None:
    answer = client.post("/v1/models/bottle/predict?source=camera 1", content=spotted()).json()["results"][0]
    with sqlite3.connect(output / "store.db") as database:
        row = database.execute(
            "SELECT source, model, score, is_anomalous, image_hash, thumbnail_hash, map_hash"
            " FROM inspections WHERE id = ?",
            [answer["inspection"]],
        ).fetchone()
    database.close()
    assert row[:4] == ("camera 1", "bottle", answer["score"], 1)
    image, thumbnail, kept_map = ((output / "blobs" / name[:2] / name[2:]).read_bytes() for name in row[4:])
    assert image == spotted()
    assert cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR).shape == (40, 80, 3)
    assert np.load(io.BytesIO(kept_map)).max() == answer["score"]


def test_the_openapi_document_is_the_kept_one(client: httpx.Client) -> None:
    # after a change that is meant: python tests/test_service.py
    assert client.get("/openapi.json").json() == json.loads(GOLDEN.read_text("utf-8"))


def test_every_route_is_documented(client: httpx.Client) -> None:
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page, f"{method.upper()} {path}"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        model = tiny_folder(Path(place) / "bottle")
        with serving(model, "--output", Path(place) / "out") as running, running.client() as asking:
            document = asking.get("/openapi.json").json()
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
