"""Networks that our own builder does not know, through torch's exporter."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from blemish.backbones.onnx_layers import append, image_input
from blemish.backbones.onnx_opset import converted
from blemish.backbones.record import Backbone, normalised, to_channels_first
from blemish.backbones.timm_networks import EXPORTER, is_installed
from blemish.errors import ModelError, UsageError, install_command
from blemish.graph import OPSET, GraphBuilder

if TYPE_CHECKING:
    import onnx
    from torch import nn


def exported(module: nn.Module, size: tuple[int, int]) -> onnx.ModelProto:
    """A network that takes normalised planes `[N, 3, height, width]` of a size, in the builder's operator set.

    Raises `ModelError` where the exporter does not know it.
    """
    import torch

    if not is_installed(EXPORTER):
        raise UsageError(f"torch's exporter needs {EXPORTER}: {install_command('train')}")
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.cpu().eval(),
                (torch.zeros(2, 3, *size),),
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
    return converted(program.model_proto)


def append_planes(graph: GraphBuilder, model: onnx.ModelProto, pixels: str, record: Backbone) -> list[str]:
    """Append a network of normalised planes to uint8 `pixels`; returns the values of its outputs."""
    x = normalised(graph, to_channels_first(graph, pixels), record.mean, record.std)
    names = append(graph, model, image_input(model), x)
    return [names[value.name] for value in model.graph.output]
