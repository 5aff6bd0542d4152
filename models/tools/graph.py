"""An ONNX graph that is easy to rewrite: nodes in a list, weights in a dict of arrays. Rewriting itself is in clean.py."""

from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

# The first operator set with Gelu; the last one in which nothing that we use has changed for tract 0.23.
OPSET = 20
IR_VERSION = 10


class Graph:
    """One network. `weights`: name -> array. `inputs`, `outputs`: name -> list of int, symbol or None (unknown)."""

    def __init__(self, nodes, weights, inputs, outputs):
        self.nodes, self.weights, self.inputs, self.outputs = nodes, weights, inputs, outputs

    @classmethod
    def load(cls, path) -> "Graph":
        """Reads a file; value_info is dropped and Constant nodes become weights."""
        proto = onnx.load(path).graph
        weights = {t.name: numpy_helper.to_array(t) for t in proto.initializer}
        nodes = []
        for node in proto.node:
            if node.op_type == "Constant":
                weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                nodes.append(node)
        return cls(nodes, weights, _shapes(proto.input), _shapes(proto.output))

    def producers(self) -> dict:
        """Tensor name -> the node that makes it."""
        return {name: node for node in self.nodes for name in node.output}

    def consumers(self) -> dict:
        """Tensor name -> the nodes that read it, one entry per use."""
        users = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                users[name].append(node)
        return users

    def rename(self, old: str, new: str) -> None:
        """Makes every reader of tensor `old` read `new`."""
        for node in self.nodes:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new

    def replace(self, old_nodes: list, new_nodes: list) -> None:
        """Puts `new_nodes` in the place of the last of `old_nodes`, which keeps the topological order."""
        gone = {id(n) for n in old_nodes}
        last = max(i for i, n in enumerate(self.nodes) if id(n) in gone)
        head = [n for n in self.nodes[:last] if id(n) not in gone]
        self.nodes = head + new_nodes + self.nodes[last + 1:]

    def sweep(self) -> None:
        """Removes nodes and weights that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.weights = {k: v for k, v in self.weights.items() if k in needed}

    def copy(self) -> "Graph":
        """A copy whose nodes and dicts can be changed; arrays are shared and must not be."""
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in self.nodes]
        return Graph(nodes, dict(self.weights), dict(self.inputs), dict(self.outputs))

    def proto(self, extra_outputs=()) -> onnx.ModelProto:
        """The model; `extra_outputs`: f32 tensors to expose beside the outputs, for calibration."""
        def value(name, shape):
            return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

        outputs = [value(n, s) for n, s in self.outputs.items()] + [value(n, None) for n in extra_outputs]
        weights = [numpy_helper.from_array(np.asarray(v, order="C"), k) for k, v in self.weights.items()]
        graph = helper.make_graph(
            self.nodes, "graph", [value(n, s) for n, s in self.inputs.items()], outputs, weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="ephemera models/tools")

    def save(self, path) -> None:
        """Checks the model against the ONNX specification and writes it."""
        model = self.proto()
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))


def attributes(node) -> dict:
    """A node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def set_attribute(node, name: str, value) -> None:
    """Sets one attribute; None removes it."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept if value is None else [*kept, helper.make_attribute(name, value)])


def _shapes(values) -> dict:
    return {v.name: [d.dim_value or d.dim_param or None for d in v.type.tensor_type.shape.dim] for v in values}
