"""Sub-networks of several operators for `patterns.py`. In: Sketch. Out: the last tensor's name. Shapes are `[N, C, H, W]`."""

import math

import numpy as np

from sketch import Sketch

SAME = {"pads": [1, 1, 1, 1]}


def clip_stage(g: Sketch) -> str:
    """`x [1, 3, 4, 6, 6]` frames -> Conv3d, ReLU, pool over height and width -> `[1, 8, 4, 3, 3]`."""
    x = g.op("Relu", g.conv(g.input(1, 3, 4, 6, 6), 8, 3, 3, 3, 3, pads=[1] * 6))
    return g.op("MaxPool", x, kernel_shape=[1, 2, 2], strides=[1, 2, 2])


def unfolded_normalization(g: Sketch) -> str:
    """A convolution whose batch normalization nobody has folded into it."""
    x = g.conv(g.input(1, 5, 7, 6), 8, 5, 3, 3, **SAME)
    spread = g.const(np.abs(g.rng.standard_normal(8)).astype(np.float32) + 0.5, "variance")
    return g.op("BatchNormalization", x, g.draw(8), g.draw(8, scale=0.3), g.draw(8, scale=0.3), spread)


def residual(g: Sketch) -> str:
    """relu(x + conv(relu(conv(x)))), 5 channels."""
    x = g.input(1, 5, 7, 6)
    y = g.op("Relu", g.conv(x, 8, 5, 3, 3, **SAME))
    return g.op("Relu", g.op("Add", g.conv(y, 5, 8, 3, 3, **SAME), x))


def conv_relu_pool(g: Sketch) -> str:
    """Conv, ReLU, MaxPool, pointwise Conv: 3 -> 13 -> 6 channels."""
    x = g.op("Relu", g.conv(g.input(1, 3, 8, 8), 13, 3, 3, 3, **SAME))
    return g.conv(g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 6, 13, 1, 1)


def swish(g: Sketch) -> str:
    """x * sigmoid(x) behind a convolution."""
    x = g.conv(g.input(1, 5, 7, 6), 8, 5, 1, 1)
    return g.op("Mul", x, g.op("Sigmoid", x))


def gelu(g: Sketch) -> str:
    """x / 2 * (1 + erf(x / sqrt 2)) in single operators, on `[1, 6, 13]`."""
    x = g.linear(g.input(1, 6, 13), 13, 13)
    bell = g.op("Erf", g.op("Div", x, g.const(math.sqrt(2))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", bell, g.const(1.0))), g.const(0.5))


def reordered(g: Sketch) -> str:
    """NCHW -> NHWC -> `[1, 7, 24]` -> `[1, 168]` -> Gemm to 10."""
    x = g.conv(g.input(1, 5, 7, 4), 6, 5, 1, 1)
    x = g.op("Reshape", g.op("Transpose", x, perm=[0, 2, 3, 1]), g.const([1, 7, 24], "shape"))
    return g.gemm(g.op("Flatten", x, axis=1), 168, 10)


def swapped_halves(g: Sketch) -> str:
    """Channels split 3 + 5 and joined the other way round."""
    few, many = g.op("Split", g.conv(g.input(1, 5, 7, 6), 8, 5, 1, 1), g.const([3, 5], "parts"), outputs=2, axis=1)
    return g.op("Concat", many, few, axis=1)


def padded(g: Sketch) -> str:
    """A Pad with zeros of its own, uneven, before a strided convolution without pads."""
    x = g.op("Pad", g.conv(g.input(1, 5, 7, 8), 6, 5, 1, 1), g.const([0, 0, 0, 1, 0, 0, 1, 2], "pads"), g.const(0.0))
    return g.conv(x, 8, 6, 3, 3, strides=[2, 2])


def quarters(g: Sketch) -> str:
    """Every second row and column, four ways, joined as channels before a convolution (YOLOv5's first layer)."""
    x, parts = g.conv(g.input(1, 5, 8, 6), 4, 5, 1, 1), []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        y = g.op("Slice", x, *(g.const([v]) for v in (row, 2**31 - 1, 2, 2)))
        parts.append(g.op("Slice", y, *(g.const([v]) for v in (column, 2**31 - 1, 3, 2))))
    return g.conv(g.op("Concat", *parts, axis=1), 8, 16, 3, 3, **SAME)


def upsampled_to_shape(g: Sketch) -> str:
    """A coarse map resized to the shape that a fine one has, as exporters write it, and added to it."""
    fine = g.op("Relu", g.conv(g.input(1, 3, 8, 10), 6, 3, 3, 3, **SAME))
    coarse = g.op("Relu", g.conv(fine, 6, 6, 3, 3, strides=[2, 2], **SAME))
    shape = g.op("Slice", g.op("Shape", fine), g.const([2]), g.const([4]), g.const([0]))
    shape = g.op("Concat", g.const([1, 6]), shape, axis=0)
    return g.conv(g.op("Add", g.op("Resize", coarse, "", "", shape, mode="nearest"), fine), 4, 6, 1, 1)


def shuffled(g: Sketch) -> str:
    """Channels of two groups interleaved by way of five axes, then a depthwise convolution."""
    x = g.op("Reshape", g.conv(g.input(1, 6, 7, 6), 8, 6, 1, 1), g.const([0, 2, 4, 7, 6], "shape"))
    x = g.op("Reshape", g.op("Transpose", x, perm=[0, 2, 1, 3, 4]), g.const([0, -1, 7, 6], "shape"))
    return g.conv(x, 8, 1, 3, 3, group=8, **SAME)


def dense(g: Sketch) -> str:
    """Two layers of batch normalization, ReLU and convolution, each joined to all before it."""
    x = g.conv(g.input(1, 5, 7, 6), 8, 5, 1, 1)
    for channels in (8, 12):
        spread = g.const(np.abs(g.rng.standard_normal(channels)).astype(np.float32) + 0.5, "variance")
        few = [g.draw(channels, scale=0.3) for _ in range(2)]
        y = g.op("Relu", g.op("BatchNormalization", x, g.draw(channels), *few, spread))
        x = g.op("Concat", x, g.conv(y, 4, channels, 3, 3, **SAME), axis=1)
    return x


def detections(g: Sketch) -> str:
    """Three anchors of 2 + 2 + 2 values on a grid of 4 by 6: places, extents and scores from sigmoids (YOLOv5's head)."""
    x = g.op("Reshape", g.conv(g.input(1, 5, 4, 6), 18, 5, 1, 1), g.const([1, 3, 6, 4, 6], "shape"))
    x = g.op("Sigmoid", g.op("Transpose", x, perm=[0, 1, 3, 4, 2]))
    place, extent, score = g.op("Split", x, g.const([2, 2, 2], "parts"), outputs=3, axis=4)
    place = g.op("Mul", g.op("Add", g.op("Mul", place, g.const(2.0)), g.draw(1, 1, 4, 6, 2)), g.const(8.0))
    extent = g.op("Mul", g.op("Pow", g.op("Mul", extent, g.const(2.0)), g.const(2.0)), g.draw(1, 3, 1, 1, 2))
    return g.op("Reshape", g.op("Concat", place, extent, score, axis=4), g.const([1, -1, 6], "shape"))


def transformer(g: Sketch) -> str:
    """A whole layer on `[1, 9, 12]`: two heads of 6, GELU of 24, each behind a normalization and with a residual sum."""
    x = g.input(1, 9, 12)

    def normal(x):
        return g.op("LayerNormalization", x, g.draw(12), g.draw(12, scale=0.2), axis=-1)

    def heads(y, perm):
        return g.op("Transpose", g.op("Reshape", g.linear(y, 12, 12), g.const([1, 9, 2, 6], "shape")), perm=perm)

    y = normal(x)
    q, k, v = heads(y, [0, 2, 1, 3]), heads(y, [0, 2, 3, 1]), heads(y, [0, 2, 1, 3])
    weights = g.op("Softmax", g.op("Mul", g.op("MatMul", q, k), g.const(1 / math.sqrt(6))), axis=-1)
    y = g.op("Reshape", g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3]), g.const([1, 9, 12], "shape"))
    x = g.op("Add", x, g.linear(y, 12, 12))
    y = g.linear(normal(x), 12, 24)
    bell = g.op("Erf", g.op("Div", y, g.const(math.sqrt(2))))
    y = g.op("Mul", g.op("Mul", y, g.op("Add", bell, g.const(1.0))), g.const(0.5))
    return g.op("Add", x, g.linear(y, 24, 12))


