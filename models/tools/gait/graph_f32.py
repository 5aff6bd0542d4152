"""The student as an ONNX graph. In: a state dict. Out: f32 Graph, batch normalisation folded into the convolutions.

Written with onnx.helper, one node for each layer: the network is small and fixed, and an exporter would add nodes to take out again.
"""

import numpy as np
from onnx import helper

from gait.network import CELLS, CHANNELS, CONDITION, FRAMES, HIDDEN, PROJECTED, SIZE
from graph import Graph

# Where each convolution and its normalisation stand in `visual_encoder`.
LAYERS = ((0, 1), (4, 5), (8, 9))
NORM_EPSILON = 1e-5
FEATURES = CHANNELS[-1] * FRAMES * CELLS * CELLS


def shapes(classes: int = 9) -> dict[str, tuple]:
    """State-dict name -> shape; counters of batches are not needed."""
    wanted, narrow = {}, 3
    for (conv, norm), wide in zip(LAYERS, CHANNELS):
        wanted[f"visual_encoder.{conv}.weight"] = (wide, narrow, 3, 3, 3)
        wanted[f"visual_encoder.{conv}.bias"] = (wide,)
        wanted |= {f"visual_encoder.{norm}.{part}": (wide,) for part in ("weight", "bias", "running_mean", "running_var")}
        narrow = wide
    for name, outer, inner in (("clinical_proj", PROJECTED, CONDITION), ("classifier.0", HIDDEN, FEATURES + PROJECTED), ("classifier.3", classes, HIDDEN)):
        wanted |= {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}
    return wanted


def check(state: dict, classes: int = 9) -> dict[str, np.ndarray]:
    """The wanted arrays as f32. A `state_dict` key around them and a `module.` prefix are taken off.

    Raises ValueError that names what is missing, unexpected, or of another shape, or not finite.
    """
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state:
        raise ValueError("expected a state dict: tensor name -> tensor")
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    wanted = shapes(classes)
    given = {name for name in state if not name.endswith("num_batches_tracked")}
    problems = [f"missing {name} {list(wanted[name])}" for name in sorted(wanted.keys() - given)]
    problems += [f"unexpected {name}" for name in sorted(given - wanted.keys())]
    found = {}
    for name in sorted(wanted.keys() & given):
        array = np.asarray(state[name].detach().cpu().float() if hasattr(state[name], "detach") else state[name], np.float32)
        if array.shape != wanted[name]:
            problems.append(f"{name}: expected {list(wanted[name])}, got {list(array.shape)}")
        elif not np.isfinite(array).all():
            problems.append(f"{name}: has values that are not finite")
        found[name] = array
    problems += [f"{name}: a variance below zero" for name, v in found.items() if name.endswith("running_var") and v.min() < 0]
    if problems:
        raise ValueError("not a state dict of the gait student:\n  " + "\n  ".join(problems))
    return found


def build(state: dict[str, np.ndarray]) -> Graph:
    """`clip [1, 3, 16, 224, 224]`, `condition [1, 768]` -> `logits [1, 9]`."""
    weights, nodes, x = {}, [], "clip"

    def node(kind, inputs, output, **given):
        nodes.append(helper.make_node(kind, inputs, [output], output, **given))
        return output

    for i, (conv, norm) in enumerate(LAYERS):
        weights[f"conv{i}.weight"], weights[f"conv{i}.bias"] = fold(state, conv, norm)
        x = node("Conv", [x, f"conv{i}.weight", f"conv{i}.bias"], f"conv{i}", kernel_shape=[3] * 3, pads=[1] * 6, strides=[1] * 3)
        x = node("Relu", [x], f"relu{i}")
        x = node("MaxPool", [x], f"pool{i}", kernel_shape=[1, 2, 2], strides=[1, 2, 2], pads=[0] * 6)
    # The adaptive pool to seven cells: 28 is a multiple of 7.
    side = SIZE // 8 // CELLS
    x = node("AveragePool", [x], "cells", kernel_shape=[1, side, side], strides=[1, side, side], pads=[0] * 6)
    x = node("Flatten", [x], "flat", axis=1)
    for name, given, output in (("clinical_proj", "condition", "projected"), ("classifier.0", "joined", "hidden"), ("classifier.3", "rectified", "logits")):
        if output == "hidden":
            node("Concat", [x, "projected"], "joined", axis=1)
        weights[f"{output}.weight"], weights[f"{output}.bias"] = state[f"{name}.weight"], state[f"{name}.bias"]
        node("Gemm", [given, f"{output}.weight", f"{output}.bias"], output, transB=1)
        if output == "hidden":
            node("Relu", ["hidden"], "rectified")
    inputs = {"clip": [1, 3, FRAMES, SIZE, SIZE], "condition": [1, CONDITION]}
    return Graph(nodes, weights, inputs, {"logits": [1, len(state["classifier.3.bias"])]})


def fold(state: dict, conv: int, norm: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with the normalisation behind it."""
    part = {name: state[f"visual_encoder.{norm}.{name}"].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")}
    factor = part["weight"] / np.sqrt(part["running_var"] + NORM_EPSILON)
    weight = state[f"visual_encoder.{conv}.weight"] * factor[:, None, None, None, None]
    bias = (state[f"visual_encoder.{conv}.bias"] - part["running_mean"]) * factor + part["bias"]
    return weight.astype(np.float32), bias.astype(np.float32)
