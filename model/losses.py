"""The objective of the ProbaUNet, as pure functions of tensors. All values are in nats."""

import functools
import math

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions
_BLOCK = 16  # pixels per side


def pixel_cross_entropy(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """-log p(mask | z) of each pixel: [..., H, W, 3] and integers that broadcast to [..., H, W] -> [..., H, W].

    Written for one plane a class: on a CPU in half the time of TensorFlow's operation along an axis of three.
    """
    planes = tf.unstack(logits, axis=-1)
    largest = tf.stop_gradient(functools.reduce(tf.maximum, planes))
    log_sum = largest + tf.math.log(tf.add_n([tf.exp(plane - largest) for plane in planes]))
    return log_sum - tf.where(mask == 0, planes[0], tf.where(mask == 1, planes[1], planes[2]))


def cross_entropy(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """-log p(mask | z), summed over the pixels of each image: [..., H, W, 3] and [..., H, W] -> [...].

    Summed and not averaged: only then is cross-entropy + KL a true bound on -log p(mask | image).
    """
    return tf.reduce_sum(pixel_cross_entropy(logits, mask), axis=[-2, -1])


def kl_per_dimension(posterior: tfp.distributions.Normal, prior: tfp.distributions.Normal) -> tf.Tensor:
    """KL(q || p) of axis-aligned Gaussians, [B, h, w, L] -> [B, L], summed over the positions of z.

    Analytic: log(sp / sq) + (sq^2 + (mq - mp)^2) / (2 sp^2) - 1/2.
    """
    return tf.reduce_sum(tfd.kl_divergence(posterior, prior), axis=[1, 2])


def balanced_kl(posterior: tfp.distributions.Normal, prior: tfp.distributions.Normal, balance: float) -> tf.Tensor:
    """The KL with its gradient divided between prior and posterior; its value is that of `kl_per_dimension`.

    `balance` is the share that goes to the prior; 0.5 is the plain gradient. Above it the prior, the only one used at
    prediction time, follows the posterior faster than the posterior gives way (Hafner et al. 2021, arXiv:2010.02193).
    """
    if balance == 0.5:
        return kl_per_dimension(posterior, prior)
    stop = lambda normal: tfp.distributions.Normal(tf.stop_gradient(normal.loc), tf.stop_gradient(normal.scale))
    to_prior = kl_per_dimension(stop(posterior), prior)
    to_posterior = kl_per_dimension(posterior, stop(prior))
    gradient = 2.0 * balance * to_prior + 2.0 * (1.0 - balance) * to_posterior
    return tf.stop_gradient(to_prior - gradient) + gradient


def free_bits(kl: tf.Tensor, floor: float) -> tf.Tensor:
    """KL [B, L] with a floor of `floor` nats on each dimension's batch mean (Kingma et al. 2016, arXiv:1606.04934).

    A dimension below the floor gets no gradient from the KL, so that it is not driven to zero.
    """
    if floor == 0.0:
        return tf.reduce_mean(tf.reduce_sum(kl, axis=-1))
    return tf.reduce_sum(tf.maximum(tf.reduce_mean(kl, axis=0), floor))


def negative_elbo(reconstruction: tf.Tensor, kl: tf.Tensor, beta: tf.Tensor | float) -> tf.Tensor:
    """Batch mean of -ELBO: mean(reconstruction [B]) + beta * kl (scalar, from `free_bits`)."""
    return tf.reduce_mean(reconstruction) + beta * kl


def multi_sample_nll(cross_entropies: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """-log (1/M sum_m p(mask | z_m)) from the cross-entropies of M draws along `axis`, which goes.

    With z_m from the prior this is the M-sample bound on -log p(mask | image) (Burda et al. 2016, arXiv:1509.00519).
    """
    draws = cross_entropies.shape[axis]
    return math.log(draws) - tf.reduce_logsumexp(-cross_entropies, axis=axis)


def blockwise_mixture_nll(pixels: tf.Tensor) -> tf.Tensor:
    """NLL of the mixture of draws on each block of pixels, summed over the blocks, in nats: [B, M, S, S] -> [B].

    -sum_b log (1/M sum_m prod_{i in b} p(y_i | z_m)) over blocks b of 16 x 16 pixels. With blocks of the size of an
    object this scores the joint distribution over that object's pixels; over a whole stamp of many objects a handful of
    draws never hits them all at once. As an objective it trains the very path that sampling uses. Where 16 does not
    divide the side, the largest common divisor serves.

    Args:
      pixels: `pixel_cross_entropy` of M draws.
    """
    draws, side = pixels.shape[1], pixels.shape[2]
    block = math.gcd(side, _BLOCK)
    blocks = tf.reshape(pixels, [-1, draws, side // block, block, side // block, block])
    return tf.reduce_sum(multi_sample_nll(tf.reduce_sum(blocks, axis=[3, 5]), axis=1), axis=[1, 2])


def pixel_mixture_nll(pixels: tf.Tensor) -> tf.Tensor:
    """NLL of the draws' mean probabilities, summed over pixels, in nats: `pixel_cross_entropy` [B, M, H, W] -> [B]."""
    return tf.reduce_sum(multi_sample_nll(pixels, axis=1), axis=[1, 2])


def beta_at(step: tf.Tensor, start: int, warmup_steps: int, beta: float) -> tf.Tensor:
    """Weight of the KL at a step: linear from 0 at `start` to `beta` after `warmup_steps`."""
    progress = tf.cast(step - start, tf.float32) / float(max(warmup_steps, 1))
    return beta * tf.clip_by_value(progress, 0.0, 1.0)
