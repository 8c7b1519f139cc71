"""bfloat16: where it is fast, and exported graphs that compute in it on processors that don't.

A network that was trained in bfloat16 is exported so. Without instructions for it TensorFlow emulates its convolutions,
at a third of the speed of float32 for stamps. The variables are float32 in any case, so the same graph in float32 is a
matter of the types that its nodes name.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError, Message
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2

from blendinator.stack import BFLOAT16_FLAGS, processor_flags
from blendinator.stores import Place

GRAPH = "saved_model.pb"


def has_bfloat16() -> bool:
    """Whether the GPU, or without one the processor, computes in bfloat16."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return capability >= (8, 0)
    return not processor_flags().isdisjoint(BFLOAT16_FLAGS)


def load_saved_model(folder: str | Place) -> Any:
    """`tf.saved_model.load`, in float32 where bfloat16 would be emulated.

    Raises:
      OSError, ValueError, tf.errors.OpError: as that.
    """
    folder = str(folder)
    if "://" in folder or not (Path(folder) / GRAPH).is_file() or has_bfloat16():
        return tf.saved_model.load(folder)
    try:
        saved = saved_model_pb2.SavedModel.FromString((Path(folder) / GRAPH).read_bytes())
    except DecodeError:  # TensorFlow has a message for it
        return tf.saved_model.load(folder)
    if not in_float32(saved):
        return tf.saved_model.load(folder)
    with tempfile.TemporaryDirectory() as scratch:  # the variables are read while loading
        for path in Path(folder).resolve().iterdir():
            if path.is_dir():
                (Path(scratch) / path.name).symlink_to(path)
        (Path(scratch) / GRAPH).write_bytes(saved.SerializeToString())
        return tf.saved_model.load(scratch)


def in_float32(message: Message) -> int:
    """Makes float32 of every bfloat16 in a SavedModel or a part of it, in place: types, and values of constants.

    Returns:
      How many there were.
    """
    if isinstance(message, tensor_pb2.TensorProto) and message.dtype == tf.bfloat16.as_datatype_enum:
        values = tf.make_ndarray(message).astype(np.float32)
        message.CopyFrom(tf.make_tensor_proto(values))
        return 1
    found = 0
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            of = field.message_type.fields_by_name["value"]
            if of.message_type is not None:
                found += sum(in_float32(value[key]) for key in value)
        elif field.message_type is not None:
            found += sum(map(in_float32, value)) if field.label == field.LABEL_REPEATED else in_float32(value)
        elif field.enum_type is not None and field.enum_type.full_name == "tensorflow.DataType":
            if field.label == field.LABEL_REPEATED:
                for i, kind in enumerate(value):
                    if kind == tf.bfloat16.as_datatype_enum:
                        value[i] = tf.float32.as_datatype_enum
                        found += 1
            elif value == tf.bfloat16.as_datatype_enum:
                setattr(message, field.name, tf.float32.as_datatype_enum)
                found += 1
    return found
