"""Makes the models from nothing: fetch, clean, prune, equalise, calibrate, round, write.

In: the package index, Debian fonts. Out: `models/<name>/model.onnx` and `model.toml`. Everything random has a fixed seed
and onnxruntime runs on one thread, so a second run on the same kind of processor writes the same bytes.
Run through make_models.sh; `make.py ocr-detector` makes one of them.
"""

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

import calibrate
import clean
import equalise
import folder
import ocr
import pack
import packs
import quantise
import render
import rounding
import source
from calibrate import Sample, session
from graph import Graph

MODELS = Path(__file__).resolve().parents[1]
WORK = Path(__file__).resolve().parent / "work"
DETECTOR, RECOGNISER = "ocr-detector", "ocr-recogniser-latin"
VERSION = "0.1.0"

# Pages are cropped, because variety matters more than size.
CALIBRATION_LINES = 120
CALIBRATION_PAGES, CALIBRATION_SIDE = 32, 480
# How far equalisation follows the activations. The best of 0.25, 0.4 and 0.6, by evaluation on part of the test split.
ALPHA = {DETECTOR: 0.6, RECOGNISER: 0.25}
# Probability of text above which the source network is taken to look at a place.
FOCUS = 0.05

# Largest difference between a cleaned network's output (a probability) and the source's: the two order sums differently.
CLEAN_TOLERANCE = 1e-4


def source_detector() -> Graph:
    """The detector, cleaned, f32, with the source's preprocessing."""
    return clean.detector(Graph.load(source.fetch(WORK)[source.DETECTOR]))


def source_recogniser() -> tuple[Graph, list[str]]:
    """The recogniser, cleaned, f32, with all its classes, and the characters of classes 1.. ."""
    path = source.fetch(WORK)[source.RECOGNISER]
    return clean.recogniser(Graph.load(path)), pack.source_characters(path)


def pruned_recogniser() -> tuple[Graph, list[str]]:
    """The same with the classes of the `latin` pack."""
    graph, characters = source_recogniser()
    return graph, pack.latin(graph, characters)


def make_detector() -> None:
    """Writes models/ocr-detector."""
    graph = source_detector()
    verify(graph, source.DETECTOR, [1, 3, 320, 416], lambda probability: probability)
    ocr.centre_input(graph)
    runner = session(graph)
    samples = []
    for page in render.pages("calibration", CALIBRATION_PAGES):
        x = ocr.tensor(page.pixels[:CALIBRATION_SIDE, :CALIBRATION_SIDE])
        samples.append(Sample(x, runner.run(None, {"x": x})[0][0, 0] > FOCUS))
    folder.write(
        MODELS / DETECTOR, to_int8(graph, samples, ALPHA[DETECTOR]), facts(DETECTOR, source.DETECTOR),
        [folder.image_input([1, 3, "32*h", "32*w"])], [{"name": "probability", "shape": [1, 1, "32*h", "32*w"]}])


def make_recogniser() -> None:
    """Writes models/ocr-recogniser-latin."""
    whole, _ = source_recogniser()
    verify(whole, source.RECOGNISER, [1, 3, 48, 416], softmax)
    graph, characters = pruned_recogniser()
    ocr.centre_input(graph)
    samples = [Sample(ocr.tensor(line.pixels)) for line in render.lines("calibration", CALIBRATION_LINES)]
    folder.write(
        MODELS / RECOGNISER, to_int8(graph, samples, ALPHA[RECOGNISER]), facts(RECOGNISER, source.RECOGNISER),
        [folder.image_input([1, 3, 48, "8*w"])], [{"name": "logits", "shape": [1, "w", len(characters) + 1]}],
        characters, packs.PADDLE_LATIN)


def to_int8(graph: Graph, samples: list[Sample], alpha: float) -> Graph:
    """A cleaned f32 graph -> its QDQ form."""
    # Twice: the first pass changes the weights that the second one's factors depend on.
    for _ in range(2):
        equalise.equalise(graph, samples, alpha)
    names = sorted(set().union(*calibrate.plan(graph)))
    mapping = calibrate.choose(graph, calibrate.observe(graph, names, samples), "error")
    fitted, integers = rounding.fit(graph, mapping, samples)
    return quantise.rewrite(fitted, mapping, integers)


def verify(graph: Graph, origin: str, shape: list[int], to_probability) -> None:
    """Raises ValueError when a cleaned graph computes something else than the source on noise."""
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    path = str(WORK / origin)
    expected = ort.InferenceSession(path, options, ["CPUExecutionProvider"]).run(None, {"x": x})[0]
    difference = float(np.abs(to_probability(session(graph).run(None, {"x": x})[0]) - expected).max())
    print(f"{origin}: cleaned graph differs from the source by {difference:.1e} at most")
    if not difference < CLEAN_TOLERANCE:
        raise ValueError(f"{origin}: difference {difference}, expected less than {CLEAN_TOLERANCE}")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def facts(name: str, origin: str) -> dict:
    """What model.toml says about the origin."""
    return {"name": name, "version": VERSION, "source": f"{source.PACKAGE} on PyPI, {origin}",
            "source_sha256": source.FILES[origin]}


def main() -> None:
    """Both models, or those that are named."""
    for name, build in ((DETECTOR, make_detector), (RECOGNISER, make_recogniser)):
        if name in sys.argv[1:] or len(sys.argv) == 1:
            start = time.perf_counter()
            build()
            print(f"{name}: made in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
