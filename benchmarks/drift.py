"""Delay and false alarms of the drift alarm on images of real good parts.

    python benchmarks/drift.py data/bottle [--learned 100] [--orders 40]

Trains PatchCore (preset fast) on some of the good images of an MVTec folder. The others, with those of the test set,
are the stream, in random orders, drawn with replacement. From its 100th image on, the stream is darker, blurred or
shifted. Prints the images until the alarm, the moment that it names after the change, and the cause.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import tempfile
from pathlib import Path

BEFORE, AFTER, QUIET = 100, 400, 2000


def changes():
    import cv2
    import numpy as np

    def moved(image, share):
        by = np.float32([[1, 0, share * image.shape[1]], [0, 1, 0]])
        return cv2.warpAffine(image, by, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)

    return {
        "none": lambda image: image,
        "brightness x 0.95": lambda image: cv2.convertScaleAbs(image, alpha=0.95),
        "brightness x 0.9": lambda image: cv2.convertScaleAbs(image, alpha=0.9),
        "brightness x 0.8": lambda image: cv2.convertScaleAbs(image, alpha=0.8),
        "blur, sigma 1": lambda image: cv2.GaussianBlur(image, (0, 0), 1),
        "blur, sigma 2": lambda image: cv2.GaussianBlur(image, (0, 0), 2),
        "shift 2 %": lambda image: moved(image, 0.02),
        "shift 5 %": lambda image: moved(image, 0.05),
    }


def main() -> None:
    import cv2
    import numpy as np

    from blemish import create_pipeline
    from blemish.cli.entry import main as blemish
    from blemish.drift import DriftAlarm, image_statistics, small_grey
    from blemish.models import load_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--learned", type=int, default=100)
    parser.add_argument("--orders", type=int, default=40)
    options = parser.parse_args()
    paths = sorted((options.data / "train" / "good").glob("*.*g"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]
    learned, new = paths[: options.learned], paths[options.learned :]
    new += sorted((options.data / "test" / "good").glob("*.*g"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "good").mkdir()
        for path in learned:
            shutil.copy(path, folder / "good")
        blemish(["train", str(folder / "good"), "--output", str(folder / "out"), "-o", "Model.preset=fast"])
        model = create_pipeline("anomaly_detection", model_dir=str(folder / "out"))
        calibration = load_model(folder / "out").info.calibration
        images = [cv2.imread(str(path)) for path in new]  # BGR, as arrays are given to the pipeline
        reference = small_grey(np.ascontiguousarray(images[0][..., ::-1]))
        seen = {}
        for kind, change in changes().items():
            changed = [np.ascontiguousarray(change(image)) for image in images]
            statistics = [image_statistics(np.ascontiguousarray(image[..., ::-1]), reference) for image in changed]
            seen[kind] = [
                (next(iter(model.predict(one))).score, said) for one, said in zip(changed, statistics, strict=True)
            ]
    p_values = [np.mean(np.append(calibration.scores, np.inf) >= score) for score, _ in seen["none"]]
    print(f"{options.data.name}: {len(learned)} learned, {len(new)} others, mean p-value {np.mean(p_values):.3f}")
    for name, known in (("the stream alone", ()), ("with the scores of the training", calibration.scores)):
        print(name)
        for kind, changed in seen.items():
            delays, moments, causes = [], [], collections.Counter()
            length = QUIET if kind == "none" else AFTER
            for order in range(options.orders):
                draw = np.random.default_rng(order)
                alarm = DriftAlarm(known, seed=order)
                stream = [seen["none"][i] for i in draw.integers(len(new), size=BEFORE)]
                stream += [changed[i] for i in draw.integers(len(new), size=length)]
                found = next((a for a in (alarm.observe(*one) for one in stream) if a), None)
                delays.append(np.inf if found is None else found.raised + 1 - BEFORE)
                moments.append(np.nan if found is None else found.began - BEFORE)
                causes[str(found.cause) if found else "no alarm"] += 1
            median, late = np.quantile(delays, [0.5, 0.9], method="inverted_cdf")
            moment = np.nanmedian(moments) if np.isfinite(delays).any() else np.nan
            print(f"{kind:18} delay {median:4g} (90 %: {late:4g}), moment {moment:+g}, {dict(causes)}", flush=True)


if __name__ == "__main__":
    main()
