"""Sky level and noise of a field, box by box, as SExtractor estimates them.

In each box the pixels are clipped at 3 sigma around the median until nothing changes, the first time with the sigma of
the median absolute deviation. The sky level is the mode
estimate 2.5 median - 1.5 mean where the box is not crowded, else the median (Bertin and Arnouts 1996, section 7.1); a
3 x 3 median over the boxes takes out those that a bright object fills; between the boxes' centres it is interpolated
linearly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

CLIP = 3.0  # sigma
MAD_TO_SIGMA = 1.4826  # of a normal distribution
ITERATIONS = 20
CROWDED = 0.3  # |mean - median| / sigma above which a box counts as crowded
STRIDE = 2  # one pixel in 2 x 2 enters: a box of 128 then has 4096, which fix its level to 0.02 sigma
MIN_SHARE = 0.25  # of a box's pixels must hold data


@dataclass(frozen=True)
class Background:
    """Sky level and noise on a mesh.

    Attributes:
      level: of each box [ny, nx], in the image's unit.
      sigma: noise per pixel of each box [ny, nx].
      box: pixels per side.
      shape: of the field.
    """

    level: np.ndarray
    sigma: np.ndarray
    box: int
    shape: tuple[int, int]

    @property
    def sky_sigma(self) -> float:
        """Noise per pixel: the median over the boxes."""
        return float(np.median(self.sigma))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Sky level of these rows, float32 [stop - start, W]."""
        vertical = _weights(np.arange(start, stop), self.box, self.shape[0], self.level.shape[0])
        horizontal = _weights(np.arange(self.shape[1]), self.box, self.shape[1], self.level.shape[1])
        return vertical @ self.level.astype(np.float32) @ horizontal.T


def measure(read: Callable[[int, int], np.ndarray], shape: tuple[int, int], box: int) -> Background | None:
    """The background of a field that is read in strips; None when no box holds enough data.

    Args:
      read: rows (start, stop) -> [rows, W]; NaN means no data.
      shape: of the field.
      box: pixels per side; boxes at the border may be larger by a part of one.
    """
    rows, columns = (_edges(side, box) for side in shape)
    level = np.full((len(rows) - 1, len(columns) - 1), np.nan)
    sigma = level.copy()
    for i, (top, bottom) in enumerate(pairwise(rows)):
        strip = read(top, bottom)[::STRIDE]
        for j, (left, right) in enumerate(pairwise(columns)):
            level[i, j], sigma[i, j] = clipped_mode(strip[:, left:right:STRIDE])
    if not np.isfinite(level).any():
        return None
    return Background(_smooth(level), _smooth(sigma), box, shape)


def clipped_mode(pixels: np.ndarray) -> tuple[float, float]:
    """Level and standard deviation of the clipped pixels; NaN, NaN where too few are finite."""
    values = np.sort(pixels[np.isfinite(pixels)], axis=None).astype(np.float64)
    if len(values) < max(MIN_SHARE * pixels.size, 2):
        return np.nan, np.nan
    # Of sorted values every clipped set is a range, whose moments follow from running sums.
    center = values[len(values) // 2]
    first = np.concatenate(([0.0], np.cumsum(values - center)))
    second = np.concatenate(([0.0], np.cumsum((values - center) ** 2)))
    low, high = _robust_range(values)
    for _ in range(ITERATIONS):
        count = high - low
        mean = (first[high] - first[low]) / count
        sigma = np.sqrt(max((second[high] - second[low]) / count - mean**2, 0.0))
        median = 0.5 * (values[(low + high - 1) // 2] + values[(low + high) // 2])
        start, stop = np.searchsorted(values, (median - CLIP * sigma, median + CLIP * sigma), side="left")
        new = start, max(stop, start + 1)
        if new == (low, high):
            break
        low, high = new
    mean += center
    crowded = abs(mean - median) > CROWDED * sigma
    return float(median if crowded else 2.5 * median - 1.5 * mean), float(sigma)


def _robust_range(values: np.ndarray) -> tuple[int, int]:
    """Where clipping starts: 3 sigma of the median absolute deviation around the median, of sorted values.

    A mean and a standard deviation would be ruled by one value in ten that is far off.
    """
    median = values[len(values) // 2]
    sigma = MAD_TO_SIGMA * np.median(np.abs(values - median))
    if not sigma > 0:  # more than half are equal
        return 0, len(values)
    start, stop = np.searchsorted(values, (median - CLIP * sigma, median + CLIP * sigma), side="left")
    return start, max(stop, start + 1)


def _edges(side: int, box: int) -> list[int]:
    """Borders of boxes; a rest smaller than half a box joins its neighbour."""
    count = max(round(side / box), 1)
    return [min(box * i, side) for i in range(count)] + [side]


def _smooth(mesh: np.ndarray) -> np.ndarray:
    """3 x 3 median; boxes without data are filled by their neighbours, ring by ring."""
    while True:
        wide = np.pad(mesh, 1, mode="edge")
        around = np.stack([wide[i : i + mesh.shape[0], j : j + mesh.shape[1]] for i in range(3) for j in range(3)])
        known = np.isfinite(around).any(axis=0)
        filled = np.where(known, np.nanmedian(np.where(known, around, 0.0), axis=0), np.nan)
        if known.all():
            return filled
        mesh = np.where(np.isfinite(mesh), mesh, filled)


def _weights(positions: np.ndarray, box: int, side: int, count: int) -> np.ndarray:
    """[positions, boxes] weights of linear interpolation between the boxes' centres, the border's held beyond them."""
    edges = np.asarray(_edges(side, box), float)
    centers = (edges[1:] + edges[:-1]) / 2 - 0.5
    index = np.clip(np.searchsorted(centers, positions) - 1, 0, max(count - 2, 0))
    weights = np.zeros((len(positions), count), np.float32)
    if count == 1:
        weights[:] = 1.0
        return weights
    share = np.clip((positions - centers[index]) / (centers[index + 1] - centers[index]), 0.0, 1.0)
    rows = np.arange(len(positions))
    weights[rows, index] = 1.0 - share
    weights[rows, index + 1] += share
    return weights
