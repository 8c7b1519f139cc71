"""Losses against hand-computed numbers, numpy and TensorFlow Probability's own sampling-free formulas."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from blendinator.model import losses

tfd = tfp.distributions


def normal(loc, scale):
    """Distributions of shape [1, 1, 1, L]."""
    shape = lambda values: tf.reshape(tf.constant(values, tf.float32), [1, 1, 1, -1])
    return tfd.Normal(shape(loc), shape(scale))


def test_cross_entropy_is_summed_over_the_pixels_of_each_image():
    logits = tf.zeros([2, 4, 4, 3])
    np.testing.assert_allclose(
        losses.cross_entropy(logits, tf.zeros([2, 4, 4], tf.int32)), [16 * np.log(3)] * 2, rtol=1e-6
    )


def test_kl_of_a_shifted_unit_gaussian_is_half_the_squared_shift():
    np.testing.assert_allclose(
        losses.kl_per_dimension(normal([2.0, 0.0], [1, 1]), normal([0, 0], [1, 1])), [[2.0, 0.0]]
    )


def test_kl_equals_the_closed_form_and_sums_over_positions():
    rng = np.random.default_rng(0)
    mq, mp = rng.normal(size=(2, 3, 2, 2, 4)).astype("f4")
    sq, sp = rng.uniform(0.2, 3, size=(2, 3, 2, 2, 4)).astype("f4")
    expected = (np.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5).sum(axis=(1, 2))
    np.testing.assert_allclose(losses.kl_per_dimension(tfd.Normal(mq, sq), tfd.Normal(mp, sp)), expected, rtol=1e-4)


def test_kl_equals_that_of_tfp_multivariate_gaussians():
    q = tfd.MultivariateNormalDiag([0.3, -1.0], [0.5, 2.0])
    p = tfd.MultivariateNormalDiag([0.0, 0.7], [1.5, 0.8])
    ours = losses.kl_per_dimension(normal([0.3, -1.0], [0.5, 2.0]), normal([0.0, 0.7], [1.5, 0.8]))
    np.testing.assert_allclose(tf.reduce_sum(ours), tfd.kl_divergence(q, p), rtol=1e-6)


@pytest.mark.parametrize("balance", [0.5, 0.8, 1.0])
def test_kl_balancing_keeps_the_value_and_shares_out_the_gradient(balance):
    loc_q, loc_p = tf.Variable([[[[1.0]]]]), tf.Variable([[[[0.0]]]])
    with tf.GradientTape() as tape:
        kl = tf.reduce_sum(losses.balanced_kl(tfd.Normal(loc_q, 1.0), tfd.Normal(loc_p, 1.0), balance))
    gradient_q, gradient_p = tape.gradient(kl, [loc_q, loc_p])
    assert float(kl) == pytest.approx(0.5)
    # Without balancing the gradients of (mq - mp)^2 / 2 are +1 and -1.
    assert np.ravel(gradient_q if gradient_q is not None else 0.0) == pytest.approx(2 * (1 - balance))
    assert np.ravel(gradient_p) == pytest.approx(-2 * balance)


def test_free_bits_put_a_floor_under_each_dimension():
    kl = tf.constant([[0.0, 3.0], [0.2, 5.0]])  # means 0.1 and 4
    assert float(losses.free_bits(kl, 0.5)) == pytest.approx(4.5)
    assert float(losses.free_bits(kl, 0.0)) == pytest.approx(4.1)


def test_a_dimension_below_the_floor_gets_no_gradient():
    kl = tf.Variable([[0.1, 3.0]])
    with tf.GradientTape() as tape:
        value = losses.free_bits(kl, 0.5)
    np.testing.assert_allclose(tape.gradient(value, kl), [[0.0, 1.0]])


def test_negative_elbo_by_hand():
    assert float(losses.negative_elbo(tf.constant([10.0, 20.0]), tf.constant(4.0), 0.5)) == pytest.approx(17.0)


def test_multi_sample_nll_of_equal_draws_is_their_cross_entropy():
    np.testing.assert_allclose(losses.multi_sample_nll(tf.fill([2, 4], 7.0)), [7.0, 7.0], rtol=1e-6)


def test_multi_sample_nll_by_hand():
    # -log((e^-1 + e^-3) / 2)
    expected = -np.log((np.exp(-1) + np.exp(-3)) / 2)
    np.testing.assert_allclose(losses.multi_sample_nll(tf.constant([[1.0, 3.0]])), [expected], rtol=1e-6)


def test_blockwise_nll_treats_blocks_as_independent_and_pixels_within_one_as_joint():
    """Two draws, each right on another half: jointly per block either half costs log 2, never the whole."""
    sure = 50.0
    logits = np.zeros((1, 2, 16, 32, 3), "f4")[:, :, :, :16]
    logits[0, 0, :, :, 0] = sure  # draw 0: all background
    logits[0, 1, :, :, 1] = sure  # draw 1: all galaxy
    nll = losses.blockwise_mixture_nll(
        losses.pixel_cross_entropy(tf.constant(logits), tf.zeros([1, 1, 16, 16], tf.int32))
    )
    np.testing.assert_allclose(nll, [np.log(2)], rtol=1e-5)
    wide = tf.constant(np.tile(logits, (1, 1, 2, 2, 1)))  # 32 x 32 pixels: four blocks
    mask = np.zeros((1, 32, 32), "i4")
    mask[:, :16, :16] = 1
    nll = losses.blockwise_mixture_nll(losses.pixel_cross_entropy(wide, tf.constant(mask)[:, None]))
    np.testing.assert_allclose(nll, [4 * np.log(2)], rtol=1e-5)


def test_pixel_mixture_nll_is_that_of_the_mean_probabilities():
    logits = np.log(np.array([[[0.5, 0.3, 0.2]], [[0.1, 0.8, 0.1]]], "f4")).reshape(1, 2, 1, 1, 3)
    pixels = losses.pixel_cross_entropy(tf.constant(logits), tf.fill([1, 1, 1, 1], 1))
    np.testing.assert_allclose(losses.pixel_mixture_nll(pixels), [-np.log(0.55)], rtol=1e-5)


def test_beta_rises_linearly_and_stays():
    values = [float(losses.beta_at(tf.constant(step), 10, 20, 2.0)) for step in (0, 10, 20, 30, 99)]
    assert values == pytest.approx([0.0, 0.0, 1.0, 2.0, 2.0])


def test_pixel_cross_entropy_is_that_of_tensorflow_and_survives_large_logits():
    logits = tf.random.stateless_normal([2, 3, 4, 4, 3], [1, 2]) * 30.0
    mask = tf.random.stateless_uniform([2, 4, 4], [3, 4], maxval=3, dtype=tf.int32)
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.repeat(mask[:, None], 3, axis=1), logits)
    np.testing.assert_allclose(losses.pixel_cross_entropy(logits, mask[:, None]), expected, rtol=1e-4, atol=1e-4)
