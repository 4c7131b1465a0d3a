"""PaddleX's exported STFPM, run by Paddle; prints its figures as one line of JSON at the end.

    paddle_job.py make FOLDER                      the network as PaddleX's exporter writes it, weights random
    paddle_job.py predict FOLDER IMAGE REPEATS     from the file to the mask, and the network alone
    paddle_job.py first FOLDER IMAGE               the first result, and no more

Teacher and student are ResNet18; both run to their last stage, of which nothing is used, as in PaddleX. Its pre- and
post-processing are written here as it does them: OpenCV to 256x256, ImageNet scaling, a fixed threshold, an opening.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TAPS, SIZE, THRESHOLD = (4, 5, 6), 256, 0.01
WARM_UP = 5


def make(folder: str) -> dict[str, int]:
    import paddle
    from paddle import nn
    from paddle.nn import functional
    from paddle.vision.models import resnet18

    class Stages(nn.Layer):  # type: ignore[misc]
        """ResNet18 without its head, with the outputs of three stages."""

        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Sequential(*list(resnet18().children())[:-2])

        def forward(self, image: Any) -> list[Any]:
            found = []
            for i, part in enumerate(self.model):
                image = part(image)
                found += [image] if i in TAPS else []
            return found

    class Stfpm(nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = Stages(), Stages()

        def forward(self, image: Any) -> Any:
            score = 1.0
            for one, other in zip(self.student(image), self.teacher(image)):  # noqa: B905 - Paddle compiles it
                away = (functional.normalize(one) - functional.normalize(other)) ** 2
                score *= functional.interpolate(away.sum(1, keepdim=True), image.shape[2:], mode="bilinear")
            return score

    paddle.seed(0)
    net = Stfpm()
    net.eval()
    example = paddle.static.InputSpec([None, 3, None, None], "float32", "x")
    paddle.jit.save(net, str(Path(folder) / "inference"), input_spec=[example])
    paddle.save(net.state_dict(), str(Path(folder) / "stfpm.pdparams"))
    return {"bytes": sum(file.stat().st_size for file in Path(folder).glob("inference.*"))}


class Exported:
    """The exported network in Paddle's predictor, on one thread."""

    def __init__(self, folder: str) -> None:
        from paddle.inference import Config, create_predictor

        config = Config(*(str(Path(folder) / f"inference.{suffix}") for suffix in ("json", "pdiparams")))
        config.disable_gpu()
        config.enable_mkldnn()  # PaddleX's default where there is no GPU
        config.set_cpu_math_library_num_threads(1)
        config.disable_glog_info()
        self.predictor = create_predictor(config)
        self.input = self.predictor.get_input_handle(self.predictor.get_input_names()[0])
        self.output = self.predictor.get_output_handle(self.predictor.get_output_names()[0])

    def run(self, inputs: Any) -> Any:
        self.input.copy_from_cpu(inputs)
        self.predictor.run()
        return self.output.copy_to_cpu()


def read(image: str) -> Any:
    import cv2
    import numpy as np

    loaded = cv2.imread(image)
    assert loaded is not None, image
    pixels = cv2.cvtColor(loaded, cv2.COLOR_BGR2RGB)
    small = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    scaled = (small.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def mask_of(score: Any) -> Any:
    import cv2
    import numpy as np

    y, x = np.ogrid[-4:5, -4:5]
    disk = (x * x + y * y <= 16).astype(np.uint8)
    return cv2.morphologyEx((score[0, 0] > THRESHOLD).astype(np.uint8) * 255, cv2.MORPH_OPEN, disk)


def predict(folder: str, image: str, repeats: str) -> dict[str, list[float]]:
    network = Exported(folder)
    times: dict[str, list[float]] = {"whole_ms": [], "network_ms": []}
    for _ in range(WARM_UP + int(repeats)):
        start = time.process_time()
        mask_of(network.run(read(image)))
        times["whole_ms"].append(1e3 * (time.process_time() - start))
        inputs = read(image)
        start = time.process_time()
        network.run(inputs)
        times["network_ms"].append(1e3 * (time.process_time() - start))
    return {name: values[WARM_UP:] for name, values in times.items()}


def first(folder: str, image: str) -> dict[str, int]:
    return {"pixels": int((mask_of(Exported(folder).run(read(image))) > 0).sum())}


if __name__ == "__main__":
    jobs: dict[str, Callable[..., Any]] = {"make": make, "predict": predict, "first": first}
    print(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])))
