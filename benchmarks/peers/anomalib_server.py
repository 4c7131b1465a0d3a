"""FastAPI around anomalib's OpenVINO inferencer, as people write it: one worker, one `def` endpoint, answers in JSON.

anomalib_server.py MODEL       MODEL is model.xml of an export; the port is a free one, which uvicorn prints

The lock is what they add at last: without it, requests at the same time end with 500, `Infer Request is busy`.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from threading import Lock
from typing import Annotated

import uvicorn
from anomalib.deploy import OpenVINOInferencer
from fastapi import FastAPI, File
from PIL import Image

os.chdir(Path(sys.argv[1]).parent)  # it leaves a cache where it runs
app = FastAPI()
lock = Lock()
inferencer = OpenVINOInferencer(sys.argv[1], device="CPU")


@app.post("/predict")
def predict(image: Annotated[bytes, File()]) -> dict[str, float | bool]:
    pixels = Image.open(io.BytesIO(image)).convert("RGB")
    with lock:
        found = inferencer.predict(pixels)
    return {"score": float(found.pred_score.item()), "is_anomalous": bool(found.pred_label.item())}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=0, access_log=False)
