"""Poisson bootstrap over scenes.

Each scene gets independent Poisson(1) weights, one per replicate, from a generator seeded with its own name: the
weights don't depend on the order of the scenes, on who evaluated them, or on which others are there. Replicates of two
models on the same scenes are therefore paired.
"""

import hashlib

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = ["interval", "poisson_weights", "scene_seeds"]


def scene_seeds(scene_ids: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """uint64 [S], a hash of (purpose, seed, scene id)."""
    digests = (hashlib.blake2b(f"{purpose}:{seed}:{name}".encode(), digest_size=8).digest() for name in scene_ids)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(scene_ids))


def poisson_weights(scene_ids: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Weights [replicates, S] float64 of the scenes in each replicate (Poisson bootstrap, Chamandy et al. 2012)."""
    weights = np.empty((len(scene_ids), replicates))
    for i, scene_seed in enumerate(scene_seeds(scene_ids, seed, "bootstrap")):
        weights[i] = np.random.default_rng(int(scene_seed)).poisson(1.0, replicates)
    return weights.T


def interval(replicates: np.ndarray, value: float, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected percentile interval of a metric (Efron and Tibshirani 1993, section 14.3, without acceleration).

    Calibration errors and chi-squares are sums of distances, which the resampling noise adds to: plain percentiles
    would lie above the value itself. The correction uses the share of the replicates that are below the value, and
    changes nothing where this is one half.

    Args:
      replicates: [R] the metric of each replicate; those that are not finite are left out.
      value: the metric itself.
      level: probability of the interval.

    Returns:
      Its ends; NaN where the value or all replicates are undefined.
    """
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0 or not np.isfinite(value):
        return float("nan"), float("nan")
    below = (np.count_nonzero(finite < value) + np.count_nonzero(finite == value) / 2) / finite.size
    # Beyond all replicates nothing is known of the bias: half a replicate is the resolution.
    shift = 2 * ndtri(np.clip(below, 0.5 / finite.size, 1 - 0.5 / finite.size))
    tail = ndtri((1 - level) / 2)
    low, high = np.quantile(finite, ndtr([shift + tail, shift - tail]))
    return float(low), float(high)
