"""Measures a model's folder. In: a folder from `lines.export`, shards. Out: figures for the card, a reliability curve.

    python -m lines.evaluate FOLDER --shards SHARDS --run RUN [--tesseract san+hin+eng] [--beside ../ocr-recogniser-latin] [--lines 500]

Error rates of int8 and f32 on lines of held-out faces, clean and as scans of 200 dpi, by kind of text and by face; another recogniser's
folder and Tesseract, where it is installed, on the same pictures, one line each. Whether confidence means something, of int8.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

import ocr
from lines import batches, charts, confidence, measure, sources
from lines.characters import characters, decode, encode, joined
from lines.export import MEASURED, coloured
from lines.network import STEP

SETS = ("test-clean", "test-scan", "seen-clean")
# Tesseract wants letters of some 30 pixels and white around them.
TESSERACT_SCALE, TESSERACT_EDGE = 1.5, 16


def main() -> None:
    """Prints a table and writes `RUN/figures.json` and `RUN/reliability.png`."""
    options = _options()
    about = tomllib.loads((options.folder / "model.toml").read_text(encoding="utf-8"))
    pack = batches.shard(batches.shards(options.shards, SETS[0])[0]).pack
    if tuple(about["characters"]) != characters(pack):
        raise ValueError(f"{options.folder} is not of the pack {pack}")
    networks = {"int8": session(options.folder / "model.onnx"), "f32": session(options.run / "f32.onnx")}
    figures = {"lines": options.lines}
    kept = {}
    for name in SETS:
        shards = [batches.shard(p) for p in batches.shards(options.shards, name)]
        if not shards:
            raise FileNotFoundError(f"no shards of {name} in {options.shards}")
        for kind, network in networks.items():
            readings, logits = read(network, pack, shards, options.lines)
            figures[f"{name} {kind}"] = summary(readings)
            if kind == "int8":
                kept[name] = [(found, encode(pack, r.truth)) for found, r in zip(logits, readings)]
        if options.beside:
            figures[f"{name} {options.beside.name}"] = summary(by_another(options.beside, shards, options.lines))
        if options.tesseract and shutil.which("tesseract"):
            figures[f"{name} tesseract {options.tesseract}"] = summary(tesseract(shards, options.tesseract, pack, options.lines))
    tables = {name: confidence.bins(*confidence.gather(kept[name])) for name in SETS}
    figures["expected_calibration_error"] = {name: round(confidence.expected_error(table), 4) for name, table in tables.items()}
    figures["temperature"] = json.loads((options.run / "export.json").read_text())["temperature"]
    charts.reliability(options.run / "reliability.png", tables["test-scan"], confidence.expected_error(tables["test-scan"]))
    (options.run / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    show(figures)


def session(path: Path) -> ort.InferenceSession:
    """A graph, ready to run on one thread."""
    given = ort.SessionOptions()
    given.intra_op_num_threads = given.inter_op_num_threads = 1
    given.log_severity_level = 3
    return ort.InferenceSession(str(path), given, ["CPUExecutionProvider"])


def path(network, pixels: np.ndarray) -> np.ndarray:
    """The best class of each step `[T]` of a line `[48, W] u8`."""
    return network.run(None, {"x": coloured(pixels)})[0][0].argmax(axis=1)


def read(network, pack: str, shards: list, most: int) -> tuple[list[measure.Reading], list[np.ndarray]]:
    """Line by line, as the function does it: readings and logits `[T, classes]`."""
    readings, kept = [], []
    for shard, index in _lines(shards, most):
        logits = network.run(None, {"x": coloured(shard.line(index))})[0][0]
        readings.append(measure.Reading(decode(pack, logits.argmax(axis=1)), shard.texts[index], shard.kinds[index], shard.faces[index]))
        kept.append(logits)
    return readings, kept


def by_another(folder: Path, shards: list, most: int) -> list[measure.Reading]:
    """What a recogniser with other classes reads of the same pictures; letters of one shape are one letter there too."""
    named = list(tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))["characters"])
    network = session(folder / "model.onnx")
    return [measure.Reading(joined(ocr.decode(network.run(None, {"x": coloured(shard.line(i), 2 * STEP)})[0], named)), shard.texts[i], shard.kinds[i], shard.faces[i])
            for shard, i in _lines(shards, most)]


def tesseract(shards: list, languages: str, pack: str, most: int) -> list[measure.Reading]:
    """What Tesseract reads of the same pictures, enlarged, in one call; its texts are cleaned as ours are."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        lines = list(_lines(shards, most))
        for number, (shard, index) in enumerate(lines):
            line = shard.line(index)
            large = cv2.resize(line, None, fx=TESSERACT_SCALE, fy=TESSERACT_SCALE, interpolation=cv2.INTER_CUBIC)
            edge = int(np.median(np.concatenate([line[0], line[-1]])))
            large = cv2.copyMakeBorder(large, *[TESSERACT_EDGE] * 4, cv2.BORDER_CONSTANT, value=edge)
            names.append(f"{folder}/{number:05}.png")
            cv2.imwrite(names[-1], large)
        Path(folder, "list.txt").write_text("\n".join(names))
        said = subprocess.run(["tesseract", f"{folder}/list.txt", "-", "--psm", "7", "-l", languages], capture_output=True, check=True,
                              env={"OMP_THREAD_LIMIT": "1", "PATH": "/usr/bin:/bin"}).stdout.decode()
    pages = said.split("\f")[:len(lines)]
    found = []
    for page, (shard, index) in zip(pages, lines, strict=True):
        text = " ".join(page.split())
        found.append(measure.Reading(sources.clean(pack, text) or text, shard.texts[index], shard.kinds[index], shard.faces[index]))
    return found


def _lines(shards: list, most: int):
    return [(s, i) for s in shards for i in range(len(s.texts))][:most]


def summary(readings: list[measure.Reading]) -> dict:
    """The error rate, the share of lines without an error, and error rates by kind and by the first face of a line."""
    return {"cer": round(measure.rate(readings), 4), "whole_lines": round(float(np.mean([r.errors == 0 for r in readings])), 3),
            "by_kind": measure.by(readings, lambda r: r.kind), "by_face": measure.by(readings, lambda r: r.faces.split(" ")[0])}


def show(figures: dict) -> None:
    """A table for people."""
    kinds = sorted({k for f in figures.values() if isinstance(f, dict) and "by_kind" in f for k in f["by_kind"]})
    print(f"{'':34}{'CER':>8}{'whole':>8}" + "".join(f"{k:>10}" for k in kinds))
    for name, found in figures.items():
        if isinstance(found, dict) and "cer" in found:
            print(f"{name:34}{found['cer']:8.4f}{found['whole_lines']:8.3f}" + "".join(f"{found['by_kind'].get(k, float('nan')):10.4f}" for k in kinds))
    print(f"expected calibration error {figures['expected_calibration_error']}, temperature {figures['temperature']}")


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--beside", type=Path, help="another recogniser's folder, of steps of eight pixels")
    parser.add_argument("--tesseract", default="", help="languages, such as san+hin+eng; empty: not")
    parser.add_argument("--lines", type=int, default=MEASURED, help="of each set")
    return parser.parse_args()


if __name__ == "__main__":
    main()
