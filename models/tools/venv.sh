#!/bin/sh
# Makes .venv with what the tools import, unless it is whole already. Needs Python 3.11 on Linux x86-64.
# `venv.sh gait` adds what training and exporting the gait student need: PyTorch, OpenCV and their libraries, 3 GB to download.
set -eu
cd "$(dirname "$0")"
if ! .venv/bin/python -c 'import onnx, onnxruntime' 2>/dev/null; then
  python3.11 -m venv .venv
  .venv/bin/pip install --quiet --require-hashes --only-binary=:all: --requirement requirements.txt
fi
if [ "${1-}" = gait ] && ! .venv/bin/python -c 'import torch, cv2, tokenizers, safetensors' 2>/dev/null; then
  .venv/bin/pip install --quiet --require-hashes --only-binary=:all: --requirement requirements.txt --requirement requirements-gait.txt
fi
