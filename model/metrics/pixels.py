"""Per-pixel statistics of each scene: confusion counts, scores and calibration bins.

Shapes: B scenes, H x W pixels, C = 3 classes (0 background, 1 one source, 2 blended).
"""

import numpy as np
from scipy import ndimage

from blendinator.data.records import NUM_CLASSES

__all__ = [
    "brier_score",
    "calibration_bins",
    "confusion",
    "entropy",
    "histogram",
    "log_score",
    "near_sources",
    "one_hot",
]

# Probabilities are means over draws in float32; a class that no draw supports can come out as exactly 0.
PROBABILITY_FLOOR = 1e-7


def confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pixel counts [B, C, C] by (true class, predicted class) of two class maps [B, H, W]."""
    pairs = truth.astype(np.int64) * NUM_CLASSES + predicted
    return _count(pairs, NUM_CLASSES**2).reshape(-1, NUM_CLASSES, NUM_CLASSES)


def near_sources(truth: np.ndarray, predicted: np.ndarray, radius: int) -> np.ndarray:
    """Pixels [B, H, W] (bool) at most `radius` pixels from a pixel that is not background in either map.

    Background far from everything is trivially right and would drive any calibration error to zero.
    """
    sources = (truth > 0) | (predicted > 0)
    if radius == 0:
        return sources
    offset = np.arange(-radius, radius + 1)
    disc = offset[:, None] ** 2 + offset[None, :] ** 2 <= radius**2
    return ndimage.binary_dilation(sources, structure=disc[None])


def log_score(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """-ln p(true class) in nats, per pixel [B, H, W], from probabilities [B, H, W, C]."""
    chosen = np.take_along_axis(probabilities, truth[..., None].astype(np.intp), axis=-1)[..., 0]
    return -np.log(np.maximum(chosen.astype(np.float64), PROBABILITY_FLOOR))


def brier_score(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """sum_c (p_c - [truth = c])^2 per pixel [B, H, W], from 0 (perfect) to 2 (Brier 1950)."""
    return np.square(probabilities.astype(np.float64) - one_hot(truth)).sum(-1)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """-sum_c p_c ln p_c in nats, per pixel [B, H, W]."""
    clipped = np.maximum(probabilities.astype(np.float64), PROBABILITY_FLOOR)
    return -(clipped * np.log(clipped)).sum(-1)


def calibration_bins(
    truth: np.ndarray, probabilities: np.ndarray, edges: np.ndarray, where: np.ndarray | None = None
) -> np.ndarray:
    """Counts, summed probabilities and summed hits per class and bin of probability.

    Args:
      truth: [B, H, W] classes.
      probabilities: [B, H, W, C].
      edges: rising inner and outer edges [bins + 1] from 0 to 1; a bin is closed below, the last one also above.
      where: [B, H, W] bool, the pixels that count; all by default.

    Returns:
      [B, C, 3, bins] float64: number of pixels, sum of p_c and number of pixels of class c.
    """
    bins = len(edges) - 1
    scenes = np.broadcast_to(np.arange(len(truth))[:, None, None], truth.shape)
    selected = np.ones(truth.shape, bool) if where is None else where
    scene, classes, p = scenes[selected], truth[selected], probabilities[selected].astype(np.float64)
    result = np.zeros((len(truth), NUM_CLASSES, 3, bins))
    for c in range(NUM_CLASSES):
        index = scene * bins + np.clip(np.searchsorted(edges, p[:, c], side="right") - 1, 0, bins - 1)
        for k, weights in enumerate((None, p[:, c], (classes == c).astype(np.float64))):
            counted = np.bincount(index, weights, minlength=len(truth) * bins)
            result[:, c, k] = counted.reshape(len(truth), bins)
    return result


def histogram(values: np.ndarray, edges: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Counts [B, bins] of `values` [B, H, W] at the pixels in `where`; values outside fall into the outer bins."""
    bins = len(edges) - 1
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    return _count(np.where(where, index, bins), bins + 1)[:, :bins]


def one_hot(classes: np.ndarray) -> np.ndarray:
    """[..., C] float64."""
    return (classes[..., None] == np.arange(NUM_CLASSES)).astype(np.float64)


def _count(values: np.ndarray, size: int) -> np.ndarray:
    """How often each of 0..size-1 occurs in each scene: [B, size]."""
    scenes = len(values)
    index = np.arange(scenes)[:, None] * size + values.reshape(scenes, -1)
    return np.bincount(index.ravel(), minlength=scenes * size).reshape(scenes, size)
