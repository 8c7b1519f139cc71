"""The catalogue's columns as users get them: units, descriptions, and UCDs for the Virtual Observatory."""

from typing import TYPE_CHECKING

import numpy as np

from blendinator.model.field.calibrated import QUANTITIES
from blendinator.model.field.catalogue import INTERVALS
from blendinator.model.field.wcs import Celestial

if TYPE_CHECKING:
    from astropy.table import Table

_IN_PIXELS = ("area", "blended_area", "half_light_radius")


def to_table(
    columns: dict[str, np.ndarray],
    *,
    wcs: Celestial | None = None,
    poisson: bool = False,
    electron_magnitude: float | None = None,
    flux_unit: str = "electron",
    meta: dict | None = None,
) -> "Table":
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
        if "total_flux" in columns:
            table["total_magnitude"] = electron_magnitude - 2.5 * np.log10(columns["total_flux"])
            table["total_magnitude"].unit = u.ABmag
    table["flags"] = columns["flags"]
    for name in table.colnames:
        column = table[name]
        column.description = _DESCRIPTIONS.get(name.split("_lo")[0].split("_hi")[0], "") + _interval_text(name)
        if name in ("x", "y", "footprint", "semimajor", "semiminor") or name.startswith(_IN_PIXELS):
            column.unit = u.pixel
        if name == "theta":
            column.unit = u.deg
        if name.startswith(("flux", "total_flux")):
            column.unit = u.Unit(flux_unit) if flux_unit else None
        if column.dtype.kind == "f":
            table[name][:] = np.round(column, 7 if name in ("ra", "dec") else 3)
    table.meta.update(meta or {})
    return table


def _interval_text(name: str) -> str:
    fitted = name.startswith((*QUANTITIES, "blendedness"))
    for label in INTERVALS:
        of = f"{label} % interval" if fitted else f"central {label} % of the samples"
        if name.endswith(f"_lo{label}"):
            return f"; lower end of the {of}"
        if name.endswith(f"_hi{label}"):
            return f"; upper end of the {of}"
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
    "semimajor": "semi-major axis of the ellipse with the footprint's second moments",
    "semiminor": "semi-minor axis of the ellipse with the footprint's second moments",
    "theta": "angle of the major axis, from the x axis towards the y axis",
    "area": "pixels of the row's kind in a sample's map, median over the samples",
    "blended_area": "blended pixels in a sample's map, median over the samples",
    "flux": "sky-subtracted sum over the pixels of `area`, median over the samples",
    "total_flux": "of the sources in the object, beyond the mask as well, by a fit to simulated fields",
    "half_light_radius": "circle that holds half of the light, with the PSF, by a fit to simulated fields",
    "ellipticity": "1 - b/a of the second moments above the sky noise, by a fit to simulated fields",
    "concentration": "5 log10(r80 / r20) of the light above the sky noise, by a fit to simulated fields",
    "blended_flux_fraction": "share of the flux in the mask that lies in blended pixels, median over the samples",
    "total_magnitude": "AB, of total_flux",
    "p_one": "probability that exactly one source of 5 pixels or more above the sky noise has its centre in it",
    "p_two": "probability of exactly two such sources",
    "p_more": "probability of three such sources or more; the three leave 1 for the probability of none",
    "blendedness": "share of the total flux that is not of its brightest source, by a fit to simulated fields",
    "p_exists": "share of the samples that mark anything there",
    "p_blend": "share of the samples with a blended pixel there",
    "snr": "flux over its noise: of the sky, and of the source where its electrons are counted",
    "magnitude": "AB, of the flux in the mask, not corrected to a total one",
    "flags": "1: touches the field's edge; 2: pixels without data within or beside it",
}

# Unified Content Descriptors (UCD1+, IVOA), which VOTable has a place for.
_UCDS = {
    "id": "meta.id;meta.main",
    "tile": "meta.id",
    "tile_id": "meta.id",
    "kind": "meta.code.class",
    "parent": "meta.id.parent",
    "x": "pos.cartesian.x",
    "y": "pos.cartesian.y",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "footprint": "phys.area",
    "semimajor": "phys.size.smajAxis",
    "semiminor": "phys.size.sminAxis",
    "theta": "pos.posAng",
    "area": "phys.area",
    "blended_area": "phys.area",
    "flux": "phot.count",
    "p_exists": "stat.probability",
    "p_blend": "stat.probability",
    "snr": "stat.snr",
    "total_flux": "phot.count",
    "half_light_radius": "phys.size.radius",
    "ellipticity": "phys.size.axisRatio",
    "concentration": "src.morph.param",
    "blended_flux_fraction": "phot.count;arith.ratio",
    "total_magnitude": "phot.mag;em.opt",
    "p_one": "stat.probability",
    "p_two": "stat.probability",
    "p_more": "stat.probability",
    "blendedness": "phot.count;arith.ratio",
    "magnitude": "phot.mag;em.opt",
    "flags": "meta.code.qual",
}


def ucd(name: str) -> str:
    """The UCD of a column; ends of intervals are a minimum and a maximum of it."""
    base, *end = name.split("_lo") if "_lo" in name else name.split("_hi")
    found = _UCDS[base]
    return f"{found};stat.{'min' if '_lo' in name else 'max'}" if end else found
