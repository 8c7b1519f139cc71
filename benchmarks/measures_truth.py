"""What is true of a simulated field's sources and objects, for `measures.py`."""

import numpy as np

from blendinator.data.field import FieldSimulator
from blendinator.model.field.measures import measure, radius

VISIBLE = 5  # pixels that a source must own to count as one of an object's
SHAPES = ("half_light_radius", "ellipticity", "concentration")


class TruthSimulator(FieldSimulator):
    """Keeps what is true of each source, by its magnitude, which tells sources apart."""

    def __init__(self, config):
        super().__init__(config)
        self.truth: dict[float, tuple] = {}

    def render(self, sources, extent, psf, optics, size):
        """See `Simulator.render`."""
        stamps = super().render(sources, extent, psf, optics, size)
        y, x = np.mgrid[:size, :size]
        for i, stamp in enumerate(stamps):
            own = stamp > self.sky_sigma * self.config.truth_threshold
            if own.any():
                center = float(sources.x[i]), float(sources.y[i])
                total = float(stamp.sum(dtype=float))
                order = np.argsort(np.hypot(x - center[0], y - center[1]).ravel(), kind="stable")
                half = radius(np.cumsum(stamp.ravel()[order], dtype=float)[None], np.array([total / 2]))[0]
                light, at = stamp[own].astype(float), (x[own].astype(float), y[own].astype(float))
                shape = measure(light, *at, np.ones((1, len(light)), np.uint8), center)
                values = total, half, shape["ellipticity"][0], shape["concentration"][0]
                self.truth[float(sources.magnitude[i])] = values
        return stamps


def of_objects(simulator, simulated, region, count):
    """The true values of each object, by name [count].

    Args:
      simulator: a `TruthSimulator`. simulated: its field.
      region: the row of the object that a pixel's region belongs to, plus 1; 0 for none [H, W].
    """
    sources, side = simulated.sources, len(region)
    x, y = np.rint(sources.x).astype(int), np.rint(sources.y).astype(int)
    inside = (np.minimum(x, y) >= 0) & (np.maximum(x, y) < side) & (simulated.pixels > 0)
    owning = np.flatnonzero(inside)
    owning = owning[region[y[owning], x[owning]] > 0]
    row = region[y[owning], x[owning]] - 1
    values = np.array([simulator.truth[float(sources.magnitude[source])] for source in owning]).reshape(-1, 4)
    total = np.bincount(row, values[:, 0], count)
    out = {"true_total": np.where(total > 0, total, np.nan), "true_magnitude": np.full(count, np.inf)}
    out |= {f"true_{name}": np.full(count, np.nan) for name in SHAPES}
    for i in np.argsort(-sources.magnitude[owning], kind="stable"):  # the brightest comes last, and stays
        out["true_magnitude"][row[i]] = sources.magnitude[owning[i]]
        for name, value in zip(SHAPES, values[i, 1:]):
            out[f"true_{name}"][row[i]] = value
    counts = simulated.pixels[owning] >= VISIBLE
    xy = np.stack((sources.x[owning], sources.y[owning]), axis=1)
    out |= counted(row[counts], values[counts, 0], xy[counts] * simulator.survey.pixel_scale, count)
    light = np.where(simulated.mask > 0, simulated.noise_free, 0.0)
    owned = np.bincount(region.ravel(), light.ravel(), count + 1)[1:]
    blended = np.bincount(region.ravel(), np.where(simulated.mask == 2, light, 0.0).ravel(), count + 1)[1:]
    out["true_blended_flux_fraction"] = np.where(owned > 0, blended / np.maximum(owned, 1e-9), np.nan)
    return out


def counted(row, flux, xy, count):
    """What follows from the sources that count.

    Args:
      row: the object of each source [S]. flux: its total one [S]. xy: its position [S, 2], arcsec.
      count: objects.

    Returns:
      `true_sources`, their number; `true_blendedness`, the share of the flux that is not the brightest one's, NaN
      without a source; `true_separation`, arcsec, of the two brightest, NaN for fewer [count].
    """
    out = {"true_sources": np.bincount(row, minlength=count)}
    out |= {name: np.full(count, np.nan) for name in ("true_blendedness", "true_separation")}
    order = np.lexsort((-flux, row))
    for part in np.split(order, np.flatnonzero(np.diff(row[order])) + 1):
        if len(part):
            out["true_blendedness"][row[part[0]]] = 1 - flux[part[0]] / flux[part].sum()
        if len(part) > 1:
            out["true_separation"][row[part[0]]] = np.hypot(*(xy[part[0]] - xy[part[1]]))
    return out
