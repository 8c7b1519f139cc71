"""TensorFlow Serving's warm-up requests: replayed when a version is loaded, before it answers its first client.

TensorFlow builds and optimises a graph at its first call; without warm-up the first client of each signature waits for
it. The file is a TFRecord of PredictionLog messages at the place where TensorFlow Serving looks for it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from blendinator.data.records import pixel_shape
from blendinator.model.bands import served_image

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MODEL_NAME = "blendinator"


def predict_request(signature: str, inputs: dict, version: int | None = None) -> Any:
    """A PredictRequest for TensorFlow Serving's gRPC interface.

    Args:
      signature: name of the signature.
      inputs: {name: array}, with the types of the signature.
      version: a pushed version; the newest one by default.
    """
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL_NAME
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def warmup_requests(stamp_size: int, default_draws: int, bands: int = 1) -> list:
    """One request for each signature that a server serves, on an empty stamp of a number of bands."""
    image = served_image(np.zeros((1, *pixel_shape(stamp_size, bands)), np.float32), bands)
    example = tf.train.Example(
        features=tf.train.Features(
            feature={"image": tf.train.Feature(float_list=tf.train.FloatList(value=image.ravel()))}
        )
    )
    return [
        predict_request("serving_default", {"image": image}),
        predict_request(
            "sample", {"image": image, "num_samples": np.int32(default_draws), "seed": np.array([1, 0], np.int32)}
        ),
        predict_request("from_examples", {"examples": [example.SerializeToString()]}),
    ]


def write_warmup(folder: str | Path, stamp_size: int, default_draws: int, bands: int = 1) -> Path:
    """Writes the warm-up file of the SavedModel in `folder` and returns its path."""
    from tensorflow_serving.apis import prediction_log_pb2

    path = Path(folder) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in warmup_requests(stamp_size, default_draws, bands):
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return path
