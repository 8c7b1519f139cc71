"""Post-hoc calibration at natural density, fitted on held-out scenes.

Guo et al. 2017 (arXiv:1706.04599) fit a temperature by the NLL of a point prediction. Here the prediction is a mixture
of samples, so two numbers are needed: how sure each sample is, and how far the samples spread. Then three more: a
temperature and one offset per class (their "vector scaling" with one common slope), which correct the odds of the
classes from the training's mix of scenes to the density of the sky. Everything is fitted by the NLL of the mixture's
pixel probabilities: it is these that the sampled maps keep exactly (`blendinator.model.sampling`).
"""

import logging

import numpy as np
import scipy.optimize
import tensorflow as tf

from blendinator.model import latent, losses
from blendinator.model.input_data import Normalise, Scenes
from blendinator.model.probaunet import ProbaUNet

log = logging.getLogger("blendinator.training")
_BATCH = 16
_SAMPLES = 32  # with fewer, the finite mixture itself would favour a small scale
_STEP, _GAIN = 0.1, 0.05  # the fit ends within these of log parameters and nats per image; the data resolve no more
_SCENES = 256  # enough for the spread: two parameters and a million pixels
_ODDS_SAMPLES = 8  # of the fit of the class odds, which the number of samples barely matters to
_INFORMATIVE = 0.02  # pixels with a smaller probability of a source say nothing about the odds


def recalibrate(model: ProbaUNet, scenes: Scenes, normalise: Normalise, seed: int) -> dict:
    """Fits `model.temperature`, `model.prior_scale` and `model.class_offsets` in place.

    Args:
      scenes: held-out scenes at natural density; blends are rare there, so the more the better.

    Returns:
      The parameters, the number of scenes, and the mean NLL (nats per image) of the `_SCENES` scenes that the spread is
      fitted on before and after.
    """
    few = scenes.take(np.linspace(0, scenes.count - 1, min(_SCENES, scenes.count)).astype(int))
    spread_nll = _spread_objective(model, few, normalise, seed)
    found = scipy.optimize.minimize(
        spread_nll,
        np.zeros(2),
        method="Nelder-Mead",
        bounds=[(-1.5, 1.5), (-1.5, 1.5)],
        options={
            "initial_simplex": [[0.0, 0.0], [0.2, 0.0], [0.0, -0.7]],
            "xatol": _STEP,
            "fatol": _GAIN,
            "maxfev": 40,
        },
    )
    before = spread_nll(np.zeros(2))
    spread_nll(found.x)
    _fit_odds(model, scenes, normalise, seed)
    after = spread_nll(np.log([float(model.temperature.numpy()), float(model.prior_scale.numpy())]))
    facts = {
        "temperature": float(model.temperature.numpy()),
        "prior_scale": float(model.prior_scale.numpy()),
        "class_offsets": model.class_offsets.numpy().tolist(),
        "nll_before": before,
        "nll_after": after,
        "scenes": scenes.count,
    }
    log.info(
        "post-hoc calibration: temperature %.3f, prior scale %.3f, class offsets %s, NLL %.2f -> %.2f nats per image",
        facts["temperature"],
        facts["prior_scale"],
        np.round(facts["class_offsets"], 3).tolist(),
        before,
        after,
    )
    return facts


def _spread_objective(model, scenes, normalise, seed):
    """(log temperature, log prior scale) -> NLL of the mixture of samples, nats per image; sets the model's two."""
    batches = []
    for start in range(0, scenes.count, _BATCH):
        image, mask = scenes.batch(start, _BATCH)
        features, prior = model.features(normalise(image))
        batches.append((features, prior.loc, prior.scale, _noise(prior, _SAMPLES, [seed, start]), mask))

    @tf.function(reduce_retracing=True, autograph=False)
    def batch_nll(features, loc, scale, noise, mask):
        logits = model.draw_logits(features, losses.tfd.Normal(loc, scale), noise)
        return tf.reduce_sum(losses.pixel_mixture_nll(losses.pixel_cross_entropy(logits, mask[:, None])))

    def objective(parameters):
        temperature, prior_scale = np.exp(parameters)
        model.temperature.assign(temperature)
        model.prior_scale.assign(prior_scale)
        return float(sum(batch_nll(*batch) for batch in batches)) / scenes.count

    return objective


def _fit_odds(model, scenes, normalise, seed):
    """Fits temperature and class offsets, with the spread as it is."""

    @tf.function(reduce_retracing=True, autograph=False)
    def informative(image, mask, key):
        features, prior = model.features(normalise(image))
        logits = model.draw_logits(features, prior, _noise(prior, _ODDS_SAMPLES, key))
        source = 1.0 - tf.reduce_mean(tf.nn.softmax(logits)[..., 0], axis=1)
        chosen = source > _INFORMATIVE
        return tf.boolean_mask(tf.transpose(logits, [0, 2, 3, 1, 4]), chosen), tf.boolean_mask(mask, chosen)

    parts = []
    for start in range(0, scenes.count, _BATCH):
        image, mask = scenes.batch(start, _BATCH)
        parts.append([part.numpy() for part in informative(image, mask, tf.constant([seed, start]))])
    logits, mask = (np.concatenate(part) for part in zip(*parts))
    if len(mask) == 0:
        return
    temperature, offsets = class_odds(logits * model.temperature.numpy(), mask, float(model.temperature.numpy()))
    model.temperature.assign(temperature)
    model.class_offsets.assign(offsets)


def class_odds(logits: np.ndarray, mask: np.ndarray, temperature: float = 1.0) -> tuple[float, np.ndarray]:
    """Temperature T and class offsets b that minimise the NLL of the mean over samples of softmax((logits + b) / T).

    Args:
      logits: float32 [P, N, C] of P pixels, N samples and C classes.
      mask: integers [P].
      temperature: where the search starts.

    Returns:
      T, and b float32 [C] with b[0] = 0: a common offset changes nothing.
    """
    held, truth = tf.constant(logits, tf.float32), tf.constant(mask, tf.int32)

    @tf.function(autograph=False)
    def objective(parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            offsets = tf.concat([[0.0], parameters[1:]], 0)
            scaled = (held + offsets) * tf.exp(-parameters[0])
            log_likelihood = tf.nn.log_softmax(scaled)
            chosen = tf.gather(
                log_likelihood, truth[:, None, None] * tf.ones_like(held[..., :1], tf.int32), batch_dims=2
            )
            nll = -tf.reduce_mean(tf.reduce_logsumexp(chosen[..., 0], axis=1))
        return nll, tape.gradient(nll, parameters)

    def value_and_gradient(parameters):
        return [part.numpy().astype(np.float64) for part in objective(tf.constant(parameters, tf.float32))]

    start = np.concatenate(([np.log(temperature)], np.zeros(logits.shape[-1] - 1)))
    found = scipy.optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B")
    return float(np.exp(found.x[0])), np.concatenate(([0.0], found.x[1:])).astype(np.float32)


def _noise(prior, samples, seed):
    return tf.random.stateless_normal(latent.noise_shape(prior, samples), seed)
