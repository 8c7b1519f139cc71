"""Scenes in memory or mapped from a file, and training batches from them.

A batch is a function of (scenes, seed, step) alone: nothing is shuffled through a buffer, so a training that was killed
goes on with the very batches it would have seen.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from blendinator.config import DefectsConfig, TrainingConfig
from blendinator.data import observing
from blendinator.data.population import CALIBRATED
from blendinator.data.records import feature_shape, feature_spec
from blendinator.errors import ConfigError, DataError
from blendinator.model.phases import Phases
from blendinator.model.preprocessing import NORMALISED

Normalise = Callable[[tf.Tensor], tf.Tensor]
READERS = 4  # files that are decompressed ahead
READ, AHEAD = 256, 2  # records that are parsed together, and such blocks of a file that wait for their turn


class Scenes(NamedTuple):
    """n scenes of S x S pixels in C bands; images in electrons per pixel."""

    image: np.ndarray  # float32 [n, S, S, C], sky-subtracted, noisy
    noise_free: np.ndarray  # float32 [n, S, S, C]
    mask: np.ndarray  # uint8 [n, S, S], 0..2
    sky_sigma: np.ndarray  # float32 [n, C], electrons
    noise_correlation: np.ndarray  # float32 [n], sigma of the noise's Gaussian kernel in pixels
    population: np.ndarray  # text [n], names in `blendinator.data.population.POPULATIONS`

    @property
    def count(self) -> int:
        """n."""
        return len(self.image)

    @property
    def natural(self) -> np.ndarray:
        """bool [n], whether the exported probabilities are meant for scenes like this one."""
        return self.population == CALIBRATED

    def of(self, population: str) -> "Scenes":
        """The scenes of one population, in memory."""
        return self.take(np.flatnonzero(self.population == population))

    def spread(self, number: int) -> "Scenes":
        """At most `number` of the scenes, spread evenly over all of them, in memory."""
        return self.take(np.linspace(0, self.count - 1, min(number, self.count)).astype(int))

    def take(self, indices: np.ndarray) -> "Scenes":
        """The scenes at these positions, in memory."""
        return Scenes(*(values[indices] for values in self))

    def batch(self, start: int, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Images float32 [B, S, S, C] and masks int32 [B, S, S] of at most `size` scenes from `start` on."""
        chosen = slice(start, start + size)
        return tf.constant(self.image[chosen]), tf.constant(self.mask[chosen], tf.int32)


def load_scenes(files: Sequence[str], stamp_size: int, folder: str | Path | None = None, bands: int = 1) -> Scenes:
    """Reads gzipped TFRecord files, in the order of their names, into memory-mapped files.

    The pixels lie in nameless files on the disk of `folder`, 8 bytes for each band and one for the mask, which go with
    the process, however it ends. The system holds as much of them in memory as it has room for: more scenes than that
    train slower, but they train.

    Args:
      files: paths or globs.
      stamp_size: S.
      folder: an existing folder on a local disk; by default the system's for temporary files, which may be in memory.
      bands: C.

    Raises:
      DataError: there is no file or no record.
    """
    scalars = ("sky_sigma", "noise_correlation")
    wanted = ("image", "noise_free", "mask", *scalars, "population")
    spec = {name: feature_spec(stamp_size, bands)[name] for name in wanted}
    paths = sorted(path for pattern in files for path in tf.io.gfile.glob(pattern))
    pixels = {"image": np.float32, "noise_free": np.float32, "mask": np.uint8}
    values: dict[str, list] = {name: [] for name in scalars}
    population: list[np.ndarray] = []
    with ExitStack() as stack:
        stored = {name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for name in pixels}
        for records in read_in_order(paths):
            batch = {name: np.asarray(value) for name, value in tf.io.parse_example(records, spec).items()}
            for name, kind in pixels.items():
                stored[name].write(np.ascontiguousarray(batch[name], kind))
            for name in scalars:
                values[name].append(batch[name])
            population.append(batch["population"].ravel().astype(str))
        if not population:
            raise DataError(f"no scenes in {list(files)}; simulate the span and run the pipeline from the start")
        count = sum(map(len, population))
        mapped = {}
        for name, kind in pixels.items():
            shape = (count, *feature_shape(name, stamp_size, bands))
            mapped[name] = np.asarray(np.memmap(stored[name], kind, "r", shape=shape))  # stays when its file is closed
    sky_sigma, correlation = (np.concatenate(values[name]) for name in scalars)
    return Scenes(
        **mapped,
        sky_sigma=sky_sigma.reshape(count, bands),
        noise_correlation=correlation,
        population=np.concatenate(population),
    )


