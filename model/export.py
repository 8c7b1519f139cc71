"""The SavedModel: raw electrons in, samples and probabilities out, the transform graph inside.

Images of one band come as [B, H, W], of more as [B, H, W, C]: see `blendinator.model.bands`.
"""

import json
from pathlib import Path
from typing import TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from blendinator.config import ModelConfig
from blendinator.data.records import NUM_CLASSES, pixel_shape
from blendinator.data.survey import get_survey
from blendinator.model import sampling
from blendinator.model.live import FACTS_FILE, FIELD_FILE, FIELD_FORMAT
from blendinator.model.network import downsampling, receptive_radius
from blendinator.model.preprocessing import NORMALISED
from blendinator.model.probaunet import Odds, ProbaUNet, draw
from blendinator.model.serving_warmup import write_warmup
from blendinator.model.tile_features import tile_features
from blendinator.model.tile_samples import SampleNoise, sure_threshold, tile_samples

Outputs: TypeAlias = dict[str, tf.Tensor]  # of a signature, by name
WEIGHTS_FILE = "assets.extra/probaunet.weights.h5"  # for warm starts; TensorFlow Serving ignores assets.extra
UNCALIBRATED = {
    "population": "uncalibrated",
    "populations": {"uncalibrated": {"temperature": 1.0, "class_offsets": [0.0] * NUM_CLASSES}},
}
SAMPLE_SPECS = (
    tf.TensorSpec([], tf.int32, name="num_samples"),
    tf.TensorSpec([2], tf.int32, name="seed"),
)
ODDS_SPECS = (
    tf.TensorSpec([], tf.float32, name="temperature"),
    tf.TensorSpec([NUM_CLASSES], tf.float32, name="class_offsets"),
)


