"""Light profiles of galaxies (Sersic) and of the PSF, with their Fourier transforms as tables.

Lengths are in arcsec, spatial frequencies in cycles per arcsec, position angles in radians from +x towards +y. An
elliptical profile is a circular one under a shear that keeps the area: `radius` is that of the circle.
"""

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import integrate, optimize, special

from blendinator.data.survey import Survey

if TYPE_CHECKING:
    import galsim

_TABLE = 65536
_MAX_FREQUENCY = 64.0  # of the Sersic tables, in cycles per half-light radius


def sersic_b(index: np.ndarray | float) -> np.ndarray:
    """b of I(r) = I(0) exp(-b (r / r_e)^(1/n)): with it half of the flux lies within r_e (Graham & Driver 2005)."""
    return special.gammaincinv(2.0 * np.asarray(index, float), 0.5)


def sersic_peak(flux: np.ndarray, radius: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Central surface brightness, flux per arcsec^2 (Graham & Driver 2005)."""
    index = np.asarray(index, float)
    b = sersic_b(index)
    return flux * b ** (2.0 * index) / (2.0 * np.pi * index * special.gamma(2.0 * index) * np.square(radius))


def sersic_extent(
    flux: np.ndarray, radius: np.ndarray, index: np.ndarray, axis_ratio: np.ndarray, level: np.ndarray | float
) -> np.ndarray:
    """Distance from the centre, along the major axis, at which the surface brightness falls to `level`; 0 if it never
    exceeds it. Arrays broadcast; flux in electrons, radius in arcsec, level in electrons per arcsec^2."""
    ratio = np.maximum(sersic_peak(flux, radius, index) / level, 1.0)
    return radius / np.sqrt(axis_ratio) * (np.log(ratio) / sersic_b(index)) ** np.asarray(index, float)


@functools.lru_cache(maxsize=64)
def sersic_table(index: float) -> np.ndarray:
    """Fourier transform of a Sersic profile of unit flux and half-light radius, float32 [65536].

    Entry i belongs to the frequency (i / 65535)^2 * 64 cycles per half-light radius; the square puts the points where
    cuspy profiles change fastest. The values are GalSim's.
    """
    import galsim

    profile = galsim.Sersic(index, half_light_radius=1.0)
    coarse = np.linspace(0.0, 1.0, 4096)
    values = [profile.kValue(2.0 * math.pi * _MAX_FREQUENCY * t * t, 0.0).real for t in coarse]
    return np.interp(np.linspace(0.0, 1.0, _TABLE), coarse, values).astype(np.float32)


def sersic_fourier(index: float, frequency_squared: np.ndarray) -> np.ndarray:
    """Transform of the profile of unit flux at squared frequencies in (cycles per half-light radius)^2, float32.

    The exponential disk has the closed form (1 + (2 pi f h)^2)^(-3/2), h being its scale length; every other index is
    read from its table.
    """
    if index == 1.0:
        scale = np.float32((2.0 * math.pi / sersic_b(1.0)) ** 2)
        base = frequency_squared * scale
        base += np.float32(1.0)
        return np.float32(1.0) / (base * np.sqrt(base))
    position = np.sqrt(np.sqrt(frequency_squared))
    position *= np.float32((_TABLE - 1) / math.sqrt(_MAX_FREQUENCY))
    np.minimum(position, np.float32(_TABLE - 1), out=position)
    return sersic_table(float(index)).take(position.astype(np.int32))


def shear_matrix(axis_ratio: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, c) of a fx^2 + 2 b fx fy + c fy^2, the squared frequency in the circle of an elliptical profile."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (
        cos**2 / axis_ratio + sin**2 * axis_ratio,
        cos * sin * (1.0 / axis_ratio - axis_ratio),
        sin**2 / axis_ratio + cos**2 * axis_ratio,
    )


class Psf:
    """The survey's circular PSF at its nominal width; scenes dilate and shear it.

    Args:
      survey: gives the width (FWHM without the pixel), and the diffraction limit.
      profile: "airy_gaussian", the obscured mirror's Airy pattern convolved with the Gaussian that brings it to the
        survey's FWHM; or "moffat".
      beta: exponent of the Moffat profile.

    Attributes:
      fwhm: arcsec.
      cutoff: frequency in cycles per arcsec above which the transform is below 3e-5.
      table: transform at the frequencies i / 65535 * cutoff, float32 [65536], the last entry 0.
    """

    def __init__(self, survey: Survey, profile: str, beta: float = 3.5) -> None:
        self.survey, self.profile, self.beta, self.fwhm = survey, profile, beta, survey.psf_fwhm
        self.gaussian_sigma = _gaussian_sigma(survey) if profile == "airy_gaussian" else 0.0
        grid = np.linspace(0.0, 20.0 / self.fwhm, 20001)
        above = np.flatnonzero(np.abs(self.fourier(grid)) > 3e-5)
        self.cutoff = float(grid[min(above[-1] + 1, grid.size - 1)])
        self.table = self.fourier(np.linspace(0.0, self.cutoff, _TABLE)).astype(np.float32)
        self.table[-1] = 0.0

    def fourier(self, frequency: np.ndarray) -> np.ndarray:
        """The transform at frequencies in cycles per arcsec; 1 at 0."""
        if self.profile == "airy_gaussian":
            return airy_fourier(frequency * self.survey.airy_scale, self.survey.obscuration) * np.exp(
                -2.0 * (np.pi * frequency * self.gaussian_sigma) ** 2
            )
        return moffat_fourier(frequency * self.fwhm, self.beta)

    def galsim(self, fwhm: float, g1: float, g2: float) -> "galsim.GSObject":
        """The same PSF as a GalSim profile, with this FWHM (arcsec) and shear."""
        import galsim

        if self.profile == "airy_gaussian":
            psf = galsim.Airy(lam_over_diam=self.survey.airy_scale, obscuration=self.survey.obscuration)
            if self.gaussian_sigma:
                psf = galsim.Convolve(psf, galsim.Gaussian(sigma=self.gaussian_sigma))
        else:
            psf = galsim.Moffat(beta=self.beta, fwhm=self.fwhm)
        return psf.dilate(fwhm / self.fwhm).shear(g1=g1, g2=g2)


def airy_fourier(frequency: np.ndarray, obscuration: float) -> np.ndarray:
    """Optical transfer function of a circular mirror with a central obscuration (O'Neill 1956).

    It is the autocorrelation of the pupil. Frequencies are in units of D / lambda: the cut-off is at 1.
    """
    nu, eps = np.abs(np.asarray(frequency, float)), obscuration
    total = _overlap(nu, 1.0, 1.0) - 2.0 * _overlap(nu, 1.0, eps) + _overlap(nu, eps, eps)
    return total / (np.pi / 4.0 * (1.0 - eps**2))


def moffat_fourier(frequency: np.ndarray, beta: float) -> np.ndarray:
    """Transform of a Moffat profile (1 + (r / alpha)^2)^-beta; frequencies in cycles per FWHM.

    It is proportional to u^(beta - 1) K_(beta - 1)(u) with u = 2 pi f alpha (Basset's integral).
    """
    alpha = 0.5 / math.sqrt(2.0 ** (1.0 / beta) - 1.0)
    u = np.maximum(2.0 * np.pi * np.abs(np.asarray(frequency, float)) * alpha, 1e-6)
    return u ** (beta - 1.0) * special.kv(beta - 1.0, u) / (2.0 ** (beta - 2.0) * special.gamma(beta - 1.0))


def _overlap(distance: np.ndarray, diameter_1: float, diameter_2: float) -> np.ndarray:
    """Area that two discs of these diameters share at this distance of their centres."""
    big, small = max(diameter_1, diameter_2) / 2.0, min(diameter_1, diameter_2) / 2.0
    if small == 0.0:
        return np.zeros_like(distance)
    d = np.clip(distance, max(big - small, 1e-12), big + small)
    angle_1 = np.arccos(np.clip((d**2 + big**2 - small**2) / (2 * d * big), -1, 1))
    angle_2 = np.arccos(np.clip((d**2 + small**2 - big**2) / (2 * d * small), -1, 1))
    kite = 0.5 * np.sqrt(np.maximum((small + big - d) * (d + small - big) * (d - small + big) * (d + small + big), 0.0))
    return np.where(distance >= big + small, 0.0, big**2 * angle_1 + small**2 * angle_2 - kite)


@functools.lru_cache(maxsize=8)
def _gaussian_sigma(survey: Survey) -> float:
    """Sigma (arcsec) of the Gaussian that widens the Airy pattern to the survey's FWHM; 0 if it is as wide already."""
    f = np.linspace(0.0, 1.0 / survey.airy_scale, 4001)
    airy = airy_fourier(f * survey.airy_scale, survey.obscuration) * f

    def excess(sigma: float) -> float:
        value = airy * np.exp(-2.0 * (np.pi * f * sigma) ** 2)
        at_half = integrate.simpson(value * special.j0(np.pi * f * survey.psf_fwhm), x=f)
        return at_half / integrate.simpson(value, x=f) - 0.5

    return optimize.brentq(excess, 0.0, survey.psf_fwhm) if excess(0.0) < 0.0 else 0.0
