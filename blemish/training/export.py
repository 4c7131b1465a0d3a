"""Networks that our own builder does not know, through torch's exporter; and the check that an export is equal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from blemish.backbones import Backbone
from blemish.backbones.onnx_layers import append, converted, image_input
from blemish.backbones.record import normalised, to_channels_first
from blemish.engines import open_engine
from blemish.errors import ModelError, UsageError, install_command
from blemish.graph import OPSET, GraphBuilder

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float32]

TOLERANCE = 1e-4  # of the largest value of a map
SMALLEST_SCALE = 1.0  # a map around zero, as of the only image that was learned from, has no scale of its own
SCORE_TOLERANCE = 5e-5  # four decimals
SAMPLES = 4  # images of a parity check


def append_exported(
    graph: GraphBuilder, module: nn.Module, record: Backbone, pixels: str, size: tuple[int, int]
) -> list[str]:
    """Append a torch network that takes normalised planes; returns the values of its outputs."""
    model = _exported(module, *size)
    x = normalised(graph, to_channels_first(graph, pixels), record.mean, record.std)
    names = append(graph, converted(model), image_input(model), x)
    return [names[value.name] for value in model.graph.output]


def check_parity(
    model: bytes, images: Sequence[npt.NDArray[np.uint8]], expected: Callable[[Any], tuple[Floats, Floats]]
) -> None:
    """Raise `ModelError` unless ONNX Runtime gives what torch gives on real images.

    Maps must agree within 1e-4 of their largest value, scores to four decimals. `expected` takes uint8
    `(n, H, W, 3)` and gives maps `(n, h, w)` and scores `(n,)`.
    """
    engine = open_engine(model, "cpu")
    for image in images[:SAMPLES]:
        maps, scores = expected(image[None])
        outputs = engine.run(image[None])
        gap = np.abs(outputs["anomaly_map"] - maps).max() / max(float(np.abs(maps).max()), SMALLEST_SCALE)
        score_gap = float(np.abs(outputs["score"] - scores).max())
        if not (gap <= TOLERANCE and score_gap <= max(SCORE_TOLERANCE, TOLERANCE * float(np.abs(scores).max()))):
            raise ModelError(
                f"the exported network differs from the trained one: maps by {gap:.1e}, scores by {score_gap:.1e}. "
                "So it is where the good images are too few or all alike: add images; otherwise please report it"
            )


def _exported(module: nn.Module, height: int, width: int) -> Any:
    import torch

    if find_spec("onnxscript") is None:
        raise UsageError(f"torch's exporter needs onnxscript: {install_command('train')}")
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.cpu().eval(),
                (torch.zeros(2, 3, height, width),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=OPSET + 1,
                input_names=["planes"],
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # whatever a network does that the exporter does not know
        raise ModelError(f"the network cannot be exported: {str(error).splitlines()[0][:200]}") from None
    finally:
        noisy.setLevel(level)
    if program is None:
        raise ModelError("the network cannot be exported")
    return program.model_proto
