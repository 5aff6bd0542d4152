"""A recogniser's folder -> weights to train on from. In: its `model.onnx` (QDQ int8), `model.toml`, batches of lines. Out: a network that reads as it does.

What is shipped is integers with the normalisation folded in, and that is all one needs: weights are the integers times their scales, and
each normalisation is given the mean and the deviation that its convolution has on lines of training, so that it changes nothing at first.
Another pack's classes are taken over by their characters; a letter with a mark that is new begins as the letter without it.
"""

import tomllib
import unicodedata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from graph import Graph
from lines import measure
from lines.characters import characters
from lines.network import Conv, Recogniser

# What a class that is new has less than the letter it begins as, in logits; and what one has that has no such letter.
BEHIND, UNKNOWN = 2.0, -8.0


def begin(network: Recogniser, folder: Path, pack: str, batches) -> dict:
    """Gives `network`, of the shape that `folder` was made from, its weights; raises ValueError when the shapes differ.

    Returns the folder's name, version and SHA-256, for the run's record.
    """
    graph = Graph.load(folder / "model.onnx")
    layers = [module for module in network.modules() if isinstance(module, Conv)]
    nodes = [node for node in graph.nodes if node.op_type == "Conv"]
    if len(layers) != len(nodes):
        raise ValueError(f"{folder.name} has {len(nodes)} convolutions, expected {len(layers)}")
    with torch.no_grad():
        for layer, node in zip(layers, nodes):
            _convolution(layer, _real(graph, node.input[1]), _real(graph, node.input[2]))
        about = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
        (product,) = (node for node in graph.nodes if node.op_type == "MatMul")
        _head(network.head, _real(graph, product.input[1]).T, _real(graph, "head.bias"), list(about["characters"]), pack)
        _normalise(network, layers, batches)
    return {key: about[key] for key in ("name", "version", "sha256")}


def _real(graph: Graph, name: str) -> np.ndarray:
    """A weight as f64, whether it is kept as integers or not."""
    if name in graph.weights:
        return graph.weights[name].astype(np.float64)
    (node,) = (node for node in graph.nodes if name in node.output)
    values, scale = (graph.weights[part].astype(np.float64) for part in node.input[:2])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return values * (scale.reshape([-1 if i == axis else 1 for i in range(values.ndim)]) if scale.ndim else scale)


def _convolution(layer: Conv, weight: np.ndarray, bias: np.ndarray) -> None:
    convolution, norm = layer[0], layer[1]
    if convolution.in_channels == 1 and convolution.groups == 1:
        # Grey gives what equal colours gave.
        weight = weight.sum(axis=1, keepdims=True)
    if tuple(convolution.weight.shape) != weight.shape:
        raise ValueError(f"a convolution is {list(weight.shape)}, expected {list(convolution.weight.shape)}")
    convolution.weight.copy_(torch.from_numpy(weight))
    norm.weight.fill_(1.0)
    norm.bias.copy_(torch.from_numpy(bias))
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)


def _head(head: nn.Linear, weight: np.ndarray, bias: np.ndarray, known: list[str], pack: str) -> None:
    """`weight` `[classes, width]`, `bias` `[classes]`, of the characters `known` behind the blank."""
    at = {c: i + 1 for i, c in enumerate(known)}
    for i, c in enumerate(["", *characters(pack)]):
        letter = at.get(unicodedata.normalize("NFD", c)[:1])
        if i == 0 or c in at:
            from_, less = at.get(c, 0), 0.0
        elif letter is not None:
            from_, less = letter, BEHIND
        else:
            nn.init.normal_(head.weight[i], std=float(weight.std()))
            head.bias[i] = UNKNOWN
            continue
        head.weight[i] = torch.from_numpy(weight[from_])
        head.bias[i] = bias[from_] - less


def _normalise(network: Recogniser, layers: list[Conv], batches) -> None:
    """Moves what each convolution gives on `batches` into its normalisation, which computes the same as before."""
    sums = {}

    def add(layer, _, made):
        found = sums.setdefault(layer, [0, 0.0, 0.0])
        flat = made.double().transpose(0, 1).flatten(1)
        found[0], found[1], found[2] = found[0] + flat.shape[1], found[1] + flat.sum(1), found[2] + (flat ** 2).sum(1)

    hooks = [layer[0].register_forward_hook(add) for layer in layers]
    was = network.training
    network.eval()
    for batch in batches:
        network(measure.normalise(batch.pixels.to(network.head.weight.device)))
    network.train(was)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        count, total, squares = sums[layer[0]]
        mean = total / count
        variance = (squares / count - mean ** 2).clamp_min(0)
        norm = layer[1]
        norm.bias.add_(mean.to(norm.bias.dtype))
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
