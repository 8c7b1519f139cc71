"""Finds values that stand for "no data": 0, -999, -1e30 and the like, in a large part of an image's pixels.

In an observed image no value is much more common than those beside it: noise spreads them. One exact value that many
pixels have, while the next ones are rare, was written by a program.
"""

import numpy as np

from blendinator.model.field.plane import HUGE, Plane

SAMPLED = 4_000_000  # pixels that are looked at, in whole rows
LEAST, SHARE = 16, 1e-3  # pixels, and part of them, that a value fills at least
SHARE_POSITIVE = 1e-2  # the same of a positive value, which saturated stars reach, too
PROMINENCE = 20  # times as common as any of its neighbours
NEIGHBOURS = 3  # values on each side
MOST_VALUES = 4
CHUNK = 1 << 22  # pixels


def mark_no_data(plane: Plane, given: tuple[float, ...] = ()) -> list[str]:
    """Sets a plane's `fill`, and says what it is.

    Args:
      given: the user's values; without any they are looked for. NaN means no data anyway: (nan,) looks for nothing.
    """
    plane.fill = tuple(value for value in given if np.isfinite(value)) if given else _find(plane)
    if not plane.fill and given:
        return []
    counts, huge = _count(plane) if plane.fill or _any_huge(plane) else ({}, 0)
    pixels = plane.shape[0] * plane.shape[1]
    why = "no data, as given" if given else "taken as no data. `no_data` says otherwise (nan: none is)"
    said = [f"{count} pixels ({count / pixels:.2%}) are exactly {value:g}: {why}" for value, count in counts.items()]
    if huge:
        said.append(f"{huge} pixels ({huge / pixels:.2%}) are beyond {HUGE:g}: taken as no data")
    return said


def _find(plane) -> tuple[float, ...]:
    values, counts = np.unique(_sample(plane), return_counts=True)
    if len(values) < 3:  # an image of one value is an error of its own
        return ()
    least = np.maximum(LEAST, np.where(values > 0, SHARE_POSITIVE, SHARE) * counts.sum())
    common = np.flatnonzero(counts >= least)
    common = common[np.argsort(-counts[common], kind="stable")]
    return tuple(float(values[i]) for i in common[: 10 * MOST_VALUES] if _stands_out(counts, i))[:MOST_VALUES]


def _stands_out(counts, i):
    """Whether a value is much more common than its neighbours; one of these may be a fill value, too."""
    beside = np.concatenate([counts[max(i - NEIGHBOURS, 0) : i], counts[i + 1 : i + 1 + NEIGHBOURS]])
    return counts[i] >= PROMINENCE * np.sort(beside)[-2]


def _sample(plane):
    """Finite pixels of some rows, float32."""
    height, width = plane.shape
    if height * width <= SAMPLED:
        parts = [plane.rows(start, min(start + step, height)) for step, start in _strips(plane)]
    else:
        parts = [plane.rows(row, row + 1) for row in np.linspace(0, height - 1, max(SAMPLED // width, 64)).astype(int)]
    pixels = np.concatenate([part.ravel() for part in parts])
    return pixels[np.isfinite(pixels)]


def _strips(plane):
    step = max(CHUNK // plane.shape[1], 1)
    return [(step, start) for start in range(0, plane.shape[0], step)]


def _huge(part):
    with np.errstate(invalid="ignore", over="ignore"):
        return np.isfinite(part) & (np.abs(part.astype(np.float64)) >= HUGE) if part.dtype.kind == "f" else part != part


def _any_huge(plane) -> bool:
    height = plane.shape[0]
    return any(_huge(plane.values(row, row + 1)).any() for row in range(0, height, max(height // 256, 1)))


def _count(plane):
    """How many pixels each value of `plane.fill` has, and how many are beyond any flux."""
    counts, huge = dict.fromkeys(plane.fill, 0), 0
    for step, start in _strips(plane):
        part = plane.values(start, min(start + step, plane.shape[0]))
        huge += int(_huge(part).sum())
        with np.errstate(over="ignore", invalid="ignore"):
            part = part.astype(np.float32)
        for value in counts:
            counts[value] += int((part == np.float32(value)).sum())
    return counts, huge
