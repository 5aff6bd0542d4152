"""Talks to a server by tritonclient: `client.py HOST:PORT MODEL REFERENCE.json`. Fails where anything is not as it should be."""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

KINDS = {"FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_}


def main():
    address, model, path = sys.argv[1:]
    reference = json.load(open(path))
    client = triton.InferenceServerClient(address)
    check(client.is_server_live(), "live")
    check(client.is_server_ready(), "ready")
    check(client.is_model_ready(model), "model ready")
    check(client.is_model_ready(model, "1"), "version ready")
    check(not client.is_model_ready(model, "2"), "no other version")
    check("binary_tensor_data" in client.get_server_metadata()["extensions"], "extension")
    metadata = client.get_model_metadata(model)
    check(metadata["name"] == model, metadata)
    for side in ("inputs", "outputs"):
        for said, expected in zip(metadata[side], reference[side], strict=True):
            check((said["name"], said["datatype"]) == (expected["name"], expected["datatype"]), said)
            fits = [extent in (-1, actual) for extent, actual in zip(said["shape"], expected["shape"], strict=True)]
            check(all(fits), said)
    answers = [infer(client, model, reference, *binary) for binary in [(True, True), (False, False), (True, False), (False, True)]]
    tolerance = 0.02 if "int8" in model else 1e-6
    for answer in answers:
        for found, first, expected in zip(answer, answers[0], reference["outputs"]):
            check(np.array_equal(found, first), "JSON and binary data differ")
            check(np.allclose(found.ravel(), expected["data"], rtol=0, atol=tolerance), expected["name"])
    try:
        client.infer("nobody", [])
    except InferenceServerException as error:
        check("no model" in str(error), error)
    else:
        check(False, "a model that is not there")


def infer(client, model, reference, binary_in, binary_out):
    inputs = []
    for tensor in reference["inputs"]:
        array = np.array(tensor["data"], KINDS[tensor["datatype"]]).reshape(tensor["shape"])
        inputs.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        inputs[-1].set_data_from_numpy(array, binary_data=binary_in)
    outputs = [triton.InferRequestedOutput(tensor["name"], binary_data=binary_out) for tensor in reference["outputs"]]
    result = client.infer(model, inputs, request_id="seven", outputs=outputs)
    check(result.get_response()["id"] == "seven", "id")
    return [result.as_numpy(tensor["name"]) for tensor in reference["outputs"]]


def check(truth, what):
    if not truth:
        sys.exit(f"not as expected: {what}")


if __name__ == "__main__":
    main()
