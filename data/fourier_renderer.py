"""Draws many galaxies at once, in Fourier space.

The transform T of a galaxy seen through PSF and pixel is a product of functions that are known in closed form or from a
table, so no profile is convolved. Around the galaxy's centre its image is a sum over the frequencies of one quadrant,

    I(x, y) = sum_jk [A_jk cos(2 pi f_j x) cos(2 pi f_k y) + B_jk sin(2 pi f_j x) sin(2 pi f_k y)],

with A and B from T(f_j, f_k) and T(f_j, -f_k): two products of matrices, which give any pixels without a grid for an
FFT. Light that is not symmetric, such as an arm's, adds the products of a sine and a cosine.

Frequencies in steps of s repeat the image every 1 / s pixels. Only low ones hold a bright galaxy's far light, so that
steps need to be narrow there alone: a galaxy that fills many stamps takes few more frequencies than one that fills one.
Each galaxy is computed by itself: the result does not depend on which others are in the batch.
"""

from typing import NamedTuple

import numpy as np

from blendinator.data.profiles import Psf, sersic_fourier, shear_matrix
from blendinator.data.sources import Sources

# Distances after which an image may repeat, in units of the distance over which light would reach the window's pixels
# from the next image: of a galaxy whose steps are all the same, and of the far light of one whose steps are not.
NEAR, FAR = 1.2, 2.0
CORE = 24.0  # pixels; farther from its centre and its blobs a galaxy is smooth, and wide steps serve it
BEND = 8.0  # frequencies over which steps widen, of a round galaxy; a flat one is smooth along its major axis only
# Numbers of frequencies, and of a window's pixels, are multiples of these: few shapes of arrays, many galaxies at once.
COUNTS, WINDOWS = 4, 16
_CHUNK = 40_000  # frequencies evaluated at once: keeps the work arrays within the processor's cache


class _Group(NamedTuple):
    """Galaxies with equally many frequencies and pixels; arrays [G], `frequency` and `weight` [G, F]."""

    galaxies: Sources
    flux: np.ndarray
    fwhm: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    frequency: np.ndarray  # cycles per pixel, from 0 on
    weight: np.ndarray  # of each frequency in the sum: the step


