"""Quantises the student. In: f32 Graph and calibration clips. Out: QDQ Graph in the form that the engine fuses.

Activations are u8 with one mapping a tensor, chosen by least squared error; what only moves values shares its input's mapping.
Weights are i8 in seven bits with a scale per output channel. Layer by layer, each bias takes up what rounding shifted its sums by
on the calibration clips: over 50,304 inputs whose mean is not zero, that is more than the noise.
The logits stay f32.
"""

from dataclasses import dataclass

import numpy as np

import calibrate
import quantise
import rounding
from calibrate import Affine
from graph import Graph

# Tensors that share one mapping.
GROUPS = ({"clip"}, {"relu0", "pool0"}, {"relu1", "pool1"}, {"relu2", "pool2"}, {"cells", "flat", "projected", "joined"}, {"condition"},
          {"rectified"})
# Tensors whose ranges are looked at, for the groups above; copies count once.
RANGED = ["relu0", "relu1", "relu2", "cells", "projected", "rectified"]
# Convolution -> its input.
BEFORE = {"conv0": "clip", "conv1": "pool0", "conv2": "pool1"}
# Places at which a convolution is looked at, over all clips.
POSITIONS = 20_000
LAYERS = ("conv0", "conv1", "conv2", "projected", "hidden", "logits")

# Every byte of every channel, after normalisation: (v / 255 - mean) / std.
CLIP_LOW, CLIP_HIGH = (0 - 0.485) / 0.229, (1 - 0.406) / 0.225


def quantise_student(graph: Graph, clips: list[dict], table: np.ndarray) -> Graph:
    """`clips`: the two inputs by name, f32. `table`: all condition embeddings that may come, for that input's range."""
    seen = _observe(graph, clips)
    mapping = activations(seen, table)
    fitted, integers = graph.copy(), {}
    for name in LAYERS:
        integers[f"{name}.weight"] = _round(graph, fitted, mapping, integers, name, seen, clips)
        found = _means(rewrite(fitted, mapping, integers, until=name), name, clips)
        fitted.weights[f"{name}.bias"] = (fitted.weights[f"{name}.bias"] + seen.means[name] - found).astype(np.float32)
    return rewrite(fitted, mapping, integers)


def _round(graph: Graph, fitted: Graph, mapping, integers, name: str, seen: "Seen", clips) -> tuple:
    """A layer's integers and scales. A convolution's keep its sums over windows that occur; others go to the nearest."""
    weight = graph.weights[f"{name}.weight"]
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    if name in BEFORE:
        before, wanted = BEFORE[name], seen.windows[BEFORE[name]]
        if before == "clip":
            present = mapping[before].round_trip(wanted)
        else:
            runner = calibrate.session(rewrite(fitted, mapping, integers, until=before))
            present = np.concatenate([_windows(runner.run([before], {"clip": c["clip"]})[0], i, len(clips)) for i, c in enumerate(clips)])
        rows = rounding._refit(rows, wanted, present)
        scale = quantise.scales(rows, present.var(axis=0))
        whole = rounding._round(rows, present, scale.astype(np.float64))
    else:
        scale = quantise.scales(rows)
        whole = quantise.nearest(rows, scale[:, None])
    return whole.reshape(weight.shape).astype(np.int8), scale


