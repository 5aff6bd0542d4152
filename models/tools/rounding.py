"""Chooses integer weights. In: f32 Graph, activation mappings, samples. Out: integers, scales and corrected biases.

Layer by layer, in order: the layer's inputs are taken from the network as quantised so far, its wanted outputs from the
f32 network, so every layer also makes up for what the ones before it lost. Within a layer, columns are rounded one after
another and the error of each is passed on to the columns that are still free (optimal brain quantisation, the GPTQ
form): the sum over the inputs that occur keeps its value better than by rounding each weight to nearest.
"""

import numpy as np

import quantise
from calibrate import Affine, Sample, session
from graph import Graph, attributes

# Positions of a layer that are looked at, over all samples.
POSITIONS = 20_000
# Added to the diagonal of the inputs' covariance, as a part of its mean: inputs that hardly vary decide nothing.
DAMPING = 0.01
# The same for the pull of the refitted weights back to the original ones.
REFIT_DAMPING = 0.05
# Weights are refitted only where there are this many times as many positions as inputs; gates behind a global pool have
# one position a sample and would learn the samples by heart.
REFIT_POSITIONS = 4


def fit(graph: Graph, mapping: dict[str, Affine], samples: list[Sample], refit: bool = True) -> tuple[Graph, dict]:
    """Returns a graph with corrected biases and weight name -> (`i8` array, `[N] f32` scales) for `quantise.rewrite`."""
    fitted, integers = graph.copy(), {}
    layers = quantise.weighted(graph)
    wanted = _inputs(graph, layers, [n.input[0] for n in layers], samples)
    for index, node in enumerate(layers):
        present = _present(fitted, mapping, integers, node, samples, index)
        _fit_layer(fitted, node, wanted[index], present, integers, refit)
    return fitted, integers


def _inputs(graph: Graph, layers, names, samples) -> list[np.ndarray]:
    """For each layer, the input windows at its chosen positions: `[P, K]`, or `[P, C, k]` of a depthwise one."""
    exposed = sorted(set(names) - graph.inputs.keys())
    runner = session(graph, exposed)
    found = [[] for _ in layers]
    for number, sample in enumerate(samples):
        values = dict(zip(exposed, runner.run(exposed, {"x": sample.x})), x=sample.x)
        for index, (node, name) in enumerate(zip(layers, names)):
            found[index].append(_windows(graph, node, values[name], sample, len(samples), (index, number)))
    return [np.concatenate(f) for f in found]


def _present(fitted: Graph, mapping, integers, node, samples, index: int) -> np.ndarray:
    """The layer's windows in the network as quantised so far."""
    before = fitted.copy()
    before.outputs = {node.input[0]: None}
    before.sweep()
    real = f"{node.input[0]}.real"
    if node.input[0] in before.inputs:
        # The input's bytes are exact.
        return np.concatenate([
            _windows(fitted, node, s.x, s, len(samples), (index, n)) for n, s in enumerate(samples)])
    before = quantise.rewrite(before, mapping, integers, keep=real)
    runner = session(before)
    return np.concatenate([
        _windows(fitted, node, runner.run([real], {"x": s.x})[0], s, len(samples), (index, n))
        for n, s in enumerate(samples)])


