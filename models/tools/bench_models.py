"""Networks to measure with. In: a folder. Out: f32 and int8 ONNX, manifests.

    python bench_models.py OUT_DIR [NAME...]

The shapes of real networks with random weights: `<name>.f32.onnx`, `<name>.int8.onnx` and, for the latter, `<name>.toml`. int8:
QDQ, weights per channel in 7 bits (-64..=63), u8 activations, calibrated on random inputs.
The shipped models as they were before quantisation: `<name>.f32.onnx` alone, for their int8 form and its manifest are in their
folders.
All are made where they are needed and never shipped.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import foreign
import ocr
from blocks import relu6
from folder import drawn, manifest
from make import DETECTOR, RECOGNISER, pruned_recogniser, source_detector
from sketch import Sketch
from source import sha256

OPSET = 17
SAMPLES = 3

# Mean and deviation per channel of ImageNet on a 0..=1 scale, R, G, B.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# MobileNetV2 1.0: widening, channels, blocks, stride of the first block.
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def gait_student(g: Sketch) -> str:
    """`clip [1, 3, 16, 224, 224]` frames and `condition [1, 768]` embedding -> `[1, 9]`; 13.05 M weights, 6.6 GMAC.

    Batch normalization is folded away; the adaptive pool to `[16, 7, 7]` is a pool of 4 x 4, as 28 is a multiple of 7.
    """
    x, channels = g.input(1, 3, 16, 224, 224, name="clip"), 3
    for wider in (16, 32, 64):
        x = g.op("Relu", g.conv(x, wider, channels, 3, 3, 3, kernel_shape=[3, 3, 3], pads=[1] * 6))
        x, channels = g.op("MaxPool", x, kernel_shape=[1, 2, 2], strides=[1, 2, 2]), wider
    x = g.op("Flatten", g.op("AveragePool", x, kernel_shape=[1, 4, 4], strides=[1, 4, 4]), axis=1)
    condition = g.gemm(g.input(1, 768, name="condition"), 768, 128)
    x = g.op("Concat", x, condition, axis=1)
    return g.gemm(g.op("Relu", g.gemm(x, 64 * 16 * 7 * 7 + 128, 256)), 256, 9)


def mobilenetv2(g: Sketch) -> str:
    """`x [1, 3, 224, 224]` -> `[1, 1000]`; 3.5 M weights, 0.3 GMAC."""
    x = relu6(g, g.conv(g.input(1, 3, 224, 224), 32, 3, 3, 3, gain=1, pads=[1, 1, 1, 1], strides=[2, 2]))
    channels = 32
    for widening, narrow, blocks, first in STAGES:
        for i in range(blocks):
            x, channels = _inverted_residual(g, x, channels, narrow, widening, first if i == 0 else 1), narrow
    x = relu6(g, g.conv(x, 1280, channels, 1, 1, gain=1))
    return g.gemm(g.op("Flatten", g.op("GlobalAveragePool", x), axis=1), 1280, 1000)


NETWORKS = {
    "gait-student": gait_student,
    "mobilenetv2": mobilenetv2,
}
# What the manifests say of inputs that take pixels; an embedding takes numbers.
PIXELS = {"channels": "rgb", "mean": MEAN, "std": STD}


SHIPPED = {DETECTOR: source_detector, RECOGNISER: lambda: pruned_recogniser()[0]}


def make_f32(name: str, out: Path) -> None:
    """Writes a shipped model as it was before quantisation."""
    graph = SHIPPED[name]()
    ocr.centre_input(graph)
    graph.save(out / f"{name}.f32.onnx")


def make(name: str, out: Path) -> None:
    """Writes the three files of a network with random weights."""
    sketch = Sketch(seed=7)
    whole = sketch.model(NETWORKS[name](sketch), OPSET, output="logits")
    samples = [{k: _noise(sketch.rng, shape) for k, shape in sketch.inputs.items()} for _ in range(SAMPLES)]
    small = foreign.static(whole, samples, unsigned=True, per_channel=True, reduce_range=True)
    _seven_bits(small)
    onnx.checker.check_model(small, full_check=True)
    paths = [out / f"{name}.{kind}.onnx" for kind in ("f32", "int8")]
    for path, model in zip(paths, (whole, small)):
        path.write_bytes(model.SerializeToString(deterministic=True))
    inputs = [{"name": k, "shape": shape} | (PIXELS if len(shape) > 2 else {}) for k, shape in sketch.inputs.items()]
    outputs = [{"name": v.name, "shape": [d.dim_value for d in v.type.tensor_type.shape.dim]} for v in whole.graph.output]
    (out / f"{name}.toml").write_text(manifest(drawn(name, sha256(paths[1])), inputs, outputs))


def _inverted_residual(g: Sketch, x: str, channels: int, narrow: int, widening: int, stride: int) -> str:
    wide = channels * widening
    y = relu6(g, g.conv(x, wide, channels, 1, 1, gain=1)) if widening > 1 else x
    y = relu6(g, g.conv(y, wide, 1, 3, 3, group=wide, pads=[1, 1, 1, 1], strides=[stride, stride]))
    y = g.conv(y, narrow, wide, 1, 1)
    return g.op("Add", x, y) if stride == 1 and channels == narrow else y


def _noise(rng, shape) -> np.ndarray:
    """Pixels after normalisation span about -2.1..=2.6; an embedding has length 1."""
    if len(shape) == 2:
        return (rng.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float32)
    return rng.uniform(-2.1, 2.6, shape).astype(np.float32)


def _seven_bits(model) -> None:
    """onnxruntime's reduced range ends at 64, one more than seven bits hold: that becomes 63, in `model` itself."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            values = numpy_helper.to_array(tensor)
            if values.min() < -64 or values.max() > 64:
                raise ValueError(f"{tensor.name}: {values.min()}..={values.max()} is no reduced range")
            tensor.CopyFrom(numpy_helper.from_array(np.minimum(values, 63), tensor.name))


def main() -> None:
    """Makes the named networks, or all of them."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or [*NETWORKS, *SHIPPED]:
        (make_f32 if name in SHIPPED else make)(name, out)
        print(", ".join(f"{p.name} {p.stat().st_size / 1e6:.1f} MB" for p in sorted(out.glob(f"{name}.*"))), flush=True)


if __name__ == "__main__":
    main()
