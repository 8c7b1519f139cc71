"""Samples of large images: what is left out, and the interpolations."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model import network, sampling, tile_samples
from blendinator.model.probaunet import ProbaUNet
from blendinator.model.tile_features import tile_features

CONFIG = ModelConfig(channels=[4, 6, 8], convs_per_block=2, head_channels=8, latent_dim=2, sample_scales=(3.0, 7.0))


def interpolated(corners, values):
    """One axis: [points] -> [side]."""
    return corners.low * tf.gather(values, corners.first) + corners.high * tf.gather(values, corners.second)


def test_latents_are_upsampled_as_in_training():
    values = tf.random.stateless_normal([9], [1, 2])
    expected = network.BilinearUpsampling(4)(values[None, :, None, None])[0, :, 0, 0]
    np.testing.assert_allclose(
        interpolated(tile_samples.latent_corners(36, 9, 4, 0), values),
        expected.numpy().reshape(36, -1)[:, 0],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        interpolated(tile_samples.latent_corners(20, 9, 4, 8), values),
        expected.numpy().reshape(36, -1)[8:28, 0],
        atol=1e-6,
    )


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_lattices_are_interpolated_as_smooth_fields(offset):
    noise = tf.random.stateless_normal([6], [1, 2])
    weights = sampling.lattice_weights(30, 6, 7.0, offset)
    corners = tile_samples.lattice_corners(30, 7.0, offset)
    np.testing.assert_allclose(interpolated(corners, noise), tf.linalg.matvec(weights, noise), atol=1e-6)


def test_the_same_bits_from_another_lattice_point():
    first, second = tile_samples.lattice_corners(60, 7.0, 700.0), tile_samples.lattice_corners(60, 7.0, 0.0)
    np.testing.assert_array_equal(first.high, second.high)
    np.testing.assert_array_equal(first.first, second.first + 100)


def test_classes_of_log_odds():
    odds = tf.constant([[1.0, 0.0, 300.0, -90.0], [-4.0, 0.0, 200.0, -95.0]])
    planes, entropy = tile_samples._classify(odds)
    expected = tf.nn.softmax(tf.stack([tf.zeros(4), *tf.unstack(odds)], axis=-1)).numpy()
    np.testing.assert_allclose(tf.stack(planes, axis=-1), expected, atol=1e-6)
    np.testing.assert_allclose(entropy, -(expected * np.log(np.maximum(expected, 1e-30))).sum(-1), atol=1e-5)


@pytest.fixture(scope="module")
def tile():
    """A network whose probabilities span many orders of magnitude, its inputs, and the samples of the tile."""
    model = ProbaUNet(CONFIG, seed=1)
    kernel, bias = model.head.to_logits.kernel, model.head.to_logits.bias
    kernel.assign(4.0 * kernel)
    bias.assign([10.0, 0.0, -1.0])
    model.prior_scale.assign(0.2)
    layer = model.field_weights
    for i, dense in enumerate((layer.hidden, layer.to_logits)):  # weights that differ between pixels
        dense.kernel.assign(tf.random.stateless_normal(dense.kernel.shape, [9, i]))
    image = tf.random.stateless_normal([2, 24, 40, 1], [3, 4])
    features, prior = model.features(image)
    noise = tf.random.stateless_normal([2, 5, 6, 10, CONFIG.latent_dim], [5, 6])
    lattices = [tf.random.stateless_normal([2, 5, sampling.CLASS_FIELDS, *n], [7, n[0]]) for n in ((9, 15), (5, 7))]
    sample_noise = tile_samples.SampleNoise(noise, lattices, tf.zeros([2, 2]))
    zeros = tf.zeros([4], tf.int32)
    out = tile_samples.tile_samples(
        model, features, prior.loc, prior.scale, sample_noise, zeros, model.odds, tile_samples.SURE
    )
    probabilities = tf.nn.softmax(model.draw_logits(features, prior, noise)).numpy()
    at_mean = tf.nn.softmax(model.draw_logits(features, prior, 0.0 * noise[:, :1]))[:, 0].numpy()
    fields = sampling.mixed_field(lattices, model.field_weights(features), [24, 40], CONFIG.sample_scales)
    return out, probabilities, at_mean, sampling.draw_classes(probabilities, fields).numpy()


def test_only_sure_background_is_left_out(tile):
    out, probabilities, at_mean, classes = tile
    sure = at_mean[..., 0] > 1 - tile_samples.SURE
    assert 0.2 < sure.mean() < 0.8
    got = out["probabilities"].numpy()
    np.testing.assert_allclose(got[sure], at_mean[sure], atol=1e-5)
    np.testing.assert_allclose(got[~sure], probabilities.mean(axis=1)[~sure], atol=1e-5)
    samples = np.moveaxis(out["samples"].numpy(), 1, -1)
    assert not samples[sure].any()
    assert np.mean(samples[~sure] != np.moveaxis(classes, 1, -1)[~sure]) < 1e-3


def test_summaries(tile):
    out, probabilities, at_mean, _ = tile
    p = out["probabilities"].numpy().astype(float)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(out["class_map"], p.argmax(axis=-1))
    entropy = lambda q: -(q * np.log(np.maximum(q, 1e-30))).sum(axis=-1)
    np.testing.assert_allclose(out["entropy"], entropy(p), atol=2e-5)
    sure = at_mean[..., 0] > 1 - tile_samples.SURE
    expected = entropy(probabilities.mean(axis=1)) - entropy(probabilities).mean(axis=1)
    np.testing.assert_allclose(out["mutual_information"].numpy()[~sure], np.maximum(expected, 0)[~sure], atol=2e-5)
    assert not out["mutual_information"].numpy()[sure].any()


def test_a_tile_of_sky_alone():
    model = ProbaUNet(CONFIG, seed=1)
    model.head.to_logits.bias.assign([50.0, 0.0, 0.0])
    features, prior = model.features(tf.zeros([1, 16, 16, 1]))
    lattices = [9.0 * tf.ones([1, 3, sampling.CLASS_FIELDS, n, n]) for n in (7, 4)]
    noise = tile_samples.SampleNoise(tf.ones([1, 3, 4, 4, CONFIG.latent_dim]), lattices, tf.zeros([2, 2]))
    zeros = tf.zeros([4], tf.int32)
    out = tile_samples.tile_samples(
        model, features, prior.loc, prior.scale, noise, zeros, model.odds, tile_samples.SURE
    )
    assert out["samples"].shape == [1, 3, 16, 16] and not out["samples"].numpy().any()
    np.testing.assert_allclose(out["probabilities"][..., 0], 1.0)


def test_a_strong_latent_lowers_the_threshold():
    """Probabilities that z raises on average must be small enough at its mean."""
    model = ProbaUNet(CONFIG, seed=1)
    model.head.to_logits.kernel.assign(4.0 * model.head.to_logits.kernel)
    model.head.to_logits.bias.assign([10.0, 0.0, -1.0])
    thresholds = []
    for scale in (1e-3, 0.3, 1.0):
        model.prior_scale.assign(scale)
        thresholds.append(tile_samples.sure_threshold(model))
    assert thresholds[0] == pytest.approx(tile_samples.SURE, rel=0.02)
    assert tile_samples.SURE > thresholds[1] > thresholds[2] > 0


@pytest.mark.parametrize("latent", ["global", "spatial"])
@pytest.mark.parametrize("prior_encoder", ["shared", "separate"])
def test_features_without_margins_are_those_of_the_whole_image(latent, prior_encoder):
    config = dataclasses.replace(CONFIG, latent=latent, prior_encoder=prior_encoder)
    model = ProbaUNet(config, seed=2)
    radius, factor = network.receptive_radius(config), network.downsampling(config)
    image = tf.random.stateless_normal([1, radius * 2 + 24, radius + 32, 1], [3, 4])
    features, prior = model.features(image)
    margins = tf.constant([radius, radius, 0, radius])
    got, mean, scale = tile_features(model, image, margins)
    np.testing.assert_allclose(got, features[:, radius:-radius, :-radius], atol=1e-5)
    cells = (
        [0, 0, 0, 0] if latent == "global" else [radius // factor - 1, radius // factor - 1, 0, radius // factor - 1]
    )
    rows, columns = slice(cells[0], -cells[1] or None), slice(cells[2], -cells[3] or None)
    np.testing.assert_allclose(mean, prior.loc[:, rows, columns], atol=1e-5)
    np.testing.assert_allclose(scale, prior.scale[:, rows, columns], atol=1e-5)
