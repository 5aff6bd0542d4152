"""Writes a graph's quantised form. In: f32 Graph, activation mappings, integer weights. Out: QDQ Graph.

Format, which the engine's fusion relies on: every quantised activation is one QuantizeLinear (u8, per tensor) and one
DequantizeLinear; weights are i8 with one scale per output channel and no zero point, in -64..=63; a convolution's bias is
i32 with scale = input scale * weight scale. MatMul outputs, LayerNormalization, Softmax and residual sums of the neck stay
f32.
"""

import numpy as np
from onnx import helper

from calibrate import Affine
from graph import Graph

# Seven bits: on SIMD without a dot product of bytes, two products of u8 and i8 share an i16, which overflows at eight.
WEIGHT_MIN, WEIGHT_MAX = -64, 63
# Tried weight scales, as a part of the one that covers the largest weight.
SHRINK = np.linspace(1.0, 0.5, 51)


def weighted(graph: Graph) -> list:
    """The nodes whose weights are quantised, in order."""
    return [n for n in graph.nodes
            if n.op_type in ("Conv", "ConvTranspose") or (n.op_type == "MatMul" and n.input[1] in graph.weights)]


def output_axis(node) -> int:
    """Axis of the output channel in a node's weight: Conv `[N, K/g, h, w]`, Gemm `[N, K]`, ConvTranspose `[K, N, h, w]`, MatMul `[K, N]`."""
    return 0 if node.op_type in ("Conv", "Gemm") else 1


def to_rows(node, weight: np.ndarray) -> np.ndarray:
    """Weight -> `[N, K]`, one row per output channel."""
    return np.moveaxis(weight, output_axis(node), 0).reshape(weight.shape[output_axis(node)], -1)


def from_rows(node, rows: np.ndarray, shape) -> np.ndarray:
    """Inverse of `to_rows` for a weight of `shape`."""
    axis = output_axis(node)
    rest = [s for i, s in enumerate(shape) if i != axis]
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape[axis], *rest), 0, axis))


def scales(rows: np.ndarray, importance=None) -> np.ndarray:
    """Weight scale per output channel, `[N, K]` -> `[N] f32`, of least squared rounding error.

    `importance`: mean square of each input `[K]` or `[N, K]`; all the same when None.
    """
    importance = np.ones(rows.shape[1]) if importance is None else importance + 1e-3 * importance.mean() + 1e-12
    largest = np.maximum(rows.max(axis=1) / WEIGHT_MAX, rows.min(axis=1) / WEIGHT_MIN)
    # A channel of zeros still needs a scale that a bias can be divided by.
    largest = np.maximum(largest, 1e-6)
    best, best_error = largest.copy(), np.full(len(rows), np.inf)
    for part in SHRINK:
        scale = (largest * part)[:, None]
        error = (importance * (nearest(rows, scale) * scale - rows) ** 2).sum(axis=1)
        better = error < best_error
        best[better], best_error[better] = (largest * part)[better], error[better]
    return best.astype(np.float32)


def nearest(rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Integer weights by rounding to nearest, as f64."""
    return np.clip(np.round(rows / scale), WEIGHT_MIN, WEIGHT_MAX)


def rewrite(graph: Graph, mapping: dict[str, Affine], integers: dict[str, tuple], keep: str | None = None) -> Graph:
    """`integers`: weight name -> (`i8` array of the weight's shape, `[N] f32` scales). `keep`: the only output, if set."""
    result = graph.copy()
    nodes = []
    for name in result.inputs:
        if name in mapping:
            nodes += _pair(result, name, mapping[name])
    for node in result.nodes:
        if node in weighted(result):
            nodes += _weights(result, node, mapping[node.input[0]], integers)
        node.input[:] = [f"{i}.real" if i in mapping else i for i in node.input]
        nodes.append(node)
        for name in node.output:
            if name in mapping:
                nodes += _pair(result, name, mapping[name])
    result.nodes = nodes
    if keep is not None:
        result.outputs = {keep: None}
    result.sweep()
    return result


def _pair(graph: Graph, name: str, affine: Affine) -> list:
    scale, zero = f"{name}.scale", f"{name}.zero"
    graph.weights[scale] = np.array(affine.scale, np.float32)
    graph.weights[zero] = np.array(affine.zero, np.uint8)
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}.byte"], f"{name}.quantise"),
        helper.make_node("DequantizeLinear", [f"{name}.byte", scale, zero], [f"{name}.real"], f"{name}.dequantise"),
    ]


def _weights(graph: Graph, node, affine: Affine, integers) -> list:
    name = node.input[1]
    values, scale = integers[name]
    graph.weights[f"{name}.int"] = values.astype(np.int8)
    graph.weights[f"{name}.scale"] = scale
    nodes = [helper.make_node("DequantizeLinear", [f"{name}.int", f"{name}.scale"], [f"{name}.real"],
                              f"{name}.dequantise", axis=output_axis(node))]
    node.input[1] = f"{name}.real"
    if len(node.input) == 3:
        bias = node.input[2]
        bias_scale = (np.float32(affine.scale) * scale).astype(np.float32)
        rounded = np.round(graph.weights[bias].astype(np.float64) / bias_scale)
        if np.abs(rounded).max() > 2 ** 30:
            raise ValueError(f"{bias}: {np.abs(rounded).max():.3g} does not fit 31 bits")
        graph.weights[f"{bias}.int"] = rounded.astype(np.int32)
        graph.weights[f"{bias}.scale"] = bias_scale
        nodes.append(helper.make_node("DequantizeLinear", [f"{bias}.int", f"{bias}.scale"], [f"{bias}.real"],
                                      f"{bias}.dequantise", axis=0))
        node.input[2] = f"{bias}.real"
    return nodes
