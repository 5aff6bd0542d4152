"""Quantised graphs as other people's tools make them. In: f32 model, samples. Out: QDQ model.

`static`: onnxruntime's quantize_static at its defaults. `exported`: what torch.onnx.export writes after quantisation-aware
training. `inputs_only`: pairs in front of products and nowhere else, as TensorRT's tools put them. `close`: pairs around
inputs and outputs that a tool left in f32, so that every result is a multiple of one step.
"""

import contextlib
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

# Operators that only move or pick values: their output has their input's mapping.
MOVES = ("MaxPool", "Flatten", "Reshape", "Transpose")

# Operators that multiply.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

# `static`'s option for u8 weights, which have a zero point.
BYTE_WEIGHTS = QuantType.QUInt8


def session(model) -> ort.InferenceSession:
    """One thread and no graph optimisation: the graph as it is written. `model`: ModelProto or path."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def static(model: onnx.ModelProto, samples: list[dict], unsigned: bool = False, **options) -> onnx.ModelProto:
    """quantize_static, QDQ. Its defaults: i8 activations with a zero point, i8 weights per tensor in -127..=127.

    `samples`: input name -> f32 array. `unsigned`: u8 activations. `options`: passed on.
    """
    activation = QuantType.QUInt8 if unsigned else QuantType.QInt8
    with tempfile.TemporaryDirectory() as folder, _quiet():
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        # By way of a file: given a model in memory, it moves that model's weights into a file of its own.
        onnx.save(model, whole)
        quantize_static(whole, small, _Reader(samples), QuantFormat.QDQ, activation_type=activation, **options)
        quantised = onnx.load(small)
    del quantised.graph.value_info[:]
    return quantised


def close(model: onnx.ModelProto, whole: onnx.ModelProto, samples: list[dict], unsigned: bool = False) -> None:
    """Puts a pair behind each f32 input and before each f32 output that has none, in `model` itself.

    `whole`: the f32 model, for the outputs' ranges on `samples`.
    """
    graph = model.graph
    ranges = observe(whole, [v.name for v in whole.graph.output], samples)
    for name in [v.name for v in graph.input]:
        readers = [n for n in graph.node if name in n.input and n.op_type != "QuantizeLinear"]
        for node in readers:
            node.input[:] = [f"{name}_real" if i == name else i for i in node.input]
        if readers:
            for node in reversed(_pair(graph, name, name, f"{name}_real", ranges[name], unsigned)):
                graph.node.insert(0, node)
    for name in [v.name for v in graph.output]:
        producer = next(n for n in graph.node if name in n.output)
        if producer.op_type != "DequantizeLinear":
            producer.output[:] = [f"{name}_real" if o == name else o for o in producer.output]
            graph.node.extend(_pair(graph, name, f"{name}_real", name, ranges[name], unsigned))


def exported(model: onnx.ModelProto, samples: list[dict], fake: bool = False) -> onnx.ModelProto:
    """PyTorch's form: i8 with zero point 0 throughout, weights per channel with `axis`, biases f32, scales in Constants.

    A ReLU stays between its convolution and the QuantizeLinear. `fake`: weights are f32 behind a pair of their own, as
    fake-quantised modules are exported; otherwise they are i8.
    """
    graph = onnx.ModelProto.FromString(model.SerializeToString()).graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    ranges = observe(model, [o for n in graph.node for o in n.output], samples)
    relus = {n.input[0] for n in graph.node if n.op_type in ("Relu", "Clip")}
    nodes, kept, real = [], {}, {}

    def pair(name, step):
        """The i8 round trip of tensor `name`; returns the output's name."""
        scale, zero = f"/{name}/Constant_output_0", f"/{name}/Constant_1_output_0"
        made = [f"/{name}/QuantizeLinear_output_0", f"/{name}/DequantizeLinear_output_0"]
        nodes.extend([
            helper.make_node("Constant", [], [scale], value=numpy_helper.from_array(np.float32(step))),
            helper.make_node("Constant", [], [zero], value=numpy_helper.from_array(np.int8(0))),
            helper.make_node("QuantizeLinear", [name, scale, zero], [made[0]], f"/{name}/QuantizeLinear"),
            helper.make_node("DequantizeLinear", [made[0], scale, zero], [made[1]], f"/{name}/DequantizeLinear")])
        return made[1]

    # The whole range is 255 steps wide and symmetric, so its end is half a step beyond 127.
    steps = {name: np.abs(extremes).max() / 127.5 for name, extremes in ranges.items()}
    for name in [v.name for v in graph.input]:
        real[name] = pair(name, steps[name])
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weight = weights[node.input[1]]
            scale = (np.abs(weight.reshape(len(weight), -1)).max(axis=1) / 127.5).astype(np.float32)
            real[node.input[1]] = _weight(nodes, kept, node.input[1], weight, scale, fake)
        node.input[:] = [real.get(i, i) for i in node.input]
        nodes.append(node)
        name = node.output[0]
        if node.op_type in MOVES:
            steps[name] = steps[next(k for k, v in real.items() if v == node.input[0])]
        if name not in relus:
            real[name] = pair(name, steps[name])
    kept.update({k: v for k, v in weights.items() if any(k in n.input for n in nodes)})
    # The last nodes are the only output's: itself, two Constants, Quantize, Dequantize.
    nodes[-1].output[0] = graph.output[0].name
    nodes[-5].output[0] = nodes[-2].input[0] = f"{graph.output[0].name}_real"
    closed = helper.make_graph(
        nodes, "main_graph", graph.input, graph.output, [numpy_helper.from_array(v, k) for k, v in kept.items()])
    return helper.make_model(
        closed, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name="pytorch")


