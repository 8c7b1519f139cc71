"""A user's galaxy catalogue: as GalSim-COSMOS, as CatSim, or a plain table, in a format of `data/tables.py`.

Which one a file is follows from its columns. A catalogue gives magnitudes and shapes; how many galaxies there are per
area is still set by the published counts, because a catalogue does not say which area it covers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.config import PopulationConfig
from blendinator.data.sources import GALAXY, Sources
from blendinator.data.tables import columns_by_meaning, in_unit, read_table
from blendinator.errors import DataError
from blendinator.files import sha256

SERSIC_RANGE = (0.3, 6.2)  # GalSim's: its Sersic profiles are not accurate outside
SERSIC_STEP = 0.1  # indices are rounded to this, so that few tables are needed
NEIGHBOURS = 20  # rows nearest in magnitude from which a galaxy of a given magnitude is chosen

# Columns that tell the formats apart, and those each of them needs.
COSMOS = ("mag_auto", "sersicfit", "bulgefit", "use_bulgefit", "viable_sersic", "hlr", "flux")
CATSIM = ("i_ab", "a_b", "b_b", "a_d", "b_d", "pa_bulge", "pa_disk", "fluxnorm_bulge", "fluxnorm_disk")
TABLE = ("magnitude", "half_light_radius", "sersic_index", "axis_ratio")
# Units of the columns; what is not here is a pure number, a ratio of fluxes or a list with units of its own.
UNITS = {
    **dict.fromkeys(("magnitude", "i_ab", "mag_auto"), "mag"),
    **dict.fromkeys(("half_light_radius", "a_b", "b_b", "a_d", "b_d", "hlr"), "arcsec"),
    **dict.fromkeys(("pa_bulge", "pa_disk"), "deg"),
    **dict.fromkeys(("sersic_index", "axis_ratio"), ""),
}
ALIASES = {"mag": "magnitude", "hlr": "half_light_radius", "n": "sersic_index", "q": "axis_ratio"}


@dataclass(frozen=True)
class Catalog:
    """Galaxies of a file.

    Attributes:
      path: the file.
      format: "cosmos", "catsim" or "table".
      galaxies: the usable rows, at position (0, 0).
      provenance: what a manifest records: format, checksum, rows used and skipped.
    """

    path: str
    format: str
    galaxies: Sources
    provenance: dict = field(default_factory=dict)

    def limits(self, config: PopulationConfig) -> tuple[float, float]:
        """Brightest and faintest magnitude to draw: the narrower of the configuration's and the catalogue's limits.

        Raises DataError when the catalogue has no galaxy between the configuration's.
        """
        magnitude = self.galaxies.magnitude
        inside = magnitude[(magnitude >= config.magnitude_bright) & (magnitude <= config.magnitude_faint)]
        if not inside.size:
            raise DataError(
                f"{self.path}: no row has a magnitude between {config.magnitude_bright} and {config.magnitude_faint} "
                f"(there: {magnitude.min():.2f} to {magnitude.max():.2f}). Change "
                "simulation.population.magnitude_bright and magnitude_faint, or choose another catalogue."
            )
        return float(inside.min()), float(inside.max())

    def sample(self, rng: np.random.Generator, count: int, bright: float, faint: float) -> Sources:
        """Random rows between two magnitudes, each turned by a random angle."""
        magnitude = self.galaxies.magnitude
        rows = np.flatnonzero((magnitude >= bright) & (magnitude <= faint))
        return self._turned(rng, self.galaxies.take(rows[rng.integers(0, len(rows), count)]))

    def sample_like(self, rng: np.random.Generator, magnitudes: np.ndarray) -> Sources:
        """For each magnitude one of the 20 rows nearest to it, given exactly that magnitude and a random angle."""
        order = self._by_magnitude
        place = np.searchsorted(self.galaxies.magnitude, magnitudes, sorter=order)
        width = min(NEIGHBOURS, len(order))
        first = np.clip(place - width // 2, 0, len(order) - width)
        rows = order[first + rng.integers(0, width, len(magnitudes))]
        return self._turned(rng, self.galaxies.take(rows).replace(magnitude=np.asarray(magnitudes, float)))

    @cached_property
    def _by_magnitude(self) -> np.ndarray:
        return np.argsort(self.galaxies.magnitude, kind="stable")

    @staticmethod
    def _turned(rng: np.random.Generator, galaxies: Sources) -> Sources:
        return galaxies.replace(angle=galaxies.angle + np.pi * rng.random((len(galaxies), 1)))


def read_catalog(path: str, pixel_scale: float | None = None) -> Catalog:
    """Reads a catalogue.

    A column's unit is honoured: angles are converted to those below, pixels by the scale of the survey. A column
    without a unit is taken to have the one below.

    Args:
      path: of the file.
      pixel_scale: arcsec per pixel.

    Formats:
      GalSim-COSMOS FITS: the file of fits that `galsim.COSMOSCatalog` reads. Rows without a usable fit are skipped.
      CatSim-style FITS: `i_ab`; half-light radii in arcsec along the axes of bulge (`a_b, b_b`) and disk
        (`a_d, b_d`); position angles in degrees; `fluxnorm_bulge, fluxnorm_disk`. An AGN's flux is ignored.
      Table: `magnitude` (or `mag`), `half_light_radius` (`hlr`; arcsec, of the circle of equal area),
        `sersic_index` (`n`), `axis_ratio` (`q`; minor over major).

    Rows with a Sersic index outside 0.3-6.2 are skipped.

    Raises:
      DataError: the file cannot be read, a column is missing, two mean the same, a unit cannot be converted, a value is
        not physical (the message names column and row, counted from 0), or no usable row is left.
    """
    table = read_table(path, "catalogue")
    names = {name.lower(): name for name in table.colnames}
    if "sersicfit" in names or "bulgefit" in names:
        needed: tuple[str, ...] = COSMOS
        kind, build = "cosmos", _from_cosmos
    elif "fluxnorm_bulge" in names or "fluxnorm_disk" in names or "i_ab" in names:
        kind, needed, build = "catsim", CATSIM, _from_catsim
    else:
        kind, needed, build = "table", TABLE, _from_table
    names = columns_by_meaning(path, table, needed, ALIASES if kind == "table" else {})
    missing = [name for name in needed if name not in names]
    if missing:
        raise DataError(
            f"{path}: the column {missing[0]!r} is missing; a catalogue of the format {kind!r} needs "
            f"{', '.join(needed)}. Found: {', '.join(table.colnames)}."
        )
    columns = {name: _column(path, table, names[name], name, pixel_scale) for name in needed}
    galaxies, skip = build(path, columns)
    outside = (
        (galaxies.flux_fraction > 0)
        & ((galaxies.sersic_index < SERSIC_RANGE[0]) | (galaxies.sersic_index > SERSIC_RANGE[1]))
    ).any(axis=1)
    skip["Sersic index outside 0.3 to 6.2"] = outside
    skipped, use = {}, np.ones(len(galaxies), bool)
    for reason, rows in skip.items():
        if (rows & use).any():
            skipped[reason] = int((rows & use).sum())
        use &= ~rows
    if not use.any():
        raise DataError(
            f"{path}: no usable row is left; skipped: {skipped or 'none, the file has no rows'}. "
            "Give another catalogue."
        )
    galaxies = galaxies.take(use)
    galaxies = galaxies.replace(sersic_index=np.rint(galaxies.sersic_index / SERSIC_STEP) * SERSIC_STEP)
    provenance = {"format": kind, "sha256": sha256(path), "rows": len(galaxies), "skipped": skipped}
    return Catalog(str(path), kind, galaxies, provenance)


def _column(path: str | Path, table: Any, name: str, meaning: str, pixel_scale: float | None) -> np.ndarray:
    """A column as float64; DataError names the first row that is not a finite number."""
    values = in_unit(path, table, name, UNITS.get(meaning), pixel_scale)
    if meaning in ("sersicfit", "bulgefit", "hlr", "flux") and values.ndim > 1:
        return values  # fits that failed hold anything: checked for the rows in use
    if values.ndim != 1:
        raise DataError(
            f"{path}: column {name!r} has shape {list(values.shape)}; allowed: one number per row. Correct the file."
        )
    _require(path, name, values, np.isfinite(values), "a finite number")
    return values


def _require(path: str | Path, name: str, values: np.ndarray, good: np.ndarray, allowed: str) -> None:
    bad = np.flatnonzero(~good)
    if bad.size:
        raise DataError(
            f"{path}: column {name!r}, row {bad[0]}: received {values[bad[0]]:g}; allowed: {allowed} "
            f"({bad.size} such rows). Correct or remove them."
        )


def _galaxies(
    magnitude: np.ndarray,
    fraction: Sequence[np.ndarray | float],
    radius: Sequence[np.ndarray | float],
    index: Sequence[np.ndarray | float],
    axis_ratio: Sequence[np.ndarray | float],
    angle: Sequence[np.ndarray | float],
) -> Sources:
    zero = np.zeros(len(magnitude))
    pairs = {
        "flux_fraction": fraction,
        "radius": radius,
        "sersic_index": index,
        "axis_ratio": axis_ratio,
        "angle": angle,
    }
    stack = {
        name: np.stack([np.broadcast_to(part, len(magnitude)) for part in pair], axis=1).astype(float)
        for name, pair in pairs.items()
    }
    return Sources.make(kind=np.full(len(magnitude), GALAXY, np.int8), x=zero, y=zero, magnitude=magnitude, **stack)


def _from_table(path: str | Path, columns: Mapping[str, np.ndarray]) -> tuple[Sources, dict[str, np.ndarray]]:
    magnitude, radius, index, ratio = (columns[name] for name in TABLE)
    _require(path, "half_light_radius", radius, radius > 0, "above 0 arcsec")
    _require(path, "sersic_index", index, index > 0, "above 0")
    _require(path, "axis_ratio", ratio, (ratio > 0) & (ratio <= 1), "above 0, at most 1")
    return _galaxies(magnitude, (1.0, 0.0), (radius, radius), (index, 4.0), (ratio, ratio), (0.0, 0.0)), {}


def _from_catsim(path: str | Path, columns: Mapping[str, np.ndarray]) -> tuple[Sources, dict[str, np.ndarray]]:
    for name in ("fluxnorm_bulge", "fluxnorm_disk", "a_b", "b_b", "a_d", "b_d"):
        _require(path, name, columns[name], columns[name] >= 0, "0 or more")
    bulge, disk = columns["fluxnorm_bulge"], columns["fluxnorm_disk"]
    total = bulge + disk
    for flux, names in ((disk, ("a_d", "b_d")), (bulge, ("a_b", "b_b"))):
        for name in names:
            _require(
                path,
                name,
                columns[name],
                (columns[name] > 0) | (flux == 0),
                "above 0 arcsec where the component has flux",
            )
        _require(path, names[1], columns[names[1]], columns[names[1]] <= columns[names[0]], f"at most {names[0]}")
    fraction = bulge / np.where(total > 0, total, 1.0)

    def shape(major: np.ndarray, minor: np.ndarray, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        major, minor = np.where(flux > 0, major, 1.0), np.where(flux > 0, minor, 1.0)
        return np.sqrt(major * minor), minor / major

    disk_radius, disk_ratio = shape(columns["a_d"], columns["b_d"], disk)
    bulge_radius, bulge_ratio = shape(columns["a_b"], columns["b_b"], bulge)
    angles = [np.radians(columns[name]) for name in ("pa_disk", "pa_bulge")]
    galaxies = _galaxies(
        columns["i_ab"],
        (1.0 - fraction, fraction),
        (disk_radius, bulge_radius),
        (1.0, 4.0),
        (disk_ratio, bulge_ratio),
        angles,
    )
    return galaxies, {"neither bulge nor disk": total <= 0}


def _from_cosmos(path: str | Path, columns: Mapping[str, np.ndarray]) -> tuple[Sources, dict[str, np.ndarray]]:
    """Shapes as `galsim.COSMOSCatalog` makes them; the total flux is that of `mag_auto`.

    sersicfit[2], [3], [7]: index, axis ratio, angle in radians from x; bulgefit[3], [7] and [11], [15]: axis ratio and
    angle of disk and bulge; hlr and flux: half-light radius in arcsec and flux of Sersic fit, bulge, disk.
    """
    single, double, hlr, flux = (columns[name] for name in ("sersicfit", "bulgefit", "hlr", "flux"))
    for name, values, width in (("sersicfit", single, 8), ("bulgefit", double, 16), ("hlr", hlr, 3), ("flux", flux, 3)):
        if values.ndim != 2 or values.shape[1] < width:
            raise DataError(
                f"{path}: column {name!r} has shape {list(values.shape)}; allowed: [rows, {width}]. "
                "Give the file of parametric fits that belongs to the COSMOS catalogue."
            )
    two = columns["use_bulgefit"] > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        bulge = np.where(two, flux[:, 1] / (flux[:, 1] + flux[:, 2]), 0.0)
        fraction = (1.0 - bulge, bulge)
        radius = (np.where(two, hlr[:, 2], hlr[:, 0]), np.where(two, hlr[:, 1], hlr[:, 0]))
        index = (np.where(two, 1.0, np.clip(single[:, 2], *SERSIC_RANGE)), 4.0)  # fits end at an edge
        ratio = (np.where(two, double[:, 3], single[:, 3]), np.where(two, double[:, 11], single[:, 3]))
        angle = (np.where(two, double[:, 7], single[:, 7]), np.where(two, double[:, 15], single[:, 7]))
        galaxies = _galaxies(columns["mag_auto"], fraction, radius, index, ratio, angle)
        physical = (
            (galaxies.radius > 0) & (galaxies.axis_ratio > 0) & (galaxies.axis_ratio <= 1) & np.isfinite(galaxies.angle)
        )
        good = (physical | (galaxies.flux_fraction == 0)).all(axis=1) & (bulge >= 0) & (bulge <= 1)
    failed = ~two & (columns["viable_sersic"] <= 0)
    return galaxies, {"no usable fit": failed | ~good}
