"""One scene, a pure function of (configuration, span, scene number).

`Simulator.sample` fixes the parameters (PSF and galaxies), `Simulator.scenes` renders a batch of scenes to records.
Every scene has a random stream of its own, seeded by (seed, span, number).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blendinator.config import SimulationConfig
from blendinator.data.fourier_renderer import FourierRenderer
from blendinator.data.galsim_renderer import GalSimRenderer
from blendinator.data.observing import observe_one, sample_draws, unit_noise
from blendinator.data.population import POPULATIONS, check_populations, population_at
from blendinator.data.profiles import Psf, sersic_extent
from blendinator.data.sources import GALAXY, NO_STAMP, STAR, Sources
from blendinator.data.spans import SPLITS
from blendinator.data.stamps import StampRenderer
from blendinator.data.stars import FAINTEST, Optics, StarRenderer, points, sample_stars, saturate
from blendinator.data.structure import add_structure
from blendinator.data.summary import summarize
from blendinator.data.survey import get_survey
from blendinator.errors import ConfigError, DataError

SHEAR_CLIP = 3.0  # scatter of the PSF's shear is cut at this many sigma
SPIKES = 2.0  # a spike reaches this many times as far as the wings' mean


@dataclass(frozen=True)
class Parameters:
    """What a scene is made of, before rendering.

    Attributes:
      number: of the scene in its span.
      population: one of `population.POPULATIONS`.
      fwhm: of the scene's PSF, arcsec; g1, g2: its shear.
      sky_sigma: of the scene's noise without the sources', electrons per pixel.
      noise_correlation: sigma of the noise's Gaussian kernel in pixels; 0 is white noise.
      optics: what stars show of the telescope.
      sources: those whose light reaches the stamp; extent: how far each one's does, in pixels [G].
      rng: the scene's stream, from which its noise is still to be drawn.
    """

    number: int
    population: str
    fwhm: float
    g1: float
    g2: float
    sky_sigma: float
    noise_correlation: float
    optics: Optics
    sources: Sources
    extent: np.ndarray
    rng: np.random.Generator


def split_sizes(config: SimulationConfig) -> dict[str, int]:
    """Number of scenes of each split, in the order in which they are numbered: train 0.., calibration, test."""
    return {split: getattr(config, f"{split}_scenes") for split in SPLITS}


def split_start(config: SimulationConfig, split: str) -> int:
    """Number of a split's first scene."""
    sizes = split_sizes(config)
    return sum(sizes[name] for name in SPLITS[: SPLITS.index(split)])


def population_of(config: SimulationConfig, number: int) -> str:
    """Population of a scene; within a split they are spread evenly, see `population.population_at`.

    Raises:
      DataError: the span has no such scene.
    """
    place = number
    for split, size in split_sizes(config).items():
        if 0 <= place < size:
            return population_at(getattr(config, f"{split}_populations"), place)
        place -= size
    raise DataError(
        f"scene {number}: the span has no such scene; allowed: 0 to {sum(split_sizes(config).values()) - 1}"
    )


def read_libraries(config: SimulationConfig) -> dict:
    """`source` and `stamps` of a `Simulator`, as far as the configuration names files for them."""
    found: dict[str, Any] = {}
    survey = get_survey(config.survey)
    if config.catalog:
        from blendinator.data.catalog import read_catalog  # astropy's tables take a second to import

        found["source"] = read_catalog(config.catalog, survey.pixel_scale)
    if config.stamps:
        from blendinator.data.stamps import read_stamps

        found["stamps"] = read_stamps(config.stamps, survey.psf_fwhm * config.psf_scale)
    return found


