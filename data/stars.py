"""Stars: how many there are, and what a telescope makes of a point of light."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from blendinator.config import StarConfig
from blendinator.data.profiles import Psf
from blendinator.data.sources import STAR, Sources

# Cumulative counts per arcmin^2 in VIS brighter than these magnitudes, at these galactic latitudes: the model of
# Bahcall & Soneira (1980) as tabulated for Euclid's VIS in the public repository EuclidVisibleInstrument.
MAGNITUDES = np.array([18.0, 20.0, 24.5, 26.0])
LATITUDES = np.array([30.0, 50.0, 90.0])
COUNTS = np.array([[0.71, 1.77, 6.8, 9.1], [0.41, 0.91, 3.1, 4.1], [0.24, 0.50, 1.7, 2.3]])
FAINTEST = 26.0


def cumulative_counts(magnitude: np.ndarray | Sequence[float], latitude: float) -> np.ndarray:
    """Stars per arcmin^2 brighter than `magnitude` at galactic latitude |b| in degrees, 30 to 90.

    Counts are linear between the table's latitudes, their logarithms between its magnitudes and beyond the brightest.
    """
    logs = np.log([np.interp(latitude, LATITUDES, column) for column in COUNTS.T])
    slope = (logs[1] - logs[0]) / (MAGNITUDES[1] - MAGNITUDES[0])
    magnitude = np.asarray(magnitude, float)
    return np.exp(np.interp(magnitude, MAGNITUDES, logs) + slope * np.minimum(magnitude - MAGNITUDES[0], 0.0))


def sample_magnitudes(rng: np.random.Generator, count: int, config: StarConfig) -> np.ndarray:
    """Magnitudes between `config.magnitude_bright` and 26 that follow the counts [count]."""
    counts, magnitudes = _counts_table(config.magnitude_bright, config.galactic_latitude)
    return np.interp(rng.uniform(counts[0], counts[-1], count), counts, magnitudes)


@functools.lru_cache(maxsize=8)
def _counts_table(bright: float, latitude: float) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative counts from magnitude `bright` to 26, and the magnitudes."""
    magnitudes = np.linspace(bright, FAINTEST, 500)
    return cumulative_counts(magnitudes, latitude), magnitudes


def sample_stars(
    rng: np.random.Generator, config: StarConfig, side: float, pixel_scale: float, margin: float
) -> Sources:
    """The stars of a square of `side` pixels and a margin (pixels) around it: Poisson number, uniform positions."""
    counts, _ = _counts_table(config.magnitude_bright, config.galactic_latitude)
    area = ((side + 2.0 * margin) * pixel_scale / 60.0) ** 2
    count = int(rng.poisson(config.density_scale * (counts[-1] - counts[0]) * area))
    x, y = rng.uniform(-0.5 - margin, side - 0.5 + margin, (2, count))
    return points(x, y, sample_magnitudes(rng, count, config))


def points(
    x: np.ndarray | Sequence[float], y: np.ndarray | Sequence[float], magnitude: np.ndarray | Sequence[float]
) -> Sources:
    """Stars at these pixels with these magnitudes."""
    count = len(x)
    return Sources.make(
        kind=np.full(count, STAR, np.int8),
        x=np.asarray(x, float),
        y=np.asarray(y, float),
        magnitude=np.asarray(magnitude, float),
        flux_fraction=np.zeros((count, 2)),
        radius=np.ones((count, 2)),
        sersic_index=np.ones((count, 2)),
        axis_ratio=np.ones((count, 2)),
        angle=np.zeros((count, 2)),
    )


@dataclass(frozen=True)
class Optics:
    """What a scene's stars show of the telescope.

    Attributes:
      angle: of the spider, radians.
      blur: 0 to 1, share of the pattern that is averaged over the band and blurred to the survey's FWHM; the rest is
        diffraction at one wavelength. Real patterns lie between the two.
    """

    angle: float
    blur: float


