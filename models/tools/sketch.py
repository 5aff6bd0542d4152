"""A small f32 network, written one operator a line. In: a seed. Out: a checked ONNX model with random weights."""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Opset 17's format version: what exporters of that time wrote.
IR_VERSION = 8


class Sketch:
    """Nodes and weights so far. Tensors are their names; `rng` draws weights in the order of the calls."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.inputs = [], {}, {}

    def input(self, *shape: int, name: str = "x") -> str:
        """An f32 input of this shape, batch axis included."""
        self.inputs[name] = list(shape)
        return name

    def const(self, values, name: str = "const") -> str:
        """An initialiser; lists of int become i64, of float f32."""
        array = np.asarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"{name}_{len(self.weights)}"
        self.weights[name] = array
        return name

    def draw(self, *shape: int, scale: float = 1.0, name: str = "const") -> str:
        """An initialiser of normal values with deviation `scale`."""
        return self.const((self.rng.standard_normal(shape) * scale).astype(np.float32), name)

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        """One node; returns its output's name, or a list of them when there are several."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        made = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name, **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x: str, *shape: int, gain: float = 2.0, **attributes) -> str:
        """Convolution with bias. `shape`: `[N, K / group, ...kernel]`.

        `gain`: 2 keeps the mean square behind a ReLU (He), 1 where none stands before.
        """
        weight = self.draw(*shape, scale=math.sqrt(gain / math.prod(shape[1:])), name="weight")
        return self.op("Conv", x, weight, self.draw(shape[0], scale=0.1, name="bias"), **attributes)

    def deconv(self, x: str, *shape: int, group: int = 1, **attributes) -> str:
        """Transposed convolution with bias. `shape`: `[K, N / group, ...kernel]`."""
        weight = self.draw(*shape, scale=math.sqrt(2 * group / shape[0]), name="weight")
        bias = self.draw(shape[1] * group, scale=0.1, name="bias")
        return self.op("ConvTranspose", x, weight, bias, group=group, **attributes)

    def gemm(self, x: str, inner: int, outer: int, transposed: bool = True) -> str:
        """`[1, inner] -> [1, outer]`; the weight is `[outer, inner]` when `transposed`, else `[inner, outer]`."""
        shape = (outer, inner) if transposed else (inner, outer)
        weight = self.draw(*shape, scale=math.sqrt(2 / inner), name="weight")
        return self.op("Gemm", x, weight, self.draw(outer, scale=0.1, name="bias"), transB=int(transposed))

    def linear(self, x: str, inner: int, outer: int) -> str:
        """`[..., inner] -> [..., outer]` as MatMul and Add, the way exporters write it for more than two axes."""
        weight = self.draw(inner, outer, scale=math.sqrt(1 / inner), name="weight")
        return self.op("Add", self.op("MatMul", x, weight), self.draw(outer, scale=0.1, name="bias"))

    def model(self, result: str, opset: int, output: str = "y") -> onnx.ModelProto:
        """The network that ends in `result`, which is renamed to `output`; without value_info."""
        for node in self.nodes:
            node.output[:] = [output if name == result else name for name in node.output]
            node.input[:] = [output if name == result else name for name in node.input]
        weights = [numpy_helper.from_array(v, k) for k, v in self.weights.items()]

        def build(shape):
            inputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in self.inputs.items()]
            outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape)]
            graph = helper.make_graph(self.nodes, "graph", inputs, outputs, weights)
            return helper.make_model(
                graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="sketch")

        inferred = onnx.shape_inference.infer_shapes(build(None), strict_mode=True, data_prop=True)
        model = build([d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim])
        onnx.checker.check_model(model, full_check=True)
        return model
