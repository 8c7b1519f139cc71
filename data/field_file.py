"""A simulated field as a FITS file, and its true sources as a table that `blendinator segment --truth` reads."""

from pathlib import Path

import numpy as np

from blendinator.data.field import SimulatedField, field_header
from blendinator.data.sources import STAR
from blendinator.data.survey import Survey
from blendinator.errors import ConfigError
from blendinator.files import write_errors

__all__ = ["check_names", "truth_path", "write_field"]

ENDINGS = (".fits", ".fits.gz", ".fit")


def truth_path(path: str | Path) -> Path:
    """Where the truth of a field goes: field-truth.ecsv for field.fits."""
    path = Path(path)
    return path.with_name(path.name.removesuffix(".gz").rpartition(".")[0] + "-truth.ecsv")


def check_names(path: str | Path, overwrite: bool = False) -> None:
    """Raises ConfigError where `write_field` would: another ending, or a file that exists."""
    if not str(path).lower().endswith(ENDINGS):
        raise ConfigError(f"{path}: received this name for a field; allowed: one that ends in {', '.join(ENDINGS)}")
    for name in (Path(path), truth_path(path)):
        if name.exists() and not overwrite:
            raise ConfigError(f"{name}: this file exists already. Give another name, or `overwrite`.")


def write_field(field: SimulatedField, survey: Survey, path: str | Path, overwrite: bool = False) -> Path:
    """Writes the image with the classes, and a table of the sources; returns the table's path.

    The FITS file holds the image in electrons with a WCS, and an extension CLASS: the true class of each pixel, 0
    background, 1 galaxy, 2 blended. The table has one row for each source that owns a pixel, where its noise-free flux
    exceeds the truth threshold: `x`, `y` (pixels, the centre of the first one is 1), `ra`, `dec` (ICRS, degrees),
    `magnitude` (AB), `kind` (galaxy or star), `half_light` (arcsec, 0 for a star), `pixels` that it owns, and `snr` of
    its profile.

    Args:
      field: from `FieldSimulator.field`.
      survey: that of the simulator.
      path: .fits, .fits.gz or .fit.
      overwrite: replace files that exist.

    Raises:
      ConfigError: the name has another ending, or a file exists.
      DataError: the files cannot be written.
    """
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS

    check_names(path, overwrite)
    header = field_header(len(field.image), survey.pixel_scale)
    seen = field.pixels > 0
    sources = field.sources.take(seen)
    ra, dec = WCS(header).wcs_pix2world(sources.x, sources.y, 0)
    table = Table(
        {
            "x": sources.x + 1,
            "y": sources.y + 1,
            "ra": ra,
            "dec": dec,
            "magnitude": sources.magnitude,
            "kind": np.where(sources.kind == STAR, "star", "galaxy"),
            "half_light": np.where(sources.kind == STAR, 0.0, sources.half_light),
            "pixels": field.pixels[seen],
            "snr": field.snr[seen],
        },
        units={"x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "magnitude": "mag", "half_light": "arcsec"},
    )
    truth = truth_path(path)
    classes = field_header(len(field.image), survey.pixel_scale)
    del classes["BUNIT"]
    hdus = fits.HDUList([fits.PrimaryHDU(field.image, header), fits.ImageHDU(field.mask, classes, name="CLASS")])
    with write_errors(path):
        hdus.writeto(path, overwrite=overwrite)
    with write_errors(truth):
        table.write(truth, overwrite=overwrite)
    return truth
