"""Small models as other people's tools make them, and onnxruntime's answers to one input each. Needs onnx, onnxruntime, numpy.

    python tests/outside/make.py

writes beside itself: `shapes-int8.onnx`, a convolutional net with a free batch, quantised by onnxruntime at its defaults but per channel;
`words-f32.onnx`, an embedding, a mask and a product over a free number of words: i64, bool and f32 in, f32 and i64 out, its table of
words in a file of its own; `<name>.json`, the inputs and onnxruntime's outputs.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = Path(__file__).parent
OPSET = [helper.make_opsetid("", 17)]


def main():
    random = np.random.default_rng(6)
    shapes_int8(random)
    words_f32(random)


def shapes_int8(random):
    def weights(name, *shape):
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch_size", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch_size", 5])],
        [weights("w0", 8, 3, 3, 3), weights("b0", 8), weights("w1", 16, 8, 3, 3), weights("b1", 16), weights("w2", 5, 16), weights("b2", 5)],
    )
    model = helper.make_model(graph, opset_imports=OPSET, ir_version=8)
    samples = [{"image": random.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(16)]
    path = HERE / "shapes-int8.onnx"
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        quantize_static(
            plain, path, Reader(samples), QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8
        )
    answer(path, {"image": random.standard_normal((2, 3, 16, 16)).astype(np.float32)})


def words_f32(random):
    def real(name, *shape):
        return numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Gather", ["table", "words"], ["e"]),
        helper.make_node("Unsqueeze", ["keep", "last"], ["k"]),
        helper.make_node("Where", ["k", "e", "nothing"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["z"]),
        helper.make_node("Mul", ["z", "heat"], ["h"]),
        helper.make_node("Softmax", ["h"], ["chances"], axis=-1),
        helper.make_node("ArgMax", ["h"], ["best"], axis=-1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [
            helper.make_tensor_value_info("words", TensorProto.INT64, ["n", "length"]),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, ["n", "length"]),
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("chances", TensorProto.FLOAT, ["n", "length", 4]),
            helper.make_tensor_value_info("best", TensorProto.INT64, ["n", "length"]),
        ],
        [
            real("table", 50, 64),
            real("w", 64, 4),
            numpy_helper.from_array(np.float32(0), "nothing"),
            numpy_helper.from_array(np.int64([2]), "last"),
        ],
    )
    model = helper.make_model(graph, opset_imports=OPSET, ir_version=8)
    path = HERE / "words-f32.onnx"
    data = HERE / "words-f32.data"
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=4096)
    answer(
        path,
        {
            "words": random.integers(0, 50, (2, 3)),
            "keep": np.array([[True, True, False], [True, False, True]]),
            "heat": np.float32([0.5]),
        },
    )


class Reader(CalibrationDataReader):
    def __init__(self, samples):
        self.samples = iter(samples)

    def get_next(self):
        return next(self.samples, None)


def answer(path, inputs):
    """onnxruntime's, without its own rewriting of graphs."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs)))
    kinds = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
    tensors = lambda arrays: [
        {"name": name, "datatype": kinds[array.dtype.name], "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in arrays.items()
    ]
    text = {"inputs": tensors(inputs), "outputs": tensors(outputs)}
    path.with_suffix(".json").write_text(json.dumps(text) + "\n")


if __name__ == "__main__":
    main()
