"""Quantises the student. In: f32 Graph and calibration clips. Out: QDQ Graph in the form that the engine fuses.

Activations are u8 with one mapping a tensor, chosen by least squared error; what only moves values shares its input's mapping.
Weights are i8 in seven bits with a scale per output channel. Layer by layer, each bias takes up what rounding shifted its sums by
on the calibration clips: over 50,304 inputs whose mean is not zero, that is more than the noise.
The logits stay f32.
"""

import numpy as np
from onnx import helper

import calibrate
import quantise
import rounding
from calibrate import Affine
from graph import Graph

# Tensors that share one mapping.
GROUPS = ({"clip"}, {"relu0", "pool0"}, {"relu1", "pool1"}, {"relu2", "pool2"}, {"cells", "flat", "projected", "joined"}, {"condition"},
          {"rectified"})
# Places at which a convolution is looked at, over all clips.
POSITIONS = 20_000
LAYERS = ("conv0", "conv1", "conv2", "projected", "hidden", "logits")

# Every byte of every channel, after normalisation: (v / 255 - mean) / std.
CLIP_LOW, CLIP_HIGH = (0 - 0.485) / 0.229, (1 - 0.406) / 0.225


def quantise_student(graph: Graph, clips: list[dict], table: np.ndarray) -> Graph:
    """`clips`: the two inputs by name, f32. `table`: all condition embeddings that may come, for that input's range."""
    mapping = activations(graph, clips, table)
    fitted, integers = graph.copy(), {}
    wanted = _means(graph, list(LAYERS), clips)
    for name in LAYERS:
        integers[f"{name}.weight"] = _round(graph, fitted, mapping, integers, name, clips)
        found = _means(rewrite(fitted, mapping, integers, until=name), [name], clips)[name]
        fitted.weights[f"{name}.bias"] = (fitted.weights[f"{name}.bias"] + wanted[name] - found).astype(np.float32)
    return rewrite(fitted, mapping, integers)


def _round(graph: Graph, fitted: Graph, mapping, integers, name: str, clips) -> tuple:
    """A layer's integers and scales. A convolution's keep its sums over windows that occur; others go to the nearest."""
    weight = graph.weights[f"{name}.weight"]
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    if name.startswith("conv"):
        before = {"conv0": "clip", "conv1": "pool0", "conv2": "pool1"}[name]
        wanted = _windows(graph, before, clips)
        present = mapping[before].round_trip(wanted) if before == "clip" else _windows(rewrite(fitted, mapping, integers, until=before), before, clips)
        rows = rounding._refit(rows, wanted, present)
        scale = quantise.scales(rows, present.var(axis=0))
        whole = rounding._round(rows, present, scale.astype(np.float64))
    else:
        scale = quantise.scales(rows)
        whole = quantise.nearest(rows, scale[:, None])
    return whole.reshape(weight.shape).astype(np.int8), scale


def _windows(graph: Graph, name: str, clips) -> np.ndarray:
    """Input windows of a convolution at random places, `[POSITIONS, K] f64`; the same places on every call."""
    runner = None if name == "clip" else calibrate.session(graph, [] if name in graph.outputs else [name])
    found, rng = [], np.random.default_rng(7)
    for clip in clips:
        value = clip["clip"] if runner is None else runner.run([name], {k: clip[k] for k in graph.inputs})[0]
        padded = np.pad(value[0], ((0, 0), (1, 1), (1, 1), (1, 1)))
        t, y, x = (rng.integers(0, n, POSITIONS // len(clips)) for n in value.shape[2:])
        taps = [padded[:, t + a, y + b, x + c] for a in range(3) for b in range(3) for c in range(3)]
        found.append(np.stack(taps, axis=-1).transpose(1, 0, 2).reshape(len(t), -1))
    return np.concatenate(found).astype(np.float64)


def activations(graph: Graph, clips: list[dict], table: np.ndarray) -> dict[str, Affine]:
    """Tensor name -> mapping."""
    chosen = {}
    names = sorted(set().union(*GROUPS) - graph.inputs.keys())
    observed = _histograms(graph, names, clips)
    for group in GROUPS:
        if "clip" in group:
            found = Affine.of(CLIP_LOW, CLIP_HIGH)
        elif "condition" in group:
            found = Affine.of(float(table.min()), float(table.max()))
        else:
            # The values as their reader sees them; copies count once.
            members = [observed[n] for n in sorted(group) if n in ("relu0", "relu1", "relu2", "cells", "projected", "rectified")]
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


def _means(graph: Graph, names: list[str], clips: list[dict]) -> dict[str, np.ndarray]:
    """Tensor name -> mean of each output channel over positions and clips."""
    extra = [n for n in names if n not in graph.outputs]
    runner = calibrate.session(graph, extra)
    total = dict.fromkeys(names, 0.0)
    for clip in clips:
        values = runner.run(names, {k: clip[k] for k in graph.inputs})
        for name, value in zip(names, values):
            total[name] = total[name] + value[0].reshape(value.shape[1], -1).mean(axis=1, dtype=np.float64) / len(clips)
    return total


def _histograms(graph: Graph, names: list[str], clips: list[dict]) -> dict[str, tuple]:
    """Tensor name -> (counts `[BINS]`, least, greatest); in two passes, so that no volume is kept."""
    runner = calibrate.session(graph, names)
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 1e-6)
    for clip in clips:
        for name, value in zip(names, runner.run(names, clip)):
            low[name], high[name] = min(low[name], float(value.min())), max(high[name], float(value.max()))
    counts = {name: np.zeros(calibrate.BINS) for name in names}
    for clip in clips:
        for name, value in zip(names, runner.run(names, clip)):
            flat = value.reshape(-1)
            flat = flat[::max(1, flat.size // calibrate.SAMPLED) | 1]
            counts[name] += np.histogram(flat, calibrate.BINS, (low[name], high[name]))[0] / len(flat)
    return {name: (counts[name], low[name], high[name]) for name in names}


def _same(x):
    return x
