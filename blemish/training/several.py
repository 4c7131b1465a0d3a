"""Training on several devices: one process a device, started by torchrun's interface, one joint batch.

Every process takes its share of each batch; gradients are averaged and batch normalisation sees the whole batch, so
the training is that of one device with the joint batch, up to rounding.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import write_array_header_1_0

from blemish.datasets.files import write_whole
from blemish.errors import BlemishError, UsageError
from blemish.training.checkpoints import State, tensor_bytes
from blemish.training.loop import Outcome, TrainingError, train

if TYPE_CHECKING:
    from torch import Tensor, nn

_IMAGES, _WATCHED, _WEIGHTS, _FAULT = "images.npy", "watched.npy", "weights.safetensors", "fault.txt"


@dataclass(frozen=True)
class Job:
    """What every process needs: a detector's class, setting and parameters, and a folder with the images."""

    make: Any
    setting: Any
    parameters: Any
    folder: str
    processes: int


def train_on_several(detector: Any, images: Any) -> tuple[Outcome, dict[str, Tensor]]:
    """Train `detector` on all devices of its plan; gives the outcome and the kept weights.

    Raises `UsageError` for a batch that cannot be shared equally and for a time budget, which the processes would not
    reach together; `TrainingError` for what stops a training.
    """
    from safetensors.torch import load_file
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    plan, count = detector.plan, detector.plan.processes
    if min(plan.batch_size, len(images)) % count:
        raise UsageError(f"a batch of {min(plan.batch_size, len(images))} images cannot be shared by {count} devices")
    if plan.time_budget is not None:
        raise UsageError("Train.time_budget works on one device; set Train.epochs_iters instead")
    with tempfile.TemporaryDirectory(prefix="blemish-") as folder:
        _write_images(Path(folder) / _IMAGES, images)
        _write_images(Path(folder) / _WATCHED, detector.watched)
        launch = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=Path(folder).name,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            start_method="spawn",
        )
        job = Job(type(detector), detector.setting, detector.parameters, folder, count)
        try:
            results = elastic_launch(launch, _work)(job)
        except ChildFailedError as error:
            fault = Path(folder) / _FAULT
            said = fault.read_text(encoding="utf-8") if fault.is_file() else str(error).splitlines()[0]
            raise TrainingError(said) from None
        state, kept = results[0]
        return Outcome(State(**state), kept), load_file(Path(folder) / _WEIGHTS)


def _write_images(path: Path, images: Any) -> None:
    """Write images of one size as one array `(n, height, width, 3)`, one in memory at a time."""
    shape: tuple[int, ...] = (len(images),)
    with path.open("wb") as file:
        for number, image in enumerate(images):
            if number == 0:
                shape += image.shape
                write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.write(np.ascontiguousarray(image).data)
        if len(images) == 0:
            np.save(file, np.empty(0, np.uint8))


def _work(job: Job) -> Any:
    """One process of a training; the first one writes checkpoints, the log and the weights."""
    import os

    import torch
    from torch import distributed

    rank = int(os.environ["RANK"])
    plan = job.setting.plan
    device = plan.device_of(rank)
    distributed.init_process_group("nccl" if device.startswith(("gpu", "cuda")) else "gloo")
    torch.set_num_threads(max(1, torch.get_num_threads() // job.processes))
    own = replace(plan, device=device, rank=rank, folder=plan.folder if rank == 0 else None)
    detector = job.make(replace(job.setting, plan=own, device=device), job.parameters)
    folder = Path(job.folder)
    detector.watched = np.load(folder / _WATCHED, mmap_mode="r")
    try:
        if rank == 0 and plan.folder is not None:
            _log_to(plan.folder / "train.log")
        learner = detector.learner(np.load(folder / _IMAGES, mmap_mode="r"), None)
        outcome = train(learner, own, lambda done, total, detail: None)  # noqa: ARG005
        if rank == 0:
            write_whole(folder / _WEIGHTS, tensor_bytes(learner.network.state_dict()), synced=True)
    except BlemishError as error:
        if rank == 0:
            (folder / _FAULT).write_text(str(error), encoding="utf-8")
        raise
    finally:
        distributed.destroy_process_group()
    return asdict(outcome.state), outcome.kept_step


def distributed_network(network: nn.Module, device: Any) -> nn.Module:
    """The network as this process's share of a joint one; its state stays in `network`."""
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.parallel import DistributedDataParallel

    if device.type != "cpu":
        return DistributedDataParallel(network, device_ids=[device])
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = _Synchronised(module)  # type: ignore[method-assign, assignment]
    return DistributedDataParallel(network)


def synchronised(network: nn.Module, device: Any) -> nn.Module:
    """On accelerators, the network with batch normalisation over all devices; on CPUs torch has none, see above."""
    if device.type == "cpu":
        return network
    from timm.layers.norm_act import convert_sync_batchnorm

    return convert_sync_batchnorm(network)  # type: ignore[no-any-return, no-untyped-call]


class _Synchronised:
    """Batch normalisation over the batches of all processes, by differentiable sums."""

    def __init__(self, norm: Any) -> None:
        self.norm, self.plain = norm, type(norm).forward

    def __call__(self, x: Tensor) -> Tensor:
        import torch
        from torch import distributed

        norm = self.norm
        if not norm.training:
            return self.plain(norm, x)  # type: ignore[no-any-return]
        total = _total()
        values = x.float()  # (n, C, h, w)
        count = values.numel() / values.shape[1] * distributed.get_world_size()
        mean = total(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = total(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean.detach(), norm.momentum)
            norm.running_var.lerp_(variance.detach() * count / (count - 1), norm.momentum)
        y = centred * (torch.rsqrt(variance + norm.eps) * norm.weight)[:, None, None] + norm.bias[:, None, None]
        y = y.to(x.dtype)
        activated: Tensor = norm.act(norm.drop(y)) if hasattr(norm, "act") else y
        return activated


def _total() -> Any:
    """The differentiable sum over all processes: what each gets of the gradient, the sum owes to all."""
    import torch
    from torch import distributed

    class Total(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, value: Tensor) -> Tensor:  # noqa: ARG004
            summed = value.clone()
            distributed.all_reduce(summed)
            return summed

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
            summed = gradient.clone()
            distributed.all_reduce(summed)
            return summed

    return Total.apply


def _log_to(path: Path) -> None:
    log = logging.getLogger("blemish")
    handler = logging.FileHandler(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