def _windows(value: np.ndarray, index: int, count: int) -> np.ndarray:
    """Input windows of a convolution at random places of clip `index` of `count`, `[POSITIONS / count, K] f64`; the same on every call."""
    rng = np.random.default_rng([7, index])
    padded = np.pad(value[0], ((0, 0), (1, 1), (1, 1), (1, 1)))
    t, y, x = (rng.integers(0, n, POSITIONS // count) for n in value.shape[2:])
    taps = [padded[:, t + a, y + b, x + c] for a in range(3) for b in range(3) for c in range(3)]
    return np.stack(taps, axis=-1).transpose(1, 0, 2).reshape(len(t), -1).astype(np.float64)


def activations(seen: "Seen", table: np.ndarray) -> dict[str, Affine]:
    """Tensor name -> mapping."""
    chosen = {}
    for group in GROUPS:
        if "clip" in group:
            found = Affine.of(CLIP_LOW, CLIP_HIGH)
        elif "condition" in group:
            found = Affine.of(float(table.min()), float(table.max()))
        else:
            members = [seen.histograms[n] for n in sorted(group) if n in RANGED]
            low, high = min(m[1] for m in members), max(m[2] for m in members)
            found = calibrate._least_error([(m, _same) for m in members], low, high)
        chosen.update(dict.fromkeys(group, found))
    return chosen


def rewrite(graph: Graph, mapping: dict[str, Affine], integers: dict, until: str | None = None) -> Graph:
    """The QDQ form; `until`: only up to this layer, whose sums are then the output."""
    result = graph.copy()
    if until is not None:
        result.outputs = {until: None}
        result.sweep()
    nodes = []
    for name in graph.inputs:
        if any(name in n.input for n in result.nodes):
            nodes += quantise._pair(result, name, mapping[name])
        else:
            del result.inputs[name]
    for node in result.nodes:
        if node.op_type in ("Conv", "Gemm"):
            nodes += quantise._weights(result, node, mapping[node.input[0]], integers)
        node.input[:] = [f"{i}.real" if i in mapping else i for i in node.input]
        nodes.append(node)
        for name in node.output:
            if name in mapping and name not in result.outputs:
                nodes += quantise._pair(result, name, mapping[name])
    result.nodes = nodes
    result.sweep()
    return result


@dataclass
class Seen:
    """What the f32 network does with the clips. `histograms`: tensor -> (counts `[BINS]`, least, greatest); `means`: layer -> mean of
    each output channel; `windows`: a convolution's input -> its windows."""

    histograms: dict
    means: dict
    windows: dict


def _observe(graph: Graph, clips: list[dict]) -> Seen:
    names = sorted({*RANGED, *LAYERS, *BEFORE.values()} - graph.inputs.keys())
    runner = calibrate.session(graph, [n for n in names if n not in graph.outputs])
    low, high = dict.fromkeys(RANGED, 0.0), dict.fromkeys(RANGED, 1e-6)
    means, windows = dict.fromkeys(LAYERS, 0.0), {name: [] for name in BEFORE.values()}
    for i, clip in enumerate(clips):
        values = dict(zip(names, runner.run(names, clip)), clip=clip["clip"])
        for name in RANGED:
            low[name], high[name] = min(low[name], float(values[name].min())), max(high[name], float(values[name].max()))
        for name in LAYERS:
            means[name] = means[name] + _mean(values[name]) / len(clips)
        for name in windows:
            windows[name].append(_windows(values[name], i, len(clips)))
    counts = {name: np.zeros(calibrate.BINS) for name in RANGED}
    for clip in clips:
        for name, value in zip(RANGED, runner.run(RANGED, clip)):
            flat = value.reshape(-1)
            flat = flat[::max(1, flat.size // calibrate.SAMPLED) | 1]
            counts[name] += np.histogram(flat, calibrate.BINS, (low[name], high[name]))[0] / len(flat)
    return Seen({n: (counts[n], low[n], high[n]) for n in RANGED}, means, {n: np.concatenate(w) for n, w in windows.items()})


def _means(graph: Graph, name: str, clips: list[dict]) -> np.ndarray:
    """Mean of each output channel of a layer over positions and clips."""
    runner = calibrate.session(graph)
    return sum(_mean(runner.run([name], {k: clip[k] for k in graph.inputs})[0]) for clip in clips) / len(clips)


def _mean(value: np.ndarray) -> np.ndarray:
    return value[0].reshape(value.shape[1], -1).mean(axis=1, dtype=np.float64)


def _same(x):
    return x
