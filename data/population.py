"""Which galaxies lie in a scene: number counts, sizes, shapes, bulges and positions.

`POPULATIONS` at the end is the table of them; everything else follows from it. `natural`: the density of the sky,
random positions (and, if configured, clustering). `boosted`: the same, plus groups sampled evenly in separation and
magnitude difference, because a blend is rare in a natural stamp. `bright`: natural, plus one bright galaxy, because
those are rare, too.

The formulas are those in use in the field, attributed as they are commonly quoted: the number counts to the LSST
Science Book (2009), sizes, ellipticities and bulge fractions to Miller et al. (2013), the shape measurement of
CFHTLenS. What counts for this project is tested: the sky they add up to (`tests/data/test_population.py`).
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from blendinator.config import PopulationConfig
from blendinator.data.sources import GALAXY, Sources
from blendinator.errors import ConfigError

if TYPE_CHECKING:  # what reads records needs the names of the populations, and no surveys
    from blendinator.data.survey import Survey

COUNTS_AT_25 = 46.0  # galaxies per arcmin^2 brighter than i = 25
COUNTS_SLOPE = 0.31
EXPONENTIAL_HALF_LIGHT = 1.6783469900166605  # half-light radius over scale length of an exponential disk
MAX_ELLIPTICITY = 0.804  # of Miller et al. 2013's disks
CLUSTERING_SLOPE = 0.8  # of the angular correlation function w(theta) ~ theta^-0.8 (Peebles 1980)


def cumulative_counts(magnitude: np.ndarray | float) -> np.ndarray:
    """Galaxies per arcmin^2 brighter than this i magnitude: 46 * 10^(0.31 (i - 25)) (LSST Science Book)."""
    return COUNTS_AT_25 * 10.0 ** (COUNTS_SLOPE * (np.asarray(magnitude) - 25.0))


def median_disk_scale(magnitude: np.ndarray | float) -> np.ndarray:
    """Median scale length of disks in arcsec: ln r = -1.145 - 0.269 (i - 23) (Miller et al. 2013)."""
    return np.exp(-1.145 - 0.269 * (np.asarray(magnitude) - 23.0))


def sample_magnitudes(rng: np.random.Generator, count: int, bright: float, faint: float) -> np.ndarray:
    """Magnitudes between two limits that follow the cumulative counts [count]."""
    low, high = 10.0 ** (COUNTS_SLOPE * (bright - faint)), 1.0
    return faint + np.log10(low + (high - low) * rng.random(count)) / COUNTS_SLOPE


def sample_disk_scale(rng: np.random.Generator, magnitude: np.ndarray) -> np.ndarray:
    """Scale lengths in arcsec with p(r) ~ r exp(-(r / a)^(4/3)) and the median of that magnitude (Miller et al. 2013).

    u = (r / a)^(4/3) follows a gamma distribution of shape 3/2, whose median is 1.18299: so median(r) = 1.1343 a.
    """
    return median_disk_scale(magnitude) / 1.18298774**0.75 * rng.standard_gamma(1.5, len(magnitude)) ** 0.75


@functools.lru_cache(maxsize=1)
def _ellipticity_table() -> tuple[np.ndarray, np.ndarray]:
    e = np.linspace(0.0, MAX_ELLIPTICITY, 2001)
    density = e * (1.0 - np.exp((e - MAX_ELLIPTICITY) / 0.2539)) / ((1.0 + e) * np.sqrt(e**2 + 0.0256**2))
    cumulative = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2.0)))
    return cumulative / cumulative[-1], e


def sample_axis_ratio(rng: np.random.Generator, count: int) -> np.ndarray:
    """Axis ratios b / a = (1 - e) / (1 + e) [count].

    p(e) ~ e (1 - exp((e - 0.804) / 0.2539)) / ((1 + e) sqrt(e^2 + 0.0256^2)), 0 <= e <= 0.804 (Miller et al. 2013).
    """
    e = np.interp(rng.random(count), *_ellipticity_table())
    return (1.0 - e) / (1.0 + e)


def sample_bulge_fraction(rng: np.random.Generator, count: int) -> np.ndarray:
    """Bulge over total flux [count]: 1 for a tenth of the galaxies, else |normal(0, 0.1)| (Miller et al. 2013)."""
    fraction = np.minimum(np.abs(rng.normal(0.0, 0.1, count)), 1.0)
    return np.where(rng.random(count) < 0.1, 1.0, fraction)


def sample_galaxies(rng: np.random.Generator, magnitude: np.ndarray) -> Sources:
    """Galaxies of these magnitudes, at position (0, 0).

    Disk (Sersic 1) and bulge (Sersic 4) share axis ratio and angle. In a disk galaxy the bulge's half-light radius is
    the disk's scale length; in a bulge-dominated one it is the half-light radius that a disk of that magnitude has.
    """
    count = len(magnitude)
    scale = sample_disk_scale(rng, magnitude)
    bulge = sample_bulge_fraction(rng, count)
    ratio = sample_axis_ratio(rng, count)
    angle = np.pi * rng.random(count)
    disk_radius = EXPONENTIAL_HALF_LIGHT * scale
    zero = np.zeros(count)
    return Sources.make(
        kind=np.full(count, GALAXY, np.int8),
        x=zero,
        y=zero,
        magnitude=np.asarray(magnitude, float),
        flux_fraction=np.stack((1.0 - bulge, bulge), axis=1),
        radius=np.stack((disk_radius, np.where(bulge == 1.0, disk_radius, scale)), axis=1),
        sersic_index=np.tile((1.0, 4.0), (count, 1)),
        axis_ratio=np.stack((ratio, ratio), axis=1),
        angle=np.stack((angle, angle), axis=1),
    )


def sample_natural(
    rng: np.random.Generator, config: PopulationConfig, survey: "Survey", stamp_size: int, source: Any = None
) -> Sources:
    """A natural scene's galaxies: Poisson number, uniform positions over the stamp and a margin around it.

    Args:
      source: a `blendinator.data.catalog.Catalog` to draw from; by default the analytic population.

    With `clustering` c, each galaxy is moved with probability c beside another one, at a distance theta that follows
    theta^-0.8 per unit of area up to `clustering_radius`.
    """
    bright, faint = source.limits(config) if source else (config.magnitude_bright, config.magnitude_faint)
    margin = config.margin / survey.pixel_scale
    side = stamp_size + 2.0 * margin
    density = config.density_scale * (cumulative_counts(faint) - cumulative_counts(bright))
    count = int(rng.poisson(density * (side * survey.pixel_scale / 60.0) ** 2))
    if source:
        galaxies = source.sample(rng, count, bright, faint)
    else:
        galaxies = sample_galaxies(rng, sample_magnitudes(rng, count, bright, faint))
    x, y = rng.uniform(-0.5 - margin, stamp_size - 0.5 + margin, (2, count))
    if config.clustering and count > 1:
        moved = rng.random(count) < config.clustering
        host = (np.arange(count) + rng.integers(1, count, count)) % count
        distance = config.clustering_radius * rng.random(count) ** (1.0 / (2.0 - CLUSTERING_SLOPE)) / survey.pixel_scale
        angle = 2.0 * np.pi * rng.random(count)
        x, y = (
            np.where(moved, centre[host] + distance * step(angle), centre)
            for centre, step in ((x, np.cos), (y, np.sin))
        )
    return galaxies.replace(x=x, y=y)


def sample_boosted(
    rng: np.random.Generator, config: PopulationConfig, survey: "Survey", stamp_size: int, source: Any = None
) -> Sources:
    """A boosted scene's galaxies: a natural scene, and 1 to `boosted_groups_max` groups of galaxies that may overlap.

    A group is a galaxy with 1 to `boosted_companions_max` companions, or without any in a share
    `boosted_single_share` of the groups. The first one's magnitude is uniform between `boosted_magnitude_bright` and
    `boosted_magnitude_faint`, a companion is fainter by a uniform difference. Its separation from the first one, in
    units of the sum of the two half-light radii along the major axes, is uniform in its logarithm: companions inside
    the body of a large galaxy are as frequent as those at its edge. The first galaxy's centre is uniform over the
    stamp; companions may lie outside.
    """
    background = sample_natural(rng, config, survey, stamp_size, source)
    groups = int(rng.integers(1, config.boosted_groups_max + 1))
    first = rng.uniform(config.boosted_magnitude_bright, config.boosted_magnitude_faint, groups)
    companions = rng.integers(1, config.boosted_companions_max + 1, groups)
    host = np.repeat(np.arange(groups), np.where(rng.random(groups) < config.boosted_single_share, 0, companions))
    fainter = first[host] + rng.uniform(0.0, config.boosted_magnitude_difference, len(host))
    magnitudes = np.concatenate((first, fainter))
    galaxies = source.sample_like(rng, magnitudes) if source else sample_galaxies(rng, magnitudes)
    x, y = rng.uniform(-0.5, stamp_size - 0.5, (2, groups))
    semi_major = galaxies.half_light / np.sqrt((galaxies.flux_fraction * galaxies.axis_ratio).sum(axis=1))
    radius = (semi_major[host] + semi_major[groups:]) / survey.pixel_scale
    ends = np.log([config.boosted_separation_min, config.boosted_separation_max])
    distance = radius * np.exp(rng.uniform(*ends, len(host)))
    angle = 2.0 * np.pi * rng.random(len(host))
    galaxies = galaxies.replace(
        x=np.concatenate((x, x[host] + distance * np.cos(angle))),
        y=np.concatenate((y, y[host] + distance * np.sin(angle))),
    )
    return Sources.concatenate((galaxies, background))


def sample_bright(
    rng: np.random.Generator, config: PopulationConfig, survey: "Survey", stamp_size: int, source: Any = None
) -> Sources:
    """A bright scene's galaxies: a natural scene, and one more galaxy whose centre is uniform over the stamp.

    Its magnitude is uniform in `bright_range`. On the sky such galaxies are rare and fill their stamps; here arms and
    clumps are seen as often as that takes, with as many neighbours as the sky gives them. In a boosted scene a bright
    galaxy mostly has companions, and from those alone a network would learn that its clumps are such.
    """
    magnitude = rng.uniform(*config.bright_range, 1)
    galaxy = source.sample_like(rng, magnitude) if source else sample_galaxies(rng, magnitude)
    x, y = rng.uniform(-0.5, stamp_size - 0.5, (2, 1))
    background = sample_natural(rng, config, survey, stamp_size, source)
    return Sources.concatenate((galaxy.replace(x=x, y=y), background))


@dataclass(frozen=True)
class Population:
    """One population of scenes.

    Attributes:
      sample: (rng, config, survey, stamp_size, source) -> the galaxies of a scene; as `sample_natural` takes and
        returns them.
      note: a sentence for reports: what metrics on these scenes say of the sky.
      extra_star: whether a share `stars.boosted_share` of the scenes holds one more star, half of them near the first
        of the galaxies that `sample` returns.
    """

    sample: Callable[..., Sources]
    note: str
    extra_star: bool = False


# A new population is one more entry; `simulation.train_populations` and the like say how many scenes are of it. In
# that order the scenes of a split are given to the populations, so a new one comes last.
POPULATIONS = {
    "boosted": Population(
        sample_boosted,
        "Scenes with an added share of blends, on which differences show. Not what the sky holds.",
        extra_star=True,
    ),
    "natural": Population(sample_natural, "Scenes at the density of galaxies on the sky: what a survey would meet."),
    "bright": Population(
        sample_bright, "Natural scenes with one more galaxy, a bright one. Any blends are those of the sky."
    ),
}
CALIBRATED = "natural"  # the population for which exported probabilities are calibrated
LISTED = "boosted"  # the population whose metrics stand in lists of versions: it holds the most blends


def check_populations(names: Iterable[str], where: str) -> None:
    """Raises ConfigError where a name is not that of a population; `where` stands first in the message."""
    for name in names:
        if name not in POPULATIONS:
            raise ConfigError(f"{where}: received {name!r}; allowed: {', '.join(POPULATIONS)}")


def population_at(shares: Mapping[str, float], place: int) -> str:
    """The population of the scene at a place (0, 1, ...) of a split.

    The populations take their turns in the order of `POPULATIONS`: the first one's scenes are spread evenly over the
    split, their number rounded down, those of the next one evenly over the places that are left, and so on; the last
    one has the rest.

    Args:
      shares: of the split's scenes, by population; they sum to 1.
    """
    present = [name for name in POPULATIONS if shares.get(name, 0.0) > 0.0]
    left = 1.0
    for name in present[:-1]:
        share = shares[name] / left
        before = int(place * share)
        if int((place + 1) * share) > before:
            return name
        place, left = place - before, left - shares[name]
    return present[-1]
