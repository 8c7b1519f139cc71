"""What `ablation.py` compares the default with: other fields behind a sample, and a stochastic segmentation network."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from blendinator.config import ModelConfig
from blendinator.model.input_data import Normalise, Scenes
from blendinator.model.metrics import scenes as statistics
from blendinator.model.metrics.aggregate import metrics, sum_rows
from blendinator.model.probaunet import Odds, ProbaUNet, draw, tfd
from blendinator.model.recalibration import fit_odds

JOINT_SCENES = {"boosted": 200, "natural": 400}  # of the held-out ones, for `fit_jointly`
DRAWS, BATCH = 16, 25
FIXED = 10.0  # pixels; the one field of every sample before the fields were learned
LENGTHS = (6.0, 10.0, 16.0, 25.0, 40.0)  # pixels, tried by `joint`
PRIOR_SCALES = (0.22, 0.5, 1.0)  # likewise
SKY = 0.99  # P(background) from which on a pixel of the SSN keeps its mean
RANK = 10


class LowRankSSN(ProbaUNet):
    """Stochastic segmentation network of low rank (Monteiro et al. 2020, arXiv:2006.06015) on the default U-Net.

    Logits are mean(x) + sum_r factor_r(x) z_r with z ~ N(0, I): a global latent of `RANK` numbers whose prior does not
    look at the image. The empty sky keeps its mean, as the authors do with what surrounds the object. Trained as theirs
    is, by the joint likelihood of samples, after steps on the mean alone.
    """

    def __init__(self, config: ModelConfig, seed: int, dtype: str = "float32", **kwargs) -> None:
        super().__init__(dataclasses.replace(config, latent="global", latent_dim=RANK), seed, dtype, **kwargs)
        small = keras.initializers.RandomNormal(stddev=0.05, seed=seed)
        self.factor = keras.layers.Conv2D(3 * RANK, 1, dtype="float32", kernel_initializer=small, name="factor")
        self.factor.build((None, None, None, config.head_channels))

    def features(self, image):
        features, _ = self.unet(image)
        shape = tf.stack([tf.shape(image)[0], 1, 1, RANK])
        loc = tf.ensure_shape(tf.zeros(shape), [None, 1, 1, RANK])
        return features, tfd.Normal(loc, tf.ones_like(loc))

    def logits(self, features, z=None):
        mean = self.head(features)
        if z is None:
            return mean
        factor = self.factor(tf.cast(features, tf.float32))
        sky = tf.nn.softmax(mean)[..., :1] > SKY
        factor = tf.where(tf.stop_gradient(sky), 0.0, factor)
        shape = tf.shape(factor)
        factor = tf.reshape(factor, tf.concat([shape[:3], [3, RANK]], 0))
        logits = mean[:, None] + tf.einsum("byxcr,bnr->bnyxc", factor, z[:, :, 0, 0])
        return tf.ensure_shape(logits, [None, z.shape[1], None, None, 3])

    @property
    def latent_variables(self) -> list:
        return [self.factor.kernel, self.factor.bias]


def with_one_field(net: ProbaUNet, length: float) -> ProbaUNet:
    """The same network with one field of `length` pixels behind its samples."""
    copy = type(net)(dataclasses.replace(net.config, sample_scales=(length,)), 0, net.unet.layers[-1].dtype_policy.name)
    for own, given in zip(_without_fields(copy), _without_fields(net), strict=True):
        own.assign(given)
    return copy


def _without_fields(net: ProbaUNet) -> list:
    """The network's variables but for the weights of its fields, whose number differs."""
    fields = {id(variable) for variable in net.field_weights.variables}
    return [variable for variable in net.variables if id(variable) not in fields]


def score(
    net: ProbaUNet, test: Scenes, normalise: Normalise, odds: dict[str, Odds], argmax: bool = False
) -> dict[str, np.ndarray]:
    """Rows of statistics of the sampled maps on test scenes, each population at its own odds.

    Args:
      argmax: take the most probable class of each draw, as SSNs do, and not the one that the fields decide.
    """
    blocks = []
    for population, own in odds.items():
        part = test.of(population)

        @tf.function(reduce_retracing=True)
        def sample(image, own=own):
            probabilities, classes = draw(net, image, normalise(image), DRAWS, tf.constant([1, 1]), own)
            classes = tf.cast(tf.argmax(probabilities, -1), tf.uint8) if argmax else classes
            return tf.reduce_mean(probabilities, axis=1), classes

        for start in range(0, part.count, BATCH):
            image, mask = part.batch(start, BATCH)
            probabilities, classes = (values.numpy() for values in sample(image))
            ids = np.array([f"{population}-{i:05d}" for i in range(start, start + len(classes))])
            block = statistics.scene_statistics(mask.numpy(), classes, probabilities, ids)
            blocks.append(block | {"population": np.full(len(classes), population)})
    return statistics.concatenate(blocks)


def joint_score(net: ProbaUNet, scenes: Scenes, normalise: Normalise, odds: dict[str, Odds]) -> float:
    """What `fit_jointly` minimises: the sum of the logarithms of the populations' energy scores."""
    rows = score(net, scenes, normalise, odds)
    parts = [statistics.select(rows, rows["population"] == name) for name in odds]
    return float(sum(np.log(metrics(sum_rows(part))["energy_score"][0]) for part in parts))


def fit_jointly(
    net: ProbaUNet,
    held_out: dict[str, Scenes],
    normalise: Normalise,
    odds: dict[str, Odds],
    seed: int,
    prior_scales: Sequence[float],
) -> tuple[ProbaUNet, dict[str, Odds], dict]:
    """Network with one field, its odds, and facts: the field's length by the joint score, then the prior's scale."""
    few = Scenes(*map(np.concatenate, zip(*(part.spread(JOINT_SCENES[name]) for name, part in held_out.items()))))
    one = lambda length: with_one_field(net, length)
    found = {length: joint_score(one(length), few, normalise, odds) for length in LENGTHS}
    length = min(found, key=found.get)
    best, chosen = found[length], (one(length), odds)
    for scale in prior_scales:
        other = one(length)
        other.prior_scale.assign(scale)
        fitted = {
            name: fit_odds(other, part.spread(5 * JOINT_SCENES[name]), normalise, seed)
            for name, part in held_out.items()
        }
        value = joint_score(other, few, normalise, fitted)
        if value < best:
            best, chosen = value, (other, fitted)
    return *chosen, {"length": length, "prior_scale": float(chosen[0].prior_scale.numpy()), "joint_score": best}
