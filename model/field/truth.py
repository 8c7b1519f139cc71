"""Completeness and purity of a catalogue against true galaxies.

A true galaxy is found when its centre lies in an object's footprint; an object is right when it holds a true galaxy. A
pair is recognised when its two galaxies lie in different objects, or in one that is flagged as a blend: P(blend) of at
least a half. A centre falls into a footprint by chance as often as footprints cover the sky, which `chance` says.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blendinator.data.tables import columns_by_meaning, in_unit, read_table
from blendinator.errors import DataError
from blendinator.model.field.wcs import Celestial

if TYPE_CHECKING:
    from astropy.table import Table

BLEND = 0.5
MAGNITUDE_STEP = 1.0
SEPARATIONS = (0.0, 0.3, 0.6, 0.9, 1.5, 3.0)  # arcsec
_POSITION = ("x", "y"), ("ra", "dec")
_ALIASES = {"mag": "magnitude"}
_UNITS = {"x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "magnitude": "mag"}
FAR = -1e9  # pixels: where the projection does not reach


def read_truth(path: str | Path, wcs: Celestial | None, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Positions [G, 2] (0-based column, row) and magnitudes [G] of true galaxies.

    Args:
      path: a table in a format of `data/tables.py`, with `x`, `y` (pixels, the first one's centre is 1) or `ra`, `dec`
        (ICRS, degrees or the unit that the table says), and `magnitude` or `mag`.
      wcs: the field's `wcs.Celestial`, for `ra` and `dec`.
      shape: H, W of the field.

    Raises:
      DataError: it cannot be read, lacks a column, has one in a unit that cannot be converted, or no galaxy lies on
        the field.
    """
    table = read_table(path)
    names = columns_by_meaning(path, table, _UNITS, _ALIASES)
    position = next((pair for pair in _POSITION if all(name in names for name in pair)), None)
    if "magnitude" not in names or position is None or (position[0] == "ra" and wcs is None):
        raise DataError(
            f"{path}: received the columns {', '.join(table.colnames)}; needed: x and y (or ra and dec, and"
            " a WCS in the image), and magnitude"
        )
    first, second, magnitudes = (_numbers(path, table, names[name], _UNITS[name]) for name in (*position, "magnitude"))
    if wcs is not None and position[0] == "ra":
        xy = np.stack(wcs.to_pixels(first, second), axis=1)
        xy = np.where(np.isfinite(xy).all(axis=1, keepdims=True), xy, FAR)
    else:
        xy = np.stack((first - 1.0, second - 1.0), axis=1)
    if len(xy) and not inside(xy, shape).any():
        raise DataError(_outside(path, position, first, second, wcs, shape))
    return xy, magnitudes


def inside(xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which positions [G, 2] lie on a field of H x W pixels."""
    return ((xy > -0.5) & (xy < np.array(shape[::-1]) - 0.5)).all(axis=1)


def _outside(
    path: str | Path,
    names: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
    wcs: Celestial | None,
    shape: tuple[int, int],
) -> str:
    if wcs is None or names[0] == "x":
        limits, unit = [(1, shape[1]), (1, shape[0])], "pixels"
    else:
        side = [np.linspace(0, length - 1, 9) for length in shape[::-1]]
        sky = wcs.to_sky(*(part.ravel() for part in np.meshgrid(*side)))
        limits, unit = [(np.nanmin(values), np.nanmax(values)) for values in sky], "degrees"
    there = [f"{name} from {values.min():.7g} to {values.max():.7g}" for name, values in zip(names, (first, second))]
    here = [f"{name} from {low:.7g} to {high:.7g}" for name, (low, high) in zip(names, limits)]
    return (
        f"{path}: none of the {len(first)} galaxies lies on the field: the table has {' and '.join(there)}, the field"
        f" {' and '.join(here)} ({unit}). Give the table that belongs to this field, or correct its positions."
    )


def _numbers(path: str | Path, table: "Table", name: str, unit: str) -> np.ndarray:
    """A column as floats in a unit; DataError where one is missing, no number, or not finite."""
    values = in_unit(path, table, name, unit)
    if values.ndim != 1:
        raise DataError(f"{path}: column {name}: received the shape {list(values.shape)}; allowed: one number per row")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise DataError(
            f"{path}: column {name}: {len(wrong)} rows hold no finite number, the first is row "
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
    here = inside(xy, shape)
    xy, magnitude, owners = xy[here], magnitude[here], owners[here]
    objects = columns["kind"] == "object"
    held = np.bincount(owners[owners >= 0], minlength=int(objects.sum()))
    flagged = columns["p_blend"][objects] >= BLEND
    edges = np.zeros(0)
    if len(magnitude):
        # A bin ends below its upper edge: one more than the faintest galaxy's magnitude.
        edges = np.arange(np.floor(magnitude.min()), np.floor(magnitude.max()) + 1.5, MAGNITUDE_STEP)
    return {
        "galaxies": int(here.sum()),
        "objects": int(objects.sum()),
        "completeness": _share(owners >= 0),
        "purity": _share(held > 0),
        "chance": float(columns["footprint"][objects].sum() / (shape[0] * shape[1])),
        "blend_purity": _share(held[flagged] > 1),
        "blend_completeness": _share(flagged[held > 1]),
        "completeness_by_magnitude": _binned(magnitude, owners >= 0, edges),
        "pairs_by_separation": pairs(owners, flagged, xy, magnitude, pixel_scale),
    }


def pairs(
    owners: np.ndarray,
    flagged: np.ndarray,
    xy: np.ndarray,
    magnitude: np.ndarray,
    pixel_scale: float,
    faintest: float = 25.0,
) -> list[dict]:
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


def _binned(values: np.ndarray, hits: np.ndarray, edges: Sequence[float]) -> list[dict]:
    out = []
    for low, high in pairwise(edges):
        chosen = (values >= low) & (values < high)
        out.append({"low": float(low), "high": float(high), "count": int(chosen.sum()), "share": _share(hits[chosen])})
    return out


def _share(hits: np.ndarray) -> float | None:
    return float(np.mean(hits)) if len(hits) else None
