"""Requests to the built-in models, as `tests/cases/infer` has them: crops of the pictures that belong to the models. Needs Pillow.

    python tests/outside/requests.py

Their answers are written by the tests: `UPDATE_CASES=1 cargo test -p ephemera-tests --test all infer`.
"""

import json
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/cases/infer"


def main():
    line = crop("models/ocr-recogniser-latin/check/line-07.png", 64, 48)
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 48, 64, 3]}
    write("recogniser-line", "ocr-recogniser-latin", {"id": "line-07", "inputs": [tensor | {"data": list(line)}]})
    binary = {"binary_data_size": len(line)}
    wanted = [{"name": "logits", "parameters": {"binary_data": True}}]
    write("recogniser-line-binary", "ocr-recogniser-latin", {"inputs": [tensor | {"parameters": binary}], "outputs": wanted}, line)

    page = crop("models/ocr-detector/check/page-0.png", 96, 64)
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 64, 96, 3], "parameters": {"binary_data_size": len(page)}}
    write("detector-page-binary", "ocr-detector", {"parameters": {"binary_data_output": True}, "inputs": [tensor]}, page)


def crop(path, width, height):
    """RGB bytes, top row first."""
    return Image.open(ROOT / path).convert("RGB").crop((0, 0, width, height)).tobytes()


def write(case, model, request, data=None):
    folder = CASES / case
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.txt").write_text(model + "\n")
    (folder / "request.json").write_text(json.dumps(request, separators=(",", ":")))
    if data is not None:
        (folder / "request.bin").write_bytes(data)


if __name__ == "__main__":
    main()
