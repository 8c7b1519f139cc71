"""Draws of the latent by hand."""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from blendinator.model import latent


def gaussian():
    """Two images, one position, two channels."""
    loc = tf.constant([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    return SimpleNamespace(loc=loc, scale=tf.constant([[[[0.5, 1.0]]], [[[2.0, 0.0]]]]))


def test_noise_has_a_value_for_each_draw():
    np.testing.assert_array_equal(latent.noise_shape(gaussian(), 5), [2, 5, 1, 1, 2])
    np.testing.assert_array_equal(latent.noise_shape(gaussian(), tf.constant(3)), [2, 3, 1, 1, 2])


def test_draws_from_the_prior():
    noise = tf.constant([[-1.0, 2.0], [0.0, 1.0]])[:, :, None, None, None] * tf.ones([2, 2, 1, 1, 2])
    drawn = latent.from_prior(gaussian(), noise)
    np.testing.assert_array_equal(drawn[:, :, 0, 0], [[[0.5, 1.0], [2.0, 4.0]], [[3.0, 4.0], [5.0, 4.0]]])
    wider = latent.from_prior(gaussian(), noise, spread=tf.constant(2.0))
    np.testing.assert_array_equal(wider[:, :, 0, 0], [[[0.0, 0.0], [3.0, 6.0]], [[3.0, 4.0], [7.0, 4.0]]])


def test_a_draw_from_the_posterior():
    noise = tf.constant([[[[2.0, -1.0]]], [[[1.0, 9.0]]]])
    np.testing.assert_array_equal(latent.from_posterior(gaussian(), noise)[:, 0, 0], [[2.0, 1.0], [5.0, 4.0]])
