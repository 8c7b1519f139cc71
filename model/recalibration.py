"""Post-hoc calibration, fitted on held-out scenes.

Guo et al. 2017 (arXiv:1706.04599) fit a temperature by the NLL of a point prediction. Here the prediction is a mixture
of samples, so two numbers are needed: how sure each sample is, and how far the samples spread. Then three more for each
population of scenes: a temperature and one offset per class (their "vector scaling" with one common slope), which bring
the odds of the classes from the training's mix of scenes to those of the population: the density of the sky for the
default, or fields that were chosen for their blends. All of these are fitted by the NLL of the mixture's pixel
probabilities, which the sampled maps keep exactly (`blendinator.model.sampling`); what the maps hold beyond them, how
far neighbouring pixels agree, is fitted last (`blendinator.model.copula`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.optimize
import tensorflow as tf

from blendinator.data.population import CALIBRATED
from blendinator.model import copula, latent, losses
from blendinator.model.input_data import Normalise, Scenes
from blendinator.model.probaunet import Odds, ProbaUNet

log = logging.getLogger("blendinator.training")
_BATCH = 16
_SAMPLES = 32  # with fewer, the finite mixture itself would favour a small scale
_STEP, _GAIN = 0.1, 0.05  # the fit ends within these of log parameters and nats per image; the data resolve no more
_SCENES = 256  # enough for the spread: two parameters and a million pixels
_FEWEST = 30  # scenes of a population; odds from fewer would be worse than the default ones
_ODDS_SAMPLES = 4  # of the fit of the class odds, which the number of samples barely matters to
_INFORMATIVE = 0.02  # pixels with a smaller probability of a source say nothing about the odds


def recalibrate(model: ProbaUNet, scenes: Mapping[str, Scenes], normalise: Normalise, seed: int) -> dict:
    """Fits `model.temperature`, `model.prior_scale`, `model.class_offsets` and `model.field_weights` in place.

    Args:
      scenes: held-out scenes by population; those of a population with fewer than `_FEWEST` are left out. The exported
        probabilities get the odds of the population that the exports are meant for (`CALIBRATED`), or of the first
        where it is missing; blends are rare in it, so the more the better.

    Returns:
      The parameters of that population and the number of its scenes; the mean NLL (nats per image) of the `_SCENES` of
      them that the spread is fitted on before and after; `populations`, the odds of each one; `fields`, from
      `copula.fit`.
    """
    default = CALIBRATED if CALIBRATED in scenes else min(scenes)
    scenes = {name: part for name, part in scenes.items() if name == default or part.count >= _FEWEST}
    model.reset_calibration()
    few = scenes[default].spread(_SCENES)
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
    odds = {population: fit_odds(model, part, normalise, seed) for population, part in scenes.items()}
    model.temperature.assign(odds[default].temperature)
    model.class_offsets.assign(odds[default].class_offsets)
    after = spread_nll(np.log([odds[default].temperature, float(model.prior_scale.numpy())]))
    facts = {
        "temperature": odds[default].temperature,
        "prior_scale": float(model.prior_scale.numpy()),
        "class_offsets": odds[default].class_offsets,
        "nll_before": before,
        "nll_after": after,
        "scenes": scenes[default].count,
        "population": default,
        "populations": {
            population: found._asdict() | {"scenes": scenes[population].count} for population, found in odds.items()
        },
        "fields": copula.fit(model, scenes, odds, normalise, seed),
    }
    for population, found in odds.items():
        log.info(
            "odds of the %s population: temperature %.3f, class offsets %s",
            population,
            found.temperature,
            np.round(found.class_offsets, 3).tolist(),
        )
    log.info(
        "post-hoc calibration: prior scale %.3f, NLL %.2f -> %.2f nats per image", facts["prior_scale"], before, after
    )
    return facts


def _spread_objective(
    model: ProbaUNet, scenes: Scenes, normalise: Normalise, seed: int
) -> Callable[[np.ndarray], float]:
    """(log temperature, log prior scale) -> NLL of the mixture of samples, nats per image; sets the model's two."""
    batches = []
    for start in range(0, scenes.count, _BATCH):
        image, mask = scenes.batch(start, _BATCH)
        features, prior = model.features(normalise(image))
        batches.append((features, prior.loc, prior.scale, _noise(prior, _SAMPLES, [seed, start]), mask))

    @tf.function(reduce_retracing=True, autograph=False)
    def batch_nll(
        features: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, noise: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        logits = model.draw_logits(features, losses.tfd.Normal(loc, scale), noise)
        return tf.reduce_sum(losses.pixel_mixture_nll(losses.pixel_cross_entropy(logits, mask[:, None])))

    def objective(parameters: np.ndarray) -> float:
        temperature, prior_scale = np.exp(parameters)
        model.temperature.assign(temperature)
        model.prior_scale.assign(prior_scale)
        return float(sum(batch_nll(*batch) for batch in batches)) / scenes.count

    return objective


def fit_odds(model: ProbaUNet, scenes: Scenes, normalise: Normalise, seed: int) -> Odds:
    """Temperature and class offsets for these scenes, with the spread and the temperature as they are to start with."""

    @tf.function(reduce_retracing=True, autograph=False)
    def informative(image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, prior = model.features(normalise(image))
        logits = model.draw_logits(features, prior, _noise(prior, _ODDS_SAMPLES, key))
        source = 1.0 - tf.reduce_mean(tf.nn.softmax(logits)[..., 0], axis=1)
        chosen = source > _INFORMATIVE
        logits = tf.cast(logits, tf.float16)  # tens of millions of pixels, to a thousandth
        return tf.boolean_mask(tf.transpose(logits, [0, 2, 3, 1, 4]), chosen), tf.boolean_mask(mask, chosen)

    parts = []
    for start in range(0, scenes.count, _BATCH):
        image, mask = scenes.batch(start, _BATCH)
        parts.append([part.numpy() for part in informative(image, mask, tf.constant([seed, start]))])
    logits, mask = (np.concatenate(part) for part in zip(*parts))
    temperature = float(model.temperature.numpy())
    if len(mask) == 0:
        return Odds(temperature, [0.0] * logits.shape[-1])
    temperature, offsets = class_odds(logits.astype(np.float32) * temperature, mask, temperature)
    return Odds(temperature, offsets.tolist())


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

    @tf.function(autograph=False, jit_compile=True)  # millions of small exponentials: XLA takes half the time
    def objective(parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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

    def value_and_gradient(parameters: np.ndarray) -> list[np.ndarray]:
        return [part.numpy().astype(np.float64) for part in objective(tf.constant(parameters, tf.float32))]

    start = np.concatenate(([np.log(temperature)], np.zeros(logits.shape[-1] - 1)))
    found = scipy.optimize.minimize(value_and_gradient, start, jac=True, method="L-BFGS-B")
    return float(np.exp(found.x[0])), np.concatenate(([0.0], found.x[1:])).astype(np.float32)


def _noise(prior: losses.tfd.Normal, samples: int, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_normal(latent.noise_shape(prior, samples), seed)
