"""Finds values that stand for "no data": 0, -999, -1e30 and the like, in a large part of an image's pixels.

In an observed image no value is much more common than those beside it: noise spreads them. One exact value that many
pixels have, while the next ones are rare, was written by a program. An image that was compressed with steps of its own
in each row (fpack without dithering) has 0 as the one step that all rows share: the next ones are looked for in the
same row.
"""

import numpy as np

from blendinator.model.field.plane import HUGE, Plane

SAMPLED = 4_000_000  # pixels that are looked at, in whole rows
LEAST, SHARE = 16, 1e-3  # pixels, and part of them, that a value fills at least
SHARE_POSITIVE = 1e-2  # the same of a positive value, which saturated stars reach, too
PROMINENCE = 20  # times as common as any of its neighbours
NEIGHBOURS = 3  # values on each side
STEPS, PROMINENCE_IN_ROW, MOST_ROWS = 2, 5, 256  # pixels that share a value in rows of steps; in how many rows to look
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


def _find(plane: Plane) -> tuple[float, ...]:
    sample = _sample(plane)
    values, counts = np.unique(np.concatenate(sample), return_counts=True)
    if len(values) < 3:  # an image of one value is an error of its own
        return ()
    least = np.maximum(LEAST, np.where(values > 0, SHARE_POSITIVE, SHARE) * counts.sum())
    common = np.flatnonzero(counts >= least)
    common = common[np.argsort(-counts[common], kind="stable")]
    found = [float(values[i]) for i in common[: 10 * MOST_VALUES] if _stands_out(counts, i)][:MOST_VALUES]
    return tuple(value for value in found if not _is_step(sample, np.float32(value)))


def _is_step(rows: list[np.ndarray], value: np.float32) -> bool:
    """Whether a value is no more than one step of those on which the pixels of each row lie."""
    own, others = [], []
    for row in rows[:: max(len(rows) // MOST_ROWS, 1)]:
        values, counts = np.unique(row, return_counts=True)
        i = np.searchsorted(values, value)
        if i < len(values) and values[i] == value:
            own.append(counts[i])
            others.append(_second_beside(counts, i))
    return bool(own) and np.mean(others) >= STEPS and np.sum(own) < PROMINENCE_IN_ROW * np.sum(others)


def _stands_out(counts: np.ndarray, i: int) -> bool:
    """Whether a value is much more common than its neighbours."""
    return counts[i] >= PROMINENCE * _second_beside(counts, i)


def _second_beside(counts: np.ndarray, i: int) -> int:
    """The second largest count of the values beside: one of these may be a fill value, too."""
    beside = np.concatenate([counts[max(i - NEIGHBOURS, 0) : i], counts[i + 1 : i + 1 + NEIGHBOURS]])
    return np.sort(beside)[-2] if len(beside) > 1 else 0


def _sample(plane: Plane) -> list[np.ndarray]:
    """Finite pixels of some rows, an array of float32 for each."""
    height, width = plane.shape
    if height * width <= SAMPLED:
        rows = [row for step, start in _strips(plane) for row in plane.rows(start, min(start + step, height))]
    else:
        places = np.linspace(0, height - 1, max(SAMPLED // width, 64)).astype(int)
        rows = [plane.rows(row, row + 1)[0] for row in places]
    return [row[np.isfinite(row)] for row in rows]


def _strips(plane: Plane) -> list[tuple[int, int]]:
    step = max(CHUNK // plane.shape[1], 1)
    return [(step, start) for start in range(0, plane.shape[0], step)]


def _huge(part: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.isfinite(part) & (np.abs(part.astype(np.float64)) >= HUGE) if part.dtype.kind == "f" else part != part


def _any_huge(plane: Plane) -> bool:
    height = plane.shape[0]
    return any(_huge(plane.values(row, row + 1)).any() for row in range(0, height, max(height // 256, 1)))


def _count(plane: Plane) -> tuple[dict[float, int], int]:
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
