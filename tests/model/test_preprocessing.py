"""The normalisation: the sky sigma it finds, and that it keeps the signal-to-noise."""

import numpy as np
import tensorflow as tf

from blendinator.model import preprocessing


def quantile_boundaries(values):
    return tf.constant(np.quantile(values, np.arange(1, 2000) / 2000), tf.float32)


def test_sigma_of_gaussian_noise():
    noise = np.random.default_rng(1).normal(0, 26.3, 400_000)
    assert abs(preprocessing.sigma_from_quantiles(quantile_boundaries(noise)).numpy() / 26.3 - 1) < 0.01


def test_sources_barely_move_it():
    """4 % of the pixels under bright galaxies, as in the survey."""
    rng = np.random.default_rng(2)
    pixels = rng.normal(0, 26.3, 400_000)
    pixels[:16_000] += rng.exponential(500, 16_000)
    assert abs(preprocessing.sigma_from_quantiles(quantile_boundaries(pixels)).numpy() / 26.3 - 1) < 0.05


def test_each_pixel_is_treated_alike_whatever_else_the_stamp_holds(monkeypatch):
    """Defect: a maximum taken over each stamp, which lifts an empty stamp's noise to the brightness of a galaxy."""
    monkeypatch.setattr(preprocessing, "robust_sky_sigma", lambda image: tf.constant(10.0))
    empty = np.full((1, 4, 4), 5.0, "f4")
    bright = empty.copy()
    bright[0, 0, 0] = 1e5
    out = [preprocessing.preprocessing_fn({"image": tf.constant(x)})["normalised"].numpy() for x in (empty, bright)]
    np.testing.assert_allclose(out[0][0, 1:], np.arcsinh(0.5), rtol=1e-6)
    np.testing.assert_array_equal(out[0][0, 1:], out[1][0, 1:])
