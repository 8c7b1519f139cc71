"""Structure of galaxies: arms, rings, clumps, bars, dust, lopsided light and nuclei, as Gaussian blobs.

A real galaxy is one source whatever its clumps. A network that has only seen smooth ellipses calls every spiral arm a
second galaxy, so the simulated ones carry the structure that a survey resolves. What matters is variety, not fidelity:
each part is drawn with its own probability and strength, from barely visible to dominant.

A blob follows the disk: its peak is `contrast` times the disk's surface brightness where it lies,

    fraction = contrast * I(r) * 2 pi sigma^2,    I(r) = flux_fraction * exp(-r / h) / (2 pi h^2 q)

for a disk of scale length h and axis ratio q. The rest of the flux stays in the smooth profiles. Arms are logarithmic
spirals r ~ exp(phi tan(pitch)), each of its own strength, whose contrast grows outwards in many (Elmegreen & Elmegreen
1984, ApJS 54, 127) and rises and falls along the arm, as beads on a string (Elmegreen & Elmegreen 1983, MNRAS 203, 31).
Clumps at random places of the disk are the idea of GalSim's RandomKnots. Disks are the more lopsided the farther out
(Rix & Zaritsky 1995, ApJ 447, 82): their outskirts have wide patches, and real outlines are no ellipses.
"""

import numpy as np

from blendinator.config import StructureConfig
from blendinator.data.population import EXPONENTIAL_HALF_LIGHT
from blendinator.data.sources import GALAXY, NO_STAMP, Sources

CHAIN, EXTRAS = 48, 18  # blobs of an arm, a ring or a field of clumps; of everything else
BLOBS = CHAIN + EXTRAS
DX, DY, SIGMA, FRACTION = range(4)  # columns of `Sources.blobs`
NUCLEUS, BAR, DUST, LOPSIDED = slice(0, 1), slice(1, 6), slice(6, 12), slice(12, 14)
GIANT, OUTSKIRTS = slice(14, 16), slice(16, 18)
_BULGE_INDICES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # a grid: each index has a table
# Below 1: disks that end, as most real ones do at three to four scale lengths; above: the third of them that bend up
# there (Pohlen & Trujillo 2006, A&A 454, 759).
_DISK_INDICES = (0.3, 0.5, 0.7, 0.9, 1.2, 1.5)


def add_structure(rng: np.random.Generator, sources: Sources, extent: np.ndarray, config: StructureConfig) -> Sources:
    """Gives the galaxies brighter than `config.faintest` their structure, and another Sersic index to some.

    Args:
      sources: any; stars, and galaxies from stamps, stay as they are.
      extent: distance from the centre, arcsec, beyond which no blob may reach [G].
    """
    if config.share == 0.0:
        return sources
    chosen = (
        (sources.kind == GALAXY) & (sources.magnitude < config.faintest) & (rng.random(len(sources)) < config.share)
    )
    rows = np.flatnonzero(chosen & (sources.stamp == NO_STAMP))
    everything = np.zeros((len(sources), BLOBS, 4))
    if not rows.size:
        return sources.replace(blobs=everything)
    galaxies = sources.take(rows)
    strength = np.square(rng.random((len(rows), 1)))  # mostly weak, now and then as strong as it gets
    disk = _Disk(galaxies)
    blobs = np.concatenate((_chain(rng, disk, strength), _extras(rng, disk, strength)), axis=1)
    reach = np.hypot(blobs[..., DX], blobs[..., DY]) + 3.0 * blobs[..., SIGMA]
    blobs[..., FRACTION] *= reach < np.asarray(extent)[rows, None]
    light = np.maximum(blobs[..., FRACTION], 0.0).sum(axis=1, keepdims=True)
    scale = np.minimum(config.max_fraction / np.maximum(light, 1e-9), 1.0)
    # Dust takes away from the smooth light, of which blobs have left less.
    blobs[..., FRACTION] *= np.where(blobs[..., FRACTION] > 0.0, scale, 1.0 - np.minimum(light * scale, 1.0))
    everything[rows] = blobs
    index = np.array(sources.sersic_index)
    index[rows] = _indices(rng, galaxies)
    return sources.replace(blobs=everything, sersic_index=index)


