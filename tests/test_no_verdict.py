"""No number, no verdict: what the network says in no finite numbers, or in another shape, is an error of that image."""

from __future__ import annotations

import base64
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from command import blemish
from served import grey, serving
from tiny_model import FAULTS, HEIGHT, WIDTH, faulty_network, tiny_info, tiny_network

from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError
from blemish.evaluation import evaluate
from blemish.graph import GraphBuilder
from blemish.models import InputInfo, load_model, save_model, try_network
from blemish.models.info import TilesInfo
from blemish.pipeline import Predictor, Result, open_model
from blemish.pipeline.journal import Journal
from blemish.pipeline.watching import HotFolder, Watch

SOUND = (50, 250)


def image(level: int, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    return np.full((HEIGHT, width, 3), level, np.uint8)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "faulty", faulty_network(), tiny_info())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A file of each faulty level between two that are sound."""
    (tmp_path / "in").mkdir()
    for level in (SOUND[0], *FAULTS, SOUND[1]):
        cv2.imwrite(str(tmp_path / "in" / f"{level:03}.png"), image(level))
    return tmp_path / "in"


def assert_no_verdict(result: Result, level: int) -> None:
    assert result.error is not None and "gets no verdict" in result.error and FAULTS[level] in result.error
    assert (result.score, result.p_value, result.threshold, result.is_anomalous, result.label) == (None,) * 5
    assert result.anomaly_map is None and result.regions == () and result.img == {} and result.was_read
    assert "Error - gets no verdict" in result.str and json.dumps(result.to_dict(), allow_nan=False)


class TestPredictor:
    @pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
    @pytest.mark.parametrize("batch_size", [1, 3, 8])
    def test_the_others_of_the_batch_are_judged(self, faulty: Path, files: Path, batch_size: int, engine: str) -> None:
        if engine == "openvino":
            pytest.importorskip("openvino")
        results = list(open_model(faulty, "cpu", batch_size, engine=engine).predict(files))
        assert [results[0].score, results[-1].score] == [50, 250] and results[0].label == "Anomaly"
        for result, level in zip(results[1:-1], FAULTS, strict=True):
            assert_no_verdict(result, level)

    def test_one_tile_is_enough(self, tmp_path: Path) -> None:
        tiles = TilesInfo(columns=2, rows=1, step_x=WIDTH, step_y=HEIGHT)
        described = InputInfo(width=WIDTH, height=HEIGHT, aspect=4.0, tiles=tiles)
        folder = save_model(tmp_path / "m", faulty_network(), tiny_info(format_version=2, input=described))
        pictures = [image(50, 2 * WIDTH) for _ in range(3)]
        pictures[1][:, WIDTH:] = 202
        first, second, third = open_model(folder, "cpu", 3).predict(pictures)
        assert_no_verdict(second, 202)
        assert first.score == third.score == 50

    @pytest.mark.parametrize("bias", [3.3e38, -3.3e38, 2e30])
    def test_a_number_beyond_all_sums(self, bias: float, tmp_path: Path) -> None:
        """Sums over such a map would be infinite; so would they with a threshold like that."""
        folder = save_model(tmp_path / "m", tiny_network(bias), tiny_info())
        (result,) = open_model(folder, "cpu").predict([image(50)])
        assert result.label is None and result.error is not None and "a score that is too large" in result.error
        with pytest.raises(UsageError, match="a threshold is a finite number up to 1e"):
            open_model(folder, "cpu", threshold=bias)

    def test_a_map_of_another_shape(self, faulty: Path) -> None:
        """Engines that take a network's own word for its shape are not believed."""
        loaded = load_model(faulty)
        (result,) = Predictor(loaded, [_Cropping(open_engine(loaded.model, "cpu"))]).predict([image(50)])
        assert (
            result.error is not None
            and f"an anomaly map of {HEIGHT - 1}x{WIDTH} cells, not {HEIGHT}x{WIDTH}" in result.error
        )

    def test_a_network_that_fails_on_one_image(self, tmp_path: Path) -> None:
        """Its shape depends on the image, so that the whole batch cannot be computed."""
        folder = save_model(tmp_path / "m", _shrinking_network(), tiny_info())
        first, second, third = open_model(folder, "cpu", 3).predict([image(50), image(200), image(60)])
        assert (first.score, third.score) == (50, 60)
        assert second.error is not None and "gets no verdict" in second.error and second.label is None

    def test_streams(self, faulty: Path, files: Path) -> None:
        with open_model(faulty, "cpu", 4).stream(files) as stream:
            results = list(stream)
        assert [result.score for result in results] == [50, None, None, None, 250]
        for result, level in zip(results[1:-1], FAULTS, strict=True):
            assert_no_verdict(result, level)

    def test_a_hot_folder(self, faulty: Path, files: Path, tmp_path: Path) -> None:
        said: list[tuple[str, bool]] = []
        watch = Watch(files, interval=0.01, patience=0.02, once=True, move=tmp_path / "done")
        with Journal(tmp_path / "journal.sqlite") as journal:
            hot = HotFolder(watch, open_model(faulty, "cpu", 4), journal, lambda results: results[0].str)
            assert hot.run(lambda text, failed: said.append((text, failed)), threading.Event()) == len(FAULTS)
        assert sum("Error - gets no verdict" in text for text, failed in said if failed) == len(FAULTS)
        assert sorted(path.name for path in (tmp_path / "done" / "failed").iterdir()) == [
            "200.png",
            "201.png",
            "202.png",
        ]


