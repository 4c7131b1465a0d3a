"""ONNX Runtime's own format, and the operators that a build for it must have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

ERRORS_ONLY = 3
# Its blocked layout is that of this machine's processor, which no phone has.
MACHINE_BOUND = ["NchwcTransformer"]
STANDARD = "ai.onnx"


def save_optimised(model: bytes, file: Path, file_format: str) -> None:
    """Let ONNX Runtime optimise a network for processors of any kind, and write it as `ORT` or `ONNX`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.optimized_model_filepath = str(file)
    options.add_session_config_entry("session.save_model_format", file_format)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=MACHINE_BOUND)


def required_operators(optimised: bytes) -> str:
    """What `--include_ops_by_config` of ONNX Runtime's build takes: `domain;version;operators`, a line each.

    Done here rather than by `onnxruntime.tools`, which imports torch wherever it is installed.
    """
    import onnx

    model = onnx.load_from_string(optimised)
    opsets = {opset.domain or STANDARD: opset.version for opset in model.opset_import}
    found: dict[tuple[str, int], set[str]] = {}
    for node in _nodes(model.graph):
        domain = node.domain or STANDARD
        found.setdefault((domain, _since(node.op_type, domain, opsets)), set()).add(node.op_type)
    return "".join(f"{domain};{since};{','.join(sorted(names))}\n" for (domain, since), names in sorted(found.items()))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and of the graphs inside of them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


def _since(operator: str, domain: str, opsets: dict[str, int]) -> int:
    """The version since which an operator is as it is; those of ONNX Runtime's own domains have one version."""
    import onnx

    if domain != STANDARD:
        return 1
    return int(onnx.defs.get_schema(operator, opsets[domain]).since_version)
