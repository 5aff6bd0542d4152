"""Small graphs as other tools quantise them, one folder for each operator pattern that the engine must read.

In: nothing. Out: `<folder>/<name>/` with `model.onnx`, `model.toml`, `input.<tensor>.f32`, `output.<tensor>.f32` (what
onnxruntime makes of it without graph optimisation) and `case.toml` (shapes, and the step of the output's last 8 bits).

    python patterns.py [FOLDER [NAME...]]      the default is functions/engine/tests/patterns

Add one: a line in PATTERNS. Inputs lie within the calibrated range, and the same tools make the same bytes.
"""

import json
import shutil
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import blocks
import foreign
from folder import drawn, manifest
from sketch import Sketch
from source import sha256

FOLDER = Path(__file__).resolve().parents[2] / "functions/engine/tests/patterns"

# Uneven, so that no zero point is the middle; each further input is wider, so that mappings differ.
RANGES = [(-0.7, 1.3), (-2.1, 0.9), (-0.2, 0.5)]
SAMPLES = 8


@dataclass(frozen=True)
class Pattern:
    """`build` draws the f32 graph and returns its last tensor. `tool`: static, exported, fake or inputs (see foreign.py).

    `byte_weights`: u8 weights with a zero point. `spread` widens the inputs' ranges, so that curves bend and clips clip.
    """

    build: Callable[[Sketch], str]
    opset: int = 13
    tool: str = "static"
    per_channel: bool = False
    unsigned: bool = False
    byte_weights: bool = False
    spread: float = 1.0


def conv(channels, *weight, size=(7, 6), **attributes) -> Callable:
    """`x [1, channels, ...size]` and one convolution, its weight `[N, K / group, ...kernel]`."""
    return lambda g: g.conv(g.input(1, channels, *size), *weight, **attributes)


def deconv(channels, *weight, **attributes) -> Callable:
    """`x [1, channels, 5, 6]` and one transposed convolution."""
    return lambda g: g.deconv(g.input(1, channels, 5, 6), *weight, **attributes)


def unary(kind, *shape, **attributes) -> Callable:
    """One operator on the input, `[1, 5, 7, 6]` unless given."""
    return lambda g: g.op(kind, g.input(*(shape or (1, 5, 7, 6))), **attributes)


def after(kind, channels=8, size=(7, 9), **attributes) -> Callable:
    """A pointwise convolution to `[1, channels, ...size]`, then the operator: tools quantise it only behind another."""
    return lambda g: g.op(kind, stem(g, channels, size), **attributes)


def binary(kind, a, b) -> Callable:
    """An operator on two inputs of these shapes."""
    return lambda g: g.op(kind, g.input(*a, name="a"), g.input(*b, name="b"))


def stem(g, channels=8, size=(7, 9)) -> str:
    """`x [1, 5, ...size]` -> `[1, channels, ...size]`."""
    return g.conv(g.input(1, 5, *size), channels, 5, *[1] * len(size))


def resize(scales, size=(5, 7), **attributes) -> Callable:
    return lambda g: g.op("Resize", stem(g, 6, size), "", g.const(scales, "scales"), **attributes)


def gemm(inner, outer, transposed) -> Callable:
    return lambda g: g.gemm(g.input(1, inner), inner, outer, transposed)


def clip(low, high) -> Callable:
    return lambda g: g.op("Clip", stem(g), g.const(low, "least"), g.const(high, "most"))


def pad(*value, **attributes) -> Callable:
    """Uneven pads for height and width."""
    return lambda g: g.op("Pad", stem(g), g.const([0, 0, 1, 2, 0, 0, 2, 1], "pads"), *map(g.const, value), **attributes)


def sizes(height, width, **attributes) -> Callable:
    return lambda g: g.op("Resize", stem(g, 6, (5, 7)), "", "", g.const([1, 6, height, width]), **attributes)


def concat(axis, a, b) -> Callable:
    return lambda g: g.op("Concat", g.input(*a, name="a"), g.input(*b, name="b"), axis=axis)


