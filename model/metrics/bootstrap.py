"""Poisson bootstrap over scenes.

Each scene gets independent Poisson(1) weights, one per replicate, from a generator seeded with its own name: the
weights don't depend on the order of the scenes, on who evaluated them, or on which others are there. Replicates of two
models on the same scenes are therefore paired.
"""

import hashlib

import numpy as np


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


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a metric's replicates [R]; NaN where no replicate has a value."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)
