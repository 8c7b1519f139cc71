"""A library of stamps: a user's own galaxies, such as denoised cut-outs of a space telescope, as sources of the
simulation.

A FITS file with one galaxy per HDU: background-subtracted, denoised (what is left of its noise would count as light of
the galaxy), one galaxy only, and in the header PIXSCALE, FWHM (of the PSF that it was seen through) and R50 (half-light
radius), all in arcsec. A stamp is brought to the half-light radius and magnitude that the population asks for, turned
and flipped at random. Its own PSF shrinks or grows with it, and has to stay sharper than the scene's.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blendinator.data.sources import GALAXY, NO_STAMP, Sources
from blendinator.errors import DataError
from blendinator.files import sha256

NUMBERS = ("PIXSCALE", "FWHM", "R50")  # keys that each HDU needs, arcsec
SHARPER = 0.95  # largest FWHM of a stamp over that of the scene's PSF


@dataclass(frozen=True)
class Stamps:
    """Galaxies of a file.

    Attributes:
      pixels: one float64 array [H, W] per galaxy, sum 1.
      pixel_scale, fwhm, half_light: arcsec [n].
      provenance: what a manifest records: checksum, stamps used and skipped.
    """

    pixels: tuple[np.ndarray, ...]
    pixel_scale: np.ndarray
    fwhm: np.ndarray
    half_light: np.ndarray
    provenance: dict

    def choose(
        self, rng: np.random.Generator, sources: Sources, psf_fwhm: float, share: float, faintest: float
    ) -> Sources:
        """The sources, a share of the galaxies of which are drawn from a random stamp.

        A galaxy that is so small that no stamp is sharp enough for it keeps its smooth profile.

        Args:
          psf_fwhm: of the scene, arcsec.
          share: of the galaxies brighter than `faintest` (AB magnitude).
        """
        wanted = (sources.kind == GALAXY) & (sources.magnitude < faintest)
        wanted &= rng.random(len(sources)) < share
        # [G, n]: FWHM of each stamp at the size of each galaxy.
        fwhm = self.fwhm / self.half_light * sources.half_light[:, None]
        order = np.argsort(rng.random(fwhm.shape), axis=1)
        sharp = np.take_along_axis(fwhm < SHARPER * psf_fwhm, order, axis=1)
        chosen = np.take_along_axis(order, sharp.argmax(axis=1)[:, None], axis=1)[:, 0]
        stamp = np.where(wanted & sharp.any(axis=1), chosen, NO_STAMP)
        rotation = np.where(rng.random(len(sources)) < 0.5, -1.0, 1.0) * rng.uniform(1e-9, 2.0 * np.pi, len(sources))
        return sources.replace(stamp=stamp, rotation=np.where(stamp == NO_STAMP, 0.0, rotation))


def read_stamps(path: str | Path, psf_fwhm: float) -> Stamps:
    """Reads a library of stamps.

    Args:
      psf_fwhm: of the survey, arcsec; stamps that are not sharper are skipped and counted.

    Raises:
      DataError: the file cannot be read, a key is missing, pixels are not finite or hold no light, or no stamp is
        sharp enough.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as file:
            images = [(i, hdu.header, hdu.data) for i, hdu in enumerate(file) if hdu.data is not None]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: this library of stamps cannot be read ({error}). Give a FITS file of images.")
    kept, blunt = [], 0
    for number, header, data in images:
        numbers = [header.get(name) for name in NUMBERS]
        for name, value in zip(NUMBERS, numbers):
            if not isinstance(value, (int, float)) or not value > 0.0:
                raise DataError(
                    f"{path}[{number}]: {name} is {value!r}; allowed: a number above 0 (arcsec). Add it to the header."
                )
        if np.ndim(data) != 2 or not np.isfinite(data).all() or not np.sum(data) > 0.0:
            raise DataError(
                f"{path}[{number}]: this is not an image of a galaxy; allowed: two axes, finite pixels, a sum above 0. "
                "Correct it or remove the HDU."
            )
        if numbers[1] >= psf_fwhm:
            blunt += 1
        else:
            kept.append((np.asarray(data, float) / np.sum(data, dtype=float), *numbers))
    if not kept:
        raise DataError(
            f"{path}: no stamp can be used: {len(images)} images, {blunt} of them not sharper than the survey's PSF "
            f"({psf_fwhm:g} arcsec). Give stamps of a sharper telescope."
        )
    pixels, scale, fwhm, half_light = zip(*kept)
    provenance = {"sha256": sha256(path), "stamps": len(kept), "blunt": blunt}
    return Stamps(pixels, np.array(scale), np.array(fwhm), np.array(half_light), provenance)


class StampRenderer:
    """Renders galaxies from stamps with GalSim: interpolated, scaled, turned, and convolved with a Gaussian that brings
    their own PSF to the scene's FWHM.

    Args:
      stamps: the library.
      pixel_scale: of the scenes, arcsec.
    """

    def __init__(self, stamps: Stamps, pixel_scale: float) -> None:
        self._stamps, self._scale = stamps, pixel_scale

    def render(
        self, galaxies: Sources, flux: np.ndarray, fwhm: np.ndarray, g1: np.ndarray, g2: np.ndarray, size: int
    ) -> np.ndarray:
        """Electrons per pixel of each galaxy alone, float32 [G, size, size]; flux in electrons, fwhm in arcsec [G]."""
        import galsim

        out = np.zeros((len(galaxies), size, size), np.float32)
        for row, number in enumerate(galaxies.stamp):
            stamps = self._stamps
            image = galsim.Image(stamps.pixels[number], scale=float(stamps.pixel_scale[number]))
            zoom = float(galaxies.half_light[row] / stamps.half_light[number])
            rotation = float(galaxies.rotation[row])
            galaxy = galsim.InterpolatedImage(image, flux=float(flux[row])).dilate(zoom)
            if rotation < 0.0:
                galaxy = galaxy.transform(1.0, 0.0, 0.0, -1.0)
            galaxy = galaxy.rotate(abs(rotation) * galsim.radians)
            rest = np.sqrt(float(fwhm[row]) ** 2 - (float(stamps.fwhm[number]) * zoom) ** 2)
            kernel = galsim.Gaussian(fwhm=rest).shear(g1=float(g1[row]), g2=float(g2[row]))
            middle = (size - 1) / 2.0
            drawn = galsim.Image(out[row], scale=self._scale)
            galsim.Convolve(galaxy, kernel).drawImage(
                image=drawn, offset=(float(galaxies.x[row]) - middle, float(galaxies.y[row]) - middle)
            )
        return out
