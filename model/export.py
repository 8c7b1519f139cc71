"""The SavedModel: raw electrons in, samples and probabilities out, the transform graph inside."""

import json
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft

from model.network import downsampling
from model.preprocessing import NORMALISED
from model.probaunet import ProbaUNet, draw
from pipeline.live import FACTS_FILE

WEIGHTS_FILE = "assets.extra/probaunet.weights.h5"  # for warm starts; TensorFlow Serving ignores assets.extra


class ServingModule(tf.Module):
    """The functions behind the signatures. Stateless: the draws depend on image and seed alone.

    Args:
      model: the trained network.
      transform: TFX's transform output; its graph becomes part of the export.
      default_draws: draws behind `serving_default` and `from_examples`, which take no `num_samples`.
      default_seed: their seed.
      stamp_size: side of the stamps that `from_examples` parses.
    """

    def __init__(self, model: ProbaUNet, transform: tft.TFTransformOutput, default_draws: int, default_seed: int,
                 stamp_size: int):
        super().__init__()
        self.model = model
        self.transform_layer = transform.transform_features_layer()
        self.default_draws = default_draws
        self.default_seed = default_seed
        self.stamp_size = stamp_size
        self.factor = downsampling(model.config)

    def _draws(self, image, num_samples, seed):
        """As `probaunet.draw`, from raw electrons."""
        side = tf.shape(image)[1:]
        message = f"height and width of `image` must be multiples of {self.factor}; received:"
        with tf.control_dependencies([tf.debugging.assert_equal(side % self.factor, [0, 0], message, summarize=2),
                                      tf.debugging.assert_positive(num_samples, "`num_samples` must be at least 1")]):
            normalised = self.transform_layer({"image": image})[NORMALISED]
        # The schema gives the transform graph a fixed stamp size; other sizes must not inherit it as a static shape.
        normalised = tf.raw_ops.PlaceholderWithDefault(input=normalised, shape=[None, None, None])[..., None]
        return draw(self.model, image, normalised, num_samples, seed)

    @tf.function(input_signature=[
        tf.TensorSpec([None, None, None], tf.float32, name="image"),
        tf.TensorSpec([], tf.int32, name="num_samples"),
        tf.TensorSpec([2], tf.int32, name="seed"),
    ])
    def sample(self, image, num_samples, seed):
        """image [B, H, W] -> samples uint8 [B, N, H, W], probabilities [B, H, W, 3] (mean over the draws).

        Over many samples the share of a class in a pixel is its probability there (see `model.sampling`).
        """
        probabilities, classes = self._draws(image, num_samples, seed)
        return {"samples": classes, "probabilities": tf.reduce_mean(probabilities, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.float32, name="image")])
    def serve(self, image):
        """image [B, H, W] -> class_map uint8, probabilities, entropy and mutual_information in nats."""
        draws, _ = self._draws(image, self.default_draws, tf.constant([self.default_seed, 0], tf.int32))
        mean = tf.reduce_mean(draws, axis=1)
        entropy = _entropy(mean)
        return {
            "class_map": tf.cast(tf.argmax(mean, axis=-1, output_type=tf.int32), tf.uint8),
            "probabilities": mean,
            "entropy": entropy,
            # What the draws disagree about: the entropy of the mean less the mean of their entropies.
            "mutual_information": tf.maximum(entropy - tf.reduce_mean(_entropy(draws), axis=1), 0.0),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve_examples(self, examples):
        """Serialized tf.Examples with an `image` feature -> as `serve`."""
        side = self.stamp_size
        features = tf.io.parse_example(examples, {"image": tf.io.FixedLenFeature([side, side], tf.float32)})
        return self.serve(features["image"])


def _entropy(probabilities):
    """Entropy over the last axis, in nats."""
    return -tf.reduce_sum(tf.math.xlogy(probabilities, probabilities), axis=-1)


def export(model: ProbaUNet, transform: tft.TFTransformOutput, folder: str, *, default_draws: int, default_seed: int,
           stamp_size: int, facts: dict) -> None:
    """Writes the SavedModel with its three signatures, the weights and the facts of the training to `folder`."""
    module = ServingModule(model, transform, default_draws, default_seed, stamp_size)
    signatures = {"sample": module.sample, "serving_default": module.serve, "from_examples": module.serve_examples}
    tf.saved_model.save(module, folder, signatures=signatures)
    weights = Path(folder) / WEIGHTS_FILE
    weights.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(weights)
    (Path(folder) / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
