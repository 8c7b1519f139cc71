"""Post-hoc calibration: a temperature on the logits and a scale on the prior's sigma, fitted on held-out scenes.

Guo et al. 2017 (arXiv:1706.04599) fit a temperature by the NLL of a point prediction. Here the prediction is a mixture
of draws, so two numbers are needed: how sure each draw is, and how far the draws spread. Both are fitted at once by the
NLL of the mixture's pixel probabilities, at natural density: it is these that the drawn maps keep exactly
(`blendinator.model.sampling`).
"""

import logging

import numpy as np
import scipy.optimize
import tensorflow as tf

from blendinator.model import losses
from blendinator.model.input_data import Normalise, Scenes
from blendinator.model.probaunet import ProbaUNet

log = logging.getLogger("blendinator.training")
_BATCH = 16
_DRAWS = 32  # with fewer, the finite mixture itself would favour a small scale
_STEP, _GAIN = 0.1, 0.05  # the fit ends within these of log parameters and nats an image; the scenes tell no more apart
_SCENES = 256  # the fit has two parameters and a million pixels


def recalibrate(model: ProbaUNet, scenes: Scenes, normalise: Normalise, seed: int) -> dict:
    """Fits `model.temperature` and `model.prior_scale` in place.

    Args:
      scenes: held-out scenes at natural density.

    Returns:
      temperature, prior_scale, and the mean NLL (nats an image) before and after.
    """
    if scenes.count > _SCENES:
        scenes = scenes.take(np.linspace(0, scenes.count - 1, _SCENES).astype(int))
    batches, tried = [], []
    for start in range(0, scenes.count, _BATCH):
        image, mask = scenes.batch(start, _BATCH)
        features, prior = model.features(normalise(image))
        noise = tf.random.stateless_normal(
            tf.concat([tf.shape(prior.loc)[:1], [_DRAWS], tf.shape(prior.loc)[1:]], 0), [seed, start]
        )
        batches.append((features, prior.loc, prior.scale, noise, mask))

    @tf.function(reduce_retracing=True, autograph=False)
    def batch_nll(features, loc, scale, noise, mask):
        logits = model.draw_logits(features, losses.tfd.Normal(loc, scale), noise)
        return tf.reduce_sum(losses.pixel_mixture_nll(losses.pixel_cross_entropy(logits, mask[:, None])))

    def objective(parameters):
        temperature, prior_scale = np.exp(parameters)
        model.temperature.assign(temperature)
        model.prior_scale.assign(prior_scale)
        tried.append(float(sum(batch_nll(*batch) for batch in batches)) / scenes.count)
        return tried[-1]

    found = scipy.optimize.minimize(
        objective,
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
    before, after = tried[0], objective(found.x)
    facts = {
        "temperature": float(model.temperature.numpy()),
        "prior_scale": float(model.prior_scale.numpy()),
        "nll_before": before,
        "nll_after": after,
        "scenes": scenes.count,
    }
    log.info(
        "post-hoc calibration: temperature %.3f, prior scale %.3f, NLL %.2f -> %.2f nats an image",
        facts["temperature"],
        facts["prior_scale"],
        before,
        after,
    )
    return facts
