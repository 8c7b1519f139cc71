"""A simulated field of any size, with its full truth: what a survey image looks like to `blendinator segment`.

The sources are those of a natural scene of the field's size. Each is drawn on a patch of its own and added where it
belongs, so that memory grows with the field but not with the number of galaxies.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blendinator.data.observing import observe_field
from blendinator.data.population import sample_natural
from blendinator.data.scene import Simulator
from blendinator.data.sources import Sources
from blendinator.data.stars import Optics, sample_stars, saturate

if TYPE_CHECKING:
    from astropy.io import fits

BATCH = 64  # sources rendered at once
_SIDES = (32, 64, 128, 256, 512, 1024)  # pixels per side of patches


@dataclass(frozen=True)
class SimulatedField:
    """A field and what is true of it.

    Attributes:
      image: with noise, electrons per pixel, float32 [H, W]; NaN where bad pixels have no data. noise_free: the light.
      mask: number of sources whose flux exceeds k sky sigma in the pixel, clipped at 2, uint8 [H, W].
      sources: all of them.
      pixels: that each source owns [G].
      snr: of each source's noise-free profile, matched filter [G].
      sky_sigma: electrons per pixel.
    """

    image: np.ndarray
    noise_free: np.ndarray
    mask: np.ndarray
    sources: Sources
    pixels: np.ndarray
    snr: np.ndarray
    sky_sigma: float


def field_header(side: int, pixel_scale: float) -> "fits.Header":
    """FITS header of a square field in electrons: unit and WCS, the centre at RA 150, Dec 2 degrees.

    Args:
      side: pixels. pixel_scale: arcsec per pixel.
    """
    from astropy.io import fits

    return fits.Header(
        {
            "BUNIT": "electron",
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 150.0,
            "CRVAL2": 2.0,
            "CRPIX1": side / 2,
            "CRPIX2": side / 2,
            "CD1_1": -pixel_scale / 3600,
            "CD2_2": pixel_scale / 3600,
        }
    )


class FieldSimulator(Simulator):
    """Draws fields with the settings of the scenes: survey, population, and the mean PSF, since a field has one.

    The noise is white and nominal, and nothing of the background is left: see `observing.observe_field`.
    """

    def field(self, side: int, seed: int) -> SimulatedField:
        """A square field of `side` pixels: a function of settings, side and seed alone."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.config.seed, seed, side))))
        config, scale = self.config, self.survey.pixel_scale
        sources = sample_natural(rng, config.population, self.survey, side, self.source)
        if config.stars.density_scale:
            stars = sample_stars(rng, config.stars, side, scale, config.population.margin / scale)
            sources = Sources.concatenate([sources, stars])
        optics = Optics(float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.random()))
        fwhm = self.survey.psf_fwhm * config.psf_scale
        extent = self._extent(sources, fwhm, self.sky_sigma)
        sources = self._dress(rng, sources, extent, fwhm)
        noise_free = np.zeros((side, side), np.float32)
        owners = np.zeros((side, side), np.uint8)
        pixels, power = np.zeros(len(sources), np.int64), np.zeros(len(sources))
        need = 2 * np.ceil(extent).astype(int) + 2
        patch = np.asarray(_SIDES)[np.minimum(np.searchsorted(_SIDES, need), len(_SIDES) - 1)]
        level = np.float32(self.config.truth_threshold * self.sky_sigma)
        for size in np.unique(patch):
            rows = np.flatnonzero(patch == size)
            for start in range(0, len(rows), BATCH):
                chosen = rows[start : start + BATCH]
                corner = np.rint(np.stack((sources.y[chosen], sources.x[chosen]))).astype(int) - size // 2
                part = sources.take(chosen)
                part = part.replace(x=part.x - corner[1], y=part.y - corner[0])
                psf = [np.full(len(chosen), value) for value in (fwhm, 0.0, 0.0)]
                drawn = self.render(
                    part, np.minimum(extent[chosen], size / 2 - 1), psf, [optics] * len(chosen), int(size)
                )
                for source, stamp, top, left in zip(chosen, drawn, *corner):
                    into = slice(max(top, 0), min(top + size, side)), slice(max(left, 0), min(left + size, side))
                    if into[0].start >= into[0].stop or into[1].start >= into[1].stop:
                        continue
                    seen = stamp[into[0].start - top : into[0].stop - top, into[1].start - left : into[1].stop - left]
                    owned = seen > level
                    noise_free[into] += seen
                    owners[into] += owned
                    pixels[source] = owned.sum()
                    power[source] = np.square(seen, dtype=np.float64).sum()
        noise_free = saturate(noise_free, self.survey.saturation)
        image = observe_field(rng, noise_free, float(self.sky_sigma), config.stamp_size, config.defects)
        return SimulatedField(
            image,
            noise_free,
            np.minimum(owners, 2),
            sources,
            pixels,
            np.sqrt(power) / self.sky_sigma,
            float(self.sky_sigma),
        )
