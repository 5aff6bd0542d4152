"""Chooses how each activation maps to 8 bits. In: f32 Graph and sample inputs. Out: tensor name -> Affine.

Which tensors are quantised is decided by `plan`: everything image-shaped, and in the neck only what enters a MatMul
with constant weights. Ranges minimise the squared error after the tensor's reader, weighted by how often values occur.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from graph import Graph, attributes

# Pixels pass unchanged: x = (v - 128) / 127.5 for a byte v, so q = v.
INPUT_SCALE = np.float32(1 / 127.5)
INPUT_ZERO = 128

# Bins of the histogram over [minimum, maximum]: 32 a step of 8 bits, so that outliers leave enough for the rest.
BINS = 8192
# Values of one tensor and one sample that enter the histogram, at most.
SAMPLED = 40_000
# Tried ends of the range, as a part of the observed extreme.
SHRINK = np.concatenate([np.linspace(1.0, 0.5, 26), np.linspace(0.47, 0.05, 15)])


@dataclass(frozen=True)
class Affine:
    """real = scale * (q - zero), q in 0..=255."""

    scale: np.float32
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> "Affine":
        """The mapping of 0..=255 that covers [low, high] and zero exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32(max((high - low) / 255, 1e-8))
        return cls(scale, int(np.clip(round(-low / float(scale)), 0, 255)))

    def round_trip(self, x: np.ndarray) -> np.ndarray:
        """What is left of real values after quantisation."""
        return (np.clip(np.round(x / self.scale) + self.zero, 0, 255) - self.zero) * self.scale


def plan(graph: Graph) -> list[set[str]]:
    """Groups of tensors to quantise; the tensors of a group share one mapping, so that their operator copies bytes."""
    users = graph.consumers()
    rows = _row_tensors(graph)
    chosen = []
    for node in graph.nodes:
        for name in [i for i in node.input if i in graph.inputs] + list(node.output):
            if name in graph.outputs:
                continue
            readers = users[name]
            if name in rows:
                wanted = any(_constant_matmul(graph, r) for r in readers)
            else:
                # One step for the engine: a Relu that follows its Conv, and both parts of x * sigmoid(x).
                inside = (node.op_type in ("Conv", "ConvTranspose") and [r.op_type for r in readers] == ["Relu"]
                          and name in node.output) or (node.op_type == "Sigmoid" and name in node.output)
                wanted = not inside
            if wanted and name not in chosen:
                chosen.append(name)
    group = {name: {name} for name in chosen}
    for node in graph.nodes:
        if node.op_type in ("MaxPool", "Resize", "Concat"):
            tied = [n for n in [*node.input, *node.output] if n in group]
            merged = set().union(*(group[n] for n in tied))
            for name in merged:
                group[name] = merged
    unique = []
    for name in chosen:
        if group[name] not in unique:
            unique.append(group[name])
    return unique


def _row_tensors(graph: Graph) -> set[str]:
    """Tensors of the recogniser's neck: everything that comes after a Reshape."""
    rows = set()
    for node in graph.nodes:
        if node.op_type == "Reshape" or rows.intersection(node.input):
            rows.update(node.output)
    return rows


def _constant_matmul(graph: Graph, node) -> bool:
    return node.op_type == "MatMul" and node.input[1] in graph.weights


def session(graph: Graph, extra_outputs=()) -> ort.InferenceSession:
    """A one-thread CPU session of a graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph.proto(extra_outputs).SerializeToString(), options, ["CPUExecutionProvider"])


@dataclass
class Sample:
    """`x`: `[1, 3, H, W] f32`. `focus`: `[H, W] bool`, where half of the attention goes; None: everywhere alike."""

    x: np.ndarray
    focus: np.ndarray | None = None

    def inside(self, height: int, width: int) -> np.ndarray | None:
        """The focus at a map's resolution, flat `[height * width] bool`; None where it says nothing."""
        if self.focus is None or height * width == 1:
            return None
        rows = (np.arange(height) * self.focus.shape[0]) // height
        columns = (np.arange(width) * self.focus.shape[1]) // width
        return self.focus[np.ix_(rows, columns)].reshape(-1)


