"""The open inference protocol: JSON and binary tensors give the same, and mistakes are told as it tells them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from served import grey, serving, tiny_folder, version_of

from blemish import create_model
from blemish.service.errors import ServiceError
from blemish.service.tensors import binary_size, read_pixels, read_strings, split_body, write_tensor

LENGTH = "Inference-Header-Content-Length"
RGB = np.random.default_rng(3).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "bottle")


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(folder, "--output", tmp_path_factory.mktemp("out")) as running, running.client() as opened:
        yield opened


def binary(content: dict[str, Any], data: bytes) -> dict[str, Any]:
    """A request with bytes behind the JSON."""
    text = json.dumps(content).encode()
    return {"content": text + data, "headers": {LENGTH: str(len(text))}}


def image(data: npt.NDArray[np.uint8], **parameters: object) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(data.shape)}
    return tensor | ({"parameters": parameters} if parameters else {"data": data.ravel().tolist()})


def tensors(answer: httpx.Response) -> dict[str, npt.NDArray[Any]]:
    """The outputs by name, from JSON and from the bytes behind it."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    found, rest = {}, answer.content[length:]
    types = {"FP32": "<f4", "BOOL": "?", "UINT8": "u1"}
    for output in json.loads(answer.content[:length])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        dtype = np.dtype(types[output["datatype"]])
        if size is None:
            values = np.array(output["data"], dtype)
        else:
            values, rest = np.frombuffer(rest[:size], dtype), rest[size:]
        found[output["name"]] = values.reshape(output["shape"])
    assert not rest
    return found


def test_json_and_binary_agree_with_the_predictor(client: httpx.Client, folder: Path) -> None:
    path = "/v2/models/bottle/infer"
    plain = tensors(client.post(path, json={"inputs": [image(RGB)]}))
    content = {"inputs": [image(RGB, binary_data_size=RGB.nbytes)], "parameters": {"binary_data_output": True}}
    packed = tensors(client.post(path, **binary(content, RGB.tobytes())))
    assert list(plain) == list(packed) == ["score", "p_value", "threshold", "is_anomalous", "anomaly_map"]
    results = list(create_model(folder).predict(list(RGB[..., ::-1])))
    for found in (plain, packed):
        assert found["score"].tolist() == [result.score for result in results]
        assert found["p_value"].tolist() == [np.float32(result.p_value) for result in results]
        assert np.array_equal(found["anomaly_map"], np.stack([result.anomaly_map for result in results]))
        assert found["is_anomalous"].tolist() == [result.is_anomalous for result in results]


def test_image_files_as_bytes(client: httpx.Client, folder: Path) -> None:
    files = [grey(10), grey(200, 30, 30)]
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2]}
    wanted = {"outputs": [{"name": "score"}]}
    packed = {"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}], **wanted}
    assert tensors(client.post("/v2/models/bottle/infer", **binary(packed, data)))["score"].tolist() == [10, 200]
    plain = {"inputs": [tensor | {"data": [base64.b64encode(file).decode() for file in files]}], "id": "a7", **wanted}
    path = f"/v2/models/bottle/versions/{version_of(folder)}/infer"
    answer = client.post(path, json=plain)
    assert tensors(answer)["score"].tolist() == [10, 200] and answer.json()["id"] == "a7"
    assert answer.json()["model_version"] == version_of(folder)
    maps = client.post("/v2/models/bottle/infer", json={"inputs": plain["inputs"]})
    assert maps.status_code == 400 and "several sizes" in maps.json()["error"]


def test_the_mask_and_a_mixed_answer(client: httpx.Client) -> None:
    outputs = [{"name": "mask", "parameters": {"binary_data": True}}, {"name": "score"}]
    found = tensors(client.post("/v2/models/bottle/infer", json={"inputs": [image(RGB)], "outputs": outputs}))
    assert found["mask"].shape == (2, 20, 30) and set(np.unique(found["mask"])) <= {0, 1}


def test_metadata(client: httpx.Client, folder: Path) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    model = client.get("/v2/models/bottle").json()
    assert model["versions"] == [version_of(folder)]
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert client.get("/v2/models/bottle/ready").json() == {"name": "bottle", "ready": True}
    for path in ("/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/bottle/versions/1/ready", "/v2/x"):
        answer = client.get(path)
        assert answer.status_code == 404 and list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"inputs": []},
        {"inputs": [image(RGB), image(RGB)]},
        {"inputs": [image(RGB) | {"name": "picture"}]},
        {"inputs": [image(RGB) | {"datatype": "FP32"}]},
        {"inputs": [image(RGB) | {"shape": [2, 20, 30]}]},
        {"inputs": [image(RGB) | {"shape": [2, 20, -30, 3]}]},
        {"inputs": [image(RGB) | {"shape": [2**30, 2**30, 2**30, 3]}]},
        {"inputs": [image(RGB) | {"shape": "x"}]},
        {"inputs": [image(RGB) | {"data": [256] * RGB.size}]},
        {"inputs": [image(RGB) | {"data": "x"}]},
        {"inputs": [image(RGB, binary_data_size=5)]},
        {"inputs": [image(RGB, binary_data_size=-1)]},
        {"inputs": [image(RGB, binary_data_size="5")]},
        {"inputs": [image(RGB)], "outputs": [{"name": "heat"}]},
        {"inputs": [image(RGB)], "outputs": "score"},
        {"inputs": [image(RGB)], "outputs": [{"name": []}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["%"]}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [5]}]},
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}]},
        {"inputs": [image(np.zeros((65, 1, 1, 3), np.uint8))]},
    ],
)
def test_mistakes(client: httpx.Client, content: object) -> None:
    answer = client.post("/v2/models/bottle/infer", json=content)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"] and isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("length", ["-1", "x", "999999", "3"])
def test_a_wrong_length_of_the_head(client: httpx.Client, length: str) -> None:
    content = json.dumps({"inputs": [image(RGB)]})
    answer = client.post("/v2/models/bottle/infer", content=content, headers={LENGTH: length})
    assert answer.status_code == 400


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_pixels_survive_both_ways(values: npt.NDArray[np.uint8]) -> None:
    for is_binary in (True, False):
        record, data = write_tensor("image", values, "UINT8", is_binary)
        assert np.array_equal(read_pixels(record, memoryview(data) if is_binary else None), values)


@example(b"{}", "\xb9")  # a digit to `isdigit`, none to `int`
@example(b"{}", "9" * 5000)
@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=5)))
def test_any_body_is_read_or_refused(body: bytes, length: str | None) -> None:
    try:
        content, rest = split_body(body, length)
    except ServiceError as error:
        assert error.status_code == 400
    else:
        assert isinstance(content, dict) and len(rest) <= len(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), st.lists, max_leaves=8
)


@given(st.fixed_dictionaries({}, optional={"shape": _JSON, "data": _JSON, "parameters": _JSON}), st.binary(max_size=30))
def test_any_tensor_is_read_or_refused(tensor: dict[str, Any], data: bytes) -> None:
    for read in (
        lambda: binary_size(tensor, memoryview(data)),
        lambda: read_pixels(tensor, None),
        lambda: read_pixels(tensor, memoryview(data)),
        lambda: read_strings(tensor, None),
        lambda: read_strings(tensor, memoryview(data)),
    ):
        try:
            read()
        except ServiceError as error:
            assert error.status_code == 400
