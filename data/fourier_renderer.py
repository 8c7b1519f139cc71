"""Draws many galaxies at once, in Fourier space.

The transform of a galaxy seen through PSF and pixel is a product of functions that are known in closed form or from a
table, so no profile is convolved: the product is evaluated on a grid of frequencies up to the PSF's cut-off, those
beyond the pixels' Nyquist frequency are folded back (which is what sampling does), and one inverse FFT per galaxy gives
its pixels on a patch just large enough for its light. Each galaxy is computed by itself: the result does not depend on
which others are in the batch.
"""

import numpy as np
from scipy import fft

from blendinator.data.population import Sources
from blendinator.data.profiles import Psf, sersic_fourier, shear_matrix

PATCH_SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # pixels; sizes whose FFT is fast
CUTOFFS = 8  # cut-off frequencies in equal steps
BUCKET = 16  # blobs are summed in multiples of this: the sums of a galaxy must not depend on the others
_CHUNK = 40_000  # frequencies evaluated at once: keeps the work arrays within the processor's cache


class FourierRenderer:
    """Draws galaxies of one survey.

    Args:
      psf: the survey's PSF.
      max_frequency_stretch: largest factor by which a scene's PSF may be narrower than `psf`, along any direction.
    """

    def __init__(self, psf: Psf, max_frequency_stretch: float = 1.1) -> None:
        self._psf, self._stretch = psf, max_frequency_stretch
        cutoff = psf.cutoff * max_frequency_stretch * psf.survey.pixel_scale  # cycles per pixel
        # Folding covers frequencies up to one cycle per pixel; a narrower PSF is drawn on finer pixels, then sampled.
        self._oversampling = int(cutoff) + 1
        self._cutoff = cutoff / self._oversampling
        self._grids = {}

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
        """Electrons per pixel of each galaxy alone, float32 [G, stamp_size, stamp_size].

        Args:
          galaxies: G galaxies.
          flux: electrons [G].
          extent: distance from the centre in pixels within which the light matters [G].
          fwhm, g1, g2: FWHM (arcsec) and shear of the PSF at each galaxy [G].
        """
        stamps = np.zeros((len(galaxies), stamp_size, stamp_size), np.float32)
        sizes = np.asarray(PATCH_SIZES)
        # A patch is periodic: a pixel at distance d along an axis also gets the light at distance size - d.
        first = [np.clip(np.floor(c - extent), 0, stamp_size - 1).astype(int) for c in (galaxies.x, galaxies.y)]
        last = [np.clip(np.ceil(c + extent), 0, stamp_size - 1).astype(int) for c in (galaxies.x, galaxies.y)]
        farthest = np.max([np.maximum(c - a, b - c) for c, a, b in zip((galaxies.x, galaxies.y), first, last)], axis=0)
        patch = sizes[np.minimum(np.searchsorted(sizes, np.minimum(farthest, extent + 1.0) + extent), len(sizes) - 1)]
        # A wide PSF needs fewer frequencies: grids are made for a few cut-offs. Which one serves a galaxy depends on
        # nothing but the galaxy.
        shear = np.hypot(g1, g2)
        stretch = self._psf.fwhm / np.asarray(fwhm) * np.sqrt((1.0 + shear) / (1.0 - shear)) / self._stretch
        steps = np.minimum(np.ceil(stretch * CUTOFFS).astype(int), CUTOFFS)
        for size, cutoff in np.unique(np.stack((patch, steps)), axis=1).T:
            rows = np.flatnonzero((patch == size) & (steps == cutoff))
            grid = self._grid(int(size), int(cutoff))
            step = max(1, _CHUNK // grid[0].size ** 2)
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step]
                pixels = self._patches(
                    galaxies.take(chunk),
                    flux[chunk],
                    fwhm[chunk],
                    g1[chunk],
                    g2[chunk],
                    first[0][chunk],
                    first[1][chunk],
                    int(size),
                    grid,
                )
                for row, drawn in zip(chunk, pixels):
                    (left, low), (right, high) = ((axis[0][row], axis[1][row]) for axis in (first, last))
                    right, high = min(right + 1, left + size), min(high + 1, low + size)
                    stamps[row, low:high, left:right] = drawn[: high - low, : right - left]
        return stamps

    def _patches(
        self,
        galaxies: Sources,
        flux: np.ndarray,
        fwhm: np.ndarray,
        g1: np.ndarray,
        g2: np.ndarray,
        corner_x: np.ndarray,
        corner_y: np.ndarray,
        size: int,
        grid: tuple[np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """Pixels [G, size, size], the first of which is the stamp's pixel (corner_x, corner_y)."""
        fx, fy = grid  # cycles per (fine) pixel
        finer = self._oversampling
        pixel = self._psf.survey.pixel_scale / finer
        blobs = galaxies.blobs
        flux_left = flux * (1.0 - blobs[..., 3].sum(axis=1))
        transform = np.zeros((len(galaxies), fy.size, fx.size), np.float32)
        for part in range(galaxies.flux_fraction.shape[1]):
            for index in np.unique(galaxies.sersic_index[:, part]):
                use = np.flatnonzero(
                    (galaxies.sersic_index[:, part] == index) & (galaxies.flux_fraction[:, part] > 0.0)
                )
                if use.size:
                    radius = galaxies.radius[use, part] / pixel
                    squared = _squared(fx, fy, galaxies.axis_ratio[use, part], galaxies.angle[use, part], radius)
                    value = sersic_fourier(float(index), squared)
                    value *= (galaxies.flux_fraction[use, part] * flux_left[use]).astype(np.float32)[:, None, None]
                    transform[use] += value

        number = -(-(blobs[..., 3] != 0.0).sum(axis=1) // BUCKET) * BUCKET
        if number.any():
            transform = transform.astype(np.complex64)
        for count in np.unique(number[number > 0]):
            use = np.flatnonzero(number == count)
            transform[use] += _blobs(fx, fy, blobs[use], flux[use], pixel, count)

        # The PSF's table, sheared and dilated; beyond its end the last entry, 0.
        shear = np.hypot(g1, g2)
        scale = fwhm / self._psf.fwhm / pixel
        position = np.sqrt(_squared(fx, fy, (1.0 - shear) / (1.0 + shear), 0.5 * np.arctan2(g2, g1), scale))
        last = len(self._psf.table) - 1
        position *= np.float32(last / self._psf.cutoff)
        np.minimum(position, np.float32(last), out=position)
        transform *= self._psf.table.take(position.astype(np.int32))

        # Shift and pixel, one factor per axis; the finer pixels' averaging is that of the survey's pixel.
        offset_x = (galaxies.x - corner_x)[:, None] * finer
        offset_y = (galaxies.y - corner_y)[:, None] * finer
        along_x = (np.exp(-2j * np.pi * fx * offset_x) * np.sinc(fx * finer)).astype(np.complex64)
        along_y = (np.exp(-2j * np.pi * fy * offset_y) * np.sinc(fy * finer)).astype(np.complex64)
        product = transform * along_y[:, :, None]
        product *= along_x[:, None, :]
        pixels = fft.irfft2(_fold(product, size * finer), s=(size * finer,) * 2, axes=(1, 2))
        # `irfft2` divides by the number of fine pixels; each sample stands for the flux of a whole survey pixel.
        return pixels[:, ::finer, ::finer] * np.float32(finer**2)

    def _grid(self, size: int, cutoff: int) -> tuple[np.ndarray, np.ndarray]:
        if (size, cutoff) not in self._grids:
            samples = size * self._oversampling
            last = min(int(np.ceil(self._cutoff * cutoff / CUTOFFS * samples)), samples - 1)
            self._grids[size, cutoff] = (np.arange(last + 1) / samples, np.arange(-last, last + 1) / samples)
        return self._grids[size, cutoff]


def _blobs(fx: np.ndarray, fy: np.ndarray, blobs: np.ndarray, flux: np.ndarray, pixel: float, count: int) -> np.ndarray:
    """Transform of `count` Gaussian blobs around a galaxy's centre, complex64 [G, fy, fx]: a sum of products.

    In double precision: how a matrix product is summed up depends on the library, and spans must not.
    """
    order = np.argsort(blobs[..., 3] == 0.0, axis=1, kind="stable")[:, :count]
    blobs = np.take_along_axis(blobs, order[..., None], axis=1)
    offset_x, offset_y, sigma = (blobs[..., column, None] / pixel for column in range(3))

    def along(frequency: np.ndarray, offset: np.ndarray) -> np.ndarray:
        phase = 2.0 * np.pi * frequency * offset
        size = np.exp(-2.0 * np.square(np.pi * frequency * sigma))
        out = np.empty(phase.shape, np.complex128)
        np.multiply(np.cos(phase), size, out=out.real)
        np.multiply(np.sin(phase), -size, out=out.imag)
        return out

    positive = along(fy[len(fy) // 2 :], offset_y)
    both = np.concatenate((np.conj(positive[..., :0:-1]), positive), axis=2)
    both *= (blobs[..., 3] * flux[:, None])[:, :, None]
    return np.matmul(both.transpose(0, 2, 1), along(fx, offset_x)).astype(np.complex64)


def _squared(
    fx: np.ndarray, fy: np.ndarray, axis_ratio: np.ndarray, angle: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """scale^2 times the squared frequency in the circle of a sheared profile, float32 [G, fy, fx]."""
    a, b, c = (np.asarray(term) * np.asarray(scale) ** 2 for term in shear_matrix(axis_ratio, angle))
    x_squared = (a[:, None] * fx**2).astype(np.float32)
    mixed = (2.0 * b[:, None] * fx).astype(np.float32)
    y_squared = (c[:, None] * fy**2).astype(np.float32)
    out = mixed[:, None, :] * fy.astype(np.float32)[None, :, None]
    out += x_squared[:, None, :]
    out += y_squared[:, :, None]
    return np.maximum(out, np.float32(0.0), out=out)


def _fold(product: np.ndarray, size: int) -> np.ndarray:
    """Folds frequencies onto those that `irfft2` takes: [G, -M..M, 0..M] onto [G, size, size / 2 + 1].

    Frequencies are in 1 / size cycles per pixel; M < size.
    """
    last = product.shape[2] - 1
    half = size // 2
    if last < half:  # nothing to fold
        folded = np.zeros((len(product), size, half + 1), product.dtype)
        folded[:, : last + 1, : last + 1] = product[:, last:]
        folded[:, size - last :, : last + 1] = product[:, :last]
        return folded
    rows = np.empty((len(product), size, last + 1), product.dtype)  # rows in FFT order: 0..half-1, -half..-1
    rows[:, :half] = product[:, last : last + half]
    rows[:, half:] = product[:, last - half : last]
    rows[:, half : last + 1] += product[:, last + half : 2 * last + 1]  # fy = half..last lie at fy - size
    rows[:, size - last : half] += product[:, : last - half]  # fy = -last..-half-1 lie at fy + size
    folded = rows[:, :, : half + 1].copy()
    # fx - size is negative: the conjugate of (-fy, size - fx), because the image is real.
    mirrored = np.conj(rows[:, :, half : last + 1][:, :, ::-1])  # columns size - last .. half
    folded[:, 0, size - last : half + 1] += mirrored[:, 0]
    folded[:, 1:, size - last : half + 1] += mirrored[:, :0:-1]
    return folded
