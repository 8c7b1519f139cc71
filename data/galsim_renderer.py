"""Draws galaxies one by one with GalSim: the reference for the Fourier renderer."""

from typing import TYPE_CHECKING

import numpy as np

from blendinator.data.profiles import Psf
from blendinator.data.sources import Sources
from blendinator.errors import DataError

if TYPE_CHECKING:
    import galsim


class GalSimRenderer:
    """Draws galaxies of one survey with `drawImage`.

    Args:
      psf: the survey's PSF.
      gsparams: accuracy settings, a `galsim.GSParams`; GalSim's own by default.
    """

    def __init__(self, psf: Psf, gsparams: "galsim.GSParams | None" = None) -> None:
        self._psf = psf
        self._gsparams = gsparams

    def render(
        self,
        galaxies: Sources,
        flux: np.ndarray,
        extent: np.ndarray,
        fwhm: np.ndarray,
        g1: np.ndarray,
        g2: np.ndarray,
        stamp_size: int,
    ) -> np.ndarray:
        """Electrons per pixel of each galaxy alone, float32 [G, S, S]; arguments as `FourierRenderer.render`'s.

        `extent` is not needed: GalSim chooses its own grids.
        """
        import galsim

        del extent
        stamps = np.zeros((len(galaxies), stamp_size, stamp_size), np.float32)
        scale = self._psf.survey.pixel_scale
        middle = (stamp_size - 1) / 2.0
        for i in range(len(galaxies)):
            psf = self._psf.galsim(fwhm[i], g1[i], g2[i])
            image = galsim.Image(stamps[i], scale=scale)
            offset = galsim.PositionD(galaxies.x[i] - middle, galaxies.y[i] - middle)
            # GalSim 2.8 gives NaN for about one in 10^4 very flat bulges; other grids of frequencies don't.
            for factor in (1.0, 0.8, 0.6):
                params = galsim.GSParams.check(self._gsparams)
                params = params.withParams(folding_threshold=params.folding_threshold * factor)
                seen = galsim.Convolve(galaxy_profile(galaxies, i, float(flux[i]), params), psf, gsparams=params)
                seen.drawImage(image=image, center=image.true_center + offset)
                if np.isfinite(stamps[i]).all():
                    break
            else:
                raise DataError(
                    f"GalSim draws NaN for a galaxy of magnitude {galaxies.magnitude[i]:.2f} and half-light radius "
                    f"{galaxies.half_light[i]:.2f} arcsec. Set simulation.renderer to fourier."
                )
        return stamps


def galaxy_profile(
    galaxies: Sources, row: int, flux: float, gsparams: "galsim.GSParams | None" = None
) -> "galsim.GSObject":
    """One galaxy before the PSF, as a GalSim profile in arcsec around its centre."""
    import galsim

    parts = []
    blobs = galaxies.blobs[row]
    smooth = flux * (1.0 - float(blobs[:, 3].sum()))
    for x, y, sigma, fraction in blobs[blobs[:, 3] != 0.0]:
        parts.append(galsim.Gaussian(sigma=float(sigma), flux=flux * float(fraction), gsparams=gsparams).shift(x, y))
    for part in np.flatnonzero(galaxies.flux_fraction[row] > 0.0):
        component = galsim.Sersic(
            float(galaxies.sersic_index[row, part]),
            half_light_radius=float(galaxies.radius[row, part]),
            flux=smooth * float(galaxies.flux_fraction[row, part]),
            gsparams=gsparams,
        )
        parts.append(
            component.shear(
                q=float(galaxies.axis_ratio[row, part]), beta=float(galaxies.angle[row, part]) * galsim.radians
            )
        )
    return galsim.Add(parts) if len(parts) > 1 else parts[0]
