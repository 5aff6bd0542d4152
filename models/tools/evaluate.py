"""Measures the int8 networks against the f32 ones on the held-out split, and writes the small check sets.

In: `models/<name>/`, the source networks. Out: the `[accuracy]` table of model.toml, the table in the card, `check/`.
f32 always means the source network with its own preprocessing; the recogniser's with its head pruned.
Run: `python evaluate.py`, after make.py; the figures in the cards come from this command.
"""

import json
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

import folder
import make
import ocr
import render
from calibrate import session

LINES, PAGES = 1200, 60
# The check sets are drawn from this item on, past what is measured above.
CHECK_START = 10_000
CHECK_LINES, CHECK_PAGES = 24, 3
# Pages that compress worse are passed over: the sets are committed.
CHECK_PAGE_BYTES = 150_000
CHECK_PAGE_SIDE = 512
# The detector's usual threshold between text and page.
THRESHOLD = 0.3


class Runner:
    """A network with its preprocessing and the time it took."""

    def __init__(self, runner: ort.InferenceSession, mean: float):
        self.runner, self.mean, self.seconds = runner, mean, 0.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """`[H, W, 3] u8` RGB -> the first output."""
        x = ocr.tensor(pixels, self.mean)
        start = time.perf_counter()
        (result,) = self.runner.run(None, {"x": x})
        self.seconds += time.perf_counter() - start
        return result


def int8(name: str) -> Runner:
    """The committed model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = make.MODELS / name / "model.onnx"
    return Runner(ort.InferenceSession(path, options, ["CPUExecutionProvider"]), ocr.MEAN)


def recogniser() -> dict:
    """Character agreement and error rates, and the check set."""
    place = make.MODELS / make.RECOGNISER
    characters = tomllib.loads((place / "model.toml").read_text())["characters"]
    full_graph, all_characters = make.source_recogniser()
    pruned_graph, _ = make.pruned_recogniser()
    full, pruned = (Runner(session(g), ocr.SOURCE_MEAN) for g in (full_graph, pruned_graph))
    small = int8(make.RECOGNISER)

    def read(line):
        return (ocr.decode(full(line.pixels), all_characters), ocr.decode(pruned(line.pixels), characters),
                ocr.decode(small(line.pixels), characters))

    count = errors = errors_full = errors_pruned = differences = pruned_length = equal = 0
    for line in render.lines("test", LINES):
        by_full, by_pruned, by_int8 = read(line)
        count += len(line.text)
        errors_full += ocr.distance(by_full, line.text)
        errors_pruned += ocr.distance(by_pruned, line.text)
        errors += ocr.distance(by_int8, line.text)
        differences += ocr.distance(by_int8, by_pruned)
        pruned_length += len(by_pruned)
        equal += by_int8 == by_pruned
    figures = {
        "test_set": f"{LINES} rendered lines, {count} characters, fonts and seeds that calibration has not seen",
        "cer_source": round(errors_full / count, 4),
        "cer_f32": round(errors_pruned / count, 4),
        "cer_int8": round(errors / count, 4),
        "agreement": round(1 - differences / pruned_length, 4),
        "equal_lines": round(equal / LINES, 4),
        "time_int8_to_f32": round(small.seconds / pruned.seconds, 2),
    }
    _recogniser_check(place / "check", read)
    return figures


def _recogniser_check(place: Path, read) -> None:
    _clear(place)
    entries, count, errors = [], 0, 0
    for index, line in enumerate(render.lines("test", CHECK_LINES, CHECK_START)):
        file = f"line-{index:02}.png"
        Image.fromarray(line.pixels).save(place / file, optimize=True)
        _, by_pruned, by_int8 = read(line)
        entries.append({"file": file, "text": line.text, "f32": by_pruned, "int8": by_int8})
        count += len(line.text)
        errors += ocr.distance(by_int8, line.text)
    _write_check(place, {"cer_int8": round(errors / count, 4), "characters": count, "lines": entries})


def detector() -> dict:
    """Overlap of the text masks, and the check set."""
    place = make.MODELS / make.DETECTOR
    source, small = Runner(session(make.source_detector()), ocr.SOURCE_MEAN), int8(make.DETECTOR)

    def masks(page):
        return (source(page)[0, 0] > THRESHOLD), (small(page)[0, 0] > THRESHOLD)

    overlaps = [ocr.mask_overlap(*masks(page.pixels)) for page in render.pages("test", PAGES)]
    figures = {
        "test_set": f"{PAGES} rendered pages, fonts and seeds that calibration has not seen",
        "threshold": THRESHOLD,
        "mask_overlap_mean": round(float(np.mean(overlaps)), 4),
        "mask_overlap_median": round(float(np.median(overlaps)), 4),
        "mask_overlap_least": round(min(overlaps), 4),
        "time_int8_to_f32": round(small.seconds / source.seconds, 2),
    }
    _detector_check(place / "check", masks)
    return figures


def _detector_check(place: Path, masks) -> None:
    _clear(place)
    entries, index = [], CHECK_START
    while len(entries) < CHECK_PAGES:
        (page,) = render.pages("test", 1, index)
        index += 1
        pixels = page.pixels[:CHECK_PAGE_SIDE, :CHECK_PAGE_SIDE]
        file, mask = f"page-{len(entries)}.png", f"mask-{len(entries)}.png"
        Image.fromarray(pixels).save(place / file, optimize=True)
        if (place / file).stat().st_size > CHECK_PAGE_BYTES:
            continue
        by_source, by_int8 = masks(pixels)
        Image.fromarray(by_source).save(place / mask, optimize=True)
        entries.append({"file": file, "mask": mask, "overlap": round(ocr.mask_overlap(by_source, by_int8), 4)})
    _write_check(place, {"threshold": THRESHOLD, "pages": entries})


def _clear(place: Path) -> None:
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()


def _write_check(place: Path, content: dict) -> None:
    (place / "check.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def main() -> None:
    """Both networks, or those that are named."""
    for name, measure in ((make.RECOGNISER, recogniser), (make.DETECTOR, detector)):
        if name in sys.argv[1:] or len(sys.argv) == 1:
            figures = measure()
            folder.set_accuracy(make.MODELS / name, figures)
            folder.set_card(make.MODELS / name, figures)
            print(name, json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