def read_in_order(paths: Sequence[str]) -> Iterator[tf.Tensor]:
    """Blocks of the serialized records of gzipped TFRecord files, text [at most READ], in the order of the files.

    While one file's blocks are taken, threads decompress the next READERS files, of each at most AHEAD + 1 blocks.
    """

    def begin(path: str) -> tuple[tf.Tensor | None, Iterator[tf.Tensor]]:
        blocks = iter(tf.data.TFRecordDataset(path, compression_type="GZIP").batch(READ).prefetch(AHEAD))
        return next(blocks, None), blocks  # the first one is asked for, so that the file's thread begins

    with ThreadPoolExecutor(READERS) as pool:
        waiting = iter(paths)
        begun = deque(pool.submit(begin, path) for _, path in zip(range(READERS + 1), waiting))
        while begun:
            first, rest = begun.popleft().result()
            if first is not None:
                yield first
                yield from rest
            begun.extend(pool.submit(begin, path) for _, path in zip(range(1), waiting))


def load_normalise(transform_graph: str) -> Normalise:
    """The transform graph as a function: images [B, H, W, C] in electrons -> normalised, of the same shape."""
    transform = tft.TFTransformOutput(transform_graph)
    return lambda image: transform.transform_raw_features({"image": image}, drop_unused_features=True)[NORMALISED]


def observe_again(
    light: tf.Tensor, sky_sigma: tf.Tensor, correlation: tf.Tensor, seed: tf.Tensor, config: DefectsConfig
) -> tf.Tensor:
    """Images of scenes with noise and defects drawn again, by `blendinator.data.observing`, in electrons [B, S, S, C].

    Each band is an exposure of its own: its noise and its defects are independent of the others'.

    Args:
      light: float32 [B, S, S, C], noise-free electrons per pixel.
      sky_sigma: float32 [B, C], electrons.
      correlation: float32 [B], sigma of the noise's Gaussian kernel in pixels; 0 is white noise.
      seed: int64 [2].
    """
    side, bands = light.shape[1], light.shape[3]
    shape = tf.shape(light)
    light = tf.reshape(tf.transpose(light, [0, 3, 1, 2]), [-1, side, side])  # a stamp for each band
    sky_sigma, correlation = tf.reshape(sky_sigma, [-1]), tf.repeat(correlation, bands)
    count = tf.shape(light)[0]
    kernel = correlation_matrix(correlation, side)
    noise = tf.matmul(kernel, tf.matmul(tf.random.stateless_normal(tf.shape(light), seed), kernel))
    others = [tf.random.experimental.stateless_fold_in(seed, i) for i in (1, 2)]
    draws = observing.Draws(
        noise,
        tf.random.stateless_normal([count, observing.PLANE], others[0]),
        tf.random.stateless_uniform([count, observing.DRAWS], others[1]),
    )
    mean = tf.reduce_mean(observing.clipped(tf, light, sky_sigma), axis=[1, 2])
    image = observing.add_sky(tf, light, mean, sky_sigma, draws, config)
    image = observing.add_defects(tf, image, sky_sigma, draws.uniform, config)[0]
    return tf.reshape(tf.transpose(tf.reshape(image, [-1, bands, side, side]), [0, 2, 3, 1]), shape)


def correlation_matrix(correlation: tf.Tensor, side: int) -> tf.Tensor:
    """Symmetric matrices [B, side, side] that correlate white noise along an axis and keep its variance.

    Each row is a Gaussian of sigma `correlation` [B] pixels around the diagonal, periodic, whose squares sum to 1: for
    white noise n of unit variance, K n K has unit variance, as `blendinator.data.observing.unit_noise` has.
    """
    distance = tf.abs(tf.range(side)[:, None] - tf.range(side)[None, :])
    distance = tf.cast(tf.minimum(distance, side - distance), tf.float32)
    narrow = 1e-3  # a kernel as narrow as this is the identity
    kernel = tf.exp(-0.5 * (distance / tf.maximum(correlation, narrow)[:, None, None]) ** 2)
    return kernel / tf.norm(kernel, axis=2, keepdims=True)


