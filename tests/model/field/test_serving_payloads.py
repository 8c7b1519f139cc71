"""The payloads of docs/serving.md: valid JSON that the signatures answer, by Serving's rules and as protobufs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from blendinator.model.serving_warmup import predict_request

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def signatures(pushed):
    loaded = tf.saved_model.load(str(pushed / "1700000000"))
    yield loaded.signatures  # noqa: PT022 the model must outlive them


def payload(name):
    text = DOCUMENT.read_text(encoding="utf-8")
    return json.loads(re.search(rf"<!-- payload: {name} -->\n```json\n(.*?)```", text, re.DOTALL)[1])


def tensors(signature, values):
    """JSON to tensors with the types that the signature declares, as the server does."""
    declared = signature.structured_input_signature[1]
    assert set(values) == set(declared)
    return {name: tf.constant(value, declared[name].dtype) for name, value in values.items()}


def test_rest_by_rows(signatures):
    request = payload("rows")
    signature = signatures[request["signature_name"]]
    rows = request["instances"]
    out = signature(**tensors(signature, {name: [row[name] for row in rows] for name in rows[0]}))
    # An answer by rows needs the batch as the first axis of each output.
    assert all(value.shape[0] == len(rows) for value in out.values())
    answer = {
        "predictions": [{name: value[i].numpy().tolist() for name, value in out.items()} for i in range(len(rows))]
    }
    assert set(json.loads(json.dumps(answer))["predictions"][0]) == {
        "class_map",
        "probabilities",
        "entropy",
        "mutual_information",
    }


def test_rest_by_columns_and_grpc_give_the_same(signatures):
    request = payload("columns")
    signature = signatures[request["signature_name"]]
    rest = signature(**tensors(signature, request["inputs"]))
    assert rest["samples"].shape == [1, 4, 8, 8]
    declared = signature.structured_input_signature[1]
    arrays = {name: np.array(value, declared[name].dtype.as_numpy_dtype) for name, value in request["inputs"].items()}
    message = predict_request("sample", arrays)
    again = type(message).FromString(message.SerializeToString())
    grpc = signatures[again.model_spec.signature_name](
        **{name: tf.constant(tf.make_ndarray(value)) for name, value in again.inputs.items()}
    )
    response = predict_pb2.PredictResponse()
    for name, value in grpc.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    for name, value in rest.items():
        np.testing.assert_array_equal(tf.make_ndarray(response.outputs[name]), value)