class TestCommands:
    def test_predict(self, faulty: Path, files: Path) -> None:
        done = blemish("predict", faulty, files, "--json", "--batch-size", "8")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.code == 1 and len(rows) == 5
        assert [row["label"] for row in rows] == ["Anomaly", None, None, None, "Anomaly"]
        assert [row["error"] is None for row in rows] == [True, False, False, False, True]
        assert "3 of 5 inputs failed" in done.stderr

    def test_evaluate_counts_it_nowhere_and_names_it(self, faulty: Path, tmp_path: Path) -> None:
        for kind, levels in {"good": (1, 200), "bad": (60, 202)}.items():
            (tmp_path / "data/test" / kind).mkdir(parents=True)
            for level in levels:
                cv2.imwrite(str(tmp_path / "data/test" / kind / f"{level}.png"), image(level))
        report = evaluate(faulty, tmp_path / "data", tmp_path / "out", "cpu", batch_size=4)
        assert report.false_alarms is not None and report.misses is not None
        assert (report.false_alarms.total, report.misses.total) == (1, 1)
        assert [image.name for image in report.failed] == ["test/bad/202.png", "test/good/200.png"]
        assert any("2 images could not be judged" in remark.text for remark in report.remarks)


class TestService:
    @pytest.fixture(scope="class")
    @staticmethod
    def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("out")

    @pytest.fixture(scope="class")
    @staticmethod
    def client(faulty: Path, output: Path) -> Iterator[httpx.Client]:
        with serving(faulty, "--output", output, "--max-batch", "8") as running, running.client() as opened:
            yield opened

    def test_our_route(self, client: httpx.Client) -> None:
        answer = client.post("/v1/models/faulty/predict", content=grey(200))
        assert answer.status_code == 500 and answer.json()["error"]["code"] == "no_verdict"
        assert FAULTS[200] in answer.json()["error"]["message"]
        parts = [("image", (f"{level}.png", grey(level))) for level in (50, 202, 250)]
        results = client.post("/v1/models/faulty/predict", files=parts).json()["results"]
        assert [result["score"] for result in results] == [50, None, 250]
        assert results[1]["label"] is None and FAULTS[202] in results[1]["error"]
        assert results[1]["inspection"] is None  # it was no inspection

    def test_a_picture_of_it(self, client: httpx.Client) -> None:
        answer = client.post("/v1/models/faulty/predict", content=grey(202), headers={"Accept": "image/png"})
        assert answer.status_code == 500 and answer.json()["error"]["code"] == "no_verdict"

    def test_paddlex(self, client: httpx.Client) -> None:
        answer = client.post("/image-anomaly-detection", json={"image": base64.b64encode(grey(201)).decode()})
        assert answer.status_code == answer.json()["errorCode"] == 500 and FAULTS[201] in answer.json()["errorMsg"]

    def test_kserve(self, client: httpx.Client) -> None:
        def asked(*levels: int) -> httpx.Response:
            pixels = np.stack([image(level) for level in levels])
            tensor = {
                "name": "image",
                "datatype": "UINT8",
                "shape": list(pixels.shape),
                "data": pixels.ravel().tolist(),
            }
            return client.post("/v2/models/faulty/infer", json={"inputs": [tensor], "outputs": [{"name": "score"}]})

        refused = asked(50, 202)
        assert refused.status_code == 500 and "image_1.png: gets no verdict" in refused.json()["error"]
        assert asked(50, 250).json()["outputs"][0]["data"] == [50, 250]

    def test_the_station(self, client: httpx.Client) -> None:
        """The page says `No verdict` for any answer that is no card; nothing of it is kept."""
        before = client.get("/v1/inspections").json()["counts"]["total"]
        answer = client.post("/inspect/faulty", content=grey(202))
        assert answer.status_code == 500 and FAULTS[202] in answer.json()["error"]["message"]
        assert client.get("/v1/inspections").json()["counts"]["total"] == before

    def test_it_is_counted_as_an_error(self, client: httpx.Client) -> None:
        client.post("/v1/models/faulty/predict", content=grey(200))
        assert 'blemish_verdicts_total{model="faulty",verdict="error"}' in client.get("/metrics").text

    def test_an_upload_is_tried_first(self, client: httpx.Client, output: Path, tmp_path: Path) -> None:
        folder = save_model(tmp_path / "m", faulty_network(grey=True), tiny_info())
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, path.name)
        answer = client.post("/v1/models/other/versions", content=buffer.getvalue())
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_model"
        said = answer.json()["error"]["message"]
        assert "of a grey image, the model gives a score that is not a finite number (nan)" in said and "/" not in said
        assert [one["name"] for one in client.get("/v1/models").json()["models"]] == ["faulty"]
        assert not list((output / "models").iterdir())