def flip_and_rotate(stacks: Sequence[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
    """One of the eight flips and quarter turns for each image, the same in every stack [B, S, S] or [B, S, S, C]."""
    coins = tf.random.stateless_uniform([3, tf.shape(stacks[0])[0], 1, 1], seed) < 0.5
    flipped = []
    for x in stacks:
        rest = range(3, len(x.shape))
        toss = [tf.reshape(coin, [-1] + [1] * (len(x.shape) - 1)) for coin in tf.unstack(coins)]
        x = tf.where(toss[0], tf.transpose(x, [0, 2, 1, *rest]), x)
        x = tf.where(toss[1], x[:, ::-1], x)
        flipped.append(tf.where(toss[2], x[:, :, ::-1], x))
    return flipped


def training_batches(
    scenes: Scenes,
    normalise: Normalise,
    config: TrainingConfig,
    first_step: int = 0,
    defects: DefectsConfig = observing.DEFAULT,
) -> Any:
    """Batches (normalised [B, S, S, C], mask int32 [B, S, S]) for the steps from `first_step` to `config.steps`.

    Every epoch visits each scene once in a new order, flipped and rotated at random, with new noise and `defects` if
    `config.fresh_noise`. In the multi-sample phase a share `config.natural_share` of each batch is at natural density,
    where there are both kinds: what the network learns last is how rare a blend is in the sky. With several replicas of
    the current `tf.distribute` strategy, each gets an equal part of every batch.

    Raises:
      ConfigError: the batch cannot be divided equally.
    """
    stored = scenes.noise_free if config.fresh_noise else scenes.image
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise ConfigError(
            f"training.batch_size: received {config.batch_size}; allowed: a multiple of {replicas}, "
            "the number of GPUs that training.devices: all uses"
        )

    def gather(index: np.ndarray) -> tuple[np.ndarray, ...]:
        return stored[index], scenes.mask[index], scenes.sky_sigma[index], scenes.noise_correlation[index]

    choose = _chooser(scenes.natural, config)

    @tf.autograph.experimental.do_not_convert  # which would take seconds and find nothing to convert
    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seeds = lambda purpose: tf.stack([tf.cast(config.seed, tf.int64) * 4 + purpose, step])
        kinds = [tf.float32, tf.uint8, tf.float32, tf.float32]
        image, mask, sky_sigma, correlation = tf.numpy_function(gather, [choose(step)], kinds, stateful=False)
        image, mask = (
            tf.ensure_shape(image, [None, *stored.shape[1:]]),
            tf.ensure_shape(mask, [None, *stored.shape[1:3]]),
        )
        if config.fresh_noise:
            sky_sigma, correlation = (
                tf.ensure_shape(sky_sigma, [None, stored.shape[3]]),
                tf.ensure_shape(correlation, [None]),
            )
            image = observe_again(image, sky_sigma, correlation, seeds(0), defects)
        image, mask = flip_and_rotate([image, mask], seeds(1))
        return normalise(image), tf.cast(mask, tf.int32)

    steps = tf.data.Dataset.range(first_step, config.steps)
    batches = steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if replicas == 1:
        return batches.prefetch(4)
    part = lambda values: tf.reshape(values, tf.concat([[replicas, -1], tf.shape(values)[1:]], 0))
    parts = batches.map(lambda image, mask: (part(image), part(mask))).unbatch()
    return strategy.distribute_datasets_from_function(lambda context: parts.prefetch(4 * replicas))


def _chooser(natural: np.ndarray, config: TrainingConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """step -> positions int64 [batch_size] of the scenes of its batch."""
    everything = lambda step: _shuffled(step, config.batch_size, len(natural), config.seed, 0)
    kinds = [np.flatnonzero(natural), np.flatnonzero(~natural)]
    sizes = [round(config.natural_share * config.batch_size)]
    sizes.append(config.batch_size - sizes[0])
    if not all(map(len, kinds)):
        return everything

    def by_kind(step: tf.Tensor) -> tf.Tensor:
        parts = [
            tf.gather(rows, _shuffled(step, size, len(rows), config.seed, purpose))
            for purpose, (rows, size) in enumerate(zip(kinds, sizes), start=1)
            if size  # TensorFlow shuffles no empty part
        ]
        return tf.concat(parts, 0)

    natural_from = Phases(config).multi_sample_from
    return lambda step: tf.where(step < natural_from, everything(step), by_kind(step))


def _shuffled(step: tf.Tensor, size: int, count: int, seed: int, purpose: int) -> tf.Tensor:
    """`size` of `count` positions for a step: over the steps, every epoch visits each one once, in a new order."""
    positions = step * size + tf.range(size, dtype=tf.int64)
    epoch = positions // count
    keys = tf.stack(
        [tf.fill([size], tf.constant(seed, tf.int64)), epoch, tf.fill([size], tf.constant(purpose, tf.int64))], 1
    )
    # The raw operation: TensorFlow's wrapper takes one key for all positions, and a batch can span two epochs.
    return tf.raw_ops.RandomIndexShuffle(index=positions % count, seed=keys, max_index=count - 1, rounds=4)
