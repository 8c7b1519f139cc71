"""From the light of a scene to its image: noise, and what a detector and its reduction leave in real images.

`add_sky` and `add_defects` serve the simulator with NumPy, and the training with TensorFlow, which draws all of this
again at every step: they use only functions that both name alike. What they add is not a source in the truth,
which follows from the light alone.
"""

import dataclasses
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import ndimage

from blendinator.config import DefectsConfig

PLANE, DRAWS = 3, 16  # normal and uniform random numbers of a stamp
EDGE, RESIDUE, BAD = 2, 9, 15  # those of the uniform ones that decide whether the stamp has one
CLIPPED = 3.0  # sky sigma; a background's estimate has clipped what is brighter
TRACK_WIDTH = 1.2  # pixels; of a cosmic ray, which no PSF has blurred
TRACK_LENGTH = 16.0  # pixels, of the longest one
GROUP_RADIUS = 3.0  # pixels, of the largest group without data
DEFAULT = DefectsConfig()
Array: TypeAlias = Any  # np.ndarray with `numpy`, tf.Tensor with `tensorflow`; data/ imports the former alone


class Draws(NamedTuple):
    """Random numbers of B stamps; the simulator's come from the scene's stream, the training's from step and seed."""

    noise: Array  # [B, S, S], Gaussian of unit variance per pixel, white or correlated
    plane: Array  # [B, PLANE], standard normal
    uniform: Array  # [B, DRAWS], from 0 to 1


def sample_draws(rng: np.random.Generator, noise: np.ndarray) -> Draws:
    """The random numbers of one stamp, given its noise [S, S]."""
    return Draws(noise[None], rng.standard_normal((1, PLANE)), rng.random((1, DRAWS)))


def add_sky(xp: Any, light: Array, mean_light: Array, sky_sigma: Array, draws: Draws, config: DefectsConfig) -> Array:
    """The light with noise and what the background's estimate left, [B, S, S] in electrons.

    - Noise is Gaussian of variance sky_sigma^2 + light: sky, read noise, and the Gaussian limit of Poisson noise.
    - A share of the stamps has a straight edge between n and n - 1 dithers: the sky's sigma is (n / (n - 1))^(1/4)
      times `sky_sigma` on one side and over it on the other.
    - A plane stays, and a share of the mean light is taken away. The estimate of a background clips bright pixels, but
      the light of large galaxies and their wings enters it.

    Args:
      xp: `numpy` or `tensorflow`.
      light: [B, S, S] noise-free electrons per pixel of all sources.
      mean_light: [B], the mean of `clipped` over each stamp.
      sky_sigma: [B], electrons per pixel.
    """
    across, up = _grid(light)
    side = float(light.shape[-1])
    middle = (side - 1.0) / 2.0
    sky, u = sky_sigma[:, None, None], _columns(draws.uniform)
    angle = 2.0 * np.pi * u[0]
    deep = xp.cos(angle) * (across - middle) + xp.sin(angle) * (up - middle) > (u[1] - 0.5) * side
    ratio = (config.dithers / (config.dithers - 1.0)) ** 0.25
    local = sky * xp.where(u[EDGE] < config.depth_edge_share, xp.where(deep, 1.0 / ratio, ratio), 1.0)
    plane = _columns(draws.plane)
    tilted = plane[0] + (plane[1] * (across - middle) + plane[2] * (up - middle)) / middle
    taken = config.oversubtraction * u[3] * mean_light[:, None, None]
    noise = xp.sqrt(local**2 + xp.maximum(light, 0.0)) * draws.noise
    return light + noise + config.background_error * sky * tilted - taken


def add_defects(xp: Any, image: Array, sky_sigma: Array, uniform: Array, config: DefectsConfig) -> tuple[Array, Array]:
    """The image [B, S, S] with residue of cosmic rays and pixels without data; and where the latter are.

    Without data means 0, the sky: what the network sees there in a field.

    - A share of the stamps has what is left of a cosmic ray: a track or a spot of light that no PSF has blurred.
    - A share has a bad column, whole or from a defect on, or a group of bad pixels.
    """
    across, up = _grid(image)
    side = float(image.shape[-1])
    u = _columns(uniform)
    x, y, angle = side * u[4], side * u[5], np.pi * u[6]
    cos, sin = xp.cos(angle), xp.sin(angle)
    along, beside = (across - x) * cos + (up - y) * sin, (up - y) * cos - (across - x) * sin
    track = (xp.abs(beside) < TRACK_WIDTH / 2.0) & (xp.abs(along) < 0.5 + TRACK_LENGTH / 2.0 * u[7] ** 2)
    faint, bright = (float(end) for end in np.log(config.residue_range))
    residue = sky_sigma[:, None, None] * xp.exp(faint + (bright - faint) * u[8])
    image = xp.where(track & (u[RESIDUE] < config.residue_share), image + residue, image)
    x, y = side * u[10], side * u[11]
    column = (xp.abs(across - x) < 0.5 + u[12]) & (up > (2.0 * u[13] - 1.0) * side)
    group = (across - x) ** 2 + (up - y) ** 2 < (0.6 + (GROUP_RADIUS - 0.6) * u[12]) ** 2
    no_data = ((u[14] < 0.5) & column | (u[14] >= 0.5) & group) & (u[BAD] < config.no_data_share)
    return xp.where(no_data, 0.0, image), no_data