class TestTrying:
    def test_a_sound_network_passes(self) -> None:
        try_network(open_engine(tiny_network(), "cpu"), tiny_info())
        try_network(open_engine(faulty_network(), "cpu"), tiny_info())  # neither grey nor noise is at fault

    def test_a_faulty_one_is_refused(self) -> None:
        with pytest.raises(ModelError, match="of a grey image, the model gives a score that is not a finite number"):
            try_network(open_engine(faulty_network(grey=True), "cpu"), tiny_info())

    def test_serve_refuses_it_in_one_line(self, tmp_path: Path) -> None:
        folder = save_model(tmp_path / "m", faulty_network(grey=True), tiny_info())
        done = blemish("serve", folder, "--port", "0", "--output", tmp_path / "out")
        assert done.code == 2 and "of a grey image" in done.stderr and len(done.stderr.splitlines()) == 1


class _Cropping:
    """An engine that gives maps without their last row."""

    def __init__(self, engine: object) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def run(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        outputs = self._engine.run(image)  # type: ignore[attr-defined]
        return {**outputs, "anomaly_map": outputs["anomaly_map"][:, :-1]}


def _shrinking_network() -> bytes:
    """The map has a row less where the brightest level of the batch is 200 or more, whatever it declares."""
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", HEIGHT, WIDTH, 3])
    cells = graph.node("ReduceMean", graph.node("Cast", image, to=onnx.TensorProto.FLOAT), axes=[3], keepdims=0)
    brightest = graph.node("ReduceMax", cells, keepdims=1)  # [1, 1, 1]
    above = graph.node("Cast", graph.node("GreaterOrEqual", brightest, graph.constant(np.float32(200))), to=7)
    end = graph.node(
        "Sub", graph.constant(np.array([HEIGHT])), graph.node("Reshape", above, graph.constant(np.array([1])))
    )
    shrunk = graph.node("Slice", cells, graph.constant(np.array([0])), end, graph.constant(np.array([1])))
    graph.output(shrunk, "anomaly_map", np.float32, ["N", HEIGHT, WIDTH])
    graph.output(graph.node("ReduceMax", cells, axes=[1, 2], keepdims=0), "score", np.float32, ["N"])
    return graph.model("shrinking").SerializeToString()