def _indices(rng: np.random.Generator, galaxies: Sources) -> np.ndarray:
    """Sersic indices [n, 2]: those of disk and bulge, for half of the galaxies drawn from their ranges."""
    count = len(galaxies)
    drawn = np.stack((rng.choice(_DISK_INDICES, count), rng.choice(_BULGE_INDICES, count)), axis=1)
    return np.where(rng.random((count, 1)) < 0.5, drawn, galaxies.sersic_index)


class _Disk:
    """Disks of n galaxies: places in their planes, and blobs whose brightness follows them."""

    def __init__(self, galaxies: Sources):
        column = lambda values: values[:, None]
        # A galaxy without a disk has structure on the scale of its bulge.
        part = (galaxies.flux_fraction[:, 0] < 0.5).astype(int)
        take = lambda values: column(np.take_along_axis(values, part[:, None], axis=1)[:, 0])
        self.scale = take(galaxies.radius) / EXPONENTIAL_HALF_LIGHT
        self.ratio, self.angle = take(galaxies.axis_ratio), take(galaxies.angle)
        self.flux_fraction = take(galaxies.flux_fraction)
        self.is_disk = column(part == 0)

    def blobs(self, radius: np.ndarray, azimuth: np.ndarray, sigma: np.ndarray, contrast: np.ndarray) -> np.ndarray:
        """[n, K, 4] from radius and azimuth in the disk's plane, and sigma, all [n, K]; radius and sigma in h."""
        u, v = radius * np.cos(azimuth), self.ratio * radius * np.sin(azimuth)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        brightness = self.flux_fraction * np.exp(-radius) / self.ratio  # times 1 / (2 pi h^2)
        fraction = contrast * brightness * np.square(sigma)
        return np.stack(
            np.broadcast_arrays(
                self.scale * (u * cos - v * sin), self.scale * (u * sin + v * cos), self.scale * sigma, fraction
            ),
            axis=-1,
        )