def has_defects(uniform: np.ndarray, config: DefectsConfig) -> np.ndarray:
    """Whether `add_defects` changes anything, [...] from [..., DRAWS]."""
    return (uniform[..., RESIDUE] < config.residue_share) | (uniform[..., BAD] < config.no_data_share)


def observe_one(light: np.ndarray, sky_sigma: float, draws: Draws, config: DefectsConfig) -> np.ndarray:
    """The image of one stamp [S, S], as the simulator and the training make it."""
    sigma = np.array([sky_sigma], draws.uniform.dtype)
    mean = clipped(np, light[None], sigma).mean(axis=(1, 2), dtype=np.float64)
    image = add_sky(np, light[None], mean, sigma, draws, config)
    if has_defects(draws.uniform, config)[0]:
        image, _ = add_defects(np, image, sigma, draws.uniform, config)
    return image[0]


def observe_field(
    rng: np.random.Generator, light: np.ndarray, sky_sigma: float, tile: int, config: DefectsConfig
) -> np.ndarray:
    """Image float32 of a field [F, F], NaN where it has no data.

    Its noise is white, one edge of depth may cross it, and each tile of `tile` pixels has the residue and the bad
    pixels of a stamp. Nothing of the background is left: `segment` subtracts that of a field itself.
    """
    side, flat = len(light), dataclasses.replace(config, background_error=0.0, oversubtraction=0.0)
    draws = sample_draws(rng, rng.standard_normal((side, side), dtype=np.float32))
    sigma = np.array([sky_sigma], np.float32)
    across = -(-side // tile)
    image = np.zeros((across * tile, across * tile), np.float32)
    image[:side, :side] = add_sky(np, light[None], np.zeros(1, np.float32), sigma, draws, flat)[0]
    tiles = image.reshape(across, tile, across, tile).transpose(0, 2, 1, 3)  # a view
    uniform = rng.random((across, across, DRAWS))
    for row, column in np.argwhere(has_defects(uniform, config)):
        one, no_data = add_defects(np, tiles[row, column][None], sigma, uniform[row, column][None], config)
        tiles[row, column] = np.where(no_data, np.nan, one)[0]
    return image[:side, :side].copy()


def clipped(xp: Any, light: Array, sky_sigma: Array) -> Array:
    """The light [B, S, S] that the estimate of a background takes for sky: clipped at `CLIPPED` sky sigma [B]."""
    return xp.minimum(light, CLIPPED * sky_sigma[:, None, None])


def unit_noise(rng: np.random.Generator, size: int, correlation: float = 0.0) -> np.ndarray:
    """Gaussian noise of unit variance per pixel [size, size], white or correlated by a Gaussian kernel.

    Args:
      correlation: sigma of the kernel in pixels. The noise is periodic over the stamp, so its variance is even.
    """
    noise = rng.standard_normal((size, size), dtype=np.float32)
    if correlation <= 0.0:
        return noise
    impulse = np.zeros(size, np.float64)
    impulse[0] = 1.0
    kernel = ndimage.gaussian_filter1d(impulse, correlation, mode="wrap")
    return ndimage.gaussian_filter(noise, correlation, mode="wrap") / np.float32(np.sum(kernel**2))


def _grid(image: Array) -> tuple[np.ndarray, np.ndarray]:
    """Pixels across and up, [1, 1, S] and [1, S, 1]."""
    at = np.arange(image.shape[-1], dtype=np.float32)
    return at[None, None, :], at[None, :, None]


def _columns(values: Array) -> list[Array]:
    """Each column of [B, K] as [B, 1, 1]."""
    return [values[:, i][:, None, None] for i in range(values.shape[1])]