def observe(graph: Graph, names: list[str], samples: list[Sample]) -> dict[str, tuple]:
    """Runs samples; name -> (counts `[BINS]`, minimum, maximum)."""
    exposed = [n for n in names if n not in graph.inputs and n not in graph.outputs]
    runner = session(graph, exposed)
    low, high = dict.fromkeys(exposed, 0.0), dict.fromkeys(exposed, 0.0)
    for sample in samples:
        for name, value in zip(exposed, runner.run(exposed, {"x": sample.x})):
            low[name] = min(low[name], float(value.min()))
            high[name] = max(high[name], float(value.max()))
    counts = {name: np.zeros(BINS) for name in exposed}
    for sample in samples:
        for name, value in zip(exposed, runner.run(exposed, {"x": sample.x})):
            bounds = (low[name], max(high[name], low[name] + 1e-6))
            for part in _parts(sample, value):
                # A stride that is prime to the usual widths visits every channel and column. Each part counts the same,
                # whatever its size.
                flat = part[::max(1, part.size // SAMPLED) | 1]
                counts[name] += np.histogram(flat, BINS, bounds)[0] / max(1, len(flat))
    return {name: (counts[name], low[name], max(high[name], low[name] + 1e-6)) for name in exposed}


def _parts(sample: Sample, value: np.ndarray) -> list[np.ndarray]:
    """The values of a tensor, flat; those in the sample's focus apart from the others."""
    inside = sample.inside(*value.shape[2:]) if value.ndim == 4 else None
    if inside is None:
        return [value.reshape(-1)]
    maps = value.reshape(value.shape[1], -1)
    return [maps[:, inside].reshape(-1), maps[:, ~inside].reshape(-1)]


def choose(graph: Graph, observed: dict[str, tuple], method: str) -> dict[str, Affine]:
    """Tensor name -> mapping. `method`: "minmax" or "error" (least squared error after the reader)."""
    chosen = {}
    for group in plan(graph):
        if group & graph.inputs.keys():
            found = Affine(INPUT_SCALE, INPUT_ZERO)
        else:
            members = [(observed[n], reader(graph, n)) for n in sorted(group)]
            low = min(o[1] for o, _ in members)
            high = max(o[2] for o, _ in members)
            found = Affine.of(low, high) if method == "minmax" else _least_error(members, low, high)
        chosen.update(dict.fromkeys(group, found))
    return chosen


def _least_error(members, low: float, high: float) -> Affine:
    best, best_error = None, math.inf
    targets = []
    for (counts, start, end), apply in members:
        centres = (start + (np.arange(BINS) + 0.5) * (end - start) / BINS).astype(np.float32)
        full = counts > 0
        targets.append((centres[full], counts[full], apply(centres[full]), apply))
    for down in SHRINK if low < 0 else [1.0]:
        for up in SHRINK:
            candidate = Affine.of(low * down, high * up)
            error = sum(float((w * (apply(candidate.round_trip(c)) - y) ** 2).sum()) for c, w, y, apply in targets)
            if error < best_error:
                best, best_error = candidate, error
    return best


def reader(graph: Graph, name: str):
    """The function through which a tensor is seen: that of its unary reader, or the identity."""
    readers = graph.consumers()[name]
    kinds = sorted(r.op_type for r in readers)
    if kinds == ["Gelu"]:
        return lambda x: 0.5 * x * (1 + _erf(x / np.float32(math.sqrt(2))))
    if kinds == ["HardSigmoid"]:
        given = attributes(readers[0])
        return lambda x: np.clip(given["alpha"] * x + given["beta"], 0, 1)
    if kinds == ["Mul", "Sigmoid"]:
        return lambda x: x / (1 + np.exp(-x))
    if kinds == ["Sigmoid"]:
        return lambda x: 1 / (1 + np.exp(-x))
    return lambda x: x


_ERF_X = np.linspace(-4, 4, 8001)
_ERF_Y = np.array([math.erf(v) for v in _ERF_X])


def _erf(x: np.ndarray) -> np.ndarray:
    return np.interp(x, _ERF_X, _ERF_Y).astype(np.float32)