def _chain(rng: np.random.Generator, disk: _Disk, strength: np.ndarray) -> np.ndarray:
    """Spiral arms, a ring, or a field of clumps [n, CHAIN, 4]; a bulge-dominated galaxy has none."""
    count = len(strength)
    kind = rng.random((count, 1))
    step = np.arange(CHAIN)[None, :]
    jitter = rng.standard_normal((3, count, CHAIN))
    # One to four arms, from half a scale length to more than three.
    arms = rng.choice((1, 2, 2, 3, 4), (count, 1))
    pitch = np.radians(rng.uniform(10.0, 40.0, (count, 1)))
    along = (step // arms) / (CHAIN / arms)
    spiral_radius = (0.5 + 2.8 * along) * np.exp(0.05 * jitter[0])
    winding = rng.choice((-1.0, 1.0), (count, 1)) * np.log(spiral_radius / 0.5) / np.tan(pitch)
    spiral_azimuth = winding + 2.0 * np.pi * (step % arms) / arms + 0.1 * jitter[1]
    width = rng.uniform(0.12, 0.3, (count, 1))
    spiral_sigma = np.maximum(width * (0.7 + 0.2 * spiral_radius), 0.6 * 2.8 * arms / CHAIN / np.sin(pitch))
    own = np.take_along_axis(np.exp(0.4 * rng.standard_normal((count, 4))), step % arms, axis=1)
    growth = (spiral_radius / 1.5) ** rng.uniform(0.0, 1.5, (count, 1))
    waves, phase = rng.uniform(1.0, 3.0, (count, 1)), rng.random((count, 4))
    wave = np.cos(2.0 * np.pi * (waves * along + np.take_along_axis(phase, step % arms, axis=1)))
    beads = 1.0 + rng.uniform(0.0, 0.8, (count, 1)) * wave
    patchy = np.exp(0.6 * jitter[2]) * (rng.random((count, CHAIN)) < 0.85)
    # A ring.
    ring_radius = rng.uniform(0.8, 2.2, (count, 1)) * np.exp(0.03 * jitter[0])
    ring_azimuth = 2.0 * np.pi * step / CHAIN
    # Clumps: places follow the disk's light, a Poisson number of them.
    clump_radius = np.minimum(rng.standard_gamma(2.0, (count, CHAIN)), 4.5)
    clump_azimuth = 2.0 * np.pi * rng.random((count, CHAIN))
    clump_sigma = 0.15 * np.exp(0.5 * jitter[1])
    present = step < rng.poisson(rng.uniform(3.0, 20.0, (count, 1)))
    clump_contrast = 1.5 * np.exp(0.8 * jitter[2]) * present
    is_spiral, is_ring, is_clumpy = kind < 0.5, (kind >= 0.5) & (kind < 0.6), (kind >= 0.6) & (kind < 0.9)
    choose = lambda spiral, ring, clumps: np.where(is_spiral, spiral, np.where(is_ring, ring, clumps))
    contrast = choose(
        rng.uniform(0.3, 1.8, (count, 1)) * own * growth * beads * patchy,
        rng.uniform(0.5, 2.0, (count, 1)) * patchy,
        clump_contrast,
    )
    contrast = contrast * strength * (is_spiral | is_ring | is_clumpy) * disk.is_disk
    return disk.blobs(
        choose(spiral_radius, ring_radius, clump_radius),
        choose(spiral_azimuth, ring_azimuth, clump_azimuth),
        choose(spiral_sigma, np.maximum(width, 0.2), clump_sigma),
        contrast,
    )


def _extras(rng: np.random.Generator, disk: _Disk, strength: np.ndarray) -> np.ndarray:
    """Everything but the chain [n, EXTRAS, 4], each part with its own probability."""
    count = len(strength)
    has = lambda probability: rng.random((count, 1)) < probability
    uniform = lambda low, high, number=1: rng.uniform(low, high, (count, number))
    radius, azimuth, sigma, contrast = (np.zeros((count, EXTRAS)) for _ in range(4))
    turn = 2.0 * np.pi * uniform(0.0, 1.0)
    bar = np.linspace(-1.0, 1.0, 5)[None, :] * uniform(0.4, 1.2)
    radius[:, BAR], azimuth[:, BAR] = np.abs(bar), np.where(bar < 0.0, turn + np.pi, turn)
    sigma[:, BAR], contrast[:, BAR] = 0.2, uniform(0.3, 1.5) * has(0.3) * disk.is_disk
    lane, offset = np.linspace(-2.0, 2.0, 6)[None, :], uniform(-0.5, 0.5)
    radius[:, DUST], azimuth[:, DUST] = np.hypot(lane, offset), turn + np.arctan2(offset, lane)
    sigma[:, DUST], contrast[:, DUST] = 0.35, -uniform(0.1, 0.6) * has(0.25) * disk.is_disk
    radius[:, LOPSIDED], azimuth[:, LOPSIDED] = uniform(0.3, 1.8, 2), 2.0 * np.pi * uniform(0.0, 1.0, 2)
    sigma[:, LOPSIDED], contrast[:, LOPSIDED] = uniform(0.4, 0.9, 2), uniform(0.0, 0.25, 2) * has(0.3)
    radius[:, GIANT] = np.minimum(rng.standard_gamma(2.0, (count, 2)), 3.5)
    azimuth[:, GIANT], sigma[:, GIANT] = 2.0 * np.pi * uniform(0.0, 1.0, 2), uniform(0.12, 0.3, 2)
    contrast[:, GIANT] = uniform(0.3, 2.0, 2) * has(0.02) * disk.is_disk
    contrast *= strength
    # What makes an outline is faint, and does not follow how strong the rest is.
    radius[:, OUTSKIRTS], azimuth[:, OUTSKIRTS] = uniform(2.0, 4.5, 2), 2.0 * np.pi * uniform(0.0, 1.0, 2)
    sigma[:, OUTSKIRTS] = uniform(0.5, 1.2, 2)
    contrast[:, OUTSKIRTS] = 1.5 * np.square(uniform(0.0, 1.0, 2)) * has(0.4)  # a strong one looks like a companion
    blobs = disk.blobs(radius, azimuth, sigma, contrast)
    # A nucleus has a share of the whole galaxy's light, and no size.
    blobs[:, NUCLEUS, SIGMA] = 0.005  # arcsec, far below any pixel
    blobs[:, NUCLEUS, FRACTION] = np.square(uniform(0.05, 0.35)) * has(0.3)
    return blobs
