"""Evens out the channels of an activation, so that one scale for the whole tensor fits them all.

In: f32 Graph, sample inputs. Out: the same function with other weights. Where only linear steps lie between two
convolutions, channel i may be divided by a factor before and multiplied by it after. A tensor's step of 8 bits then is
no longer set by its loudest channel alone. Which channels must share a factor (the operands of a sum, a channel and its
pooled or resized self) is found by following every channel through the graph.
"""

import numpy as np

from calibrate import Sample, session
from graph import Graph

# Largest factor up or down: rarely used channels are not blown up into noise.
LIMIT = 32.0


class Channels:
    """Sets of (tensor, channel) that share one factor."""

    def __init__(self):
        self.parent, self.fixed, self.of = [], [], {}

    def new(self, name: str, count: int, fixed: bool = False) -> None:
        start = len(self.parent)
        self.parent += range(start, start + count)
        self.fixed += [fixed] * count
        self.of[name] = np.arange(start, start + count)

    def root(self, channel: int) -> int:
        while self.parent[channel] != channel:
            self.parent[channel] = self.parent[self.parent[channel]]
            channel = self.parent[channel]
        return channel

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        for a, b in zip(left, right, strict=True):
            a, b = self.root(a), self.root(b)
            self.parent[b] = a
            self.fixed[a] |= self.fixed[b]

    def fix(self, name: str) -> None:
        for channel in self.of[name]:
            self.fixed[self.root(channel)] = True

    def roots(self, name: str) -> np.ndarray:
        """`[C]`: the set of each channel of a tensor."""
        return np.array([self.root(c) for c in self.of[name]])


def equalise(graph: Graph, samples: list[Sample], alpha: float) -> None:
    """Rescales weights in place.

    `alpha`: how much of a factor follows the activation's range, 0..=1; the rest follows the range of the weights that
    read it, which the factor makes more uneven.
    """
    channels = _follow(graph)
    loudest = _loudest(graph, channels, samples)
    reading = _reading(graph, channels)
    factor = np.ones(len(channels.parent))
    for name in channels.of:
        roots = channels.roots(name)
        ranges, weights = loudest[roots], reading[roots]
        free = ~np.array([channels.fixed[r] for r in roots]) & (ranges > 0)
        # Channels that only depthwise convolutions read cost nothing: their weights have a scale each.
        exponent = np.where(weights > 0, alpha, 1.0)
        found = ranges[free] ** exponent[free] / np.where(weights > 0, weights, 1.0)[free] ** (1 - exponent[free])
        if len(found):
            found /= np.exp(np.log(found).mean())
            factor[roots[free]] = np.clip(found, 1 / LIMIT, LIMIT)
    for node in graph.nodes:
        if node.op_type in ("Conv", "ConvTranspose"):
            _rescale(graph, channels, factor, node)


def _follow(graph: Graph) -> Channels:
    """Walks the graph's image part; anything that is not linear, or leaves it, fixes its channels at factor 1."""
    channels = Channels()
    channels.new("x", 3, fixed=True)
    makers = graph.producers()
    for node in graph.nodes:
        inputs, output = [i for i in node.input if i in channels.of], node.output[0]
        if node.op_type in ("Conv", "ConvTranspose"):
            channels.new(output, len(graph.weights[node.input[2]]) if len(node.input) == 3 else _width(graph, node))
        elif node.op_type in ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"):
            channels.of[output] = channels.of[inputs[0]]
        elif node.op_type == "Concat":
            channels.of[output] = np.concatenate([channels.of[i] for i in node.input])
        elif node.op_type == "Add" and len(inputs) == 2:
            channels.unite(channels.of[inputs[0]], channels.of[inputs[1]])
            channels.of[output] = channels.of[inputs[0]]
        elif node.op_type == "Mul" and len(inputs) == 2 and makers[inputs[1]].op_type == "HardSigmoid":
            channels.of[output] = channels.of[inputs[0]]
        else:
            for name in inputs:
                channels.fix(name)
            if node.op_type in ("Gelu", "HardSigmoid", "Sigmoid", "Mul") and inputs:
                channels.new(output, len(channels.of[inputs[0]]), fixed=True)
    return channels


def _width(graph: Graph, node) -> int:
    return graph.weights[node.input[1]].shape[0 if node.op_type == "Conv" else 1]


def _loudest(graph: Graph, channels: Channels, samples) -> np.ndarray:
    """Largest absolute value of each set of channels over the samples."""
    names = [n for n in channels.of if n not in graph.inputs and n not in graph.outputs]
    runner = session(graph, names)
    found = np.zeros(len(channels.parent))
    roots = {name: channels.roots(name) for name in names}
    for sample in samples:
        for name, value in zip(names, runner.run(names, {"x": sample.x})):
            np.maximum.at(found, roots[name], np.abs(value[0]).max(axis=(1, 2)))
    return found


def _reading(graph: Graph, channels: Channels) -> np.ndarray:
    """For each set, its largest weight in a dense convolution, as a part of the output channel's largest."""
    found = np.zeros(len(channels.parent))
    for node in graph.nodes:
        if node.op_type not in ("Conv", "ConvTranspose") or _depthwise(graph, node):
            continue
        weight = np.abs(graph.weights[node.input[1]])
        weight = weight.max(axis=(2, 3)) if node.op_type == "Conv" else weight.max(axis=(2, 3)).T
        part = (weight / np.maximum(weight.max(axis=1, keepdims=True), 1e-12)).max(axis=0)
        np.maximum.at(found, channels.roots(node.input[0]), part)
    return found


def _depthwise(graph: Graph, node) -> bool:
    return node.op_type == "Conv" and graph.weights[node.input[1]].shape[1] == 1 and _width(graph, node) > 1


def _rescale(graph: Graph, channels: Channels, factor: np.ndarray, node) -> None:
    before, after = factor[channels.roots(node.input[0])], factor[channels.roots(node.output[0])]
    name = node.input[1]
    weight = graph.weights[name].astype(np.float64)
    if _depthwise(graph, node):
        weight = weight * (before / after)[:, None, None, None]
    elif node.op_type == "Conv":
        weight = weight * before[None, :, None, None] / after[:, None, None, None]
    else:
        weight = weight * before[:, None, None, None] / after[None, :, None, None]
    graph.weights[name] = weight.astype(np.float32)
    if len(node.input) == 3:
        graph.weights[node.input[2]] = (graph.weights[node.input[2]] / after).astype(np.float32)
