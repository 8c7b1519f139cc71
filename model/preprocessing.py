"""The normalisation, as a TensorFlow Transform `preprocessing_fn`: asinh(image / s).

s is the sky sigma of the training data, one for each band. The signal-to-noise of each pixel survives, which a maximum
taken over each stamp would destroy, and faint and bright galaxies share one scale.
"""

import tensorflow as tf
import tensorflow_transform as tft

NORMALISED = "normalised"  # name of the only feature that comes out
_STRIDE = 4  # one pixel in 4 x 4 enters the quantiles; neighbours carry the same noise level
_BUCKETS = 2000
_MEDIAN = 0.5
_ONE_SIGMA_BELOW = 0.158655  # standard normal distribution function at -1


def preprocessing_fn(inputs: dict) -> dict:
    """Raw features -> {"normalised": float32 [B, H, W, C]}."""
    image = inputs["image"]
    return {NORMALISED: tf.asinh(image / robust_sky_sigma(image))}


def robust_sky_sigma(image: tf.Tensor) -> tf.Tensor:
    """The sky sigma of each band, from a full pass over the data: median minus the 15.87 % quantile of all pixels.

    Only the faint half of the distribution enters, which sources touch least.

    Args:
      image: float32 [B, H, W, C], electrons per pixel, sky-subtracted.

    Returns:
      A tensor [C] in electrons, a constant of the transform graph.
    """
    found = []
    for band in range(image.shape[-1]):
        pixels = tf.reshape(image[:, ::_STRIDE, ::_STRIDE, band], [-1])
        boundaries = tft.quantiles(pixels, num_buckets=_BUCKETS, epsilon=0.5 / _BUCKETS, name=f"sky_quantiles_{band}")
        found.append(sigma_from_quantiles(boundaries[0]))
    return tf.stack(found)


def sigma_from_quantiles(boundaries: tf.Tensor) -> tf.Tensor:
    """Median minus the 15.87 % quantile, interpolated in the `_BUCKETS - 1` inner quantile boundaries."""

    def quantile(probability: float) -> tf.Tensor:
        position = probability * _BUCKETS - 1.0
        low = int(position)
        return boundaries[low] + (position - low) * (boundaries[low + 1] - boundaries[low])

    return quantile(_MEDIAN) - quantile(_ONE_SIGMA_BELOW)
