"""A network of a few nodes that keeps the contract of a Blemish model, and the record that goes with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from blemish.graph import GraphBuilder
from blemish.models import (
    BackboneInfo,
    CalibrationInfo,
    DataInfo,
    DetectorInfo,
    InputInfo,
    ModelInfo,
    OutputInfo,
    data_fingerprint,
)

HEIGHT, WIDTH = 8, 16


def tiny_proto(bias: float = 0.0) -> onnx.ModelProto:
    """The map is the mean over the colours plus `bias`, the score its maximum."""
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", HEIGHT, WIDTH, 3])
    grey = graph.node("ReduceMean", graph.node("Cast", image, to=onnx.TensorProto.FLOAT), axes=[3], keepdims=0)
    anomaly_map = graph.node("Add", grey, graph.constant(np.float32(bias), "bias"))
    score = graph.node("ReduceMax", anomaly_map, axes=[1, 2], keepdims=0)
    graph.output(anomaly_map, "anomaly_map", np.float32, ["N", HEIGHT, WIDTH])
    graph.output(score, "score", np.float32, ["N"])
    return graph.model("tiny")


def tiny_network(bias: float = 0.0) -> bytes:
    return tiny_proto(bias).SerializeToString()


def tiny_info(**changes: Any) -> ModelInfo:
    record: dict[str, Any] = {
        "detector": DetectorInfo(name="PatchCore", parameters={"coreset": 0.01, "taps": ["stride8", "stride16"]}),
        "input": InputInfo(width=WIDTH, height=HEIGHT, aspect=2.0),
        "output": OutputInfo(map_height=HEIGHT, map_width=WIDTH),
        "backbone": BackboneInfo(
            name="tiny",
            source="a test",
            sha256="a" * 64,
            licence="Apache-2.0",
            mean=[0.5] * 3,
            std=[0.25] * 3,
            taps=["x"],
        ),
        "calibration": CalibrationInfo(
            scores=[1.5, 2.25, 3.0], peaks=[2.5, 3.5, 4.0], parts=[0, 0, 1], false_alarm_rate=0.01, kind="leave-one-out"
        ),
        "data": DataInfo(images=3, parts=2, fingerprint=data_fingerprint({}), folder="nüsse", sizes={"900x900": 3}),
    }
    return ModelInfo(**(record | changes))


def tiny_parts(group_by: str | None = r"(P\d+)_", parts: int = 19, rate: float = 0.1) -> CalibrationInfo:
    """A calibration with two images of each part, of 100 and of 101 and more: part n has a largest score of 101 + n."""
    scores = [score for part in range(parts) for score in (100.0, 101.0 + part)]
    return CalibrationInfo(
        scores=scores,
        peaks=scores,
        parts=[part for part in range(parts) for _ in range(2)],
        false_alarm_rate=rate,
        kind="leave-one-part-out",
        group_by=group_by,
    )
