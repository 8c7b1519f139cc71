"""The fields behind the samples: the bivariate normal distribution, pairs, and how far pixels agree."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model import copula, sampling
from blendinator.model.input_data import Scenes
from blendinator.model.probaunet import Odds, ProbaUNet

SIDE = 16


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("a, b", [(0.0, 0.0), (-1.5, 0.7), (1.2, 1.3)])
def test_bivariate_cdf(a, b, rho):
    expected = scipy.stats.multivariate_normal.cdf([a, b], cov=[[1, rho], [rho, 1]])
    assert copula.bivariate_cdf(*(tf.constant([x]) for x in (a, b, rho))).numpy()[0] == pytest.approx(
        expected, abs=2e-4
    )


@pytest.mark.parametrize("event, expected", [((True, True), 0.08), ((True, False), 0.12), ((False, False), 0.48)])
def test_pair_nll_of_independent_pixels(event, expected):
    """Probabilities of .2 and .4: the product of what is true in each pixel."""
    weights = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])  # the two pixels follow different fields
    found = copula.pair_nll(weights, tf.constant([[0.2, 0.4]]), tf.constant([event]), tf.constant([[1.0, 1.0]]))
    assert np.exp(-found.numpy()[0]) == pytest.approx(expected, abs=1e-4)


def test_pair_nll_of_pixels_that_share_their_field():
    """At a correlation of nearly 1 both events happen with the smaller of the probabilities."""
    weights = tf.ones([1, 2, 1])
    found = copula.pair_nll(weights, tf.constant([[0.2, 0.4]]), tf.constant([[True, True]]), tf.constant([[1.0]]))
    assert np.exp(-found.numpy()[0]) == pytest.approx(0.2, abs=0.01)


def test_field_correlation_is_that_of_the_fields():
    points = int(sampling.lattice_side(SIDE, 5.0))
    noise = tf.random.stateless_normal([20_000, points, points], [1, 2])
    values = sampling.smooth_field(noise, [SIDE, SIDE], 5.0).numpy()[:, 7]
    np.testing.assert_allclose(copula.field_correlation(5.0, SIDE), np.corrcoef(values.T), atol=0.04)


def test_pairs_are_of_doubtful_usable_pixels():
    rng = np.random.default_rng(1)
    probability, usable = np.full((SIDE, SIDE), 0.5, "f4"), np.ones((SIDE, SIDE), bool)
    probability[:8], usable[:, :8] = 0.999, False
    features = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1)
    correlations = np.stack([copula.field_correlation(scale, SIDE) for scale in (3.0, 9.0)])
    pairs = copula.sample_pairs(features, probability, usable, usable, correlations, rng, 200)
    places = pairs.features.astype(int)
    assert 50 < len(places) <= 200 and places.min() >= 8
    assert (np.abs(places[:, 0] - places[:, 1]).sum(axis=-1) > 0).all()
    (y1, x1), (y2, x2) = places[0]
    np.testing.assert_allclose(pairs.correlation[0], correlations[:, y1, y2] * correlations[:, x1, x2])


def test_a_scene_without_doubt_gives_no_pairs():
    certain, usable = np.ones((SIDE, SIDE), "f4"), np.ones((SIDE, SIDE), bool)
    correlations = np.ones((2, SIDE, SIDE), "f4")
    pairs = copula.sample_pairs(
        np.zeros((SIDE, SIDE, 4)), certain, usable, usable, correlations, np.random.default_rng(1)
    )
    assert pairs.features.shape == (0, 2, 4) and pairs.correlation.shape == (0, 2)


def scenes_of_one_field(scale: float, count: int = 300) -> Scenes:
    """Scenes whose truth is sampled with P(background) = P(one source) = .5 from a field of a single scale."""
    points = int(sampling.lattice_side(SIDE, scale))
    fields = sampling.smooth_field(
        tf.random.stateless_normal([count, 1, 2, points, points], [5, 6]), [SIDE, SIDE], scale
    )
    probabilities = tf.constant(np.tile(np.array([0.5, 0.5, 0.0], "f4"), (count, 1, SIDE, SIDE, 1)))
    mask = sampling.draw_classes(probabilities, fields).numpy()[:, 0]
    empty = np.zeros((count, SIDE, SIDE, 1), "f4")
    return Scenes(empty, empty, mask, np.ones((count, 1), "f4"), np.zeros(count, "f4"), np.full(count, "natural"))


@pytest.mark.parametrize("scale, place", [(3.0, 0), (27.0, 1)])
def test_the_fit_finds_the_scale_over_which_pixels_agree(tiny_config, monkeypatch, scale, place):
    """A network that knows nothing, P = .5 everywhere: what is left to learn is how far neighbours agree."""
    monkeypatch.setattr(copula, "_STEPS", 200)
    config: ModelConfig = dataclasses.replace(tiny_config.model, sample_scales=(3.0, 27.0))
    model = ProbaUNet(config, seed=1)
    for variable in (model.head.to_logits.kernel, model.head.to_logits.bias):
        variable.assign(tf.zeros_like(variable))
    odds = Odds(1.0, [0.0, 0.0, -30.0])
    scenes = scenes_of_one_field(scale)
    facts = copula.fit(model, {"natural": scenes}, {"natural": odds}, lambda image: image, seed=1)
    assert facts["nll_after"] < facts["nll_before"] - 0.003
    weights = model.field_weights(model.features(tf.zeros([1, SIDE, SIDE, 1]))[0])
    np.testing.assert_allclose(tf.reduce_sum(weights**2, axis=0), 1.0, atol=1e-5)
    assert float(tf.reduce_mean(weights[place, :, 0])) > 0.9


def test_without_doubt_nothing_is_fitted(tiny_config):
    model = ProbaUNet(tiny_config.model, seed=1)
    scenes = scenes_of_one_field(3.0, 4)
    certain = Odds(1.0, [0.0, -50.0, -50.0])
    assert copula.fit(model, {"natural": scenes}, {"natural": certain}, lambda image: image, seed=1) == {}
    assert not any(np.any(variable) for variable in model.field_weights.variables)


def test_weights_that_vanish_have_a_finite_gradient(tiny_config):
    """A feature that is nearly always 0 and once large must not make the fit lose its numbers."""
    layer = ProbaUNet(tiny_config.model, seed=1).field_weights
    layer.hidden.kernel.assign(tf.ones_like(layer.hidden.kernel))
    layer.to_logits.kernel.assign(tf.random.stateless_normal(layer.to_logits.kernel.shape, [1, 2]))
    kernel = layer.to_logits.kernel.value
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        weights = layer(tf.fill([1, 2, 2, tiny_config.model.head_channels], 1000.0))
        total = tf.reduce_sum(weights[0] * weights[1])
    assert np.isfinite(tape.gradient(total, kernel)).all()
    assert float(tf.reduce_min(weights)) < 1e-12


def test_a_fit_that_is_not_better_is_given_up(tiny_config, monkeypatch):
    def spoil(model, sets, seed):
        model.field_weights.to_logits.bias.assign(tf.fill(model.field_weights.to_logits.bias.shape, np.nan))

    monkeypatch.setattr(copula, "_descend", spoil)
    model = ProbaUNet(tiny_config.model, seed=1)
    odds = Odds(1.0, [0.0, 0.0, -30.0])
    for variable in (model.head.to_logits.kernel, model.head.to_logits.bias):
        variable.assign(tf.zeros_like(variable))
    scenes = scenes_of_one_field(3.0, 20)
    facts = copula.fit(model, {"natural": scenes}, {"natural": odds}, lambda image: image, seed=1)
    assert facts["nll_after"] == facts["nll_before"]
    assert not any(np.any(variable) for variable in model.field_weights.variables)
