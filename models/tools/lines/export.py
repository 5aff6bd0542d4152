"""A trained recogniser -> a model's folder. In: a run of `lines.train`, shards. Out: `model.onnx` (QDQ int8) and `model.toml`.

    python -m lines.export RUN --shards SHARDS --to FOLDER [--lines 96]

Ranges are calibrated on lines of the training split. The head is divided by a temperature, so that the softmax of the logits is how often a
character is right; it is chosen on held-out scans that `lines.evaluate` does not read. `RUN/f32.onnx` is the same network before
quantisation, for comparison; `RUN/export.json` has the temperature.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

import calibrate
import equalise
import folder
import packs
import quantise
import rounding
from calibrate import Sample, session
from graph import Graph
from lines import batches, confidence, graph_f32
from lines.characters import characters, encode
from lines.draw import HEIGHT
from lines.network import STEP, Recogniser

VERSION = "0.1.0"
# How far equalisation follows the activations (see ../equalise.py).
ALPHA = 0.5
# Largest difference of a logit between PyTorch's f32 and the graph's: sums in another order.
TOLERANCE = 2e-3
# Held-out lines of a set that are measured, and at most so many behind them that the temperature is chosen on.
MEASURED, CALIBRATED = 500, 300
TRAINING_DATA = (
    "Lines drawn by models/tools/lines from Debian fonts: Sanskrit lines (CC0), their transliteration, message catalogues of Debian packages,"
    " sentences of our own, numbers; no scan and nobody's handwriting."
)


def load(run: Path) -> tuple[Recogniser, dict]:
    """The trained network in evaluation mode, and the run's record."""
    record = json.loads((run / "run.json").read_text())
    settings = record["settings"]
    network = Recogniser(settings["shape"], len(characters(settings["pack"])) + 1)
    network.load_state_dict(torch.load(run / "weights.pth", weights_only=True, map_location="cpu"))
    return network.eval(), record


def coloured(pixels: np.ndarray, step: int = STEP) -> np.ndarray:
    """`[48, W] u8` grey -> `[1, 3, 48, step * w] f32`, the graph's input, filled up to whole steps."""
    wide = max(4 * STEP, -(-pixels.shape[1] // step) * step)
    full = np.full((HEIGHT, wide), batches.GREY, np.float32)
    full[:, :pixels.shape[1]] = pixels
    return np.ascontiguousarray(np.broadcast_to((full - batches.GREY) / np.float32(127.5), (1, 3, HEIGHT, wide)))


def samples(shards: Path, count: int) -> list[Sample]:
    """Lines of all training sets by turns, the first of each."""
    found = []
    sets = [present for name in ("short", "medium", "long") if (present := batches.shards(shards, name))]
    if not sets:
        raise FileNotFoundError(f"no shards of the training sets in {shards}")
    for i in range(count):
        shard = batches.shard(sets[i % len(sets)][0])
        found.append(Sample(coloured(shard.line(i // len(sets)))))
    return found


def verify(graph: Graph, network: Recogniser) -> float:
    """Raises ValueError when the graph computes something else than PyTorch on noise; returns the largest difference."""
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, 40 * STEP)).astype(np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(coloured(noise)[:, :1].copy())).numpy()
    difference = float(np.abs(session(graph).run(None, {"x": coloured(noise)})[0] - expected).max())
    if not difference < TOLERANCE:
        raise ValueError(f"the graph differs from the network by {difference}, expected less than {TOLERANCE}")
    return difference


def calibrated(graph: Graph, lines: list[tuple[np.ndarray, str, str]]) -> float:
    """Divides the head by the temperature that suits `lines` (pixels, pack, text) best; returns it."""
    runner = session(graph)
    value = confidence.temperature([(runner.run(None, {"x": coloured(pixels)})[0][0], encode(pack, text)) for pixels, pack, text in lines])
    for name in ("head.weight", "head.bias"):
        graph.weights[name] = (graph.weights[name] / value).astype(np.float32)
    return value


def kept_apart(shards: Path) -> list[tuple[np.ndarray, str, str]]:
    """Lines of the held-out scans behind those that are measured, or the last fifth where there are fewer."""
    found = [(s.line(i), s.pack, s.texts[i]) for s in map(batches.shard, batches.shards(shards, "test-scan")) for i in range(len(s.texts))]
    if not found:
        raise FileNotFoundError(f"no shards of test-scan in {shards}")
    return found[min(MEASURED, len(found) * 4 // 5):][:CALIBRATED]


def to_int8(graph: Graph, given: list[Sample]) -> Graph:
    """An f32 graph -> its QDQ form."""
    for _ in range(2):
        equalise.equalise(graph, given, ALPHA)
    names = sorted(set().union(*calibrate.plan(graph)))
    mapping = calibrate.choose(graph, calibrate.observe(graph, names, given), "error")
    share(graph, mapping)
    fitted, integers = rounding.fit(graph, mapping, given)
    return quantise.rewrite(fitted, mapping, integers)


def share(graph: Graph, mapping: dict) -> None:
    """What only moves bytes keeps the mapping of what it reads; a sum in front of a ReLU is not a tensor of its own."""
    for node in graph.nodes:
        if node.op_type in ("Reshape", "Transpose"):
            mapping[node.output[0]] = mapping[node.input[0]]
    users = graph.consumers()
    for node in graph.nodes:
        if node.op_type == "Add" and [u.op_type for u in users[node.output[0]]] == ["Relu"]:
            del mapping[node.output[0]]


def write(to: Path, graph: Graph, record: dict, digest: str) -> None:
    """`digest`: of the weights that the graph is from."""
    to.mkdir(parents=True, exist_ok=True)
    graph.save(to / "model.onnx")
    settings = record["settings"]
    facts = {"name": to.name, "version": VERSION, "source": f"models/tools/lines, pack {settings['pack']}, shape {settings['shape']}, "
             f"{record['at']['lines']} lines, weights.pth", "source_sha256": digest, "licence": folder.LICENCE,
             "sha256": folder.sha256(to / "model.onnx"), "training_data": TRAINING_DATA}
    named = list(characters(settings["pack"]))
    (to / "model.toml").write_text(folder.manifest(
        facts, [folder.image_input([1, 3, HEIGHT, f"{STEP}*w"])], [{"name": "logits", "shape": [1, "w", len(named) + 1]}], named,
        pack=packs.OWN[settings["pack"]]), encoding="utf-8")


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=96, help="lines that ranges are calibrated on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, record = load(options.run)
    graph = graph_f32.build(network)
    print(f"the graph differs from the network by {verify(graph, network):.1e} at most")
    warm = calibrated(graph, kept_apart(options.shards))
    (options.run / "export.json").write_text(json.dumps({"temperature": warm}))
    graph.save(options.run / "f32.onnx")
    digest = hashlib.sha256((options.run / "weights.pth").read_bytes()).hexdigest()
    write(options.to, to_int8(graph, samples(options.shards, options.lines)), record, digest)
    print(f"{options.to / 'model.onnx'}: {(options.to / 'model.onnx').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