class ServingModule(tf.Module):
    """The functions behind the signatures. Stateless: the draws depend on image and seed alone.

    `image` is float32 [B, H, W] electrons per pixel for a model of one band, else [B, H, W, C].

    Args:
      model: the trained network.
      transform: TFX's transform output; its graph becomes part of the export.
      default_draws: draws behind `serving_default` and `from_examples`, which take no `num_samples`.
      default_seed: their seed.
      stamp_size: side of the stamps that `from_examples` parses.
    """

    def __init__(
        self, model: ProbaUNet, transform: tft.TFTransformOutput, default_draws: int, default_seed: int, stamp_size: int
    ) -> None:
        super().__init__()
        self.model = model
        self.transform_layer = transform.transform_features_layer()
        self.default_draws = default_draws
        self.default_seed = default_seed
        self.stamp_size = stamp_size
        self.factor = downsampling(model.config)
        self.sure = sure_threshold(model)
        config, bands = model.config, model.bands
        image = tf.TensorSpec([None, None, None] + ([bands] if bands > 1 else []), tf.float32, name="image")
        function = lambda method, *specs: tf.function(method, input_signature=specs, autograph=False)
        self.sample = function(self._sample, image, *SAMPLE_SPECS)
        self.sample_with_odds = function(self._sample_with_odds, image, *SAMPLE_SPECS, *ODDS_SPECS)
        self.serve = function(self._serve, image)
        self.serve_examples = function(self._serve_examples, tf.TensorSpec([None], tf.string, name="examples"))
        self.sample_with_noise = tf.function(
            self._sample_with_noise,
            input_signature=[
                image,
                tf.TensorSpec([None, None, None, None, config.latent_dim], tf.float32, name="latent_noise"),
                tf.TensorSpec([len(config.sample_scales), 2], tf.float32, name="lattice_offset"),
                tf.TensorSpec([4], tf.int32, name="margins"),
                *ODDS_SPECS,
                *(
                    tf.TensorSpec([None, None, sampling.CLASS_FIELDS, None, None], tf.float32, name=f"class_noise_{k}")
                    for k in range(len(config.sample_scales))
                ),
            ],
            autograph=False,
        )

    def _normalise(self, image: tf.Tensor) -> tf.Tensor:
        """Raw electrons [B, H, W, C] -> the network's input, of the same shape."""
        side = tf.shape(image)[1:3]
        message = f"height and width of `image` must be multiples of {self.factor}; received:"
        with tf.control_dependencies([tf.debugging.assert_equal(side % self.factor, [0, 0], message, summarize=2)]):
            normalised = self.transform_layer({"image": image})[NORMALISED]
        # The schema gives the transform graph a fixed stamp size; other sizes must not inherit it as a static shape.
        return tf.raw_ops.PlaceholderWithDefault(input=normalised, shape=[None, None, None, self.model.bands])

    def _with_bands(self, image: tf.Tensor) -> tf.Tensor:
        """`image` of a signature as [B, H, W, C]."""
        return image[..., None] if self.model.bands == 1 else image

    def _draws(
        self, image: tf.Tensor, num_samples: tf.Tensor | int, seed: tf.Tensor, odds: Odds | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `probaunet.draw`, from a signature's image."""
        image = self._with_bands(image)
        with tf.control_dependencies([tf.debugging.assert_positive(num_samples, "`num_samples` must be at least 1")]):
            return draw(self.model, image, self._normalise(image), num_samples, seed, odds)

    def _samples(self, image: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor, odds: Odds | None = None) -> Outputs:
        """Outputs of `sample`."""
        probabilities, classes = self._draws(image, num_samples, seed, odds)
        return {"samples": classes, "probabilities": tf.reduce_mean(probabilities, axis=1)}

    def _sample(self, image: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> Outputs:
        """image -> samples uint8 [B, N, H, W], probabilities [B, H, W, 3] (mean over the draws).

        Over many samples the share of a class in a pixel is its probability there (see `blendinator.model.sampling`).
        """
        return self._samples(image, num_samples, seed)

    def _sample_with_odds(
        self,
        image: tf.Tensor,
        num_samples: tf.Tensor,
        seed: tf.Tensor,
        temperature: tf.Tensor,
        class_offsets: tf.Tensor,
    ) -> Outputs:
        """As `sample`, at the odds of another population: those of the ones it knows are in `field.json`."""
        return self._samples(image, num_samples, seed, Odds(temperature, class_offsets))

    def _serve(self, image: tf.Tensor) -> Outputs:
        """image -> class_map uint8 [B, H, W], probabilities, entropy and mutual_information in nats."""
        draws, _ = self._draws(image, self.default_draws, tf.constant([self.default_seed, 0], tf.int32))
        return _summaries(tf.reduce_mean(draws, axis=1), tf.reduce_mean(_entropy(draws), axis=1))

    def _serve_examples(self, examples: tf.Tensor) -> Outputs:
        """Serialized tf.Examples with an `image` feature -> as `serve`."""
        shape = pixel_shape(self.stamp_size, self.model.bands)[: 2 if self.model.bands == 1 else 3]
        features = tf.io.parse_example(examples, {"image": tf.io.FixedLenFeature(shape, tf.float32)})
        return self.serve(features["image"])

    def _sample_with_noise(
        self,
        image: tf.Tensor,
        latent_noise: tf.Tensor,
        lattice_offset: tf.Tensor,
        margins: tf.Tensor,
        temperature: tf.Tensor,
        class_offsets: tf.Tensor,
        *class_noise: tf.Tensor,
    ) -> Outputs:
        """Draws from noise that the caller brings, so that the tiles of a large image share theirs.

        Memory does not grow with the number of draws but for the maps themselves. See `tile_samples` for what is left
        out of them.

        Args:
          image: electrons per pixel.
          latent_noise: standard normal [B, N, H / f, W / f, L], with f = `downsampling`; [B, N, 1, 1, L] for the global
            latent.
          lattice_offset: float32 [K, 2], rows and columns in pixels from the first point of each scale's lattices to
            the edge of the first pixel that comes out, at least 0. The lattices must reach beyond the last one.
          margins: int32 [4], rows at the top and bottom and columns at the left and right, multiples of f, that are
            context only: the results leave them out.
          temperature: of the population's odds, and `class_offsets` float32 [3]; `field.json` holds them.
          *class_noise: for each of the `sample_scales` standard normal lattices [B, N, 2, i, j], their points so many
            pixels apart.

        Returns:
          As `serve`, and `samples` uint8 [B, N, H', W'], without the margins.
        """
        config, factor = self.model.config, self.factor
        message = f"`margins` must be multiples of {factor}, from 0; received:"
        with tf.control_dependencies(
            [
                tf.debugging.assert_equal(margins % factor, [0, 0, 0, 0], message, summarize=4),
                tf.debugging.assert_non_negative(margins, message, summarize=4),
            ]
        ):
            normalised = self._normalise(self._with_bands(image))
        features, mean, scale = tile_features(self.model, normalised, margins)
        cells = margins // factor if config.latent == "spatial" else tf.zeros([4], tf.int32)
        cells -= tf.minimum(cells, 1)
        latent_noise = latent_noise[
            :, :, cells[0] : tf.shape(latent_noise)[2] - cells[1], cells[2] : tf.shape(latent_noise)[3] - cells[3]
        ]
        kept = tf.minimum(margins, factor)
        odds = Odds(temperature, class_offsets)
        noise = SampleNoise(latent_noise, class_noise, lattice_offset)
        return tile_samples(self.model, features, mean, scale, noise, kept, odds, self.sure)


def _summaries(mean: tf.Tensor, conditional: tf.Tensor) -> Outputs:
    """Outputs of `serve` from the mean of the draws' probabilities and the mean of the draws' entropies."""
    entropy = _entropy(mean)
    return {
        "class_map": tf.cast(tf.argmax(mean, axis=-1, output_type=tf.int32), tf.uint8),
        "probabilities": mean,
        "entropy": entropy,
        # What the draws disagree about: the entropy of the mean less the mean of their entropies.
        "mutual_information": tf.maximum(entropy - conditional, 0.0),
    }


def _entropy(probabilities: tf.Tensor) -> tf.Tensor:
    """Entropy over the last axis of three, in nats."""
    return -tf.add_n([tf.math.xlogy(plane, plane) for plane in tf.unstack(probabilities, axis=-1)])


def field_facts(
    config: ModelConfig, stamp_size: int, default_draws: int, calibration: dict, simulation: dict | None = None
) -> dict:
    """What a client must know to segment a whole field: the network's geometry, and the survey it was trained for.

    Args:
      config: of the network.
      stamp_size: pixels per side that the network was trained on.
      default_draws: behind `serving_default`.
      calibration: from `recalibration.recalibrate`.
      simulation: the configuration's section `simulation`, if it is known; without it the survey is left out.
    """
    facts = {
        "format": FIELD_FORMAT,
        "latent": config.latent,
        "latent_dim": config.latent_dim,
        "downsampling": downsampling(config),
        "receptive_radius": receptive_radius(config),
        "sample_scales": list(config.sample_scales),
        "class_fields": sampling.CLASS_FIELDS,
        "population": calibration["population"],
        "odds": {name: {key: found[key] for key in Odds._fields} for name, found in calibration["populations"].items()},
        "stamp_size": stamp_size,
        "default_draws": default_draws,
    }
    if simulation:
        survey = get_survey(simulation["survey"])
        facts["survey"] = {
            "name": survey.name,
            "bands": list(survey.bands),
            "pixel_scale": survey.pixel_scale,
            "zero_point": survey.zero_point,
            "exposure_time": survey.exposure_time,
            "sky_sigma": survey.sky_sigma * simulation["noise_scale"],
            "psf_fwhm": survey.psf_fwhm * simulation["psf_scale"],
            "truth_threshold": simulation["truth_threshold"],
        }
    return facts


def export(
    model: ProbaUNet,
    transform: tft.TFTransformOutput,
    folder: str,
    *,
    default_draws: int,
    default_seed: int,
    stamp_size: int,
    facts: dict,
) -> None:
    """Writes the SavedModel with its signatures, and below assets.extra the weights, the facts of the training, those
    of the field and TensorFlow Serving's warm-up requests, to `folder`."""
    module = ServingModule(model, transform, default_draws, default_seed, stamp_size)
    signatures = {
        "sample": module.sample,
        "sample_with_odds": module.sample_with_odds,
        "serving_default": module.serve,
        "from_examples": module.serve_examples,
        "sample_with_noise": module.sample_with_noise,
    }
    tf.saved_model.save(module, folder, signatures=signatures)
    weights = Path(folder) / WEIGHTS_FILE
    weights.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(weights)
    (Path(folder) / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    simulation = facts.get("config", {}).get("simulation")
    field = field_facts(model.config, stamp_size, default_draws, facts.get("calibration", UNCALIBRATED), simulation)
    (Path(folder) / FIELD_FILE).write_text(json.dumps(field, indent=1) + "\n", encoding="utf-8")
    write_warmup(folder, stamp_size, default_draws, model.bands)
