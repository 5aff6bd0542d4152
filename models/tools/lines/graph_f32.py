"""A trained recogniser as an ONNX graph. In: the network in PyTorch. Out: f32 Graph, batch normalisation folded, three colours in.

One node for each layer, by the kinds of modules that `network.py` has. The network was trained on grey; the first convolution takes B, G
and R with the weights of luma, so that a grey line gives what it gave.
"""

import numpy as np
from onnx import helper
from torch import nn

from graph import Graph
from lines.draw import HEIGHT
from lines.network import STEP, Conv, Excite, Inverted, Recogniser, Unit

# Rec. 601 luma, blue first.
LUMA = (0.114, 0.587, 0.299)


class _Builder:
    def __init__(self):
        self.nodes, self.weights, self.counts = [], {}, {}

    def node(self, kind: str, inputs: list[str], **given) -> str:
        self.counts[kind] = self.counts.get(kind, -1) + 1
        name = f"{kind.lower()}{self.counts[kind]}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **given))
        return name

    def constant(self, name: str, value) -> str:
        self.weights[name] = value
        return name

    def convolution(self, x: str, layer: nn.Conv2d, weight: np.ndarray, bias: np.ndarray) -> str:
        number = self.counts.get("Conv", -1) + 1
        pads = [*layer.padding, *layer.padding]
        return self.node(
            "Conv", [x, self.constant(f"conv{number}.weight", weight.astype(np.float32)), self.constant(f"conv{number}.bias", bias.astype(np.float32))],
            kernel_shape=list(layer.kernel_size), strides=list(layer.stride), pads=pads, group=layer.groups, dilations=[1, 1])

    def module(self, module: nn.Module, x: str) -> str:
        """Appends what a module computes of tensor `x`; returns the name of the result."""
        if isinstance(module, Conv):
            y = self.convolution(x, module[0], *folded(module[0], module[1]))
            return self.node("Relu", [y]) if len(module) > 2 else y
        if isinstance(module, Unit):
            return self.node("Relu", [self.node("Add", [x, self.module(module.conv, x)])])
        if isinstance(module, Inverted):
            y = self.module(module.body, x)
            return self.node("Add", [x, y]) if module.added else y
        if isinstance(module, Excite):
            gate = self.node("GlobalAveragePool", [x])
            gate = self.node("Relu", [self.plain(gate, module.reduce)])
            gate = self.node("HardSigmoid", [self.plain(gate, module.expand)], alpha=1 / 6, beta=0.5)
            return self.node("Mul", [x, gate])
        if isinstance(module, nn.Sequential):
            for part in module:
                x = self.module(part, x)
            return x
        if isinstance(module, nn.ReLU):
            return self.node("Relu", [x])
        if isinstance(module, nn.Identity):
            return x
        raise ValueError(f"no node for {type(module).__name__}")

    def plain(self, x: str, layer: nn.Conv2d) -> str:
        return self.convolution(x, layer, *(p.detach().cpu().double().numpy() for p in (layer.weight, layer.bias)))


def build(network: Recogniser) -> Graph:
    """`x [1, 3, 48, 4w]`, B, G, R, `(v - 128) / 127.5` -> `logits [1, w, classes]`."""
    made = _Builder()
    x = made.module(network.body, "x")
    width, classes = network.head.in_features, network.head.out_features
    x = made.node("Reshape", [x, made.constant("rows.shape", np.array([1, width, -1], np.int64))])
    x = made.node("Transpose", [x], perm=[0, 2, 1])
    x = made.node("MatMul", [x, made.constant("head.weight", network.head.weight.detach().cpu().numpy().T.astype(np.float32))])
    made.nodes.append(helper.make_node("Add", [x, made.constant("head.bias", network.head.bias.detach().cpu().numpy())], ["logits"], "logits"))
    return Graph(made.nodes, made.weights, {"x": [1, 3, HEIGHT, f"{STEP}*w"]}, {"logits": [1, "w", classes]})


def folded(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with the normalisation behind it, f64; one grey channel becomes three."""
    weight, gain, offset, mean, variance = (
        t.detach().cpu().double().numpy() for t in (layer.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var))
    factor = gain / np.sqrt(variance + norm.eps)
    weight = weight * factor[:, None, None, None]
    if layer.in_channels == 1 and layer.groups == 1:
        weight = weight * np.array(LUMA)[None, :, None, None]
    return weight, offset - mean * factor
