"""Completeness and purity of a catalogue against true galaxies.

A true galaxy is found when its centre lies in an object's footprint; an object is right when it holds a true galaxy. A
pair is recognised when its two galaxies lie in different objects, or in one that is flagged as a blend: P(blend) of at
least a half. A centre falls into a footprint by chance as often as footprints cover the sky, which `chance` says.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from blendinator.errors import DataError

BLEND = 0.5
MAGNITUDE_STEP = 1.0
SEPARATIONS = (0.0, 0.3, 0.6, 0.9, 1.5, 3.0)  # arcsec
_POSITION = ("x", "y"), ("ra", "dec")
_MAGNITUDE = ("magnitude", "mag")


def read_truth(path: str | Path, wcs) -> tuple[np.ndarray, np.ndarray]:
    """Positions [G, 2] (0-based column, row) and magnitudes [G] of true galaxies.

    Args:
      path: any table that astropy reads, with `x`, `y` (pixels, the first one's centre is 1) or `ra`, `dec` (ICRS,
        degrees), and `magnitude` or `mag`.
      wcs: the field's `wcs.Celestial`, for `ra` and `dec`.

    Raises:
      DataError: it cannot be read, or lacks a column.
    """
    from astropy.table import Table

    try:
        table = Table.read(path)
    except Exception as error:  # astropy's readers raise whatever their formats do
        raise DataError(
            f"{path}: this table cannot be read ({(str(error).strip().splitlines() or [type(error).__name__])[0]})."
            " Give a FITS table, ECSV or CSV."
        )
    names = {name.lower(): name for name in table.colnames}
    magnitude = next((names[name] for name in _MAGNITUDE if name in names), None)
    position = next((pair for pair in _POSITION if all(name in names for name in pair)), None)
    if magnitude is None or position is None or (position[0] == "ra" and wcs is None):
        raise DataError(
            f"{path}: received the columns {', '.join(table.colnames)}; needed: x and y (or ra and dec, and"
            " a WCS in the image), and magnitude"
        )
    wanted = (*(names[name] for name in position), magnitude)
    first, second, magnitudes = (_numbers(table[name], path) for name in wanted)
    xy = wcs.to_pixels(first, second) if position[0] == "ra" else (first - 1.0, second - 1.0)
    return np.stack(xy, axis=1), magnitudes


def _numbers(column, path):
    """A column as floats; DataError where one is missing, no number, or not finite."""
    try:
        values = np.ma.filled(np.ma.asarray(column, float), np.nan)
    except (TypeError, ValueError):
        raise DataError(f"{path}: column {column.name}: received {column.dtype}; allowed: numbers")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise DataError(
            f"{path}: column {column.name}: {len(wrong)} rows hold no finite number, the first is row "
            f"{wrong[0] + 1}. Leave them out."
        )
    return values


def compare(
    columns: dict[str, np.ndarray],
    owners: np.ndarray,
    xy: np.ndarray,
    magnitude: np.ndarray,
    shape: tuple[int, int],
    pixel_scale: float,
) -> dict:
    """Completeness by magnitude, purity, and what became of pairs.

    Args:
      columns, owners: from `Cataloguer.finish`.
      xy, magnitude: from `read_truth`; galaxies outside the field are left out.
      shape: H, W. pixel_scale: arcsec.

    Returns:
      Numbers and lists of rows {low, high, galaxies, share}; shares are None where there is nothing to count.
    """
    inside = ((xy > -0.5) & (xy < np.array(shape[::-1]) - 0.5)).all(axis=1)
    xy, magnitude, owners = xy[inside], magnitude[inside], owners[inside]
    objects = columns["kind"] == "object"
    held = np.bincount(owners[owners >= 0], minlength=int(objects.sum()))
    flagged = columns["p_blend"][objects] >= BLEND
    edges = np.zeros(0)
    if len(magnitude):
        # A bin ends below its upper edge: one more than the faintest galaxy's magnitude.
        edges = np.arange(np.floor(magnitude.min()), np.floor(magnitude.max()) + 1.5, MAGNITUDE_STEP)
    return {
        "galaxies": int(inside.sum()),
        "objects": int(objects.sum()),
        "completeness": _share(owners >= 0),
        "purity": _share(held > 0),
        "chance": float(columns["footprint"][objects].sum() / (shape[0] * shape[1])),
        "blend_purity": _share(held[flagged] > 1),
        "blend_completeness": _share(flagged[held > 1]),
        "completeness_by_magnitude": _binned(magnitude, owners >= 0, edges),
        "pairs_by_separation": pairs(owners, flagged, xy, magnitude, pixel_scale),
    }


def pairs(owners, flagged, xy, magnitude, pixel_scale: float, faintest: float = 25.0) -> list[dict]:
    """Pairs of galaxies brighter than `faintest`, each with its nearest such neighbour, by separation (arcsec).

    Args:
      owners: object of each galaxy, -1 for none. flagged: whether an object is called a blend.
    """
    from scipy.spatial import cKDTree

    bright = np.flatnonzero(magnitude < faintest)
    if len(bright) < 2:
        return []
    distance, nearest = cKDTree(xy[bright]).query(xy[bright], k=2)
    first, second = np.arange(len(bright)), nearest[:, 1]
    once = (first < second) | (second[second] != first)  # mutual neighbours are one pair
    a, b = owners[bright[first[once]]], owners[bright[second[once]]]
    recognised = (a >= 0) & (b >= 0) & ((a != b) | (flagged[np.maximum(a, 0)] if len(flagged) else False))
    return _binned(distance[once, 1] * pixel_scale, recognised, SEPARATIONS)


def describe(result: dict) -> list[str]:
    """Lines of text."""
    number = lambda value: "-" if value is None else f"{value:.3f}"
    lines = [
        f"{result['galaxies']} true galaxies, {result['objects']} objects:"
        f" completeness {number(result['completeness'])},"
        f" purity {number(result['purity'])} (a point falls into a footprint by chance: {result['chance']:.3f})",
        f"objects with two or more true galaxies that are called blends: {number(result['blend_completeness'])};"
        f" of those called blends, with two or more: {number(result['blend_purity'])}",
    ]
    for title, key in (
        ("magnitude", "completeness_by_magnitude"),
        ("separation of pairs, arcsec", "pairs_by_separation"),
    ):
        lines.append(f"{title:30} galaxies  share")
        lines += [
            f"{row['low']:10.2f} to {row['high']:<16.2f} {row['count']:8d}  {number(row['share'])}"
            for row in result[key]
        ]
    return lines


def _binned(values, hits, edges):
    out = []
    for low, high in pairwise(edges):
        chosen = (values >= low) & (values < high)
        out.append({"low": float(low), "high": float(high), "count": int(chosen.sum()), "share": _share(hits[chosen])})
    return out


def _share(hits):
    return float(np.mean(hits)) if len(hits) else None
