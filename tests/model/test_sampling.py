"""Drawing class maps: exact marginals, unit variance, coherent neighbours, noise that belongs to the image."""

import numpy as np
import pytest
import tensorflow as tf

from blendinator.model import sampling


def fields(draws, side=24, correlation=8.0):
    points = int(sampling.lattice_side(side, correlation))
    noise = tf.random.stateless_normal([1, draws, 2, points, points], [3, 4])
    return sampling.smooth_field(noise, tf.constant([side, side]), correlation)


def test_the_field_is_standard_normal_at_each_pixel():
    values = fields(20_000)[0, :, 0].numpy()
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(values.std(axis=0), 1.0, atol=0.03)


def test_neighbours_go_together_and_distant_pixels_do_not():
    values = fields(20_000)[0, :, 0].numpy()
    correlation = lambda a, b: np.corrcoef(values[:, 10, a], values[:, 10, b])[0, 1]
    assert correlation(10, 11) > 0.95
    assert abs(correlation(2, 22)) < 0.03


def test_a_mixture_of_fields_is_standard_normal_and_as_smooth_as_its_weights_say():
    """In the upper half the short field alone, in the lower half the long one: pixels 6 apart, scales of 2 and 24."""
    side, draws, scales = [16, 16], 20_000, (2.0, 24.0)
    points = [int(sampling.lattice_side(16, scale)) for scale in scales]
    noises = [tf.random.stateless_normal([1, draws, 2, n, n], [n, 4]) for n in points]
    weights = np.zeros((2, 1, 2, 16, 16), "f4")
    weights[0, ..., :8, :], weights[1, ..., 8:, :] = 1.0, 1.0
    values = sampling.mixed_field(noises, tf.constant(weights), side, scales)[0, :, 0].numpy()
    np.testing.assert_allclose(values.std(axis=0), 1.0, atol=0.03)
    correlation = lambda row: np.corrcoef(values[:, row, 4], values[:, row, 10])[0, 1]
    assert abs(correlation(3)) < 0.03 and correlation(12) > 0.8


def test_classes_keep_their_probabilities():
    probabilities = tf.constant(np.tile(np.array([0.2, 0.7, 0.1], "f4"), (1, 20_000, 24, 24, 1)))
    classes = sampling.draw_classes(probabilities, fields(20_000)).numpy()[0]
    for which, expected in enumerate((0.2, 0.7, 0.1)):
        np.testing.assert_allclose((classes == which).mean(axis=0), expected, atol=0.015)


@pytest.mark.parametrize("g, expected", [((-1.0, 2.0), 0), ((0.0, 0.0), 1), ((0.0, 2.0), 2), ((2.0, 0.5), 1)])
def test_classes_by_hand(g, expected):
    """Phi(-1) = 0.16 is background's. Of the rest, galaxy has 0.5 / 0.7 = 0.71: Phi(0.5) = 0.69 and Phi(2) = 0.98."""
    probabilities = tf.constant([0.3, 0.5, 0.2], shape=[1, 1, 1, 1, 3])
    assert sampling.draw_classes(probabilities, tf.constant(g, shape=[1, 1, 2, 1, 1])).numpy().item() == expected


def test_the_two_fields_are_independent():
    first, second = np.moveaxis(fields(20_000)[0].numpy()[:, :, 10, 10], 1, 0)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_sure_pixels_are_never_noisy():
    probabilities = tf.one_hot(tf.ones([1, 50, 24, 24], tf.int32), 3)
    np.testing.assert_array_equal(sampling.draw_classes(probabilities, fields(50)), 1)


def test_sure_background_stays_at_the_far_end_of_the_field():
    """In float32, Phi(6) rounds to 1: background of probability 1 must hold even there."""
    probabilities = tf.constant([1.0, 0.0, 0.0], shape=[1, 1, 1, 1, 3])
    assert sampling.draw_classes(probabilities, tf.fill([1, 1, 2, 1, 1], 6.0)).numpy().item() == 0


def test_class_probabilities_are_the_softmax():
    logits = tf.constant([[1.0, 2.0, -3.0], [0.0, 0.0, 0.0], [-200.0, 100.0, 0.0], [500.0, -500.0, 0.0]])
    np.testing.assert_allclose(sampling.class_probabilities(logits), tf.nn.softmax(logits), atol=1e-6)


def test_noise_depends_on_image_and_seed_alone():
    images = tf.random.stateless_normal([2, 8, 8], [1, 2])
    noise = lambda batch, seed: [
        part.numpy() for part in sampling.image_noise(batch, 3, [[4], [2, 2]], tf.constant(seed))
    ]
    both = noise(images, [1, 2])
    assert [part.shape for part in both] == [(2, 3, 4), (2, 3, 2, 2)]
    for part, again, alone, other in zip(both, noise(images, [1, 2]), noise(images[1:], [1, 2]), noise(images, [1, 3])):
        np.testing.assert_array_equal(part, again)
        np.testing.assert_array_equal(part[1:], alone)
        assert np.abs(part - other).min() > 0
        assert np.abs(part[0] - part[1]).min() > 0