class Simulator:
    """Samples and renders the scenes of a configuration.

    It holds tables only, so any number of them gives the same scenes.

    Args:
      config: the settings.
      source: a `blendinator.data.catalog.Catalog` to draw galaxies from, by default the analytic population.
      stamps: a `blendinator.data.stamps.Stamps` to render galaxies from, by default their profiles.
      renderer: draws the galaxies; by default the one that the configuration names.

    Raises:
      ConfigError: the configuration names a population that there is not, or a survey of several bands.
    """

    def __init__(self, config: SimulationConfig, source: Any = None, renderer: Any = None, stamps: Any = None) -> None:
        for split in SPLITS:
            check_populations(getattr(config, f"{split}_populations"), f"simulation.{split}_populations")
        self.config, self.source, self._stamps = config, source, stamps
        self.survey = get_survey(config.survey)
        if len(self.survey.bands) > 1:
            raise ConfigError(
                f"simulation.survey: {config.survey} has the bands {', '.join(self.survey.bands)}; allowed: a survey "
                "of one band, which is all that is rendered"
            )
        self.sky_sigma = self.survey.sky_sigma * config.noise_scale
        self.psf = Psf(self.survey, config.psf_profile, config.psf_moffat_beta)
        self._renderer = renderer or self._make_renderer()
        self._star_renderer = StarRenderer(self.psf)
        self._stamp_renderer = StampRenderer(stamps, self.survey.pixel_scale) if stamps else None
        # Rounding to a power of two below 1/64 sigma makes the files several times smaller and adds an error of at
        # most 1/128 sigma per pixel.
        self.quantum = 2.0 ** np.floor(np.log2(self.sky_sigma / 64.0))

    @classmethod
    def configured(cls, config: SimulationConfig) -> "Simulator":
        """With the catalogue and the library of stamps that the configuration names, if there are any."""
        return cls(config, **read_libraries(config))

    def sample(self, span: int, number: int) -> Parameters:
        """The parameters of a scene."""
        config = self.config
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((config.seed, span, number))))
        population = population_of(config, number)
        fwhm = self.survey.psf_fwhm * config.psf_scale * rng.uniform(*config.psf_range)
        g1, g2 = config.psf_ellipticity_scatter * np.clip(rng.standard_normal(2), -SHEAR_CLIP, SHEAR_CLIP)
        sky_sigma = self.sky_sigma * np.exp(rng.uniform(*np.log(config.noise_range)))
        white, correlation = rng.random() < config.white_noise_share, rng.uniform(*config.noise_correlation)
        optics = Optics(float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.random()))
        galaxies = POPULATIONS[population].sample(rng, config.population, self.survey, config.stamp_size, self.source)
        sources = Sources.concatenate([galaxies, *self._stars(rng, population, galaxies)])
        extent = self._extent(sources, fwhm, sky_sigma)
        outside_x, outside_y = (
            np.maximum(np.abs(c - (config.stamp_size - 1) / 2) - config.stamp_size / 2, 0.0)
            for c in (sources.x, sources.y)
        )
        seen = np.hypot(outside_x, outside_y) < extent
        sources, extent = sources.take(seen), extent[seen]
        sources = self._dress(rng, sources, extent, fwhm)
        return Parameters(
            number=number,
            population=population,
            fwhm=float(fwhm),
            g1=float(g1),
            g2=float(g2),
            sky_sigma=float(sky_sigma),
            noise_correlation=0.0 if white else float(correlation),
            optics=optics,
            sources=sources,
            extent=extent,
            rng=rng,
        )

    def _dress(self, rng: np.random.Generator, sources: Sources, extent: np.ndarray, fwhm: float) -> Sources:
        """The galaxies with what makes them more than ellipses: stamps, or structure."""
        config = self.config
        if self._stamps:
            sources = self._stamps.choose(rng, sources, fwhm, config.stamps_share, config.stamps_faintest)
        return add_structure(rng, sources, extent * self.survey.pixel_scale, config.structure)

    def scenes(self, span: int, numbers: Iterable[int]) -> list[dict]:
        """Scenes as `blendinator.data.records.encode` takes them."""
        drawn = [self.sample(span, number) for number in numbers]
        counts = [len(scene.sources) for scene in drawn]
        stamps = self._render(drawn, counts)
        ends = np.cumsum(counts)
        return [self._record(span, scene, stamps[end - count : end]) for scene, count, end in zip(drawn, counts, ends)]

    def isolated_images(self, span: int, number: int) -> tuple[Parameters, np.ndarray]:
        """A scene's parameters, and each source alone and without noise, float32 [G, S, S] in electrons per pixel."""
        scene = self.sample(span, number)
        return scene, self._render([scene], [len(scene.sources)])

    def _render(self, drawn: Sequence[Parameters], counts: Sequence[int]) -> np.ndarray:
        """Every source of these scenes alone, float32 [G, S, S]."""
        sources = Sources.concatenate([scene.sources for scene in drawn])
        psf = [np.repeat([getattr(scene, name) for scene in drawn], counts) for name in ("fwhm", "g1", "g2")]
        extent = np.concatenate([scene.extent for scene in drawn])
        optics = [scene.optics for scene, count in zip(drawn, counts) for _ in range(count)]
        return self.render(sources, extent, psf, optics, self.config.stamp_size)

    def render(
        self, sources: Sources, extent: np.ndarray, psf: Sequence[np.ndarray], optics: list[Optics], size: int
    ) -> np.ndarray:
        """Electrons per pixel of each source alone, float32 [G, size, size], each kind by its renderer.

        Args:
          extent: as `FourierRenderer.render` takes it [G].
          psf: FWHM (arcsec), g1 and g2 at each source, three arrays [G].
          optics: at each source.
        """
        flux = self.survey.flux(sources.magnitude)
        stamps = np.zeros((len(sources), size, size), np.float32)
        rows = np.flatnonzero((sources.kind == GALAXY) & (sources.stamp == NO_STAMP))
        if rows.size:
            stamps[rows] = self._renderer.render(
                sources.take(rows), flux[rows], extent[rows], *(values[rows] for values in psf), size
            )
        rows = np.flatnonzero(sources.stamp != NO_STAMP)
        if rows.size and self._stamp_renderer:
            fwhm, g1, g2 = (values[rows] for values in psf)
            stamps[rows] = self._stamp_renderer.render(sources.take(rows), flux[rows], fwhm, g1, g2, size)
        rows = np.flatnonzero(sources.kind == STAR)
        if rows.size:
            stamps[rows] = self._star_renderer.render(
                sources.x[rows], sources.y[rows], flux[rows], psf[0][rows], [optics[row] for row in rows], size
            )
        return stamps

    def _stars(self, rng: np.random.Generator, population: str, galaxies: Sources) -> Iterator[Sources]:
        """The sky's stars, and where the population asks for it one more, half of them near one of the galaxies."""
        config, size = self.config.stars, self.config.stamp_size
        if not config.density_scale:
            return
        scale = self.survey.pixel_scale
        yield sample_stars(rng, config, size, scale, self.config.population.margin / scale)
        if POPULATIONS[population].extra_star and rng.random() < config.boosted_share:
            x, y = rng.uniform(-0.5, size - 0.5, 2)
            magnitude = rng.uniform(config.magnitude_bright, FAINTEST)
            if len(galaxies) and rng.random() < 0.5:  # the first galaxies are those of the groups
                distance, angle = 2.0 / scale * np.sqrt(rng.random()), 2.0 * np.pi * rng.random()
                x, y = galaxies.x[0] + distance * np.cos(angle), galaxies.y[0] + distance * np.sin(angle)
            yield points([x], [y], [magnitude])

    def _record(self, span: int, scene: Parameters, stamps: np.ndarray) -> dict[str, Any]:
        size = self.config.stamp_size
        light = stamps.sum(axis=0) if len(stamps) else np.zeros((size, size), np.float32)
        noise_free = saturate(light, self.survey.saturation)
        owned = stamps > np.float32(self.config.truth_threshold * scene.sky_sigma)
        mask = np.minimum(owned.sum(axis=0), 2)
        draws = sample_draws(scene.rng, unit_noise(scene.rng, size, scene.noise_correlation))
        return {
            # The bands are the last axis of a record's images; one is rendered.
            "image": self._round(observe_one(noise_free, scene.sky_sigma, draws, self.config.defects))[..., None],
            "noise_free": self._round(noise_free)[..., None],
            "mask": mask,
            "scene_id": f"{span}:{scene.number}",
            "population": scene.population,
            "blended_share": float(np.mean(mask == 2)),
            "sky_sigma": scene.sky_sigma,
            "psf_fwhm": scene.fwhm,
            "noise_correlation": scene.noise_correlation,
            **summarize(scene.sources, stamps, owned, scene.sky_sigma, self.survey.pixel_scale),
        }

    def _round(self, image: np.ndarray) -> np.ndarray:
        return (np.rint(image / self.quantum) * self.quantum).astype(np.float32)

    def _extent(self, sources: Sources, fwhm: float, sky_sigma: float) -> np.ndarray:
        """Distance in pixels beyond which a source gives less than `render_level` sky sigma per pixel [G]."""
        scale = self.survey.pixel_scale
        level = self.config.render_level * sky_sigma / scale**2
        flux = self.survey.flux(sources.magnitude)
        parts = sersic_extent(
            flux[:, None] * sources.flux_fraction, sources.radius, sources.sersic_index, sources.axis_ratio, level
        )
        # A PSF spreads the light of a point: Gaussian core, and the r^-3 wings of a diffraction pattern.
        core = 2.0 * fwhm
        wings = 0.0
        if self.config.psf_profile == "airy_gaussian":
            wings = np.cbrt(flux * self.survey.airy_scale / (np.pi**3 * (1.0 - self.survey.obscuration)) / level)
            wings = np.where(sources.kind == STAR, SPIKES, 1.0) * wings
        return (np.maximum(parts.max(axis=1), wings) + core) / scale + 1.0

    def _make_renderer(self) -> Any:
        if self.config.renderer == "galsim":
            return GalSimRenderer(self.psf)
        return FourierRenderer(self.psf)
