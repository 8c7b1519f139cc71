"""Muon: what its step on a kernel looks like, and what it leaves to Adam."""

import keras
import numpy as np
import tensorflow as tf

from blendinator.model.muon import Muon, orthogonalised


def test_singular_values_come_near_one_and_directions_stay():
    rng = np.random.default_rng(3)
    for shape in ((6, 4), (4, 6)):
        matrix = rng.normal(size=shape).astype("f4")
        u, _, v = np.linalg.svd(matrix, full_matrices=False)
        result = orthogonalised(tf.constant(matrix)).numpy()
        np.testing.assert_allclose(np.linalg.svd(result, compute_uv=False), 1.0, atol=0.35)
        assert np.sum(result * (u @ v)) > 0.9 * min(shape)


def optimizer():
    return Muon(0.1, kernel_ratio=2.0, weight_decay=0.0)


def test_a_kernels_first_step_is_the_orthogonalised_gradient():
    variable = keras.Variable(np.zeros((3, 3, 2, 4), "f4"))
    gradient = tf.random.stateless_normal([3, 3, 2, 4], [1, 2])
    optimizer().apply([gradient], [variable])
    expected = -0.2 * orthogonalised(tf.reshape(gradient, [18, 4]))  # 2.0 x 0.1
    np.testing.assert_allclose(tf.reshape(variable.value, [18, 4]), expected, rtol=1e-4, atol=1e-6)


def test_the_size_of_the_gradient_does_not_matter():
    steps = []
    for scale in (1.0, 1000.0):
        variable = keras.Variable(np.zeros((3, 3, 2, 4), "f4"))
        optimizer().apply([scale * tf.random.stateless_normal([3, 3, 2, 4], [1, 2])], [variable])
        steps.append(variable.numpy())
    np.testing.assert_allclose(steps[1], steps[0], atol=1e-5)


def test_biases_and_1x1_kernels_step_as_with_adam():
    for shape in ((4,), (1, 1, 2, 4)):
        values = []
        for rule in (optimizer(), keras.optimizers.AdamW(0.1, weight_decay=0.0)):
            variable = keras.Variable(np.zeros(shape, "f4"))
            rule.apply([tf.random.stateless_normal(shape, [5, 6])], [variable])
            values.append(variable.numpy())
        np.testing.assert_array_equal(*values)
