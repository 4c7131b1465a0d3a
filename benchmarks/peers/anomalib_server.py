"""FastAPI around anomalib's OpenVINO inferencer, as people write it: one worker, one `def` endpoint, answers in JSON.

anomalib_server.py MODEL       MODEL is model.xml of an export; the port is a free one, which uvicorn prints
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import uvicorn
from anomalib.deploy import OpenVINOInferencer
from fastapi import FastAPI, File
from PIL import Image

app = FastAPI()
inferencer = OpenVINOInferencer(sys.argv[1], device="CPU")


@app.post("/predict")
def predict(image: Annotated[bytes, File()]) -> dict[str, float | bool]:
    found = inferencer.predict(Image.open(io.BytesIO(image)).convert("RGB"))
    return {"score": float(found.pred_score.item()), "is_anomalous": bool(found.pred_label.item())}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=0, access_log=False)
