"""What the ablation compares the default with: the low-rank SSN, and one field behind the samples of a network."""

import numpy as np
import pytest
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model import latent
from blendinator.model.probaunet import Odds, ProbaUNet

CONFIG = ModelConfig(channels=(4, 8), convs_per_block=1, head_channels=4)
IMAGES = tf.random.stateless_normal([2, 16, 16, 1], [1, 2])


@pytest.fixture(scope="module")
def candidates(load_benchmark):
    return load_benchmark("candidates")


def test_an_ssn_without_noise_is_its_mean(candidates):
    net = candidates.LowRankSSN(CONFIG, 1)
    features, prior = net.features(IMAGES)
    assert latent.noise_shape(prior, 3).numpy().tolist() == [2, 3, 1, 1, candidates.RANK]
    none = net.draw_logits(features, prior, tf.zeros(latent.noise_shape(prior, 3)))
    np.testing.assert_allclose(none, np.repeat(net.logits(features)[:, None], 3, axis=1), atol=1e-6)
    some = net.draw_logits(features, prior, tf.ones(latent.noise_shape(prior, 1)))
    assert float(tf.reduce_max(tf.abs(some - none[:, :1]))) > 1e-3


def test_the_empty_sky_of_an_ssn_keeps_its_mean(candidates):
    net = candidates.LowRankSSN(CONFIG, 1)
    net.head.to_logits.bias.assign([20.0, 0.0, 0.0])  # background everywhere
    features, prior = net.features(IMAGES)
    some = net.draw_logits(features, prior, tf.ones(latent.noise_shape(prior, 1)))
    np.testing.assert_allclose(some[:, 0], net.logits(features), atol=1e-6)


def test_another_field_leaves_the_logits_alone(candidates):
    net = ProbaUNet(CONFIG, 3)
    net.class_offsets.assign([0.0, 0.5, -1.0])
    copy = candidates.with_one_field(net, 10.0)
    assert copy.config.sample_scales == (10.0,)
    for one in (net, copy):
        features, prior = one.features(IMAGES)
        one.result = one.draw_logits(features, prior, tf.ones(latent.noise_shape(prior, 2)), Odds(2.0, [0.0, 1.0, 1.0]))
    np.testing.assert_array_equal(net.result, copy.result)
    np.testing.assert_array_equal(net.class_offsets, copy.class_offsets)
