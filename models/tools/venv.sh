#!/bin/sh
# Makes .venv with what the tools import, unless it is whole already. Needs Python 3.11 on Linux x86-64.
set -eu
cd "$(dirname "$0")"
if ! .venv/bin/python -c 'import onnx, onnxruntime' 2>/dev/null; then
  python3.11 -m venv .venv
  .venv/bin/pip install --quiet --require-hashes --only-binary=:all: --requirement requirements.txt
fi
