"""The scalars of a scene's record that follow from its sources."""

from typing import Any

import numpy as np

from blendinator.data.records import UNDEFINED
from blendinator.data.sources import GALAXY, STAR, Sources


def summarize(
    sources: Sources, stamps: np.ndarray, owned: np.ndarray, sky_sigma: float, pixel_scale: float
) -> dict[str, Any]:
    """Scalars of the sources that own at least one pixel.

    Magnitudes and signal-to-noise are those of the galaxies, the separation is that of any two sources.

    Args:
      stamps: electrons per pixel of each source alone [G, S, S].
      owned: the pixels that each source owns [G, S, S].
      sky_sigma: electrons per pixel. pixel_scale: arcsec.
    """
    seen = np.flatnonzero(owned.any(axis=(1, 2)))
    rows = seen[sources.kind[seen] == GALAXY]
    rows = rows[np.argsort(sources.magnitude[rows], kind="stable")]
    magnitude = sources.magnitude[rows]
    stars = sources.magnitude[seen[sources.kind[seen] == STAR]]
    separation = UNDEFINED["min_separation"]
    if len(seen) > 1:
        x, y = sources.x[seen], sources.y[seen]
        distance = np.hypot(x[:, None] - x, y[:, None] - y)
        separation = float(distance[np.triu_indices(len(seen), 1)].min() * pixel_scale)
    return {
        "num_galaxies": len(rows),
        "num_stars": len(stars),
        "brightest_star": float(stars.min()) if len(stars) else UNDEFINED["brightest_star"],
        "min_separation": separation,
        "brightest_magnitude": float(magnitude[0]) if len(rows) else UNDEFINED["brightest_magnitude"],
        "magnitude_difference": float(magnitude[1] - magnitude[0])
        if len(rows) > 1
        else UNDEFINED["magnitude_difference"],
        # of a matched filter on the part within the stamp
        "snr": float(np.sqrt(np.square(stamps[rows[0]], dtype=np.float64).sum()) / sky_sigma)
        if len(rows)
        else UNDEFINED["snr"],
    }
