"""A simulated field of any size, with its full truth: what a survey image looks like to `blendinator segment`.

The galaxies are those of a natural scene of the field's size. Each is drawn on a patch of its own and added where it
belongs, so that memory grows with the field but not with the number of galaxies.
"""

from dataclasses import dataclass

import numpy as np

from blendinator.data.population import Sources, draw_natural
from blendinator.data.scene import Simulator

BATCH = 64  # galaxies drawn at once
_SIDES = (32, 64, 128, 256, 512, 1024)  # pixels a side of patches


@dataclass(frozen=True)
class SimulatedField:
    """A field and what is true of it.

    Attributes:
      image: with noise, electrons per pixel, float32 [H, W]. noise_free: the same without.
      mask: number of galaxies whose flux exceeds k sky sigma in the pixel, clipped at 2, uint8 [H, W].
      galaxies: all of them.
      pixels: that each galaxy owns [G].
      snr: of each galaxy's noise-free profile, matched filter [G].
      sky_sigma: electrons per pixel.
    """

    image: np.ndarray
    noise_free: np.ndarray
    mask: np.ndarray
    galaxies: Sources
    pixels: np.ndarray
    snr: np.ndarray
    sky_sigma: float


class FieldSimulator(Simulator):
    """Draws fields with the settings of the scenes: survey, population, and the mean PSF, since a field has one.

    The noise is white and nominal, and nothing of the background is left. The stamp size is not used.
    """

    def field(self, side: int, seed: int) -> SimulatedField:
        """A square field of `side` pixels: a function of settings, side and seed alone."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.config.seed, seed, side))))
        galaxies = draw_natural(rng, self.config.population, self.survey, side, self.source)
        fwhm = self.survey.psf_fwhm * self.config.psf_scale
        reach = self._reach(galaxies, fwhm, self.sky_sigma)
        noise_free = np.zeros((side, side), np.float32)
        owners = np.zeros((side, side), np.uint8)
        pixels, power = np.zeros(len(galaxies), np.int64), np.zeros(len(galaxies))
        need = 2 * np.ceil(reach).astype(int) + 2
        patch = np.asarray(_SIDES)[np.minimum(np.searchsorted(_SIDES, need), len(_SIDES) - 1)]
        level = np.float32(self.config.truth_threshold * self.sky_sigma)
        for size in np.unique(patch):
            rows = np.flatnonzero(patch == size)
            for start in range(0, len(rows), BATCH):
                chosen = rows[start : start + BATCH]
                corner = np.rint(np.stack((galaxies.y[chosen], galaxies.x[chosen]))).astype(int) - size // 2
                part = galaxies.take(chosen)
                part = part.replace(x=part.x - corner[1], y=part.y - corner[0])
                drawn = self._renderer.render(
                    part,
                    self.survey.flux(part.magnitude),
                    np.minimum(reach[chosen], size / 2 - 1),
                    *(np.full(len(chosen), value) for value in (fwhm, 0.0, 0.0)),
                    int(size),
                )
                for galaxy, stamp, top, left in zip(chosen, drawn, *corner):
                    into = slice(max(top, 0), min(top + size, side)), slice(max(left, 0), min(left + size, side))
                    if into[0].start >= into[0].stop or into[1].start >= into[1].stop:
                        continue
                    seen = stamp[into[0].start - top : into[0].stop - top, into[1].start - left : into[1].stop - left]
                    owned = seen > level
                    noise_free[into] += seen
                    owners[into] += owned
                    pixels[galaxy] = owned.sum()
                    power[galaxy] = np.square(seen, dtype=np.float64).sum()
        image = noise_free + np.sqrt(self.sky_sigma**2 + np.maximum(noise_free, 0.0)) * rng.standard_normal(
            (side, side), dtype=np.float32
        )
        return SimulatedField(
            image.astype(np.float32),
            noise_free,
            np.minimum(owners, 2),
            galaxies,
            pixels,
            np.sqrt(power) / self.sky_sigma,
            float(self.sky_sigma),
        )
