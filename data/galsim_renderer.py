"""Draws galaxies one by one with GalSim: the reference for the Fourier renderer."""

import numpy as np

from data.population import Galaxies
from data.profiles import Psf


class GalSimRenderer:
    """Draws galaxies of one survey with `drawImage`.

    Args:
      psf: the survey's PSF.
      gsparams: accuracy settings, a `galsim.GSParams`; GalSim's own by default.
    """

    def __init__(self, psf: Psf, gsparams=None):
        self._psf = psf
        self._gsparams = gsparams

    def render(self, galaxies: Galaxies, flux, reach, fwhm, g1, g2, stamp_size: int) -> np.ndarray:
        """Electrons per pixel of each galaxy alone, float32 [G, S, S]; arguments as `FourierRenderer.render`'s.

        `reach` is not needed: GalSim chooses its own grids.
        """
        import galsim

        del reach
        stamps = np.zeros((len(galaxies), stamp_size, stamp_size), np.float32)
        scale = self._psf.survey.pixel_scale
        middle = (stamp_size - 1) / 2.0
        for i in range(len(galaxies)):
            profile = galaxy_profile(galaxies, i, float(flux[i]), self._gsparams)
            seen = galsim.Convolve(profile, self._psf.galsim(fwhm[i], g1[i], g2[i]), gsparams=self._gsparams)
            image = galsim.Image(stamps[i], scale=scale)
            seen.drawImage(
                image=image, center=image.true_center + galsim.PositionD(galaxies.x[i] - middle, galaxies.y[i] - middle)
            )
        return stamps


def galaxy_profile(galaxies: Galaxies, row: int, flux: float, gsparams=None):
    """One galaxy before the PSF, as a GalSim profile in arcsec around its centre."""
    import galsim

    parts = []
    for part in np.flatnonzero(galaxies.share[row] > 0.0):
        component = galsim.Sersic(
            float(galaxies.index[row, part]),
            half_light_radius=float(galaxies.radius[row, part]),
            flux=flux * float(galaxies.share[row, part]),
            gsparams=gsparams,
        )
        parts.append(
            component.shear(
                q=float(galaxies.axis_ratio[row, part]), beta=float(galaxies.angle[row, part]) * galsim.radians
            )
        )
    return galsim.Add(parts) if len(parts) > 1 else parts[0]
