"""A catalogue of a segmented field: one row per object and one per blend, with intervals from the samples.

An object is a connected group of pixels whose P(galaxy) + P(blended) reaches a threshold, a blend one whose P(blended)
does. Its footprint is that group. Its region also holds the pixels within `reach` of the footprint that are nearer to
it than to any other: what a sample marks there is counted to it, so that a sampled area may be larger than the
footprint, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from blendinator.model.field import components
from blendinator.model.field.measures import Measurer

EDGE, MISSING = 1, 2  # flags
INTERVALS = {"68": (0.16, 0.84), "95": (0.025, 0.975)}
CHUNK = 2**21  # pixels measured at a time: the copies made on the way take about 100 bytes each
KINDS = ("object", "blend")
_MOMENTS = ("xx", "xy", "yy")
_ADDED = ("pixels", "weight", "x", "y", "geometric_x", "geometric_y", *_MOMENTS, "variance", "edge", "missing")


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
      labels: called with the first row and the labels of the next full rows, int [rows, W], 0 where there is no object;
        `finish` sets `ids`, the catalogue's id of each label, 0 for those without a row.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        num_samples: int,
        settings: Settings,
        sigma_rows: Callable[[int, int], np.ndarray | float | None],
        truth_xy: np.ndarray | None = None,
        labels: Callable[[int, np.ndarray], None] | None = None,
    ) -> None:
        self.shape, self.num_samples, self.settings, self.sigma_rows = shape, num_samples, settings, sigma_rows
        self._labellers = {kind: components.StripLabeller(settings.reach) for kind in KINDS}
        self._measured = {kind: [] for kind in KINDS}
        self._measurer = Measurer(self._labellers["object"].sets, num_samples, settings.min_pixels)
        self._kept: dict[str, np.ndarray] | None = None
        self._kept_from, self._counted = 0, 0
        self._truth, self._write_labels = truth_xy, labels
        self.ids = np.zeros(1, np.int64)
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

    def _take(self, top: int, maps: dict[str, np.ndarray]) -> None:
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

    def _measure(self, maps: dict[str, np.ndarray], count_to: int) -> None:
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
                self._collect(maps, footprint, region, counted, first)
                self._look_up(footprint, first, count_to)
                if self._write_labels:
                    part_of = footprint[counted].astype(np.int64)
                    self._write_labels(self._counted, np.where(part_of > 0, part_of + first, 0))
            else:  # every blended pixel lies in an object, because its P(galaxy) + P(blended) is no smaller
                inside = footprint[counted] > 0
                part["parent"] = np.full(count, -1, np.int64)
                part["parent"][footprint[counted][inside] - 1] = objects[counted][inside] - 1 + first_object
            self._measured[kind].append(part)

    def _sums(
        self, kind: str, maps: dict[str, np.ndarray], footprint: np.ndarray, region: np.ndarray, rows: slice, count: int
    ) -> dict[str, np.ndarray]:
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
                "xx": np.square(x, dtype=float),
                "xy": np.multiply(x, row, dtype=float),
                "yy": np.square(row, dtype=float),
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

    def _collect(
        self, maps: dict[str, np.ndarray], footprint: np.ndarray, region: np.ndarray, counted: slice, first: int
    ) -> None:
        """Takes the pixels of objects in the counted rows; measures the objects that lie in no further row."""
        y, x = np.nonzero(region[counted])
        rows = y + counted.start
        self._measurer.add(
            region[counted][y, x].astype(np.int64) - 1 + first,
            flux=np.nan_to_num(maps["image"][rows, x]),
            x=x.astype(np.int32),
            y=(y + self._counted).astype(np.int32),
            footprint=footprint[counted][y, x] > 0,
            classes=maps["samples"][rows, :, x],
        )
        below = np.unique(region[counted.stop :])
        self._measurer.measure(below[below > 0].astype(np.int64) - 1 + first)

    def _look_up(self, footprint: np.ndarray, first: int, count_to: int) -> None:
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
            table.update(self._measurer.columns(keep if kind == "object" else np.full(len(keep), -1)))
            if kind == "object":
                table["parent"] = np.zeros(len(keep), np.int64)
                self.ids = np.append(0, rows_of[kind][:-1] + 1)
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

    def _columns(self, kind: str, total: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        pixels = np.maximum(total["pixels"], 1)
        bright = total["weight"] > 0
        weight = np.where(bright, total["weight"], 1.0)
        out = {
            "kind": np.full(len(pixels), kind),
            "x": np.where(bright, total["x"] / weight, total["geometric_x"] / pixels),
            "y": np.where(bright, total["y"] / weight, total["geometric_y"] / pixels),
            "footprint": total["pixels"].astype(np.int64),
            **ellipse(total, pixels),
        }
        for name, values in (("area", total["area"]), ("blended_area", total["blended"]), ("flux", total["flux"])):
            out.update(intervals(name, values))
        out["p_exists"] = (total["area"] > 0).mean(axis=1)
        out["p_blend"] = (total["blended"] > 0).mean(axis=1)
        out["sky_variance"] = total["variance"] / pixels
        out["flags"] = (EDGE * (total["edge"] > 0) + MISSING * (total["missing"] > 0)).astype(np.int64)
        return out


def ellipse(total: dict[str, np.ndarray], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The ellipse that has the second moments of a footprint, as if it were filled evenly.

    Args:
      total: sums over the footprint's pixels of x, y and their products, by name.
      pixels: their number, at least 1.

    Returns:
      {semimajor, semiminor, theta}: pixels, pixels, and degrees from the x axis towards the y axis, -90 to 90. A single
      pixel, of which the variance is 1/12, gets semi-axes of 1 / sqrt(3).
    """
    x, y = total["geometric_x"] / pixels, total["geometric_y"] / pixels
    xx, yy = total["xx"] / pixels - x**2 + 1 / 12, total["yy"] / pixels - y**2 + 1 / 12
    xy = total["xy"] / pixels - x * y
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return {
        "semimajor": 2 * np.sqrt(mean + half),
        "semiminor": 2 * np.sqrt(np.maximum(mean - half, 1 / 12)),
        "theta": np.degrees(np.arctan2(2 * xy, xx - yy)) / 2,
    }


def intervals(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Median and central intervals of sampled values [rows, N]: {name, name_lo68, name_hi68, ...}."""
    out = {name: np.median(values, axis=1)}
    for label, (low, high) in INTERVALS.items():
        out[f"{name}_lo{label}"], out[f"{name}_hi{label}"] = np.quantile(values, (low, high), axis=1)
    return out


def _joined(values: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Sums of each set's members, at its root."""
    out = np.zeros_like(values)
    np.add.at(out, roots, values)
    return out