def inverted_residual(g: Sketch) -> str:
    """MobileNetV2's block: widen 5 -> 24, depthwise, both with ReLU6, narrow, add."""
    x = g.input(1, 5, 7, 6)
    y = relu6(g, g.conv(x, 24, 5, 1, 1))
    y = relu6(g, g.conv(y, 24, 1, 3, 3, group=24, **SAME))
    return g.op("Add", x, g.conv(y, 5, 24, 1, 1))


def squeeze_excite(g: Sketch) -> str:
    """A depthwise convolution whose channels are weighed by what their means say."""
    x = g.op("HardSwish", g.conv(g.input(1, 13, 7, 6), 13, 1, 3, 3, group=13, **SAME))
    gate = g.op("Relu", g.conv(g.op("GlobalAveragePool", x), 4, 13, 1, 1))
    return g.op("Mul", x, g.op("HardSigmoid", g.conv(gate, 13, 4, 1, 1), alpha=1 / 6))


def attention(g: Sketch) -> str:
    """Two heads of 6 on `[1, 9, 12]`, with biases and the residual sum."""
    x = g.input(1, 9, 12)

    def heads(perm):
        y = g.op("Reshape", g.linear(x, 12, 12), g.const([1, 9, 2, 6], "shape"))
        return g.op("Transpose", y, perm=perm)

    q, k, v = heads([0, 2, 1, 3]), heads([0, 2, 3, 1]), heads([0, 2, 1, 3])
    weights = g.op("Softmax", g.op("Mul", g.op("MatMul", q, k), g.const(1 / math.sqrt(6))), axis=-1)
    y = g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    return g.op("Add", x, g.linear(g.op("Reshape", y, g.const([1, 9, 12], "shape")), 12, 12))


def two_branch_head(g: Sketch) -> str:
    """A pooled clip `[1, 3, 2, 8, 8]` and an embedding `[1, 24]`, flattened, joined, classified into 9."""
    clip = g.op("Relu", g.conv(g.input(1, 3, 2, 8, 8, name="clip"), 5, 3, 1, 1, 1))
    clip = g.op("Flatten", g.op("AveragePool", clip, kernel_shape=[1, 4, 4], strides=[1, 4, 4]))
    both = g.op("Concat", clip, g.gemm(g.input(1, 24, name="condition"), 24, 13), axis=1)
    return g.gemm(g.op("Relu", g.gemm(both, 53, 24)), 24, 9)


def relu6(g: Sketch, x: str) -> str:
    """Clip to 0..=6."""
    return g.op("Clip", x, g.const(0.0, "least"), g.const(6.0, "most"))