class StarRenderer:
    """Draws stars with the diffraction pattern of the survey's mirror, its obscuration and the struts of its spider.

    GalSim's OpticalPSF makes two patterns: sharp, at the filter's effective wavelength; and averaged over the band and
    blurred by the Gaussian that brings the survey's Airy pattern to its FWHM. They are kept on a fine grid and
    interpolated, in double precision: a bright star's last bit of single precision is electrons, and libraries differ
    in it.
    """

    def __init__(self, psf: Psf):
        self._psf = psf
        self._cell = psf.survey.pixel_scale / 4.0  # arcsec

    def render(
        self, x: np.ndarray, y: np.ndarray, flux: np.ndarray, fwhm: np.ndarray, optics: list[Optics], size: int
    ) -> np.ndarray:
        """Electrons per pixel of each star alone, float32 [G, size, size]; x, y in pixels, fwhm in arcsec, [G]."""
        stamps = np.zeros((len(x), size, size), np.float32)
        for i, stamp in enumerate(stamps):
            scale = self._psf.survey.pixel_scale * self._psf.fwhm / fwhm[i] / self._cell  # cells per pixel
            across = (np.arange(size) - x[i]) * scale
            up = (np.arange(size) - y[i]) * scale
            cos, sin = np.cos(optics[i].angle), np.sin(optics[i].angle)
            where = np.stack((up[:, None] * cos - across[None, :] * sin, across[None, :] * cos + up[:, None] * sin))
            sharp, blurred = (
                ndimage.map_coordinates(pattern, where + (len(pattern) - 1) / 2.0, order=3, prefilter=False)
                for pattern in _patterns(self._psf, self._cell)
            )
            blur = optics[i].blur
            # The pattern's cells hold flux per cell; a pixel holds scale^2 of them.
            stamp[:] = np.maximum((1.0 - blur) * sharp + blur * blurred, 0.0) * (flux[i] * scale**2)
        return stamps


@functools.lru_cache(maxsize=4)
def _patterns(psf: Psf, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Spline coefficients of the sharp and the blurred pattern, flux per cell after the pixel."""
    import galsim

    survey = psf.survey
    side = 1023  # cells; 25 arcsec for Euclid

    def at(stretch: float, sigma: float) -> np.ndarray:  # the pattern's size follows the wavelength
        optics = galsim.OpticalPSF(
            lam_over_diam=survey.airy_scale * stretch,
            obscuration=survey.obscuration,
            nstruts=survey.struts,
            strut_thick=survey.strut_thickness,
            suppress_warning=True,
        )
        parts = [optics, galsim.Pixel(survey.pixel_scale)]
        if sigma:
            parts.append(galsim.Gaussian(sigma=sigma))
        image = galsim.Convolve(parts).drawImage(nx=side, ny=side, scale=cell, method="no_pixel", dtype=float)
        return image.array

    band = np.mean(
        [at(stretch, psf.gaussian_sigma) for stretch in np.linspace(1.0 - survey.half_band, 1.0 + survey.half_band, 7)],
        axis=0,
    )
    return tuple(ndimage.spline_filter(pattern, order=3) for pattern in (at(1.0, 0.0), band))


def saturate(image: np.ndarray, level: float) -> np.ndarray:
    """Pixels [H, W] above `level` electrons filled to it, their excess spread along the column to both sides.

    A full well gives its charge to the next pixels along the direction of transfer: flat tops and bleeds.
    """
    if not (image > level).any():
        return image
    out = np.minimum(image, level)
    for column in np.flatnonzero((image > level).any(axis=0)):
        excess = float((image[:, column] - out[:, column]).sum())
        centre = int(np.argmax(image[:, column]))
        order = np.argsort(np.abs(np.arange(len(image)) - centre), kind="stable")
        room = level - out[order, column]
        before = np.concatenate(([0.0], np.cumsum(room)[:-1]))
        out[order, column] += np.clip(excess - before, 0.0, room).astype(out.dtype)
    return out
