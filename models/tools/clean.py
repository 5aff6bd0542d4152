"""Rewrites a source network into few, plain operators. In: Graph of opset 11 as exported. Out: the same function, opset 20.

Every step keeps the computed function (up to f32 rounding); `make.py` checks that against the source network. What is
left to others: dropping classes (pack.py) and quantisation (quantise.py).
"""

import numpy as np
from onnx import helper

from graph import Graph, attributes, set_attribute


def detector(graph: Graph) -> Graph:
    """Input `x` `[1, 3, H, W]`, output `probability` `[1, 1, H, W]`, H and W multiples of 32."""
    _common(graph)
    return _finish(graph, {"x": [1, 3, "H", "W"]}, "probability", [1, 1, None, None])


def recogniser(graph: Graph) -> Graph:
    """Input `x` `[1, 3, 48, W]`, output `logits` `[1, T, classes]`, W = 8 T."""
    _common(graph)
    _layer_norm(graph)
    _attention(graph)
    _sequence(graph)
    _drop_softmax(graph)
    classes = graph.weights[graph.nodes[-1].input[1]].shape[-1]
    return _finish(graph, {"x": [1, 3, 48, "W"]}, "logits", [1, None, classes])


def _common(graph: Graph) -> None:
    _drop_identities(graph)
    _fold_batch_norm(graph)
    _fold_bias(graph)
    _explicit_pads(graph)
    _gelu(graph)
    _global_pool(graph)
    _resize(graph)


def _finish(graph: Graph, inputs: dict, output: str, shape: list) -> Graph:
    (old,) = graph.outputs
    graph.producers()[old].output[0] = output
    # Sizes of the output stay open: they follow from the input's, and a symbol of their own would only contradict that.
    graph.inputs, graph.outputs = inputs, {output: shape}
    graph.sweep()
    _name_by_kind(graph)
    return graph


def _drop_identities(graph: Graph) -> None:
    alias = {}
    for node in graph.nodes:
        if node.op_type == "Identity":
            alias[node.output[0]] = alias.get(node.input[0], node.input[0])
    if alias.keys() & graph.outputs.keys():
        raise ValueError("a graph output is an Identity")
    graph.nodes = [n for n in graph.nodes if n.op_type != "Identity"]
    for node in graph.nodes:
        node.input[:] = [alias.get(i, i) for i in node.input]


def _fold_batch_norm(graph: Graph) -> None:
    makers = graph.producers()
    for norm in [n for n in graph.nodes if n.op_type == "BatchNormalization"]:
        conv = makers[norm.input[0]]
        if conv.op_type != "Conv" or len(conv.input) != 2:
            raise ValueError(f"{norm.output[0]}: expected a Conv without bias before it, got {conv.op_type}")
        gamma, beta, mean, variance = (graph.weights[n].astype(np.float64) for n in norm.input[1:])
        factor = gamma / np.sqrt(variance + attributes(norm)["epsilon"])
        weight = graph.weights[conv.input[1]] * factor[:, None, None, None]
        _set_conv(graph, conv, weight, beta - mean * factor, norm.output[0])
        graph.nodes.remove(norm)


def _fold_bias(graph: Graph) -> None:
    """`Conv -> Add [1, C, 1, 1]` becomes a Conv with bias; the same for ConvTranspose."""
    makers = graph.producers()
    for add in [n for n in graph.nodes if n.op_type == "Add"]:
        conv = makers.get(add.input[0])
        bias = graph.weights.get(add.input[1])
        if conv is None or conv.op_type not in ("Conv", "ConvTranspose") or len(conv.input) != 2 or bias is None:
            continue
        channels = graph.weights[conv.input[1]].shape[0 if conv.op_type == "Conv" else 1]
        if bias.shape != (1, channels, 1, 1) or len(graph.consumers()[conv.output[0]]) != 1:
            raise ValueError(f"{add.output[0]}: bias {bias.shape} does not fit {channels} channels")
        _set_conv(graph, conv, graph.weights[conv.input[1]], bias.reshape(-1), add.output[0])
        graph.nodes.remove(add)


def _set_conv(graph: Graph, conv, weight, bias, output: str) -> None:
    """Gives `conv` its own weight and bias, and makes it produce `output`."""
    weight_name, bias_name = f"{output}.weight", f"{output}.bias"
    graph.weights[weight_name] = weight.astype(np.float32)
    graph.weights[bias_name] = bias.astype(np.float32)
    conv.input[:] = [conv.input[0], weight_name, bias_name]
    conv.output[0] = output


