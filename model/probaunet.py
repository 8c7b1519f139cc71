"""The Probabilistic U-Net: prior and posterior over a latent z, and class probabilities given z.

Re-implemented from Kohl et al. 2018 (arXiv:1806.05034); the application to blended galaxies is that of Blendinator
(Bretonnière, Boucaud, Huertas-Company 2021, arXiv:2111.15455). The spatial latent follows the idea of the hierarchical
version (Kohl et al. 2019, arXiv:1905.13077) at one scale: a stamp holds many independent objects, and one z a stamp
cannot describe them.
"""

import itertools
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from blendinator.config import ModelConfig
from blendinator.data.records import NUM_CLASSES
from blendinator.model import latent, network, sampling

tfd = tfp.distributions


class Odds(NamedTuple):
    """What brings the network's logits to the odds of a population: (logits + class_offsets) / temperature."""

    temperature: Any  # scalar
    class_offsets: Any  # [3], nats


class ProbaUNet(keras.Model):
    """U-Net, prior net, posterior net and head. Images come in normalised (see `blendinator.model.preprocessing`).

    Shapes: B images of H x W pixels in C bands; z is [B, h, w, L] with h = w = 1 for the global latent. Nothing is
    remembered between calls: distributions and features are returned values.

    Args:
      config: the network's shape.
      seed: of the initial weights.
      dtype: Keras policy of the convolutions, "float32" or "mixed_bfloat16"; distributions and logits are float32.
      bands: C.
    """

    def __init__(self, config: ModelConfig, seed: int, dtype: str = "float32", bands: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config, self.bands = config, bands
        seeds = itertools.count(seed * 1000)
        self.unet = network.build_unet(config, bands, dtype, seeds)
        self.prior_encoder = (
            network.build_encoder(config, bands, dtype, seeds, "prior_encoder")
            if config.prior_encoder == "separate"
            else None
        )
        self.prior_gaussian = network.build_gaussian(config, seeds, "prior")
        self.posterior_encoder = network.build_encoder(config, bands + NUM_CLASSES, dtype, seeds, "posterior_encoder")
        self.posterior_gaussian = network.build_gaussian(config, seeds, "posterior")
        self.head = network.Head(config, seeds, dtype=dtype, name="head")
        self.head.build((None, None, None, config.head_channels))
        # Post-hoc calibration, fitted by `blendinator.model.recalibration` and, for the weights of the fields, by
        # `copula`; neutral until then, never trained.
        self.field_weights = network.FieldWeights(config, name="field_weights")
        self.field_weights.build()
        self.temperature = self.add_weight(shape=(), initializer="ones", trainable=False, name="temperature")
        self.prior_scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="prior_scale")
        self.class_offsets = self.add_weight(
            shape=(NUM_CLASSES,), initializer="zeros", trainable=False, name="class_offsets"
        )
        self.built = True

    def reset_calibration(self) -> None:
        """Makes the post-hoc calibration neutral, as it is before `blendinator.model.recalibration` fits it."""
        self.temperature.assign(1.0)
        self.prior_scale.assign(1.0)
        self.class_offsets.assign(tf.zeros_like(self.class_offsets))
        self.field_weights.make_equal()

    @property
    def odds(self) -> "Odds":
        """Temperature and class offsets for the population that the exported probabilities hold for."""
        return Odds(self.temperature, self.class_offsets)

    @property
    def latent_variables(self) -> list:
        """Trainable variables that only z uses: prior and posterior nets, and the head's layer on z."""
        layers = [self.prior_gaussian, self.posterior_encoder, self.posterior_gaussian, self.head.from_latent]
        layers += [self.prior_encoder] if self.prior_encoder is not None else []
        return [variable for layer in layers for variable in layer.trainable_variables]

    def features(self, image: tf.Tensor) -> tuple[tf.Tensor, tfp.distributions.Normal]:
        """Image [B, H, W, C] -> (features [B, H, W, F], prior p(z | image)); the one pass that all draws share."""
        features, coarse = self.unet(image)
        if self.prior_encoder is not None:
            coarse = self.prior_encoder(image)
        mu, log_sigma = self.prior_gaussian(coarse)
        return features, _gaussian(mu, log_sigma)

    def posterior(self, image: tf.Tensor, mask: tf.Tensor) -> tfp.distributions.Normal:
        """Image [B, H, W, C] and integer mask [B, H, W] -> posterior q(z | image, mask)."""
        truth = tf.one_hot(mask, NUM_CLASSES) - 0.5
        return _gaussian(*self.posterior_gaussian(self.posterior_encoder(tf.concat([image, truth], axis=-1))))

    def logits(self, features: tf.Tensor, z: tf.Tensor | None = None) -> tf.Tensor:
        """Features and z of N draws [B, N, h, w, L] -> uncalibrated logits [B, N, H, W, 3]; for z = 0 [B, H, W, 3]."""
        return self.head(features, z)

    def draw_logits(
        self, features: tf.Tensor, prior: tfp.distributions.Normal, noise: tf.Tensor, odds: Odds | None = None
    ) -> tf.Tensor:
        """Calibrated logits of N draws from the prior, [B, N, H, W, 3].

        Args:
          features: [B, H, W, F] and `prior`, from `features`.
          noise: standard normal [B, N, h, w, L].
          odds: of another population than the default one's.
        """
        z = latent.from_prior(prior, noise, self.prior_scale)
        temperature, class_offsets = odds or self.odds
        return (self.logits(features, z) + class_offsets) / temperature


def _gaussian(mu: tf.Tensor, log_sigma: tf.Tensor) -> tfp.distributions.Normal:
    """Axis-aligned Gaussian; elementwise, so that its KL comes per dimension."""
    return tfd.Normal(mu, tf.exp(log_sigma))


def draw(
    model: ProbaUNet,
    images: tf.Tensor,
    normalised: tf.Tensor,
    num_samples: tf.Tensor | int,
    seed: tf.Tensor | int,
    odds: Odds | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """N draws of each image, a function of (image, seed) alone; the U-Net runs once an image.

    Args:
      images: float32 [B, H, W, C] as they came in; they seed the noise.
      normalised: [B, H, W, C], the same for the network.
      num_samples: scalar N. seed: int32 [2].
      odds: of another population than the default one's.

    Returns:
      Class probabilities [B, N, H, W, 3] of each draw, and classes sampled from them, uint8 [B, N, H, W].
    """
    features, prior = model.features(normalised)
    side, scales = tf.shape(images)[1:3], model.config.sample_scales
    lattices = [tf.concat([[sampling.CLASS_FIELDS], sampling.lattice_side(side, scale)], 0) for scale in scales]
    latent_noise, *class_noise = sampling.image_noise(images, num_samples, [tf.shape(prior.loc)[1:], *lattices], seed)
    latent_noise = tf.ensure_shape(latent_noise, [None, None, *prior.loc.shape[1:]])
    probabilities = sampling.class_probabilities(model.draw_logits(features, prior, latent_noise, odds))
    fields = sampling.mixed_field(class_noise, model.field_weights(features), side, scales)
    return probabilities, sampling.draw_classes(probabilities, fields)
