"""From class probabilities to class maps: smooth random fields decide the classes of each sample.

Given z, the network's pixels are independent: sampled so, a map is speckled, and taking the most probable class instead
loses every source that is more likely absent than present. Here two standard normal fields g serve a whole sample. With
u = Phi(g), the first decides whether a pixel is background, the second whether what is not background is blended. Each
pixel's u is uniform, so the classes keep their probabilities exactly; neighbours share theirs, so that a faint galaxy
is there as a whole or not at all. (A Gaussian copula, Sklar 1959; Nelsen 2006, "An Introduction to Copulas", ch. 2.)
Two questions, two fields: with one for both, a galaxy would grow at its outer edge whenever it shrinks at the blend,
and the samples of its area would spread too little.

How far neighbours agree differs: the edge of a faint galaxy is a matter of a few pixels, whether a large one is two
galaxies a matter of its whole body. So each field is a mixture g = sum_k w_k g_k of fields that are smooth over
different `scales`, with weights that depend on the pixel and sum(w_k^2) = 1; `blendinator.model.copula` learns them.
"""

import functools
import math
from collections.abc import Sequence

import tensorflow as tf

CLASS_FIELDS = 2  # random fields behind a draw's classes: see `draw_classes`
_BELOW_ONE = 1.0 - 2.0**-24  # the largest float32 below 1


def class_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Softmax of logits [..., 3] over the last axis, a plane a class: on a CPU in half the time of `tf.nn.softmax`."""
    planes = tf.unstack(logits, axis=-1)
    largest = functools.reduce(tf.maximum, planes)
    odds = [tf.exp(plane - largest) for plane in planes]
    scale = 1.0 / tf.add_n(odds)
    return tf.stack([value * scale for value in odds], axis=-1)


def lattice_side(side: tf.Tensor | int, correlation: float) -> tf.Tensor:
    """Number of lattice points along an axis of `side` pixels."""
    return tf.cast(tf.math.ceil(tf.cast(side, tf.float32) / correlation), tf.int32) + 1


def smooth_field(noise: tf.Tensor, side: tf.Tensor | Sequence[int], correlation: float) -> tf.Tensor:
    """Standard normal fields [..., H, W], interpolated linearly in lattices of independent values.

    Args:
      noise: standard normal [..., h, w] with h, w = `lattice_side` of H, W.
      side: int32 [2], H and W.
      correlation: distance of the lattice's points in pixels. The field has unit variance everywhere.
    """
    rows, columns = (lattice_weights(side[axis], lattice_side(side[axis], correlation), correlation) for axis in (0, 1))
    return tf.einsum("yi,...ij,xj->...yx", rows, noise, columns)


def lattice_weights(
    side: tf.Tensor | int, points: tf.Tensor | int, correlation: float, offset: tf.Tensor | float = 0.0
) -> tf.Tensor:
    """[side, points] linear weights, scaled so that independent unit normals give a unit normal.

    Args:
      side: pixels. points: of the lattice, `correlation` pixels apart.
      offset: pixels from the first point to the edge of the first pixel.
    """
    position = (offset + tf.cast(tf.range(side), tf.float32) + 0.5) / correlation
    weights = tf.nn.relu(1.0 - tf.abs(position[:, None] - tf.cast(tf.range(points), tf.float32)[None, :]))
    return weights / tf.norm(weights, axis=1, keepdims=True)


def mixed_field(
    noises: Sequence[tf.Tensor], weights: tf.Tensor, side: tf.Tensor | Sequence[int], scales: Sequence[float]
) -> tf.Tensor:
    """Standard normal fields [B, N, 2, H, W]: mixtures of smooth fields of several scales.

    Args:
      noises: one [B, N, 2, h, w] for each scale, as `smooth_field` takes them.
      weights: [K, B, 2, H, W] for the K scales, whose squares sum to 1 in each pixel.
      side: int32 [2], H and W.
      scales: K distances of lattice points in pixels.
    """
    parts = [
        weights[k][:, None] * smooth_field(noise, side, scale) for k, (noise, scale) in enumerate(zip(noises, scales))
    ]
    return tf.add_n(parts)


def draw_classes(probabilities: tf.Tensor, fields: tf.Tensor) -> tf.Tensor:
    """Classes uint8 [B, N, H, W] of N draws.

    Args:
      probabilities: [B, N, H, W, 3], of each draw.
      fields: from `smooth_field`, [B, N, 2, H, W]: for "is it background?" and for "is it blended?".
    """
    return classes_of(probabilities[..., 0], probabilities[..., 1], fields[:, :, 0], fields[:, :, 1])


def normal_cdf(x: tf.Tensor) -> tf.Tensor:
    """Phi(x), elementwise; by erf, which takes a fifteenth of the time of erfc."""
    return 0.5 + 0.5 * tf.math.erf(x / math.sqrt(2.0))


def classes_of(background: tf.Tensor, galaxy: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Classes uint8 [...] of probabilities and the two fields in the same pixels, each [...]: see `draw_classes`."""
    # The rounding to 1 must not make a sure background pixel a source.
    u, v = (tf.minimum(normal_cdf(field), _BELOW_ONE) for field in (first, second))
    foreground = u >= background
    blended = v * (1.0 - background) >= galaxy
    return tf.cast(foreground, tf.uint8) + tf.cast(foreground & blended, tf.uint8)


def image_noise(
    images: tf.Tensor, num_samples: tf.Tensor | int, shapes: Sequence, seed: tf.Tensor | Sequence[int]
) -> list[tf.Tensor]:
    """Standard normal arrays [B, N, *shape], one for each of `shapes`, that depend on (image, seed) alone.

    The seed of an image is folded with a fingerprint of its pixels: the draws of an image are the same whatever batch
    it comes in, and different images of one batch get independent noise.

    Args:
      images: float32 [B, H, W, C]; only their bytes are used.
      num_samples: scalar N.
      shapes: int32 vectors, the shape of each array for one draw.
      seed: int32 [2].
    """
    pixels = tf.reshape(tf.bitcast(images, tf.uint8), [tf.shape(images)[0], -1])
    fingerprint = tf.reshape(tf.bitcast(tf.reshape(tf.fingerprint(pixels), [-1, 2, 4]), tf.int32), [-1, 2])
    shapes = [tf.convert_to_tensor(shape, tf.int32) for shape in shapes]
    sizes = [tf.reduce_prod(shape) for shape in shapes]

    def one(words: tf.Tensor) -> tf.Tensor:
        folded = tf.random.experimental.stateless_fold_in(seed, words[0])
        folded = tf.random.experimental.stateless_fold_in(folded, words[1])
        return tf.random.stateless_normal(tf.stack([num_samples, tf.add_n(sizes)]), folded)

    noise = tf.map_fn(one, fingerprint, fn_output_signature=tf.float32)
    leading = tf.shape(noise)[:2]
    return [
        tf.reshape(part, tf.concat([leading, shape], 0))
        for part, shape in zip(tf.split(noise, sizes, axis=-1, num=len(sizes)), shapes)
    ]