def _explicit_pads(graph: Graph) -> None:
    """auto_pad SAME_UPPER with stride 1 adds the same padding at every size: k - 1, the larger half at the end."""
    for node in graph.nodes:
        given = attributes(node)
        if given.get("auto_pad") == b"SAME_UPPER":
            if given["strides"] != [1, 1]:
                raise ValueError(f"{node.output[0]}: SAME_UPPER with strides {given['strides']}")
            total = [k - 1 for k in given["kernel_shape"]]
            set_attribute(node, "auto_pad", None)
            set_attribute(node, "pads", [t // 2 for t in total] + [t - t // 2 for t in total])


def _gelu(graph: Graph) -> None:
    """`x / sqrt(2) -> Erf -> + 1 -> * x -> / 2` becomes Gelu."""
    makers, users = graph.producers(), graph.consumers()
    for erf in [n for n in graph.nodes if n.op_type == "Erf"]:
        div = makers[erf.input[0]]
        (add,) = users[erf.output[0]]
        (mul,) = users[add.output[0]]
        (half,) = users[mul.output[0]]
        x = div.input[0]
        constants = [float(graph.weights[n.input[1]]) for n in (div, add, half)]
        if not np.allclose(constants, [np.sqrt(2), 1, 0.5]) or mul.input[0] != x:
            raise ValueError(f"{erf.output[0]}: not the parts of a Gelu, constants {constants}")
        graph.replace([div, erf, add, mul, half], [helper.make_node("Gelu", [x], [half.output[0]])])


def _global_pool(graph: Graph) -> None:
    for node in graph.nodes:
        given = attributes(node)
        if node.op_type == "ReduceMean" and given["axes"] == [2, 3] and given["keepdims"] == 1:
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]


def _resize(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op_type == "Resize":
            # An empty region of interest: absent, since opset 13.
            node.input[1] = ""


def _layer_norm(graph: Graph) -> None:
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta` over the last axis becomes LayerNormalization."""
    makers, users = graph.producers(), graph.consumers()
    for root in [n for n in graph.nodes if n.op_type == "Sqrt"]:
        shift = makers[root.input[0]]
        variance = makers[shift.input[0]]
        power = makers[variance.input[0]]
        sub = makers[power.input[0]]
        mean = makers[sub.input[1]]
        (div,) = users[root.output[0]]
        (scale,) = users[div.output[0]]
        (add,) = users[scale.output[0]]
        parts = [mean, sub, power, variance, shift, root, div, scale, add]
        kinds = [n.op_type for n in parts]
        if kinds != ["ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"]:
            raise ValueError(f"{root.output[0]}: not the parts of a LayerNormalization: {kinds}")
        graph.replace(parts, [helper.make_node(
            "LayerNormalization", [sub.input[0], scale.input[1], add.input[1]], [add.output[0]],
            axis=-1, epsilon=float(graph.weights[shift.input[1]]))])


def _attention(graph: Graph) -> None:
    """Splits the joint projection by plain Split and Reshape; folds the scale of q into its weights.

    The source: `[1, T, 3 * heads * d]` -> Reshape, Transpose, and for each of q, k, v Slice and Squeeze.
    """
    makers, users = graph.producers(), graph.consumers()
    for softmax in [n for n in graph.nodes if n.op_type == "Softmax" and attributes(n)["axis"] == 3]:
        scores = makers[softmax.input[0]]
        nothing, key_turn = makers[scores.input[0]], makers[scores.input[1]]
        scale = makers[nothing.input[0]]
        if graph.weights[nothing.input[1]] != 0:
            raise ValueError(f"{nothing.output[0]}: expected an addition of zero")
        squeeze_q, squeeze_k = makers[scale.input[0]], makers[key_turn.input[0]]
        (mix,) = users[softmax.output[0]]
        squeeze_v = makers[mix.input[1]]
        slices = [makers[s.input[0]] for s in (squeeze_q, squeeze_k, squeeze_v)]
        starts = [int(graph.weights[s.input[1]][0]) for s in slices]
        turn = makers[slices[0].input[0]]
        joint = makers[turn.input[0]]
        three, heads, depth = (int(v) for v in graph.weights[joint.input[1]][2:])
        if starts != [0, 1, 2] or three != 3 or attributes(turn)["perm"] != [2, 0, 3, 1, 4]:
            raise ValueError(f"{joint.output[0]}: not a joint q, k, v projection")

        add = makers[joint.input[0]]
        project = makers[add.input[0]]
        factor = np.ones(3 * heads * depth, np.float32)
        factor[:heads * depth] = float(graph.weights[scale.input[1]][0])
        graph.weights[project.input[1]] = graph.weights[project.input[1]] * factor
        graph.weights[add.input[1]] = graph.weights[add.input[1]] * factor

        base = joint.output[0]
        graph.weights[f"{base}.split"] = np.array([heads * depth] * 3, np.int64)
        graph.weights[f"{base}.heads"] = np.array([0, -1, heads, depth], np.int64)
        new = [helper.make_node(
            "Split", [joint.input[0], f"{base}.split"], [f"{base}.{p}" for p in "qkv"], axis=2)]
        for part, perm, output in (("q", [0, 2, 1, 3], f"{base}.q.heads"), ("k", [0, 2, 3, 1], f"{base}.k.heads"),
                                   ("v", [0, 2, 1, 3], f"{base}.v.heads")):
            new.append(helper.make_node("Reshape", [f"{base}.{part}", f"{base}.heads"], [f"{base}.{part}.rows"]))
            new.append(helper.make_node("Transpose", [f"{base}.{part}.rows"], [output], perm=perm))
        scores.input[:] = [f"{base}.q.heads", f"{base}.k.heads"]
        mix.input[1] = f"{base}.v.heads"
        graph.replace(
            [joint, turn, *slices, squeeze_q, squeeze_k, squeeze_v, scale, nothing, key_turn], [*new, scores])
        graph.nodes.remove(scores)


def _sequence(graph: Graph) -> None:
    """Replaces the neck's run-time shape arithmetic; the residual joins `[1, T, C]` instead of `[1, C, 1, T]`."""
    makers, users = graph.producers(), graph.consumers()
    shape = next(n for n in graph.nodes if n.op_type == "Shape")
    image = shape.input[0]
    (flatten,) = [n for n in users[image] if n.op_type == "Reshape"]
    graph.weights["sequence.shape"] = np.array([0, 0, -1], np.int64)
    flatten.input[1] = "sequence.shape"

    head = next(n for n in reversed(graph.nodes) if n.op_type == "MatMul")
    last_turn = makers[head.input[0]]
    squeeze = makers[last_turn.input[0]]
    add = makers[squeeze.input[0]]
    from_neck, skip = makers[add.input[0]], add.input[1]
    back = makers[from_neck.input[0]]
    kinds = [n.op_type for n in (back, from_neck, add, squeeze, last_turn)]
    if kinds != ["Reshape", "Transpose", "Add", "Squeeze", "Transpose"]:
        raise ValueError(f"unexpected end of the neck: {kinds}")
    graph.replace([back, from_neck, add, squeeze, last_turn], [
        helper.make_node("Reshape", [skip, "sequence.shape"], ["skip.flat"]),
        helper.make_node("Transpose", ["skip.flat"], ["skip.rows"], perm=[0, 2, 1]),
        helper.make_node("Add", [back.input[0], "skip.rows"], [last_turn.output[0]]),
    ])
    graph.sweep()


def _drop_softmax(graph: Graph) -> None:
    """Logits have the same argmax; the caller computes the few probabilities that it needs."""
    softmax = graph.nodes.pop()
    if softmax.op_type != "Softmax":
        raise ValueError(f"expected a Softmax at the end, got {softmax.op_type}")
    graph.outputs = {softmax.input[0]: []}


def _name_by_kind(graph: Graph) -> None:
    """Names tensors after their operator and its number (`conv12`), weights after their reader (`conv12.weight`)."""
    counts, names = {}, {name: name for name in [*graph.inputs, *graph.outputs, ""]}
    roles = {"Conv": ["weight", "bias"], "ConvTranspose": ["weight", "bias"], "MatMul": ["weight"],
             "LayerNormalization": ["gamma", "beta"], "Reshape": ["shape"], "Resize": ["", "scales"],
             "Split": ["sizes"], "Add": ["bias"]}
    weights = {}
    for node in graph.nodes:
        kind = node.op_type.lower()
        index = counts[kind] = counts.get(kind, -1) + 1
        node.name = f"{kind}{index}"
        for i, name in enumerate(node.output):
            default = node.name if len(node.output) == 1 else f"{node.name}.{i}"
            names.setdefault(name, default)
        for i, name in enumerate(node.input):
            if name in graph.weights:
                new = f"{node.name}.{roles[node.op_type][i - 1]}"
                weights[new] = graph.weights[name]
                node.input[i] = new
            else:
                node.input[i] = names[name]
        node.output[:] = [names[n] for n in node.output]
    graph.weights = weights
