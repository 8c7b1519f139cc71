"""Learns how far neighbouring pixels agree in a sample: the weights of the smooth fields behind its classes.

Whatever the weights, each pixel keeps its probabilities (`blendinator.model.sampling`), so no score of single pixels
can tell good weights from bad ones. Pairs can: two pixels x and y have thresholds Phi^-1(p) for an event of probability
p(x) and p(y), and fields of correlation rho = sum_k w_k(x) w_k(y) c_k(x, y), where c_k is that of the k-th lattice.
The likelihood of what both pixels truly are is then a rectangle of the bivariate normal distribution, and its sum over
pairs a composite likelihood (Lindsay 1988; Varin, Reid and Firth 2011, Statistica Sinica 21, 5). The network is frozen:
only `FieldWeights` is fitted, on held-out scenes.
"""

import logging
import math
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from blendinator.model import latent, sampling
from blendinator.model.input_data import Normalise, Scenes
from blendinator.model.probaunet import Odds, ProbaUNet

__all__ = ["Pairs", "bivariate_cdf", "field_correlation", "fit", "pair_nll", "sample_pairs"]

log = logging.getLogger("blendinator.training")
_NODES, _NODE_WEIGHTS = (values.astype(np.float32) for values in np.polynomial.legendre.leggauss(8))
_DOUBTFUL = (0.02, 0.98)  # probabilities outside say next to nothing about the correlation
_SCENES, _PAIRS = 1500, 400  # scenes of each population, and first pixels of pairs in each of them
_FARTHEST = 48.0  # pixels between the two; distances are log-uniform from 1 on
_STEPS, _BATCH, _RATE = 1200, 1024, 0.02
_JUDGED = 0.1  # of the pairs, those of the last scenes, do not take part in the fit
_LARGEST = 0.995  # correlation, for the quadrature


class Pairs(NamedTuple):
    """M pairs of pixels for one of the two questions of `sampling.draw_classes`."""

    features: np.ndarray  # float16 [M, 2, F]
    probability: np.ndarray  # float32 [M, 2], of the event
    event: np.ndarray  # bool [M, 2], whether it is true
    correlation: np.ndarray  # float32 [M, K], of each scale's field between the two pixels


