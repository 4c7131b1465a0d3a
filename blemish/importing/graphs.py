"""What the graphs of imported detectors share: the image's planes at the front, the map and the score at the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from blemish.backbones.record import normalised, to_channels_first
from blemish.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD
from blemish.graph import GraphBuilder

SIZE = 256  # pixels of the input and of the map, both ways; PaddleX and FastFlow-Paddle know no other

# (graph, normalised planes [N, 3, 256, 256]) -> anomaly map [N, 1, 256, 256], and the map whose maximum is the score
Head = Callable[[GraphBuilder, str], tuple[str, str]]


def detector_model(name: str, head: Head) -> bytes:
    """The ONNX model of a detector on 256 x 256 images, normalised as for ImageNet."""
    graph = GraphBuilder()
    pixels = graph.input("image", np.uint8, ["N", SIZE, SIZE, 3])
    anomaly_map, scored = head(graph, normalised(graph, to_channels_first(graph, pixels), IMAGENET_MEAN, IMAGENET_STD))
    score = graph.node("ReduceMax", scored, axes=[1, 2, 3], keepdims=0, hint="maximum")
    channel = graph.constant(np.array([1], np.int64), "channel_axis")
    graph.output(graph.node("Squeeze", anomaly_map, channel), "anomaly_map", np.float32, ["N", SIZE, SIZE])
    graph.output(score, "score", np.float32, ["N"])
    return bytes(graph.model(name).SerializeToString())


def enlarged(graph: GraphBuilder, level: str, stride: int, *, align_corners: bool) -> str:
    """A level `[N, 1, h, w]` enlarged by `stride`, bilinearly."""
    scales = graph.constant(np.array([1, 1, stride, stride], np.float32), "scales")
    return graph.node(
        "Resize",
        level,
        "",
        scales,
        mode="linear",
        coordinate_transformation_mode="align_corners" if align_corners else "half_pixel",
        hint="enlarged",
    )