def _windows(graph: Graph, node, value: np.ndarray, sample: Sample, count: int, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    budget = max(1, POSITIONS // count)
    if node.op_type == "MatMul":
        rows = value.reshape(-1, value.shape[-1])
        return rows[rng.permutation(len(rows))[:budget]]
    _, channels, height, width = value.shape
    given = attributes(node)
    if node.op_type == "ConvTranspose":
        kernel, stride, pads = (1, 1), (1, 1), (0, 0, 0, 0)
    else:
        kernel, stride, pads = given["kernel_shape"], given["strides"], given["pads"]
    padded = np.pad(value[0], ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    out_h = (padded.shape[1] - kernel[0]) // stride[0] + 1
    out_w = (padded.shape[2] - kernel[1]) // stride[1] + 1
    at = positions(rng, sample, out_h, out_w, budget)
    ys, xs = (at // out_w) * stride[0], (at % out_w) * stride[1]
    taps = [padded[:, ys + dy, xs + dx] for dy in range(kernel[0]) for dx in range(kernel[1])]
    windows = np.stack(taps, axis=-1).transpose(1, 0, 2)
    depthwise = given.get("group", 1) > 1
    return windows if depthwise else windows.reshape(len(at), -1)


def positions(rng, sample: Sample, height: int, width: int, budget: int) -> np.ndarray:
    """At most `budget` flat positions of a `[height, width]` map of the sample; half of them in its focus."""
    inside = sample.inside(height, width)
    if inside is None:
        return rng.permutation(height * width)[:budget]
    near, far = np.flatnonzero(inside), np.flatnonzero(~inside)
    return np.concatenate([rng.permutation(near)[:budget // 2], rng.permutation(far)[:budget - budget // 2]])


def _fit_layer(fitted: Graph, node, wanted, present, integers, refit: bool) -> None:
    name = node.input[1]
    weight = fitted.weights[name].astype(np.float64)
    rows = _rows(node, weight)
    wanted, present = wanted.astype(np.float64), present.astype(np.float64)
    if present.ndim == 3:
        best = np.stack([_refit(rows[c:c + 1], wanted[:, c], present[:, c])[0] if refit else rows[c]
                         for c in range(len(rows))])
        importance = present.var(axis=0)
    else:
        best = _refit(rows, wanted, present) if refit else rows
        importance = present.var(axis=0)
    channels = weight.shape[quantise.output_axis(node)]
    scale = quantise.scales(best.reshape(channels, -1), _per_channel(importance, best, channels))
    steps = np.repeat(scale, len(best) // channels).astype(np.float64)
    if present.ndim == 3:
        whole = np.stack([_round(best[c:c + 1], present[:, c], steps[c:c + 1])[0] for c in range(len(best))])
        error = np.einsum("pck,ck->c", wanted, rows) / len(wanted) - np.einsum(
            "pck,ck->c", present, whole * steps[:, None]) / len(present)
    else:
        whole = _round(best, present, steps)
        error = rows @ wanted.mean(axis=0) - (whole * steps[:, None]) @ present.mean(axis=0)
    integers[name] = (_from_rows(node, whole, weight.shape).astype(np.int8), scale)
    _add_bias(fitted, node, error.reshape(channels, -1).mean(axis=1))


def _per_channel(importance, best, channels):
    """Importance of each weight of an output channel, as `quantise.scales` takes it."""
    if importance.ndim == 2:
        return importance
    return np.tile(importance, len(best) // channels)


def _refit(rows, wanted, present) -> np.ndarray:
    """Weights that give the wanted outputs from the present inputs, held near the original ones: `[N, K]`."""
    if len(present) < REFIT_POSITIONS * rows.shape[1]:
        return rows
    centred = present - present.mean(axis=0)
    missing = (wanted - wanted.mean(axis=0)) - centred
    covariance = centred.T @ centred
    covariance[np.diag_indices_from(covariance)] += REFIT_DAMPING * covariance.diagonal().mean() + 1e-9
    return rows + np.linalg.solve(covariance, centred.T @ (missing @ rows.T)).T


def _round(rows, present, steps) -> np.ndarray:
    """Integer weights `[N, K]` for weights `[N, K]`, inputs `[P, K]` and a step per row."""
    centred = present - present.mean(axis=0)
    covariance = centred.T @ centred
    covariance[np.diag_indices_from(covariance)] += DAMPING * covariance.diagonal().mean() + 1e-9
    order = np.argsort(-covariance.diagonal(), kind="stable")
    inverse = np.linalg.inv(covariance[np.ix_(order, order)])
    upper = np.linalg.cholesky(inverse).T
    left = rows[:, order].copy()
    whole = np.empty_like(left)
    for i in range(left.shape[1]):
        whole[:, i] = quantise.nearest(left[:, i], steps)
        error = (left[:, i] - whole[:, i] * steps) / upper[i, i]
        left[:, i + 1:] -= error[:, None] * upper[i, i + 1:]
    result = np.empty_like(whole)
    result[:, order] = whole
    return result


def _rows(node, weight) -> np.ndarray:
    """`[N, K]`; each tap of a ConvTranspose `[K, N, 2, 2]`, whose taps do not overlap, is a row of its own."""
    if node.op_type == "ConvTranspose":
        return weight.transpose(1, 2, 3, 0).reshape(-1, weight.shape[0])
    return quantise.to_rows(node, weight)


def _from_rows(node, rows, shape) -> np.ndarray:
    if node.op_type == "ConvTranspose":
        k, n, h, w = shape
        return np.ascontiguousarray(rows.reshape(n, h, w, k).transpose(3, 0, 1, 2))
    return quantise.from_rows(node, rows, shape)


def _add_bias(graph: Graph, node, shift: np.ndarray) -> None:
    """Adds to the layer's bias, which for a MatMul is that of the Add behind it."""
    if node.op_type == "MatMul":
        (add,) = graph.consumers()[node.output[0]]
        name = add.input[1]
    elif len(node.input) == 3:
        name = node.input[2]
    else:
        own = next(n for n in graph.nodes if n.output[0] == node.output[0])
        name = f"{node.output[0]}.bias"
        own.input.append(name)
        graph.weights[name] = np.zeros(len(shift), np.float32)
    graph.weights[name] = (graph.weights[name] + shift).astype(np.float32)