def bivariate_cdf(a: tf.Tensor, b: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
    """P(X < a, Y < b) of standard normal X and Y of correlation `rho`, float32 of any one shape.

    Phi(a) Phi(b) plus the integral of the density over the correlation, by Gauss and Legendre with 8 nodes in its
    arcsine: to 1e-4 up to a correlation of .995 (Drezner and Wesolowsky 1990, J. Stat. Comput. Simul. 35, 101).
    """
    angle = tf.asin(rho)
    sine = tf.sin(angle[..., None] * (_NODES + 1.0) / 2.0)
    cosine2 = 1.0 - sine**2
    density = tf.exp(((a * b)[..., None] * sine - (a**2 + b**2)[..., None] / 2.0) / cosine2)
    independent = sampling.normal_cdf(a) * sampling.normal_cdf(b)
    return independent + angle / (4.0 * math.pi) * tf.reduce_sum(density * _NODE_WEIGHTS, axis=-1)


def pair_nll(weights: tf.Tensor, probability: tf.Tensor, event: tf.Tensor, correlation: tf.Tensor) -> tf.Tensor:
    """-log of the probability of both pixels' truth, nats per pair [M].

    Args:
      weights: [M, 2, K] of the fields in the two pixels.
      probability, event, correlation: as in `Pairs`.
    """
    rho = tf.clip_by_value(tf.reduce_sum(weights[:, 0] * weights[:, 1] * correlation, axis=-1), 0.0, _LARGEST)
    p, q = probability[:, 0], probability[:, 1]
    both = bivariate_cdf(tf.math.ndtri(p), tf.math.ndtri(q), rho)
    true = tf.where(event[:, 1], both, p - both)
    false = tf.where(event[:, 1], q - both, 1.0 - p - q + both)
    return -tf.math.log(tf.maximum(tf.where(event[:, 0], true, false), 1e-6))


def field_correlation(scale: float, side: int) -> np.ndarray:
    """Correlation [side, side] of `sampling.smooth_field` between positions along an axis, float32."""
    weights = sampling.lattice_weights(side, sampling.lattice_side(side, scale), scale).numpy()
    return weights @ weights.T


def sample_pairs(
    features: np.ndarray,
    probability: np.ndarray,
    event: np.ndarray,
    usable: np.ndarray,
    correlations: np.ndarray,
    rng: np.random.Generator,
    count: int = _PAIRS,
) -> Pairs:
    """Pairs of doubtful pixels of one scene, at log-uniform distances and any angle.

    Args:
      features: [S, S, F]. probability, event: [S, S].
      usable: bool [S, S], where the event's truth is known.
      correlations: [K, S, S], `field_correlation` of each scale.
      count: pairs tried; those whose second pixel is outside, or not doubtful and usable, are left out.
    """
    side = len(probability)
    eligible = usable & (probability > _DOUBTFUL[0]) & (probability < _DOUBTFUL[1])
    places = np.argwhere(eligible)
    if not len(places):
        count = 0
    first = places[rng.integers(0, max(len(places), 1), count)].reshape(-1, 2)
    distance, angle = np.exp(rng.uniform(0.0, np.log(_FARTHEST), count)), rng.uniform(0.0, 2.0 * np.pi, count)
    second = first + np.rint(np.stack([distance * np.sin(angle), distance * np.cos(angle)], axis=1)).astype(int)
    inside = ((second >= 0) & (second < side)).all(axis=1)
    first, second = first[inside], second[inside]
    chosen = eligible[second[:, 0], second[:, 1]]
    both = np.stack([first[chosen], second[chosen]], axis=1)
    rows, columns = both[..., 0], both[..., 1]
    return Pairs(
        features[rows, columns].astype(np.float16),
        probability[rows, columns].astype(np.float32),
        event[rows, columns],
        (correlations[:, rows[:, 0], rows[:, 1]] * correlations[:, columns[:, 0], columns[:, 1]]).T.astype(np.float32),
    )


def fit(
    model: ProbaUNet, scenes: Mapping[str, Scenes], odds: Mapping[str, Odds], normalise: Normalise, seed: int
) -> dict:
    """Fits `model.field_weights` in place.

    Args:
      model: trained and calibrated.
      scenes: held-out scenes by population; each counts the same.
      odds: of each population.
      seed: of the pairs and the fit.

    Returns:
      Facts: `pairs`, and the mean NLL of pairs that the fit did not see, nats per pair, with equal weights
      (`nll_before`) and with the fitted ones, which are given up where they are not better; {} where no pixel is in
      doubt. Both leave the weights equal.
    """
    sets = [
        (question, pairs)
        for i, (population, part) in enumerate(sorted(scenes.items()))
        for question, pairs in enumerate(_collect(model, part, odds[population], normalise, [seed, i]))
        if len(pairs.event) > 1 / _JUDGED
    ]
    if not sets:
        return {}
    cuts = [len(pairs.event) - int(_JUDGED * len(pairs.event)) for _, pairs in sets]
    fitted = [(question, Pairs(*(values[:cut] for values in pairs))) for (question, pairs), cut in zip(sets, cuts)]
    judged = [(question, Pairs(*(values[cut:] for values in pairs))) for (question, pairs), cut in zip(sets, cuts)]
    model.field_weights.make_equal()
    before = _mean_nll(model, judged)
    _descend(model, fitted, seed)
    after = _mean_nll(model, judged)
    if not after < before:  # with very few pairs, or no longer a number
        model.field_weights.make_equal()
        after = before
    facts = {"pairs": sum(len(pairs.event) for _, pairs in sets), "nll_before": before, "nll_after": after}
    log.info(
        "fields of the samples: NLL of %d pairs %.4f -> %.4f nats per pair",
        facts["pairs"],
        facts["nll_before"],
        facts["nll_after"],
    )
    return facts


def _collect(model: ProbaUNet, scenes: Scenes, odds: Odds, normalise: Normalise, seed: list[int]) -> list[Pairs]:
    """The pairs for "is it background?" and those for "is it blended?", of all scenes."""

    @tf.function(reduce_retracing=True, autograph=False)
    def frozen(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, prior = model.features(normalise(image))
        noise = tf.zeros(latent.noise_shape(prior, 1))
        return tf.cast(features, tf.float32), tf.nn.softmax(model.draw_logits(features, prior, noise, odds)[:, 0])

    scenes = scenes.spread(_SCENES)
    side = scenes.mask.shape[1]
    correlations = np.stack([field_correlation(scale, side) for scale in model.config.sample_scales])
    rng = np.random.default_rng(seed)
    found: list[list[Pairs]] = [[], []]
    for start in range(0, scenes.count, 32):
        image, mask = scenes.batch(start, 32)
        batch = (part.numpy() for part in frozen(image))
        for features, probabilities, truth in zip(*batch, mask.numpy()):
            background, one = probabilities[..., 0], probabilities[..., 1]
            galaxy = one / np.maximum(1.0 - background, 1e-6)
            source = truth > 0
            questions = (
                (background, ~source, np.ones_like(source)),
                (galaxy, truth == 1, source),
            )
            for parts, (probability, event, usable) in zip(found, questions):
                parts.append(sample_pairs(features, probability, event, usable, correlations, rng))
    return [Pairs(*(np.concatenate(values) for values in zip(*parts))) for parts in found]


def _tensors(pairs: Pairs, rows: np.ndarray | slice) -> list[tf.Tensor]:
    """Some of the pairs; their features in float32, which every processor computes in."""
    return [tf.constant(pairs.features[rows], tf.float32), *(tf.constant(values[rows]) for values in pairs[1:])]


def _question_weights(model: ProbaUNet, features: tf.Tensor, question: int) -> tf.Tensor:
    """Weights [M, 2, K] of features [M, 2, F] for one of the two questions."""
    found = model.field_weights(features[None])  # [K, 1, 2, M, 2]
    return tf.transpose(found[:, 0, question], [1, 2, 0])


def _mean_nll(model: ProbaUNet, sets: list[tuple[int, Pairs]]) -> float:
    @tf.function(reduce_retracing=True, autograph=False)
    def total(question: int, features: tf.Tensor, *rest: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(pair_nll(_question_weights(model, features, question), *rest))

    means = []
    for question, pairs in sets:
        starts = range(0, len(pairs.event), _BATCH)
        parts = (float(total(question, *_tensors(pairs, slice(i, i + _BATCH)))) for i in starts)
        means.append(sum(parts) / len(pairs.event))
    return float(np.mean(means))


def _descend(model: ProbaUNet, sets: list[tuple[int, Pairs]], seed: int) -> None:
    """Adam on standardised features, whose scale and shift go into the first layer at the end."""
    sample = np.concatenate([pairs.features[: 10 * _BATCH].reshape(-1, pairs.features.shape[-1]) for _, pairs in sets])
    mean, scale = (sample.astype(np.float32).mean(0), sample.astype(np.float32).std(0) + 1e-3)
    layer, rng = model.field_weights, np.random.default_rng([seed, 2])
    for dense in (layer.hidden, layer.to_logits):
        shape = dense.kernel.shape
        dense.kernel.assign(rng.normal(size=shape) / math.sqrt(shape[0]))
        dense.bias.assign(tf.zeros_like(dense.bias))
    variables = [value for dense in (layer.hidden, layer.to_logits) for value in (dense.kernel, dense.bias)]
    values = [variable.value for variable in variables]
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE, _STEPS))
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(batches: list[list[tf.Tensor]]) -> None:
        with tf.GradientTape() as tape:
            tape.watch(values)
            losses = []
            for (question, _), (features, *rest) in zip(sets, batches):
                standard = (features - mean) / scale
                losses.append(tf.reduce_mean(pair_nll(_question_weights(model, standard, question), *rest)))
            loss = tf.add_n(losses) / len(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, values), variables))

    for _ in range(_STEPS):
        chosen = [rng.integers(0, len(pairs.event), _BATCH) for _, pairs in sets]
        step([_tensors(pairs, rows) for rows, (_, pairs) in zip(chosen, sets)])
    kernel = layer.hidden.kernel.numpy() / scale[:, None]
    layer.hidden.kernel.assign(kernel)
    layer.hidden.bias.assign(layer.hidden.bias.numpy() - mean @ kernel)
