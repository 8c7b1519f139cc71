"""A catalogue of a segmented field: one row per object and one per blend, with intervals from the samples.

An object is a connected group of pixels whose P(galaxy) + P(blended) reaches a threshold, a blend one whose P(blended)
does. Its footprint is that group. Its region also holds the pixels within `reach` of the footprint that are nearer to
it than to any other: what a sample marks there is counted to it, so that a sampled area may be larger than the
footprint, too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from blendinator.model.field import components

EDGE, MISSING = 1, 2  # flags
INTERVALS = {"68": (0.16, 0.84), "95": (0.025, 0.975)}
CHUNK = 2**21  # pixels measured at a time: the copies made on the way take about 100 bytes each
KINDS = ("object", "blend")
_ADDED = ("pixels", "weight", "x", "y", "geometric_x", "geometric_y", "variance", "edge", "missing")


@dataclass(frozen=True)
class Settings:
    """What counts as an object.

    Attributes:
      threshold: probability from which on a pixel belongs to a footprint.
      min_pixels: smallest footprint that gets a row.
      reach: pixels around a footprint whose sampled classes count to it.
    """

    threshold: float = 0.5
    min_pixels: int = 3
    reach: int = 5


class Cataloguer:
    """Measures components while the maps go by: a sink of `segment.segment`.

    Args:
      shape: H, W of the field.
      num_samples: N.
      settings: what counts as an object.
      sigma_rows: (start, stop) -> sky noise per pixel of these rows in electrons, a number or an array.
      truth_xy: positions [G, 2] (0-based column, row) of true galaxies, whose owners are looked up.
    """

    def __init__(self, shape, num_samples: int, settings: Settings, sigma_rows, truth_xy: np.ndarray | None = None):
        self.shape, self.num_samples, self.settings, self.sigma_rows = shape, num_samples, settings, sigma_rows
        self._labellers = {kind: components.StripLabeller(settings.reach) for kind in KINDS}
        self._measured = {kind: [] for kind in KINDS}
        self._kept: dict[str, np.ndarray] | None = None
        self._kept_from, self._counted = 0, 0
        self._truth = truth_xy
        self._owners: Any = None if truth_xy is None else np.full(len(truth_xy), -1, np.int64)

    def write(self, top: int, maps: dict[str, np.ndarray]) -> None:
        """Takes the next full rows of the maps, from row `top` on."""
        step = max(CHUNK // self.shape[1], 1)
        for start in range(0, len(maps["image"]), step):
            self._take(
                top + start,
                {
                    name: value[:, start : start + step] if name == "samples" else value[start : start + step]
                    for name, value in maps.items()
                },
            )

    def _take(self, top, maps):
        names = ("probabilities", "class_map", "image")
        maps = {**{name: maps[name] for name in names}, "samples": np.moveaxis(maps["samples"], 0, 1)}
        if self._kept is not None:
            maps = {name: np.concatenate((self._kept[name], value)) for name, value in maps.items()}
        else:
            self._kept_from = top
        stop = self._kept_from + len(maps["image"])
        count_to = stop if stop >= self.shape[0] else max(stop - self.settings.reach, self._counted)
        self._measure(maps, count_to)
        keep_from = max(count_to - self.settings.reach - 1, 0)
        self._kept = {name: value[max(keep_from - self._kept_from, 0) :].copy() for name, value in maps.items()}
        self._kept_from, self._counted = max(keep_from, self._kept_from), count_to

    def _measure(self, maps, count_to):
        """Labels all rows at hand and counts those from the last counted one up to `count_to`."""
        probabilities = np.nan_to_num(maps["probabilities"])
        masks = {"object": probabilities[..., 1] + probabilities[..., 2], "blend": probabilities[..., 2]}
        counted = slice(self._counted - self._kept_from, count_to - self._kept_from)
        objects: Any = None
        for kind, mask in masks.items():
            footprint, region, first, count = self._labellers[kind].label(
                mask >= self.settings.threshold, self._kept_from
            )
            part = self._sums(kind, maps, footprint[counted], region[counted], counted, count)
            if kind == "object":
                objects, first_object = footprint, first
                self._look_up(footprint, first, count_to)
            else:  # every blended pixel lies in an object, because its P(galaxy) + P(blended) is no smaller
                inside = footprint[counted] > 0
                part["parent"] = np.full(count, -1, np.int64)
                part["parent"][footprint[counted][inside] - 1] = objects[counted][inside] - 1 + first_object
            self._measured[kind].append(part)

    def _sums(self, kind, maps, footprint, region, rows, count):
        """Sums over the pixels of each component's footprint and region in these rows."""
        y, x = np.nonzero(footprint)
        label = footprint[y, x]
        image = np.nan_to_num(maps["image"][rows])
        weight = np.maximum(image[y, x], 0.0)
        row, width = y + self._counted, self.shape[1]
        sigma = self.sigma_rows(self._counted, self._counted + footprint.shape[0])
        variance = np.nan_to_num(np.broadcast_to(np.square(sigma if sigma is not None else 0.0), footprint.shape))[y, x]
        at_edge = (row == 0) | (row == self.shape[0] - 1) | (x == 0) | (x == width - 1)
        out = {
            name: components.sums(label, count, value)
            for name, value in {
                "pixels": None,
                "weight": weight,
                "x": weight * x,
                "y": weight * row,
                "geometric_x": x.astype(float),
                "geometric_y": row.astype(float),
                "variance": variance,
                "edge": at_edge.astype(float),
            }.items()
        }
        near = np.flatnonzero(region)
        label = region.ravel()[near]
        missing = maps["class_map"][rows].ravel()[near] > 2
        out["missing"] = components.sums(label, count, missing.astype(float))
        flux = image.ravel()[near]
        samples = maps["samples"][rows]
        for name in ("area", "blended", "flux"):
            out[name] = np.zeros((count, self.num_samples))
        for n in range(self.num_samples):
            classes = samples[:, n].reshape(-1)[near]
            blended = classes == 2
            member = blended if kind == "blend" else (classes == 1) | blended
            out["area"][:, n] = components.sums(label[member], count)
            out["blended"][:, n] = components.sums(label[blended], count)
            out["flux"][:, n] = components.sums(label[member], count, flux[member])
        return out

    def _look_up(self, footprint, first, count_to):
        if self._truth is None:
            return
        column, row = np.rint(self._truth).astype(int).T
        here = np.flatnonzero((row >= self._counted) & (row < count_to) & (column >= 0) & (column < self.shape[1]))
        label = footprint[row[here] - self._kept_from, column[here]]
        self._owners[here] = np.where(label > 0, label - 1 + first, -1)

    def finish(self) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Columns of the catalogue, objects first, and each true galaxy's row (-1 for none)."""
        tables, rows_of, owners = [], {}, None
        for kind in KINDS:
            parts = self._measured[kind]
            roots = self._labellers[kind].sets.roots()
            total = {
                name: _joined(np.concatenate([part[name] for part in parts]), roots)
                for name in (*_ADDED, "area", "blended", "flux")
            }
            keep = np.flatnonzero((roots == np.arange(len(roots))) & (total["pixels"] >= self.settings.min_pixels))
            rows_of[kind] = np.full(len(roots) + 1, -1, np.int64)  # the last one stands for "none"
            rows_of[kind][keep] = np.arange(len(keep))
            rows_of[kind] = np.append(rows_of[kind][roots], -1)
            table = self._columns(kind, {name: value[keep] for name, value in total.items()})
            if kind == "object":
                table["parent"] = np.zeros(len(keep), np.int64)
                if self._owners is not None:
                    owners = rows_of[kind][self._owners]
            else:
                parent = np.concatenate([part["parent"] for part in parts])
                best = np.full(len(roots), -1, np.int64)
                np.maximum.at(best, roots, parent)  # parts of one blend may lie in parts of one object
                table["parent"] = rows_of["object"][best[keep]] + 1
            tables.append(table)
        columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        return {"id": np.arange(1, len(columns["kind"]) + 1), **columns}, owners

    def _columns(self, kind, total):
        pixels = np.maximum(total["pixels"], 1)
        bright = total["weight"] > 0
        weight = np.where(bright, total["weight"], 1.0)
        out = {
            "kind": np.full(len(pixels), kind),
            "x": np.where(bright, total["x"] / weight, total["geometric_x"] / pixels),
            "y": np.where(bright, total["y"] / weight, total["geometric_y"] / pixels),
            "footprint": total["pixels"].astype(np.int64),
        }
        for name, values in (("area", total["area"]), ("blended_area", total["blended"]), ("flux", total["flux"])):
            out.update(intervals(name, values))
        out["p_exists"] = (total["area"] > 0).mean(axis=1)
        out["p_blend"] = (total["blended"] > 0).mean(axis=1)
        out["sky_variance"] = total["variance"] / pixels
        out["flags"] = (EDGE * (total["edge"] > 0) + MISSING * (total["missing"] > 0)).astype(np.int64)
        return out


