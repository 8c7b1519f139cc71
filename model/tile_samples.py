"""Samples of a large image, computed only where the classes are uncertain.

Most pixels of a field are sky. One pass of the head at the prior's mean tells them: where P(galaxy) + P(blended) is
below a threshold, a pixel is background in every sample, and its probabilities are those of this pass. The threshold is
`SURE`, or less for a model whose latent raises small probabilities (`sure_threshold`): a sample may miss a source whose
probability is below about one in a thousand; nothing else is approximated. The other pixels are listed, and the samples
are taken in pieces of that list that fit into a processor's cache, all N samples at once. A pixel's results depend on
its own features, latents and lattice points alone, and all pieces have the same shape: they are the same bits in
whatever tile the pixel lies.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from blendinator.model import sampling
from blendinator.model.network import downsampling
from blendinator.model.probaunet import Odds, ProbaUNet
from blendinator.model.tile_features import trim

SURE = 1e-3
PROBES = 64  # samples that `sure_threshold` takes
BAND = 2**16  # pixels of the pass at the prior's mean that are computed together
PIECE = 2**16  # samples of pixels that are computed together: 16 features of 2 bytes each, in a few copies


def sure_threshold(model: ProbaUNet, seed: int = 1) -> float:
    """P(galaxy) + P(blended) at the prior's mean below which its mean over z stays below `SURE`.

    Measured on faint sources in noise of unit variance: the ratio of the two means over pixels within a decade below
    `SURE`, where it is above 1, divides `SURE`.
    """
    side = 16 * downsampling(model.config)
    noise = tf.random.stateless_normal([1, side, side, model.bands], [seed, 0])
    at = tf.range(side, dtype=tf.float32) / side
    faint = tf.sin(30.0 * at)[:, None] * tf.sin(30.0 * at)[None, :] * 4.0 * at[:, None]  # humps of up to 4 sigma
    features, prior = model.features(tf.asinh(noise + faint[None, :, :, None]))
    draws = tf.random.stateless_normal([1, PROBES, *prior.loc.shape[1:]], [seed, 1])
    source = lambda noise: 1.0 - tf.nn.softmax(model.draw_logits(features, prior, noise))[..., 0]
    mean, over_z = source(tf.zeros_like(draws[:, :1]))[:, 0], tf.reduce_mean(source(draws), axis=1)
    near = tf.cast((mean < SURE) & (mean > SURE / 10), tf.float32)
    growth = tf.reduce_sum(near * over_z) / tf.maximum(tf.reduce_sum(near * mean), 1e-30)
    return SURE / max(1.0, float(growth))


class SampleNoise(NamedTuple):
    """The noise behind N samples of an image's inner part.

    Attributes:
      latent: standard normal [B, N, h, w, L], at the positions of the prior.
      classes: for each of the K scales standard normal lattices [B, N, 2, i, j].
      offset: float32 [K, 2], see `ServingModule.sample_with_noise`.
    """

    latent: tf.Tensor
    classes: Sequence[tf.Tensor]
    offset: tf.Tensor


class Corners(NamedTuple):
    """Linear interpolation along one axis: x = low * a[first] + high * a[second], each of shape [side]."""

    first: tf.Tensor
    second: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor


def latent_corners(side: tf.Tensor, points: tf.Tensor, factor: int, offset: tf.Tensor) -> Corners:
    """From latent positions to pixels, as `BilinearUpsampling` does: half-pixel centres, constant beyond the border.

    Args:
      side: pixels. points: latent positions. factor: pixels per position.
      offset: pixels between the border of the first position and the first pixel.
    """
    at = (tf.cast(tf.range(side) + offset, tf.float32) + 0.5) / factor - 0.5
    at = tf.clip_by_value(at, 0.0, tf.cast(points - 1, tf.float32))
    first = tf.cast(tf.floor(at), tf.int32)
    high = at - tf.floor(at)
    return Corners(first, tf.minimum(first + 1, points - 1), 1.0 - high, high)


def lattice_corners(side: tf.Tensor, correlation: float, offset: tf.Tensor) -> Corners:
    """From lattice points to pixels, as `sampling.lattice_weights`: unit normals stay unit normals."""
    position = offset + tf.cast(tf.range(side), tf.float32) + 0.5
    first = tf.floor(position / correlation)
    # The remainder is exact where positions and spacing are: the same in all tiles.
    high = (position - first * correlation) / correlation
    norm = tf.sqrt(high**2 + (1.0 - high) ** 2)
    first = tf.cast(first, tf.int32)
    return Corners(first, first + 1, (1.0 - high) / norm, high / norm)


def _interpolate(
    table: tf.Tensor, size: tf.Tensor, image: tf.Tensor, axes: list[Corners], y: tf.Tensor, x: tf.Tensor
) -> tf.Tensor:
    """Values [P, C] at pixels (image, y, x), each [P], of a table [B * height * width, C] of a grid's size."""
    (rows, columns), (height, width) = axes, (size[0], size[1])
    total: tf.Tensor | None = None
    for row, row_weight in ((rows.first, rows.low), (rows.second, rows.high)):
        start = (image * height + tf.gather(row, y)) * width
        for column, column_weight in ((columns.first, columns.low), (columns.second, columns.high)):
            weight = tf.gather(row_weight, y) * tf.gather(column_weight, x)
            part = tf.gather(table, start + tf.gather(column, x)) * weight[:, None]
            total = part if total is None else total + part
    return total


