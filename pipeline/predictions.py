"""Images and their predictions as serialized tf.Examples."""

import math
from typing import TYPE_CHECKING

import numpy as np

from blendinator.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf


def parse(serialized: bytes, where: str, bands: int = 1) -> tuple[str, np.ndarray]:
    """Id and image [S, S, C] of a tf.Example with `scene_id` and `image`.

    Raises:
      DataError: one is missing, or the image is not a square of finite pixels in each band; names `where`.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise DataError(
            f"{where}: this is not a tf.Example ({error}). Give TFRecords as docs/segmentation.md describes them."
        )
    ids, pixels = features["scene_id"].bytes_list.value, np.array(features["image"].float_list.value, np.float32)
    if len(ids) != 1 or not pixels.size:
        raise DataError(
            f"{where}: received the features {', '.join(sorted(features)) or 'none'}; required: scene_id, one"
            " bytes value, and image, floats"
        )
    try:
        scene_id = ids[0].decode()
    except UnicodeDecodeError:
        raise DataError(f"{where}: scene_id: received {ids[0][:40]!r}; allowed: UTF-8 text")
    side = math.isqrt(pixels.size // bands)
    if side * side * bands != pixels.size:
        allowed = "a square of pixels" + (f" in {bands} bands, those of the model" if bands > 1 else "")
        raise DataError(f"{where} (scene {scene_id}): image has {pixels.size} values; allowed: {allowed}")
    if not np.isfinite(pixels).all():
        raise DataError(
            f"{where} (scene {scene_id}): image has pixels that are NaN or infinite. Leave the"
            " record out, or set them to 0, the sky."
        )
    return scene_id, pixels.reshape(side, side, bands)


def encode(scene_id: str, samples: np.ndarray, probabilities: np.ndarray, keep_samples: bool) -> bytes:
    """A prediction as a serialized tf.Example.

    Features: `scene_id` (bytes), `shape` (int64: H, W), `class_map` (bytes: uint8 [H, W], row by row), `probabilities`
    (float [H, W, 3]), and `samples` (bytes: uint8 [N, H, W]) with `keep_samples`.
    """
    import tensorflow as tf

    feature = {
        "scene_id": _bytes(scene_id.encode()),
        "class_map": _bytes(probabilities.argmax(-1).astype(np.uint8).tobytes()),
        "probabilities": tf.train.Feature(float_list=tf.train.FloatList(value=probabilities.ravel())),
        "shape": tf.train.Feature(int64_list=tf.train.Int64List(value=probabilities.shape[:2])),
    }
    if keep_samples:
        feature["samples"] = _bytes(samples.tobytes())
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def decode(serialized: bytes) -> dict:
    """A prediction as {name: value}; arrays in their shapes."""
    import tensorflow as tf

    features = tf.train.Example.FromString(serialized).features.feature
    height, width = features["shape"].int64_list.value
    out = {
        "scene_id": features["scene_id"].bytes_list.value[0].decode(),
        "class_map": np.frombuffer(features["class_map"].bytes_list.value[0], np.uint8).reshape(height, width),
        "probabilities": np.array(features["probabilities"].float_list.value, np.float32).reshape(height, width, 3),
    }
    if "samples" in features:
        out["samples"] = np.frombuffer(features["samples"].bytes_list.value[0], np.uint8).reshape(-1, height, width)
    return out


def _bytes(value: bytes) -> "tf.train.Feature":
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
