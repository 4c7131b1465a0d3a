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


# Grey levels of which a faulty network makes no number, and of what.
FAULTS = {200: "score that is not a finite number (nan)", 201: "score that is not a finite number (inf)", 202: "map"}


def faulty_network(*, grey: bool = False) -> bytes:
    """As `tiny_network`, but a cell of one of the levels of `FAULTS` spoils the score, or its own place in the map.

    With `grey`, the middle grey is such a level too.
    """
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", HEIGHT, WIDTH, 3])
    pixels = graph.node("Cast", image, to=onnx.TensorProto.FLOAT)
    cells = graph.node("ReduceMean", pixels, axes=[3], keepdims=0)
    lightest, darkest = (graph.node(f"Reduce{name}", pixels, axes=[3], keepdims=0) for name in ("Max", "Min"))
    colour = graph.node("Sub", lightest, darkest)  # [N, h, w]; noise has it, and so is never of a level
    level_of = graph.node("Add", cells, graph.node("Mul", colour, graph.constant(np.float32(1000), "far")))

    def where(level: float, wrong: float, otherwise: str) -> str:
        found = graph.node("Equal", level_of, graph.constant(np.float32(level), "level"))
        return graph.node("Where", found, graph.constant(np.float32(wrong), "wrong"), otherwise)

    zero = graph.node("Sub", cells, cells)
    faults = where(200, np.nan, where(201, np.inf, where(128, np.nan, zero) if grey else zero))
    fault = graph.node("ReduceSum", faults, graph.constant(np.array([1, 2]), "axes"), keepdims=0)  # [N]
    graph.output(where(202, np.nan, cells), "anomaly_map", np.float32, ["N", HEIGHT, WIDTH])
    score = graph.node("Add", graph.node("ReduceMax", cells, axes=[1, 2], keepdims=0), fault)
    graph.output(score, "score", np.float32, ["N"])
    return graph.model("faulty").SerializeToString()


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