def intervals(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Median and central intervals of sampled values [rows, N]: {name, name_lo68, name_hi68, ...}."""
    out = {name: np.median(values, axis=1)}
    for label, (low, high) in INTERVALS.items():
        out[f"{name}_lo{label}"], out[f"{name}_hi{label}"] = np.quantile(values, (low, high), axis=1)
    return out


def _joined(values, roots):
    """Sums of each set's members, at its root."""
    out = np.zeros_like(values)
    np.add.at(out, roots, values)
    return out


def to_table(
    columns: dict[str, np.ndarray],
    *,
    wcs=None,
    poisson: bool = False,
    electron_magnitude: float | None = None,
    flux_unit: str = "electron",
    meta: dict | None = None,
):
    """The catalogue as an astropy Table with units and descriptions.

    Args:
      columns: from `Cataloguer.finish`; positions become 1-based, as in FITS headers and DS9.
      wcs: a `wcs.Celestial`, for sky positions.
      poisson: whether the electrons are those counted, so that their own noise adds to the sky's.
      electron_magnitude: AB magnitude of one electron, for magnitudes.
      flux_unit: of the fluxes.
      meta: what else the file should say.
    """
    from astropy import units as u
    from astropy.table import Table

    table = Table({name: columns[name] for name in ("id", "kind", "parent")})
    table["x"], table["y"] = columns["x"] + 1.0, columns["y"] + 1.0
    if wcs is not None:
        table["ra"], table["dec"] = wcs.to_sky(columns["x"], columns["y"])
        table["ra"].unit = table["dec"].unit = u.deg
    noise = np.sqrt(columns["area"] * columns["sky_variance"] + (np.maximum(columns["flux"], 0.0) if poisson else 0.0))
    for name, values in columns.items():
        if name not in table.colnames and name not in ("sky_variance", "flags"):
            table[name] = values
    table["snr"] = columns["flux"] / np.where(noise > 0, noise, np.inf)
    if electron_magnitude is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            table["magnitude"] = electron_magnitude - 2.5 * np.log10(
                np.where(columns["flux"] > 0, columns["flux"], np.nan)
            )
        table["magnitude"].unit = u.ABmag
    table["flags"] = columns["flags"]
    for name in table.colnames:
        column = table[name]
        column.description = _DESCRIPTIONS.get(name.split("_lo")[0].split("_hi")[0], "") + _interval_text(name)
        if name in ("x", "y") or name == "footprint" or name.startswith(("area", "blended_area")):
            column.unit = u.pixel
        if name.startswith("flux"):
            column.unit = u.Unit(flux_unit) if flux_unit else None
        if column.dtype.kind == "f":
            table[name][:] = np.round(column, 7 if name in ("ra", "dec") else 3)
    table.meta.update(meta or {})
    return table


def _interval_text(name):
    for label in INTERVALS:
        if name.endswith(f"_lo{label}"):
            return f"; lower end of the central {label} % of the samples"
        if name.endswith(f"_hi{label}"):
            return f"; upper end of the central {label} % of the samples"
    return ""


_DESCRIPTIONS = {
    "id": "number of the row",
    "kind": "object: connected pixels with a galaxy; blend: connected blended pixels",
    "parent": "id of the object that holds the blend; 0 for objects",
    "x": "column of the flux-weighted centre of the footprint; the first pixel's centre is 1",
    "y": "row of the flux-weighted centre of the footprint; the first pixel's centre is 1",
    "ra": "right ascension, ICRS",
    "dec": "declination, ICRS",
    "footprint": "pixels whose probability reaches the threshold",
    "area": "pixels of the row's kind in a sample's map, median over the samples",
    "blended_area": "blended pixels in a sample's map, median over the samples",
    "flux": "sky-subtracted sum over the pixels of `area`, median over the samples",
    "p_exists": "share of the samples that mark anything there",
    "p_blend": "share of the samples with a blended pixel there",
    "snr": "flux over its noise: of the sky, and of the source where its electrons are counted",
    "magnitude": "AB, of the flux in the mask, not corrected to a total one",
    "flags": "1: touches the field's edge; 2: pixels without data within or beside it",
}
