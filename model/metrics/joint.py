"""Statistics of sampled maps as wholes: distances between maps, areas, ranks and coverage.

Shapes: B scenes, N samples, H x W pixels. Every estimator here rests on one fact: if the model is right, the truth and
the N samples of a scene are N + 1 exchangeable draws of the same distribution.
"""

import numpy as np

from blendinator.model.metrics.objects import Groups

__all__ = [
    "areas",
    "component_counts",
    "covered",
    "distances",
    "energy_distance",
    "energy_score",
    "independent_samples",
    "rank_histogram",
    "rank_interval",
]

FOREGROUND = (1, 2)


def distances(maps: np.ndarray) -> np.ndarray:
    """d = 1 - IoU between all pairs of maps of a scene, averaged over the two foreground classes.

    IoU of two empty sets is 1, as in Kohl et al. 2018 (arXiv:1806.05034), section 4.

    Args:
      maps: [B, M, H, W] classes.

    Returns:
      [B, M, M] float64, symmetric with a zero diagonal.
    """
    scenes, count = maps.shape[:2]
    total = np.zeros((scenes, count, count))
    for c in FOREGROUND:
        # Sums of zeros and ones are exact in float32 up to 2^24 pixels, and its matrix product is twice as fast.
        inside = (maps == c).reshape(scenes, count, -1).astype(np.float32)
        intersection = (inside @ inside.transpose(0, 2, 1)).astype(np.float64)
        area = np.einsum("bii->bi", intersection)
        union = area[:, :, None] + area[:, None, :] - intersection
        total += 1 - np.divide(intersection, union, out=np.ones_like(union), where=union > 0)
    return total / len(FOREGROUND)


def energy_distance(pairwise: np.ndarray, draws: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The two terms of the generalised energy distance GED = 2 E d(S, Y) - E d(S, S').

    The truth Y is one map, so that E d(Y, Y') = 0. E d(S, S') leaves the diagonal out and is unbiased; common code
    averages it with the diagonal, which overstates the distance by E d(S, S') / N.

    Args:
      pairwise: [B, 1 + N, 1 + N] distances; the truth stands first.
      draws: how many of the samples to use; all by default.

    Returns:
      E d(S, Y) [B] and E d(S, S') [B]; the second is NaN for a single draw.
    """
    draws = pairwise.shape[1] - 1 if draws is None else draws
    to_truth = pairwise[:, 0, 1 : draws + 1].mean(-1)
    among = pairwise[:, 1 : draws + 1, 1 : draws + 1].sum((1, 2))
    return to_truth, among / (draws * (draws - 1)) if draws > 1 else np.full(len(pairwise), np.nan)


def rank_interval(truth: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of the probability integral transform that the truth occupies among its draws.

    Of the N + 1 exchangeable values the truth takes the places from `below` to `below + ties`. A uniform draw from
    [below / (N + 1), (below + ties + 1) / (N + 1)] is exactly uniform on [0, 1] for a right model, ties or not
    (the randomised transform of Czado, Gneiting and Held 2009); we keep the interval and integrate over it instead
    of drawing, so that no seed is involved.

    Args:
      truth: [B].
      draws: [B, N].

    Returns:
      Lower and upper end [B] each, within [0, 1].
    """
    places = draws.shape[1] + 1
    below = (draws < truth[:, None]).sum(1)
    ties = (draws == truth[:, None]).sum(1)
    return below / places, (below + ties + 1) / places


def covered(low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """Share [B] of each rank interval inside the central interval of probability `level`; its mean is the coverage."""
    overlap = np.minimum(high, 0.5 + level / 2) - np.maximum(low, 0.5 - level / 2)
    return np.clip(overlap, 0, None) / (high - low)


def rank_histogram(low: np.ndarray, high: np.ndarray, bins: int) -> np.ndarray:
    """Shares [B, bins] of each rank interval by equal bins of [0, 1]: simulation-based calibration with ties."""
    edges = np.linspace(0, 1, bins + 1)
    overlap = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    return np.clip(overlap, 0, None) / (high - low)[:, None]


def areas(maps: np.ndarray, which: int) -> np.ndarray:
    """Pixels of class `which` in maps [..., H, W]: [...]."""
    return (maps == which).sum((-2, -1))


def component_counts(maps: np.ndarray) -> np.ndarray:
    """Number of connected groups (8 neighbours) of pixels that are not background, in maps [..., H, W]: [...]."""
    flat = (maps > 0).reshape(-1, *maps.shape[-2:])
    return Groups.of(flat).count().reshape(maps.shape[:-2])


def energy_score(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """E |S - y| - E |S - S'| / 2 [B] with the unbiased second term; lower is better (Gneiting and Raftery 2007).

    Args:
      truth: [B, K].
      draws: [B, N, K], N >= 2.
    """
    count = draws.shape[1]
    to_truth = np.linalg.norm(draws - truth[:, None], axis=-1).mean(1)
    among = np.linalg.norm(draws[:, :, None] - draws[:, None], axis=-1).sum((1, 2)) / (count * (count - 1))
    return to_truth - among / 2


def independent_samples(probabilities: np.ndarray, num_samples: int, seeds: np.ndarray) -> np.ndarray:
    """Maps whose pixels are drawn independently of each other from the same probabilities.

    They have the same marginals as the model's samples but no joint structure: what the latent adds is the difference.

    Args:
      probabilities: [B, H, W, C].
      num_samples: N.
      seeds: [B] integers, one per scene, so that a scene's draws don't depend on its batch.

    Returns:
      uint8 [B, N, H, W].
    """
    cumulative = np.cumsum(probabilities, axis=-1, dtype=np.float32)
    result = np.empty((len(probabilities), num_samples, *probabilities.shape[1:3]), np.uint8)
    for i, seed in enumerate(seeds):
        uniform = np.random.default_rng(int(seed)).random(result.shape[1:], dtype=np.float32)
        # Rescaled by the sum, which rounding leaves next to 1.
        uniform *= cumulative[i, None, :, :, -1]
        result[i] = (uniform >= cumulative[i, None, :, :, 0]).view(np.uint8)
        result[i] += uniform >= cumulative[i, None, :, :, 1]
    return result
