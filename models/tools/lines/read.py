"""Reads pictures with a model's folder, for people to look at. In: a folder from `lines.export`, pictures. Out: lines of text.

    python -m lines.read FOLDER PICTURE... [--tesseract hin]

A picture of several lines is cut where rows are empty: enough for one column of print that stands straight, nothing like the detector.
"""

import argparse
import subprocess
import tomllib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from lines import draw
from lines.characters import joined
from lines.confidence import characters as best
from lines.export import coloured

# A row of a cut has ink where a pixel differs by so much of the picture's range from the paper.
INK = 0.35
# Empty rows between two lines, at least, and rows of a line; pixels.
GAP, LEAST = 2, 8
# White around a cut, as a part of its height.
EDGE = 0.12


def cut(page: np.ndarray) -> list[np.ndarray]:
    """`[H, W] u8` grey -> its lines from the top; the paper is the commonest level."""
    paper = int(np.bincount(page.reshape(-1), minlength=256).argmax())
    ink = np.abs(page.astype(np.int16) - paper) > INK * max(1, int(page.max()) - int(page.min()))
    rows = np.flatnonzero(ink.any(axis=1))
    found = []
    for part in np.split(rows, np.flatnonzero(np.diff(rows) > GAP) + 1):
        if len(part) >= LEAST:
            columns = np.flatnonzero(ink[part[0]:part[-1] + 1].any(axis=0))
            edge = round(EDGE * len(part))
            line = page[part[0]:part[-1] + 1, columns[0]:columns[-1] + 1]
            found.append(cv2.copyMakeBorder(line, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=paper))
    return found


def main() -> None:
    """Prints the confidence and the text of each line, then what Tesseract makes of the whole picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--tesseract", default="", help="languages; empty: not")
    options = parser.parse_args()
    named = tomllib.loads((options.folder / "model.toml").read_text(encoding="utf-8"))["characters"]
    network = ort.InferenceSession(str(options.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    for path in options.pictures:
        page = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if page is None:
            raise ValueError(f"{path}: not a picture that can be read")
        for line in cut(page):
            classes, sure = best(network.run(None, {"x": coloured(draw.fitted(line))})[0][0])
            print(f"{float(sure.mean()) if len(sure) else 0:.2f}  {joined(''.join(named[c - 1] for c in classes))}")
        if options.tesseract:
            said = subprocess.run(["tesseract", path, "-", "-l", options.tesseract], capture_output=True, check=True).stdout.decode()
            print("\n".join(f"      {line}" for line in said.splitlines() if line.strip()))


if __name__ == "__main__":
    main()