class FourierRenderer:
    """Draws galaxies of one survey.

    Args:
      psf: the survey's PSF.
    """

    def __init__(self, psf: Psf) -> None:
        self._psf, self._scale = psf, psf.survey.pixel_scale

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
        centre = np.stack((galaxies.x, galaxies.y))
        first = np.clip(np.floor(centre - extent), 0, stamp_size - 1).astype(int)
        last = np.clip(np.ceil(centre + extent), 0, stamp_size - 1).astype(int)
        farthest = np.minimum(np.maximum(centre - first, last - centre).max(axis=0), extent + 1.0)
        blobs = np.abs(galaxies.blobs[..., :2]).max(axis=2, initial=0.0) * (galaxies.blobs[..., 3] != 0.0)
        shear = np.hypot(g1, g2)
        cutoff = self._psf.cutoff * self._scale * self._psf.fwhm / np.asarray(fwhm)
        cutoff = cutoff * np.sqrt((1.0 + shear) / (1.0 - shear))
        # After how many pixels the image may repeat: with even steps; with steps that widen, its detail and all of it.
        even, detail = NEAR * (farthest + extent), farthest + CORE + blobs.max(axis=1, initial=0.0) / self._scale
        far = FAR * (farthest + extent)
        flattest = np.where(galaxies.flux_fraction > 0.0, galaxies.axis_ratio, 1.0).min(axis=1)
        bend = BEND / flattest
        widening = cutoff * detail + (1.0 - detail / far) * bend * np.pi / 2.0
        count = _up(np.minimum(widening, cutoff * even), COUNTS)
        lowest = 1.0 / np.where(widening < cutoff * even, far, even)
        window = np.minimum(_up((last - first).max(axis=0) + 1, WINDOWS), stamp_size)
        for number, side in np.unique(np.stack((count, window)), axis=1).T:
            rows = np.flatnonzero((count == number) & (window == side))
            step = max(1, _CHUNK // (2 * number**2))
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step]
                group = _Group(
                    galaxies.take(chunk),
                    flux[chunk],
                    fwhm[chunk],
                    g1[chunk],
                    g2[chunk],
                    *_frequencies(lowest[chunk], cutoff[chunk], bend[chunk], int(number)),
                )
                for row, drawn in zip(chunk, self._pixels(group, first[:, chunk] - centre[:, chunk], int(side))):
                    (left, low), (right, high) = first[:, row], last[:, row] + 1
                    stamps[row, low:high, left:right] = drawn[: high - low, : right - left]
        return stamps

    def _pixels(self, group: _Group, corner: np.ndarray, side: int) -> np.ndarray:
        """Pixels [G, side, side], the first of which lies at `corner` [2, G] from the galaxy's centre."""
        psf = self._transform_of_psf(group)
        smooth = self._transform_of_profiles(group)
        smooth *= psf
        across, up = (_waves(group.frequency, group.weight, start, side) for start in corner)
        sums = np.stack((smooth[:, 0] + smooth[:, 1], smooth[:, 1] - smooth[:, 0]), axis=1).astype(np.float64)
        half = np.matmul(sums, across)  # [G, 2, F, side]
        for row in np.flatnonzero((group.galaxies.blobs[..., 3] != 0.0).any(axis=1)):
            half[row] += self._structure(group, row, psf[row], across[row])
        size = 2 * group.frequency.shape[1]
        pixels = np.matmul(up.reshape(-1, size, side).transpose(0, 2, 1), half.reshape(-1, size, side))
        pixels *= 2.0
        return pixels

    def _transform_of_profiles(self, group: _Group) -> np.ndarray:
        """Electrons of the smooth components at (fx, fy) and (fx, -fy), float32 [G, 2, F, F]; axes fy, fx."""
        galaxies, frequency = group.galaxies, group.frequency
        flux_left = group.flux * (1.0 - galaxies.blobs[..., 3].sum(axis=1))
        out = np.zeros((len(galaxies), 2, *2 * frequency.shape[1:]), np.float32)
        for part in range(galaxies.flux_fraction.shape[1]):
            index, radius = galaxies.sersic_index[:, part], galaxies.radius[:, part] / self._scale
            value = _squared(frequency, galaxies.axis_ratio[:, part], galaxies.angle[:, part], radius)
            for one in np.unique(index):
                value[index == one] = sersic_fourier(float(one), value[index == one])
            value *= _column(galaxies.flux_fraction[:, part] * flux_left)
            out += value
        return out

    def _transform_of_psf(self, group: _Group) -> np.ndarray:
        """PSF's table, sheared and dilated, at (fx, fy) and (fx, -fy), float32 [G, 2, F, F]."""
        psf, shear = self._psf, np.hypot(group.g1, group.g2)
        angle = 0.5 * np.arctan2(group.g2, group.g1)
        scale = group.fwhm / psf.fwhm / self._scale
        position = np.sqrt(_squared(group.frequency, (1.0 - shear) / (1.0 + shear), angle, scale))
        last = len(psf.table) - 1  # whose entry is 0, as are those beyond
        position *= np.float32(last / psf.cutoff)
        np.minimum(position, np.float32(last), out=position)
        return psf.table.take(position.astype(np.int32))

    def _structure(self, group: _Group, row: int, psf: np.ndarray, across: np.ndarray) -> np.ndarray:
        """What the blobs of one galaxy add to the product of its transform with `across`, [2, F, side].

        In double precision: how a matrix product is summed up depends on the library, and spans must not.
        """
        blobs = group.galaxies.blobs[row]
        blobs = blobs[blobs[:, 3] != 0.0]
        frequency, count = group.frequency[row], group.frequency.shape[1]
        place = blobs[:, :3].T[:, :, None] / self._scale  # x, y and sigma
        waves = np.stack(_cos_sin(2.0 * np.pi * frequency * place[:2]), axis=2)  # [x and y, K, cos and sin, F]
        waves *= np.exp(-2.0 * np.square(np.pi * frequency * place[2]))[:, None, :]
        waves[0] *= (blobs[:, 3] * group.flux[row])[:, None, None]
        across_blobs, up_blobs = waves.reshape(2, len(blobs), 2 * count)
        product = (up_blobs.T @ across_blobs).reshape(2, count, 2, count)
        even, odd = (psf[0] + psf[1]).astype(np.float64), (psf[0] - psf[1]).astype(np.float64)
        seen = product * even[:, None, :]
        # The PSF's odd part turns the sines and cosines of both axes into each other.
        for i, j, sign in ((0, 0, np.subtract), (1, 1, np.subtract), (0, 1, np.add), (1, 0, np.add)):
            sign(seen[i, :, j], product[1 - i, :, 1 - j] * odd, out=seen[i, :, j])
        return np.matmul(seen.reshape(2, count, 2 * count), across.reshape(2 * count, -1))


