"""From distributions of the latent and standard normal noise to values of z, by reparametrisation."""

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["from_posterior", "from_prior", "noise_shape"]


def noise_shape(prior: tfp.distributions.Normal, draws: int | tf.Tensor) -> tf.Tensor:
    """Shape of the noise of N draws for each image: [B, N, h, w, L].

    Args:
      prior: Gaussian with a mean [B, h, w, L]; h = w = 1 for the global latent.
      draws: N.
    """
    shape = tf.shape(prior.loc)
    return tf.concat([shape[:1], [draws], shape[1:]], 0)


def from_prior(prior: tfp.distributions.Normal, noise: tf.Tensor, spread: tf.Tensor | None = None) -> tf.Tensor:
    """N draws of z from the prior, [B, N, h, w, L].

    Args:
      prior: as in `noise_shape`.
      noise: standard normal [B, N, h, w, L].
      spread: scalar that multiplies sigma; 1 by default.
    """
    sigma = prior.scale if spread is None else spread * prior.scale
    return prior.loc[:, None] + sigma[:, None] * noise


def from_posterior(posterior: tfp.distributions.Normal, noise: tf.Tensor) -> tf.Tensor:
    """One draw of z from the posterior, [B, h, w, L], of noise of the same shape."""
    return posterior.loc + posterior.scale * noise
