"""What shows whether the latent works: KL per dimension, active units, the prior's NLL and the draws' diversity."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from blendinator.model import latent, losses
from blendinator.model.input_data import Normalise, Scenes
from blendinator.model.probaunet import ProbaUNet

_BATCH = 32
_DRAWS = 8
_DEAD_KL = 0.1  # nats a dimension and image
_ACTIVE_VARIANCE = 0.01  # Burda et al. 2016: a unit is active where the variance of its posterior mean exceeds this


def make_monitor(model: ProbaUNet, normalise: Normalise, seed: int) -> Callable[[Scenes], dict]:
    """A function that monitors `model` on the stored noisy images of scenes; all its values are in nats per image.

    It returns:
      prior_nll: block-wise NLL of the mixture of 8 draws from the prior (`losses.blockwise_mixture_nll`), the quantity
        that early stopping watches.
      pixel_nll: NLL of the draws' mean probabilities, summed over the pixels as if they were independent.
      reconstruction: cross-entropy with z from the posterior; gap: prior_nll - reconstruction.
      kl_per_dimension: list of floats. active_units: int.
      diversity: mean over pixels that any draw calls a source of the share of draw pairs whose classes differ.
    """
    compute = tf.function(
        lambda image, mask, key: _batch_monitors(model, normalise(image), mask, key),
        reduce_retracing=True,
        autograph=False,
    )
    return lambda scenes: _monitor(compute, scenes, seed)


def latent_warnings(history: list[dict], monitors: dict) -> list[str]:
    """What is wrong with the latent at the end of a training, one sentence each; empty where it is alive.

    Args:
      history: rows of the evaluations during the training, with `phase`.
      monitors: those of the finished model.
    """
    found = []
    elbo = [row for row in history if row["phase"] == "elbo"]
    if elbo and max(elbo[-1]["kl_per_dimension"]) < _DEAD_KL:
        found.append(
            f"the latent has collapsed: no dimension's KL reached {_DEAD_KL} nat at the end of the ELBO phase. "
            "Set training.free_bits to 0.2, or lengthen training.beta_warmup"
        )
    if monitors["active_units"] == 0:
        found.append(
            "no unit of the latent is active: the posterior says the same of every image. Set training.free_bits to 0.2"
        )
    if monitors["diversity"] == 0.0:
        found.append(
            "the latent's draws never differ in a pixel's most probable class: only the smooth field varies the "
            "maps. Raise training.multi_sample_share"
        )
    return found


def _monitor(compute: Callable[..., Any], scenes: Scenes, seed: int) -> dict:
    rows = []
    for start in range(0, scenes.count, _BATCH):
        parts = compute(*scenes.batch(start, _BATCH), tf.constant([seed, start], tf.int32))
        rows.append([part.numpy() for part in parts])
    prior_nll, pixel_nll, reconstruction, kl, means, disagreement, sources = (
        np.concatenate(part) for part in zip(*rows)
    )
    units = means.reshape(-1, means.shape[-1])
    return {
        "prior_nll": float(prior_nll.mean()),
        "pixel_nll": float(pixel_nll.mean()),
        "reconstruction": float(reconstruction.mean()),
        "gap": float(prior_nll.mean() - reconstruction.mean()),
        "kl_per_dimension": [float(value) for value in kl.mean(axis=0)],
        "active_units": int((units.var(axis=0) > _ACTIVE_VARIANCE).sum()),
        "diversity": float(disagreement.sum() / max(sources.sum(), 1.0)),
    }


def _batch_monitors(model: ProbaUNet, normalised: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    features, prior = model.features(normalised)
    posterior = model.posterior(normalised, mask)
    reconstruction = losses.cross_entropy(model.logits(features, posterior.loc[:, None])[:, 0], mask)
    noise = tf.random.stateless_normal(latent.noise_shape(prior, _DRAWS), seed)
    logits = model.draw_logits(features, prior, noise)
    pixels = losses.pixel_cross_entropy(logits, mask[:, None])
    classes = tf.argmax(logits, axis=-1, output_type=tf.int32)
    votes = tf.reduce_mean(tf.one_hot(classes, logits.shape[-1]), axis=1)
    disagreement = (1.0 - tf.reduce_sum(votes**2, axis=-1)) * _DRAWS / (_DRAWS - 1)
    sources = tf.cast(votes[..., 0] < 1.0, tf.float32)
    return (
        losses.blockwise_mixture_nll(pixels),
        losses.pixel_mixture_nll(pixels),
        reconstruction,
        losses.kl_per_dimension(posterior, prior),
        posterior.loc,
        tf.reduce_sum(disagreement * sources, axis=[1, 2]),
        tf.reduce_sum(sources, axis=[1, 2]),
    )