class _Head:
    """The head behind its first layer, with calibrated log odds against background as its outputs."""

    def __init__(self, model: ProbaUNet, odds: Odds) -> None:
        head = model.head
        self.hidden, self.channels = head.hidden, head.head_channels
        self.from_latent = tf.reshape(head.from_latent.kernel, [-1, self.channels])
        kernel, bias = tf.reshape(head.to_logits.kernel, [self.channels, -1]), head.to_logits.bias + odds.class_offsets
        self.kernel = tf.transpose((kernel[:, 1:] - kernel[:, :1]) / odds.temperature)
        self.bias = (bias[1:] - bias[:1]) / odds.temperature

    def odds(self, x: tf.Tensor) -> tf.Tensor:
        """Sums of both halves of the first layer [R, W, F] -> log odds of galaxy and of blended, float32 [2, R * W]."""
        x = tf.nn.relu(x)[None]
        for layer in self.hidden:
            x = layer(x)
        x = tf.reshape(x, [-1, self.channels])
        planes = tf.matmul(tf.cast(self.kernel, x.dtype), x, transpose_b=True)
        return tf.cast(planes, tf.float32) + self.bias[:, None]


def _classify(odds: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Log odds [2, ...] -> probabilities of the three classes, each [...], and their entropy."""
    galaxy, blended = odds[0], odds[1]
    largest = tf.nn.relu(tf.maximum(galaxy, blended))
    planes = [tf.exp(-largest), tf.exp(galaxy - largest), tf.exp(blended - largest)]
    total = planes[0] + planes[1] + planes[2]
    scale = 1.0 / total
    planes = [plane * scale for plane in planes]
    entropy = largest + tf.math.log(total) - planes[1] * galaxy - planes[2] * blended
    return planes, tf.nn.relu(entropy)


def tile_samples(
    model: ProbaUNet,
    features: tf.Tensor,
    prior_mean: tf.Tensor,
    prior_scale: tf.Tensor,
    noise: SampleNoise,
    margins: tf.Tensor,
    odds: Odds,
    sure: float,
) -> dict[str, tf.Tensor]:
    """Samples and the summaries of an image's inner part.

    Args:
      features, prior_mean, prior_scale: [B, H', W', F] and [B, h, w, L], as `tile_features` gives them.
      noise: at the positions of the prior and of the lattices.
      margins: int32 [4], pixels by which the prior's positions reach beyond the features: at the top, bottom, left and
        right.
      odds: of the population that the probabilities are for.
      sure: from `sure_threshold`.

    Returns:
      samples uint8 [B, N, H', W']; probabilities [B, H', W', 3]; class_map uint8, entropy and mutual_information in
      nats [B, H', W'].
    """
    head = _Head(model, odds)
    batch, draws = tf.shape(noise.latent)[0], tf.shape(noise.latent)[1]
    inner = tf.shape(features)[1:3]
    shape = tf.concat([[batch], inner], 0)
    height, width = inner[0], inner[1]

    mean = _mean_features(model, features, prior_mean, margins)
    mean = tf.reshape(mean, [batch * height, width, head.channels])
    galaxy, blended, entropy = _at_the_mean(head, mean)

    uncertain = tf.cast(tf.where(galaxy + blended >= sure)[:, 0], tf.int32)
    count = tf.size(uncertain)
    piece = 16 * tf.maximum(PIECE // 16 // tf.maximum(draws, 1), 1)  # whole vectors: no pixel is computed otherwise
    pieces = tf.maximum((count + piece - 1) // piece, 1)  # one where nothing is uncertain: its results are cut off
    uncertain = tf.pad(uncertain, [[0, pieces * piece - count]])

    spread = (prior_scale * model.prior_scale)[:, None] * noise.latent
    cells = tf.shape(noise.latent)[2:4]
    latents = tf.reshape(tf.transpose(spread, [0, 2, 3, 1, 4]), [batch * cells[0] * cells[1], -1])
    factor = downsampling(model.config)
    latent_axes = [latent_corners(inner[i], cells[i], factor, margins[2 * i]) for i in (0, 1)]
    lattices = []
    for k, (lattice, scale) in enumerate(zip(noise.classes, model.config.sample_scales)):
        points = tf.shape(lattice)[3:5]
        table = tf.reshape(tf.transpose(lattice, [0, 3, 4, 2, 1]), [batch * points[0] * points[1], -1])
        lattices.append((table, points, [lattice_corners(inner[i], scale, noise.offset[k, i]) for i in (0, 1)]))
    mean = tf.reshape(mean, [-1, head.channels])
    features = tf.reshape(features, [-1, features.shape[-1]])

    def one(i: tf.Tensor, *results: tf.TensorArray) -> tuple:
        pixel = uncertain[i * piece : (i + 1) * piece]
        row, x = pixel // width, pixel % width
        image, y = row // height, row % height
        z = _interpolate(latents, cells, image, latent_axes, y, x)
        shift = tf.matmul(
            tf.reshape(tf.cast(z, mean.dtype), [piece * draws, -1]), tf.cast(head.from_latent, mean.dtype)
        )
        summed = tf.gather(mean, pixel)[:, None] + tf.reshape(shift, [piece, draws, head.channels])
        log_odds = head.odds(summed)
        (background, galaxy, blended), entropy = _classify(tf.reshape(log_odds, [2, piece, draws]))
        weights = model.field_weights(tf.gather(features, pixel)[None, None])[:, 0, :, 0, :, None]  # [K, 2, piece, 1]
        smooth = [_interpolate(*lattice[:2], image, lattice[2], y, x) for lattice in lattices]
        first = tf.add_n([weight[0] * field[:, :draws] for weight, field in zip(tf.unstack(weights), smooth)])
        second = tf.add_n([weight[1] * field[:, draws:] for weight, field in zip(tf.unstack(weights), smooth)])
        classes = sampling.classes_of(background, galaxy, first, second)
        galaxy, blended, entropy = (tf.reduce_mean(each, axis=1) for each in (galaxy, blended, entropy))
        planes = [tf.nn.relu(1.0 - galaxy - blended), galaxy, blended]
        total = -tf.add_n([tf.math.xlogy(plane, plane) for plane in planes])
        found = [galaxy, blended, total, tf.nn.relu(total - entropy), classes]
        return i + 1, *(array.write(i, value) for array, value in zip(results, found))

    arrays = [tf.TensorArray(tf.float32, pieces, element_shape=[None]) for _ in range(4)]
    arrays.append(tf.TensorArray(tf.uint8, pieces, element_shape=[None, None]))
    _, *results = tf.while_loop(lambda i, *_: i < pieces, one, (0, *arrays), parallel_iterations=1)
    where = uncertain[:count, None]
    *sampled, information, classes = (array.concat()[:count] for array in results)
    galaxy, blended, entropy = (
        tf.tensor_scatter_nd_update(plane, where, value) for plane, value in zip((galaxy, blended, entropy), sampled)
    )
    information = tf.scatter_nd(where, information, tf.shape(galaxy))
    background = tf.nn.relu(1.0 - galaxy - blended)
    class_map = tf.where(
        background >= tf.maximum(galaxy, blended), tf.zeros([], tf.uint8), tf.cast(blended > galaxy, tf.uint8) + 1
    )
    probabilities = tf.transpose(tf.stack([background, galaxy, blended]))  # in a quarter of the time of axis=-1
    samples = tf.transpose(tf.scatter_nd(where, classes, [tf.size(galaxy), draws]))
    samples = tf.reshape(samples, tf.concat([[draws], shape], 0))
    return {
        "samples": _draws_second(samples, shape, draws),
        "class_map": tf.reshape(class_map, shape),
        "probabilities": tf.reshape(probabilities, tf.concat([shape, [3]], 0)),
        "entropy": tf.reshape(entropy, shape),
        "mutual_information": tf.reshape(information, shape),
    }


def _draws_second(samples: tf.Tensor, shape: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """[N, B, H, W] -> [B, N, H, W]; for one image this moves nothing."""
    one = tf.concat([[1, draws], shape[1:]], 0)
    return tf.cond(shape[0] == 1, lambda: tf.reshape(samples, one), lambda: tf.transpose(samples, [1, 0, 2, 3]))


def _mean_features(model: ProbaUNet, features: tf.Tensor, prior_mean: tf.Tensor, margins: tf.Tensor) -> tf.Tensor:
    """Sums of both halves of the head's first layer at the prior's mean, [B, H', W', F]."""
    kernel = tf.cast(model.head.from_latent.kernel, features.dtype)
    mean = tf.cast(prior_mean, features.dtype)
    mean = trim(model.head.upsample(mean), margins) if model.head.spatial else mean
    return features + tf.nn.conv2d(mean, kernel, 1, "VALID")


def _at_the_mean(head: _Head, mean: tf.Tensor) -> list[tf.Tensor]:
    """Probabilities of galaxy and of blended and the entropy at the prior's mean, each [R * W], of sums [R, W, F]."""
    count, width = tf.shape(mean)[0], tf.shape(mean)[1]
    rows = tf.maximum(BAND // width // 8, 1) * 8
    bands = (count + rows - 1) // rows

    def one(i: tf.Tensor, *results: tf.TensorArray) -> tuple:
        band = mean[i * rows : (i + 1) * rows]
        (_, galaxy, blended), entropy = _classify(head.odds(band))
        return i + 1, *(array.write(i, value) for array, value in zip(results, (galaxy, blended, entropy)))

    arrays = [tf.TensorArray(tf.float32, bands, element_shape=[None], infer_shape=False) for _ in range(3)]
    _, *results = tf.while_loop(lambda i, *_: i < bands, one, (0, *arrays), parallel_iterations=1)
    return [array.concat() for array in results]