def pooled(*convolution, between=(), conv_attributes=None, **attributes) -> Callable:
    """A convolution as `conv` makes it, the operators `between` with their attributes, and a max pool."""
    def build(g):
        x = conv(*convolution[:-1], size=convolution[-1], **(conv_attributes or {}))(g)
        for kind, more in between:
            x = g.op(kind, x, **more)
        return g.op("MaxPool", x, **attributes)
    return build


IMAGE, GATE = (1, 5, 7, 6), (1, 5, 1, 1)
DENSE = conv(5, 8, 5, 3, 3, pads=[1, 1, 1, 1])
DEPTHWISE = conv(13, 13, 1, 3, 3, pads=[1, 1, 1, 1], group=13)
RELU = ("Relu", {})
PAIR = {"strides": [2, 2], "kernel_shape": [2, 2]}
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}

PATTERNS = {
    "conv-1x1": Pattern(conv(5, 8, 5, 1, 1)),
    "conv-1x1-per-channel": Pattern(conv(13, 24, 13, 1, 1), per_channel=True),
    "conv-1x1-no-bias": Pattern(lambda g: g.op("Conv", g.input(*IMAGE), g.draw(8, 5, 1, 1, scale=0.6, name="weight"))),
    "conv-3x3": Pattern(DENSE),
    "conv-3x3-per-channel": Pattern(DENSE, per_channel=True),
    "conv-3x3-u8": Pattern(DENSE, unsigned=True),
    "conv-3x3-u8-per-channel": Pattern(DENSE, opset=15, unsigned=True, per_channel=True),
    "conv-strided": Pattern(conv(3, 8, 3, 3, 3, size=(9, 8), pads=[1, 1, 1, 1], strides=[2, 2])),
    "conv-dilated": Pattern(conv(5, 6, 5, 3, 3, size=(9, 9), pads=[2, 2, 2, 2], dilations=[2, 2])),
    "conv-groups-2": Pattern(conv(6, 10, 3, 3, 3, pads=[1, 1, 1, 1], group=2)),
    "conv-groups-4": Pattern(conv(12, 8, 3, 3, 3, pads=[1, 1, 1, 1], group=4), per_channel=True),
    "conv-depthwise-3x3": Pattern(DEPTHWISE),
    "conv-depthwise-3x3-per-channel": Pattern(DEPTHWISE, per_channel=True, unsigned=True),
    "conv-depthwise-5x5": Pattern(conv(5, 5, 1, 5, 5, pads=[2, 2, 2, 2], group=5)),
    "conv-depthwise-strided": Pattern(conv(5, 5, 1, 3, 3, size=(9, 9), pads=[1, 1, 1, 1], group=5, strides=[2, 2])),
    "conv-depthwise-multiplier-2": Pattern(conv(5, 10, 1, 3, 3, pads=[1, 1, 1, 1], group=5)),
    "conv-asymmetric-pads": Pattern(conv(5, 6, 5, 3, 3, pads=[0, 1, 2, 0])),
    "conv-same-upper": Pattern(conv(3, 6, 3, 3, 3, size=(8, 9), auto_pad="SAME_UPPER", strides=[2, 2])),
    "conv-1d": Pattern(conv(5, 8, 5, 3, size=(13,), pads=[1, 1])),
    "conv-relu": Pattern(lambda g: g.op("Relu", DENSE(g))),
    "conv-3d": Pattern(conv(3, 6, 3, 3, 3, 3, size=(4, 5, 6), pads=[1] * 6)),
    "conv-3d-relu-max-pool": Pattern(blocks.clip_stage),
    "conv-3d-relu-max-pool-u8": Pattern(blocks.clip_stage, opset=17, unsigned=True, per_channel=True),
    "conv-batch-normalization": Pattern(blocks.unfolded_normalization),
    "conv-transpose-2x2": Pattern(deconv(6, 6, 4, 2, 2, strides=[2, 2])),
    "conv-transpose-2x2-per-channel": Pattern(deconv(6, 6, 4, 2, 2, strides=[2, 2]), per_channel=True, unsigned=True),
    "conv-transpose-3x3": Pattern(deconv(6, 6, 5, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    "conv-transpose-4x4": Pattern(deconv(5, 5, 3, 4, 4, strides=[2, 2], pads=[1, 1, 1, 1])),
    "conv-transpose-groups-2": Pattern(deconv(6, 6, 2, 3, 3, strides=[2, 2], group=2)),
    "conv-transpose-depthwise": Pattern(deconv(6, 6, 1, 4, 4, strides=[2, 2], pads=[1, 1, 1, 1], group=6)),
    "conv-3x3-u8-weights": Pattern(DENSE, unsigned=True, byte_weights=True),
    "conv-depthwise-u8-weights": Pattern(DEPTHWISE, unsigned=True, byte_weights=True),

    "gemm": Pattern(gemm(24, 10, True)),
    "gemm-per-channel": Pattern(gemm(24, 10, True), per_channel=True),
    "gemm-untransposed": Pattern(gemm(13, 9, False)),
    "matmul-constant": Pattern(lambda g: g.op("MatMul", g.input(1, 6, 13), g.draw(13, 10, scale=0.3, name="weight"))),
    "matmul-constant-per-channel": Pattern(lambda g: g.linear(g.input(1, 6, 13), 13, 10), per_channel=True),
    "matmul-two-inputs": Pattern(binary("MatMul", (3, 5, 7), (3, 7, 6))),
    "matmul-two-inputs-u8": Pattern(binary("MatMul", (1, 2, 5, 7), (1, 2, 7, 6)), unsigned=True),
    "matmul-broadcast": Pattern(binary("MatMul", (1, 2, 5, 7), (1, 1, 7, 6))),
    "matmul-constant-left": Pattern(lambda g: g.op("MatMul", g.draw(6, 5, scale=0.3), g.input(1, 5, 13))),
    "matmul-u8-weights": Pattern(lambda g: g.linear(g.input(1, 6, 13), 13, 10), unsigned=True, byte_weights=True),
    "gemm-transposed-input": Pattern(
        lambda g: g.op("Gemm", g.input(24, 3), g.draw(10, 24, scale=0.2), g.draw(10), transA=1, transB=1)),

    "add": Pattern(binary("Add", IMAGE, IMAGE)),
    "add-u8": Pattern(binary("Add", IMAGE, IMAGE), unsigned=True),
    "add-constant-per-channel": Pattern(lambda g: g.op("Add", g.input(*IMAGE), g.draw(*GATE))),
    "add-broadcast": Pattern(binary("Add", IMAGE, GATE)),
    "add-residual-relu": Pattern(blocks.residual),
    "add-residual-relu-u8": Pattern(blocks.residual, unsigned=True, per_channel=True),
    "sub": Pattern(binary("Sub", IMAGE, IMAGE)),
    "mul": Pattern(binary("Mul", IMAGE, IMAGE)),
    "mul-gate": Pattern(binary("Mul", IMAGE, GATE)),
    "mul-gate-u8": Pattern(binary("Mul", IMAGE, GATE), unsigned=True),
    "mul-spatial": Pattern(binary("Mul", IMAGE, (1, 1, 7, 6))),
    "concat-channels": Pattern(concat(1, (1, 5, 6, 7), (1, 3, 6, 7))),
    "concat-height": Pattern(concat(2, (1, 5, 4, 6), (1, 5, 3, 6))),
    "concat-width": Pattern(concat(3, (1, 5, 4, 6), (1, 5, 4, 3))),

    "max-pool-2x2": Pattern(after("MaxPool", **PAIR)),
    "max-pool-3x3": Pattern(after("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    # Several blocks, the last window of a line cut off, two panels.
    "conv-max-pool": Pattern(
        pooled(5, 20, 5, 3, 3, (9, 61), between=[RELU], conv_attributes={"pads": [1] * 4}, **PAIR)),
    "conv-max-pool-per-channel": Pattern(
        pooled(3, 16, 3, 3, 3, (12, 26), between=[RELU], conv_attributes={"pads": [1] * 4}, **PAIR),
        unsigned=True, per_channel=True),
    "conv-max-pool-padded": Pattern(
        pooled(3, 8, 3, 3, 3, (8, 9), kernel_shape=[3, 3], strides=[3, 3], pads=[1, 2, 1, 1])),
    "conv-max-pool-ceil": Pattern(
        pooled(3, 8, 3, 3, 3, (9, 12), kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1)),
    "conv-max-pool-lines-apart": Pattern(pooled(3, 8, 3, 2, 3, (12, 13), kernel_shape=[2, 2], strides=[3, 2])),
    "conv-max-pool-groups": Pattern(
        pooled(6, 10, 3, 3, 3, (7, 8), conv_attributes={"group": 2, "strides": [2, 1]}, **PAIR)),
    "conv-max-pool-dilated": Pattern(pooled(3, 6, 3, 3, 3, (9, 12), conv_attributes={"dilations": [2, 2]}, **PAIR)),
    "conv-max-pool-1d": Pattern(pooled(5, 8, 5, 3, (43,), kernel_shape=[2], strides=[2])),
    "conv-max-pool-3d": Pattern(
        pooled(3, 6, 3, 2, 3, 3, (6, 7, 8), between=[RELU], kernel_shape=[2, 2, 2], strides=[2, 2, 2])),
    # Its table falls before it rises: a higher sum may be a lower byte.
    "conv-max-pool-table": Pattern(
        pooled(5, 8, 5, 3, 3, (8, 15), between=[("LeakyRelu", {"alpha": -0.4})], **PAIR), spread=4),
    "conv-max-pool-overlapping": Pattern(
        pooled(3, 8, 3, 3, 3, (9, 12), between=[RELU], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)),
    "average-pool-2x2": Pattern(after("AveragePool", **PAIR)),
    "average-pool-3x3": Pattern(after("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)),
    "average-pool-3x3-pads-count": Pattern(
        after("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)),
    "average-pool-ceil": Pattern(after("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    "max-pool-ceil": Pattern(after("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    "average-pool-3d": Pattern(
        after("AveragePool", 6, (2, 8, 8), kernel_shape=[1, 4, 4], strides=[1, 4, 4]), unsigned=True),
    "global-average-pool": Pattern(after("GlobalAveragePool")),
    "global-max-pool": Pattern(after("GlobalMaxPool")),
    "reduce-mean": Pattern(after("ReduceMean", axes=[2, 3], keepdims=1)),
    "reduce-mean-drop-axes": Pattern(after("ReduceMean", axes=[2, 3], keepdims=0)),
    "resize-nearest": Pattern(resize(
        [1.0, 1.0, 2.0, 2.0], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
    "resize-nearest-half-pixel": Pattern(resize(
        [1.0, 1.0, 2.0, 2.0], mode="nearest", coordinate_transformation_mode="half_pixel",
        nearest_mode="round_prefer_floor")),
    "reduce-mean-channels": Pattern(after("ReduceMean", axes=[1], keepdims=1)),
    "reduce-max-channels": Pattern(after("ReduceMax", axes=[1], keepdims=1)),
    "resize-linear": Pattern(resize([1.0, 1.0, 2.0, 2.0], **LINEAR)),
    "resize-linear-corners": Pattern(
        resize([1.0, 1.0, 2.0, 3.0], mode="linear", coordinate_transformation_mode="align_corners")),
    "resize-sizes": Pattern(
        sizes(9, 13, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
    "resize-to-shape": Pattern(blocks.upsampled_to_shape),

    "clip-relu6": Pattern(clip(0.0, 6.0), spread=4),
    "clip-inside": Pattern(clip(-0.4, 0.9), spread=4),
    "relu": Pattern(unary("Relu")),
    "leaky-relu": Pattern(unary("LeakyRelu", alpha=0.1), spread=4),
    "prelu": Pattern(lambda g: g.op("PRelu", g.input(*IMAGE), g.draw(5, 1, 1, scale=0.3, name="slope")), spread=4),
    "hard-swish": Pattern(unary("HardSwish"), opset=14, spread=4),
    "hard-swish-after-conv": Pattern(after("HardSwish"), opset=17, unsigned=True, per_channel=True, spread=4),
    "hard-sigmoid": Pattern(unary("HardSigmoid"), spread=4),
    "hard-sigmoid-sixth": Pattern(unary("HardSigmoid", alpha=1 / 6), spread=4),
    "sigmoid": Pattern(unary("Sigmoid"), spread=4),
    "tanh": Pattern(unary("Tanh"), spread=4),
    "swish": Pattern(blocks.swish, spread=4),
    "gelu": Pattern(blocks.gelu, spread=4),
    "softmax": Pattern(unary("Softmax", 1, 6, 13, axis=-1), spread=4),
    "softmax-channels": Pattern(after("Softmax", axis=1)),
    "layer-normalization": Pattern(
        lambda g: g.op("LayerNormalization", g.input(1, 7, 24), g.draw(24), g.draw(24, scale=0.2), axis=-1), opset=17),

    "transpose-reshape-flatten": Pattern(blocks.reordered),
    "slice-channels": Pattern(lambda g: g.op("Slice", stem(g), g.const([2]), g.const([7]), g.const([1]))),
    "split-concat": Pattern(blocks.swapped_halves),
    "slice-strided": Pattern(blocks.quarters),
    "slice-reversed": Pattern(lambda g: g.op("Slice", stem(g), *(g.const([v]) for v in (-1, -100, 3, -2)))),
    "gather-channels": Pattern(lambda g: g.op("Gather", stem(g), g.const([2, 0, -1]), axis=1)),
    "expand": Pattern(lambda g: g.op("Expand", g.op("GlobalAveragePool", stem(g)), g.const([1, 8, 3, 4]))),
    "tile": Pattern(lambda g: g.op("Tile", stem(g), g.const([1, 1, 2, 1]))),
    "depth-to-space": Pattern(lambda g: g.op("DepthToSpace", stem(g, 8, (5, 6)), blocksize=2)),
    "pad-conv": Pattern(blocks.padded),
    "pad-value": Pattern(pad(0.25)),
    "pad-reflect": Pattern(pad(mode="reflect")),
    "pad-edge": Pattern(pad(mode="edge")),
    "squeeze": Pattern(lambda g: g.op("Squeeze", stem(g, 8, (1, 9)), g.const([2]))),
    "unsqueeze": Pattern(lambda g: g.op("Unsqueeze", stem(g, 8, (9,)), g.const([2]))),
    "identity": Pattern(after("Identity")),
    "dropout": Pattern(after("Dropout")),

    "block-inverted-residual": Pattern(blocks.inverted_residual, spread=4),
    "block-inverted-residual-u8": Pattern(blocks.inverted_residual, opset=17, unsigned=True, per_channel=True, spread=4),
    "block-squeeze-excite": Pattern(blocks.squeeze_excite, opset=14, spread=4),
    "block-attention": Pattern(blocks.attention, opset=14, spread=4),
    "block-two-branch-head": Pattern(blocks.two_branch_head, opset=17, unsigned=True, per_channel=True),

    "block-channel-shuffle": Pattern(blocks.shuffled),
    "block-dense": Pattern(blocks.dense, per_channel=True),
    "block-detection-head": Pattern(blocks.detections, opset=17, spread=2),
    "block-transformer": Pattern(blocks.transformer, opset=17, spread=2),

    "inputs-residual-relu": Pattern(blocks.residual, tool="inputs"),
    "inputs-conv-relu-pool": Pattern(blocks.conv_relu_pool, tool="inputs"),
    "inputs-dense": Pattern(blocks.dense, tool="inputs"),
    "inputs-transformer": Pattern(blocks.transformer, opset=17, tool="inputs"),

    "torch-conv-relu": Pattern(blocks.conv_relu_pool, opset=17, tool="exported"),
    "torch-fake-quant-conv-relu": Pattern(blocks.conv_relu_pool, opset=17, tool="fake"),
    "torch-depthwise": Pattern(DEPTHWISE, opset=17, tool="exported"),
    "torch-linear": Pattern(gemm(24, 10, True), opset=17, tool="exported"),
    "torch-inverted-residual": Pattern(blocks.inverted_residual, opset=17, tool="exported", spread=4),
    "torch-residual": Pattern(blocks.residual, opset=17, tool="exported"),
}


def make(name: str, folder: Path) -> None:
    """Writes the folder of one pattern, in the place of what was there."""
    pattern = PATTERNS[name]
    seed = zlib.crc32(name.encode())
    sketch = Sketch(seed)
    whole = sketch.model(pattern.build(sketch), pattern.opset)
    samples = draw_samples(sketch.inputs, seed, pattern.spread)
    model = quantise(whole, pattern, samples)
    onnx.checker.check_model(model, full_check=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    outputs = dict(zip((v.name for v in whole.graph.output), foreign.session(model).run(None, samples[0])))
    for kind, tensors in (("input", samples[0]), ("output", outputs)):
        for tensor, values in tensors.items():
            (folder / f"{kind}.{tensor}.f32").write_bytes(values.astype("<f4").tobytes())
    (folder / "case.toml").write_text(case(samples[0], {k: (v.shape, step(model, k)) for k, v in outputs.items()}))
    tables = [[{"name": k, "shape": v.shape} for k, v in tensors.items()] for tensors in (samples[0], outputs)]
    (folder / "model.toml").write_text(manifest(drawn(name, sha256(folder / "model.onnx")), *tables))


def draw_samples(inputs: dict, seed: int, spread: float = 1.0) -> list[dict]:
    """Even noise for each input, name -> shape; the ends of its range come up in every sample but the first."""
    rng, samples = np.random.default_rng([seed, 1]), []
    for _ in range(SAMPLES):
        sample = {}
        for (name, shape), ends in zip(inputs.items(), RANGES):
            low, high = (spread * end for end in ends)
            sample[name] = rng.uniform(low, high, shape).astype(np.float32)
            if samples:
                sample[name].flat[0], sample[name].flat[-1] = low, high
        samples.append(sample)
    return samples


def quantise(whole, pattern: Pattern, samples: list[dict]) -> onnx.ModelProto:
    """The pattern's QDQ form, its ends included. `whole`: the f32 model."""
    if pattern.tool in ("exported", "fake"):
        return foreign.exported(whole, samples, fake=pattern.tool == "fake")
    if pattern.tool == "inputs":
        model = foreign.inputs_only(whole, samples)
    else:
        options = {"weight_type": foreign.BYTE_WEIGHTS} if pattern.byte_weights else {}
        model = foreign.static(whole, samples, pattern.unsigned, per_channel=pattern.per_channel, **options)
    foreign.close(model, whole, samples, pattern.unsigned)
    return model


def step(model, output: str) -> float:
    """The scale of the DequantizeLinear that makes `output`; 0 when another operator does."""
    node = next(n for n in model.graph.node if output in n.output)
    if node.op_type != "DequantizeLinear":
        return 0.0
    known = {t.name: t for t in model.graph.initializer}
    known.update({n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"})
    return float(numpy_helper.to_array(known[node.input[1]]))


def case(inputs: dict, outputs: dict) -> str:
    """`case.toml`. `inputs`: name -> array. `outputs`: name -> (shape, step)."""
    given = [f'{{ name = "{k}", shape = {json.dumps(v.shape)} }}' for k, v in inputs.items()]
    wanted = [f'{{ name = "{k}", shape = {json.dumps(s)}, step = {float(w)!r} }}' for k, (s, w) in outputs.items()]
    return f"inputs = [{', '.join(given)}]\noutputs = [{', '.join(wanted)}]\n"


def main() -> None:
    """Makes the named patterns, or all of them."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    for name in sys.argv[2:] or PATTERNS:
        make(name, folder / name)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{len(sys.argv[2:] or PATTERNS)} patterns; {folder} has {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
