"""Scenes in memory or mapped from a file, and training batches from them.

A batch is a function of (scenes, seed, step) alone: nothing is shuffled through a buffer, so a training that was killed
goes on with the very batches it would have seen.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from blendinator.config import TrainingConfig
from blendinator.data.records import feature_spec
from blendinator.errors import ConfigError, DataError
from blendinator.model.preprocessing import NORMALISED

Normalise = Callable[[tf.Tensor], tf.Tensor]


class Scenes(NamedTuple):
    """n scenes of S x S pixels; images in electrons per pixel."""

    image: np.ndarray  # float32 [n, S, S], sky-subtracted, noisy
    noise_free: np.ndarray  # float32 [n, S, S]
    mask: np.ndarray  # uint8 [n, S, S], 0..2
    sky_sigma: np.ndarray  # float32 [n], electrons
    natural: np.ndarray  # bool [n], drawn at natural density

    @property
    def count(self) -> int:
        """n."""
        return len(self.image)

    def take(self, indices) -> "Scenes":
        """The scenes at these positions, in memory."""
        return Scenes(*(values[indices] for values in self))

    def batch(self, start: int, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Images float32 and masks int32 [B, S, S] of at most `size` scenes from `start` on."""
        chosen = slice(start, start + size)
        return tf.constant(self.image[chosen]), tf.constant(self.mask[chosen], tf.int32)


def load_scenes(files: Sequence[str], stamp_size: int, folder: str | Path | None = None) -> Scenes:
    """Reads gzipped TFRecord files, in the order of their names, into memory-mapped files.

    The pixels lie in nameless files on the disk of `folder`, 9 bytes each, which go with the process, however it ends.
    The system holds as much of them in memory as it has room for: more scenes than that train slower, but they train.

    Args:
      files: paths or globs.
      stamp_size: S.
      folder: an existing folder on a local disk; by default the system's for temporary files, which may be in memory.

    Raises:
      DataError: there is no file or no record.
    """
    spec = {name: feature_spec(stamp_size)[name] for name in ("image", "noise_free", "mask", "sky_sigma", "population")}
    paths = sorted(path for pattern in files for path in tf.io.gfile.glob(pattern))
    batches = tf.data.TFRecordDataset(paths, compression_type="GZIP").batch(256)
    batches = batches.map(lambda records: tf.io.parse_example(records, spec), num_parallel_calls=2).prefetch(2)
    pixels = {"image": np.float32, "noise_free": np.float32, "mask": np.uint8}
    sky_sigma, natural = [], []
    with ExitStack() as stack:
        stored = {name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for name in pixels}
        for batch in batches.as_numpy_iterator():
            for name, kind in pixels.items():
                stored[name].write(np.ascontiguousarray(batch[name], kind))
            sky_sigma.append(batch["sky_sigma"].ravel())
            natural.append(batch["population"].ravel() == b"natural")
        if not natural:
            raise DataError(f"no scenes in {list(files)}; simulate the span and run the pipeline from the start")
        shape = (sum(map(len, natural)), stamp_size, stamp_size)
        # The mapping stays when its file is closed.
        mapped = {name: np.asarray(np.memmap(stored[name], kind, "r", shape=shape)) for name, kind in pixels.items()}
    return Scenes(**mapped, sky_sigma=np.concatenate(sky_sigma), natural=np.concatenate(natural))


def load_normalise(transform_graph: str) -> Normalise:
    """The transform graph as a function: images [B, H, W] in electrons -> normalised [B, H, W, 1]."""
    transform = tft.TFTransformOutput(transform_graph)
    return lambda image: transform.transform_raw_features({"image": image}, drop_unused_features=True)[NORMALISED][
        ..., None
    ]


def add_noise(noise_free, sky_sigma, seed):
    """Draws sky and source noise: Gaussian of variance sky_sigma^2 + max(noise_free, 0), in electrons.

    Args:
      noise_free: float32 [B, H, W], electrons per pixel.
      sky_sigma: float32 [B], electrons.
      seed: int [2].
    """
    sigma = tf.sqrt(sky_sigma[:, None, None] ** 2 + tf.maximum(noise_free, 0.0))
    return noise_free + sigma * tf.random.stateless_normal(tf.shape(noise_free), seed)


def turn(stacks: Sequence[tf.Tensor], seed) -> list[tf.Tensor]:
    """One of the eight flips and quarter turns for each image, the same in every stack [B, S, S]."""
    coins = tf.random.stateless_uniform([3, tf.shape(stacks[0])[0], 1, 1], seed) < 0.5
    turned = []
    for x in stacks:
        x = tf.where(coins[0], tf.transpose(x, [0, 2, 1]), x)
        x = tf.where(coins[1], x[:, ::-1], x)
        turned.append(tf.where(coins[2], x[:, :, ::-1], x))
    return turned


def training_batches(scenes: Scenes, normalise: Normalise, config: TrainingConfig, first_step: int = 0):
    """Batches (normalised [B, S, S, 1], mask int32 [B, S, S]) for the steps from `first_step` to `config.steps`.

    Every epoch visits each scene once in a new order, turned anew, with new noise if `config.fresh_noise`. With several
    replicas of the current `tf.distribute` strategy, each gets an equal part of every batch.

    Raises:
      ConfigError: the batch cannot be shared out equally.
    """
    count = scenes.count
    stored = scenes.noise_free if config.fresh_noise else scenes.image
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise ConfigError(
            f"training.batch_size: received {config.batch_size}; allowed: a multiple of {replicas}, "
            "the number of GPUs that training.devices: all uses"
        )

    def gather(index):
        return stored[index], scenes.mask[index], scenes.sky_sigma[index]

    @tf.autograph.experimental.do_not_convert  # which would take seconds and find nothing to convert
    def batch(step):
        seeds = lambda purpose: tf.stack([tf.cast(config.seed, tf.int64) * 4 + purpose, step])
        positions = step * config.batch_size + tf.range(config.batch_size, dtype=tf.int64)
        epoch = positions // count
        keys = tf.stack([tf.fill(tf.shape(epoch), tf.cast(config.seed, tf.int64)), epoch, tf.zeros_like(epoch)], axis=1)
        # The raw operation: TensorFlow's wrapper takes one key for all positions, and a batch can span two epochs.
        index = tf.raw_ops.RandomIndexShuffle(index=positions % count, seed=keys, max_index=count - 1, rounds=4)
        image, mask, sky_sigma = tf.numpy_function(gather, [index], [tf.float32, tf.uint8, tf.float32], stateful=False)
        image, mask = (tf.ensure_shape(values, [None, *stored.shape[1:]]) for values in (image, mask))
        if config.fresh_noise:
            image = add_noise(image, tf.ensure_shape(sky_sigma, [None]), seeds(0))
        image, mask = turn([image, mask], seeds(1))
        return normalise(image), tf.cast(mask, tf.int32)

    steps = tf.data.Dataset.range(first_step, config.steps)
    batches = steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if replicas == 1:
        return batches.prefetch(4)
    part = lambda values: tf.reshape(values, tf.concat([[replicas, -1], tf.shape(values)[1:]], 0))
    parts = batches.map(lambda image, mask: (part(image), part(mask))).unbatch()
    return strategy.distribute_datasets_from_function(lambda context: parts.prefetch(4 * replicas))
