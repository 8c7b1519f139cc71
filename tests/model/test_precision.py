"""Graphs in bfloat16 where the processor has no instructions for it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from blendinator.model import precision

IMAGE = np.random.default_rng(1).normal(size=(1, 8, 8, 1)).astype(np.float32)
KERNEL = np.random.default_rng(2).normal(size=(3, 3, 1, 2)).astype(np.float32)


class Export(tf.Module):
    """A convolution in bfloat16 of float32 variables, times a constant that bfloat16 holds exactly."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(KERNEL)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
    def serve(self, image):
        filtered = tf.nn.conv2d(tf.cast(image, tf.bfloat16), tf.cast(self.kernel, tf.bfloat16), 1, "SAME")
        return {"filtered": tf.cast(filtered * tf.constant(1.5, tf.bfloat16), tf.float32)}


@pytest.fixture
def folder(tmp_path):
    module = Export()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.serve})
    return tmp_path / "1"


def filtered(folder):
    model = precision.load_saved_model(folder)
    return model.signatures["serving_default"](image=tf.constant(IMAGE))["filtered"].numpy()


def test_in_float32_where_bfloat16_would_be_emulated(folder, monkeypatch):
    expected = 1.5 * tf.nn.conv2d(IMAGE, KERNEL, 1, "SAME").numpy()
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    np.testing.assert_allclose(filtered(folder), expected, rtol=1e-5, atol=1e-6)


def test_as_exported_where_the_processor_has_it(folder, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    plain = tf.saved_model.load(str(folder)).signatures["serving_default"](image=tf.constant(IMAGE))
    np.testing.assert_array_equal(filtered(folder), plain["filtered"])


def test_nothing_is_left_in_bfloat16(folder):
    saved = saved_model_pb2.SavedModel.FromString((folder / precision.GRAPH).read_bytes())
    assert "DT_BFLOAT16" in str(saved)
    assert precision.in_float32(saved) > 0
    assert "DT_BFLOAT16" not in str(saved)
    assert precision.in_float32(saved) == 0


def test_a_damaged_graph_has_tensorflows_message(folder, monkeypatch):
    (folder / precision.GRAPH).write_bytes(b"\xff" * 100)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    with pytest.raises(OSError, match="Cannot parse file"):
        precision.load_saved_model(folder)