def inputs_only(model: onnx.ModelProto, samples: list[dict]) -> onnx.ModelProto:
    """i8 with zero point 0 for both operands of each product; between products everything is f32. The ends are open."""
    quantised = onnx.ModelProto.FromString(model.SerializeToString())
    graph, pairs = quantised.graph, {}
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    ranges = observe(model, [o for n in graph.node for o in n.output], samples)
    nodes = []
    for node in graph.node:
        for at, name in enumerate(node.input[:2] if node.op_type in PRODUCTS else []):
            if name not in pairs:
                extremes = weights.get(name, ranges.get(name))
                step = np.float32(np.abs(extremes).max() / 127)
                scale, zero, byte, real = (f"{name}_operand_{what}" for what in ("scale", "zero_point", "i8", "real"))
                graph.initializer.extend([
                    numpy_helper.from_array(np.array(step), scale),
                    numpy_helper.from_array(np.array(0, np.int8), zero)])
                if name in weights:
                    graph.initializer.append(numpy_helper.from_array(np.round(weights[name] / step).astype(np.int8), byte))
                else:
                    nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [byte], byte))
                nodes.append(helper.make_node("DequantizeLinear", [byte, scale, zero], [real], real))
                pairs[name] = real
            node.input[at] = pairs[name]
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)
    read = {i for n in nodes for i in n.input}
    kept = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return quantised


def observe(model: onnx.ModelProto, names: list[str], samples: list[dict]) -> dict:
    """Least and greatest value of the inputs and of the tensors `names` over all samples, as `[2] f32`."""
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names)
    run, found = session(probe), {}
    for sample in samples:
        for name, values in [*zip(names, run.run(None, sample)), *sample.items()]:
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, values.min()), max(high, values.max()))
    return {name: np.array(extremes, np.float32) for name, extremes in found.items()}


class _Reader(CalibrationDataReader):
    def __init__(self, samples):
        self.rest = iter(samples)

    def get_next(self):
        return next(self.rest, None)


def _pair(graph, name: str, source: str, target: str, extremes, unsigned: bool) -> list:
    """QuantizeLinear and DequantizeLinear of `name`, from `source` to `target`; 8 bits cover the extremes and zero."""
    low, high = min(float(extremes[0]), 0.0), max(float(extremes[1]), 0.0)
    step = np.float32((high - low) / 255 or 1.0)
    kind, least = (np.uint8, 0) if unsigned else (np.int8, -128)
    scale, zero, byte = f"{name}_scale", f"{name}_zero_point", f"{name}_quantized"
    graph.initializer.extend([
        numpy_helper.from_array(np.array(step, np.float32), scale),
        numpy_helper.from_array(np.array(round(least - low / step), kind), zero)])
    return [helper.make_node("QuantizeLinear", [source, scale, zero], [byte], f"{name}_QuantizeLinear"),
            helper.make_node("DequantizeLinear", [byte, scale, zero], [target], f"{name}_DequantizeLinear")]


def _weight(nodes: list, kept: dict, name: str, weight, scale, fake: bool) -> str:
    """Appends what turns weight `[N, ...]` with scales `[N]` into f32; returns that tensor's name."""
    scales, zeros, target = f"{name}.scale", f"{name}.zero_point", f"/{name}/DequantizeLinear_output_0"
    kept[scales], kept[zeros] = scale, np.zeros(len(scale), np.int8)
    byte = f"/{name}/QuantizeLinear_output_0" if fake else f"{name}.int8"
    if fake:
        kept[name] = weight
        nodes.append(helper.make_node("QuantizeLinear", [name, scales, zeros], [byte], f"/{name}/QuantizeLinear", axis=0))
    else:
        column = scale.reshape(-1, *[1] * (weight.ndim - 1))
        kept[byte] = np.clip(np.round(weight / column), -128, 127).astype(np.int8)
    nodes.append(helper.make_node("DequantizeLinear", [byte, scales, zeros], [target], f"/{name}/DequantizeLinear", axis=0))
    return target


@contextlib.contextmanager
def _quiet():
    """Silences the advice to preprocess: these graphs are meant to be as they are."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(3)
    try:
        yield
    finally:
        logging.disable(before)
        ort.set_default_logger_severity(2)
