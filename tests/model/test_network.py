"""Upsampling in windows, and how far the network looks."""

import numpy as np
import pytest
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model import network
from blendinator.model.probaunet import ProbaUNet


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("side", [(1, 5), (16, 17), (70, 40)])
def test_upsampling_in_windows_equals_one_matrix(factor, side):
    layer = network.BilinearUpsampling(factor)
    x = tf.random.stateless_normal([2, *side, 3], [1, 2])
    unknown = tf.function(layer.call, input_signature=[tf.TensorSpec([None, None, None, 3])])
    rows, columns = (network._interpolation_matrix(length, factor, tf.float32).numpy() for length in side)
    expected = np.einsum("yi,bijc,xj->byxc", rows, x.numpy(), columns)
    np.testing.assert_allclose(unknown(x), expected, atol=1e-5)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("channels, convs, expected", [((4, 4), 1, 6), ((4, 4, 4), 2, 28), ((4, 4, 4, 4), 3, 80)])
def test_receptive_radius(channels, convs, expected):
    assert network.receptive_radius(ModelConfig(channels=channels, convs_per_block=convs)) == expected


def test_nothing_beyond_the_receptive_radius_touches_a_pixel():
    """A change in one column reaches columns up to the radius away, and none beyond; tried at each place in a cell."""
    config = ModelConfig(channels=(3, 3, 3), convs_per_block=1, head_channels=3, head_layers=1, latent_dim=1)
    radius, factor = network.receptive_radius(config), network.downsampling(config)
    model = ProbaUNet(config, seed=1)
    width, reached = 96, 0
    noise = tf.random.stateless_normal([1, 1, 2, width // factor, 1], [3, 4])
    image = tf.random.stateless_normal([1, 8, width, 1], [1, 2])

    def logits(changed):
        features, prior = model.features(changed)
        return model.draw_logits(features, prior, noise).numpy()[0, 0]

    base = logits(image)
    for column in range(48, 48 + factor):
        changed = image.numpy()
        changed[0, :, column] += 1000.0
        touched = np.flatnonzero(np.abs(logits(tf.constant(changed)) - base).max(axis=(0, 2)) > 0)
        distance = np.abs(touched - column).max()
        assert distance <= radius
        reached = max(reached, distance)
    assert reached > radius - factor  # the radius is no larger than it need be