def _frequencies(lowest: np.ndarray, cutoff: np.ndarray, bend: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies from 0 up to the cut-off, and the steps there, both [G, count].

    The i-th one is high * i - (high - low) * bend * arctan(i / bend): steps of `low` at first and `high` in the end.

    Args:
      lowest: upper limit of the first step [G].
      bend: number of frequencies over which steps widen [G].
    """
    i, bend = np.arange(count), bend[:, None]
    bent = bend * np.arctan(count / bend)
    low = np.minimum(lowest, cutoff / count)[:, None]
    high = (cutoff[:, None] - low * bent) / (count - bent)
    frequency = high * i - (high - low) * (bend * np.arctan(i / bend))
    step = high - (high - low) / (1.0 + np.square(i / bend))
    step[:, 0] /= 2.0  # the other half belongs to the next quadrant
    return frequency, step


def _waves(frequency: np.ndarray, weight: np.ndarray, start: np.ndarray, side: int) -> np.ndarray:
    """Cosines and sines of each frequency at the pixels from `start` [G] on, averaged over pixels, [G, 2, F, side]."""
    cos, sin = _cos_sin((2.0 * np.pi * frequency)[:, :, None] * (start[:, None] + np.arange(side))[:, None, :])
    waves = np.stack((cos, sin), axis=1)
    waves *= (weight * np.sinc(frequency))[:, None, :, None]
    return waves


def _cos_sin(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine from the tangent of half the angle: with AVX512, NumPy's is ten times as fast."""
    tangent = np.tan(0.5 * angle)
    twice = np.square(tangent)
    twice += 1.0
    np.divide(2.0, twice, out=twice)
    tangent *= twice
    twice -= 1.0
    return twice, tangent


def _squared(frequency: np.ndarray, axis_ratio: np.ndarray, angle: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """scale^2 times the squared frequency in the circle of a sheared profile at (fx, fy) and (fx, -fy).

    float32 [G, 2, F, F].
    """
    a, b, c = (np.asarray(term) * np.asarray(scale) ** 2 for term in shear_matrix(axis_ratio, angle))
    square = np.square(frequency)
    even = (a[:, None] * square).astype(np.float32)[:, None, :] + (c[:, None] * square).astype(np.float32)[:, :, None]
    odd = (2.0 * b[:, None] * frequency).astype(np.float32)[:, None, :] * frequency.astype(np.float32)[:, :, None]
    out = np.empty((len(frequency), 2, *even.shape[1:]), np.float32)
    np.add(even, odd, out=out[:, 0])
    np.subtract(even, odd, out=out[:, 1])
    return np.maximum(out, np.float32(0.0), out=out)


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None, None]


def _up(values: np.ndarray, multiple: int) -> np.ndarray:
    return (-(-values // multiple)).astype(int) * multiple
