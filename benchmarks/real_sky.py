"""How a pushed model fares on what a simulator leaves out: real galaxies, stars, correlated noise, large galaxies.

    python benchmarks/real_sky.py MODEL --stamps FOLDER [--half open|hidden|all] [--scenes 200] [--json FILE]
        [--blends-as boosted]

FOLDER holds `stamps.fits`, one denoised galaxy an HDU, and `catalog.csv` with `hdu`, `good`, `pixel_scale`, `psf_fwhm`
and `r50_arcsec`. Real galaxies come in pairs of scenes that differ in morphology alone: the same positions, magnitudes,
sizes and noise, once with stamps and once with exponential disks. The stamps are a yardstick: never train on them. In
half of the pairs every galaxy overlaps another; the exported odds are those of the sky, where that is rare, and
`--blends-as` gives these pairs the odds of another population.
"""

import argparse
import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from blendinator.components.calibration_evaluator.scoring import Sampler
from blendinator.config import SimulationConfig, StructureConfig
from blendinator.data.observing import unit_noise
from blendinator.data.population import (
    CALIBRATED,
    EXPONENTIAL_HALF_LIGHT,
    POPULATIONS,
    median_disk_scale,
    sample_galaxies,
)
from blendinator.data.scene import Simulator
from blendinator.data.sources import Sources
from blendinator.data.stars import Optics
from blendinator.data.structure import add_structure
from blendinator.data.survey import Survey, get_survey
from blendinator.errors import BlendinatorError, DataError
from blendinator.model.client import Segmenter
from blendinator.model.metrics.aggregate import aggregate
from blendinator.model.metrics.scenes import concatenate, scene_statistics
from blendinator.model.pushed import find_model

SIDE = 64  # pixels of a stamp
SAMPLES, BATCH = 16, 50
FALSE_PIXELS = 5  # falsely blended pixels from which on a scene or a group of pixels counts as a false blend
STAR_PIXELS = 3  # the same for a star, whose core is small
SHARPEST = 0.15  # arcsec, FWHM that a shrunk stamp may bring along: below the survey's, so that the rest can be added
MAGNITUDES = (20.0, 24.5)  # of the galaxies in the pairs
STARS = (19.0, 21.0, 23.0, 24.5)
CORRELATIONS = (0.0, 0.5, 0.7, 1.0)  # sigma of the noise's Gaussian kernel in pixels
LARGE, LARGE_COUNT = (16.0, 20.0), 500  # magnitudes, and galaxies of each kind
FIELD, FIELD_CELL, FIELD_CELLS = (18.0, 20.0), 256, 5  # one galaxy a cell of so many pixels, 5 x 5 of them
METRICS = {
    "iou_galaxy": "galaxy IoU",
    "iou_blended": "blended IoU",
    "ece_near_sources": "ECE near sources",
    "coverage_galaxy_area_68": "cov68 of the galaxy area",
    "coverage_blended_area_68": "cov68 of the blended area",
}


@dataclass(frozen=True)
class Stamp:
    """A real galaxy: flux per pixel [h, w], pixel scale, FWHM of its own PSF and half-light radius in arcsec."""

    image: np.ndarray
    pixel_scale: float
    psf_fwhm: float
    half_light: float


def read_stamps(folder: str | Path, half: str = "all") -> list[Stamp]:
    """The good stamps of a folder: those of even HDUs ("open"), of odd ones ("hidden"), or "all".

    Raises:
      DataError: a file is missing, or no stamp is left.
    """
    from astropy.io import fits

    folder = Path(folder)
    for name in ("catalog.csv", "stamps.fits"):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name}: this file does not exist. Give the folder of the real galaxies' stamps as --stamps."
            )
    parities = {"open": (0,), "hidden": (1,), "all": (0, 1)}[half]
    with open(folder / "catalog.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["good"] == "True" and float(row["pixel_scale"]) > 0.0]
    with fits.open(folder / "stamps.fits") as hdus:
        stamps = [
            Stamp(
                np.ascontiguousarray(hdus[int(row["hdu"])].data, float),
                *(float(row[name]) for name in ("pixel_scale", "psf_fwhm", "r50_arcsec")),
            )
            for row in rows
            if int(row["hdu"]) % 2 in parities
        ]
    if not stamps:
        raise DataError(f"{folder / 'catalog.csv'}: no row of the {half} half is good and has a pixel scale")
    return stamps


class LargeGalaxies(Simulator):
    """Galaxies of the default survey through its mean PSF, one at a time."""

    def render_each(self, rng: np.random.Generator, galaxies: Sources, size: int, structure: float) -> np.ndarray:
        """Electrons of each galaxy alone [G, size, size]; all are given structure if `structure` is 1."""
        fwhm = self.survey.psf_fwhm
        extent = self._extent(galaxies, fwhm, self.sky_sigma)
        config = StructureConfig(share=structure, faintest=32.0)
        galaxies = add_structure(rng, galaxies, extent * self.survey.pixel_scale, config)
        psf = [np.full(len(galaxies), value) for value in (fwhm, 0.0, 0.0)]
        return self.render(galaxies, extent, psf, [Optics(0.0, 0.5)] * len(galaxies), size)


def sample_pairs(stamps: list[Stamp], survey: Survey, count: int, blends: bool, seed: int) -> dict[str, tuple]:
    """Pairs of scenes: one galaxy well inside the stamp, or two to four that overlap.

    Returns:
      By kind, "smooth" and "real": images [count, SIDE, SIDE] in electrons, and their class maps.

    Raises:
      DataError: no stamp can be shrunk to the sizes of the sky and be sharper than the survey.
    """
    rng = np.random.default_rng((seed, int(blends)))
    scenes = {"smooth": [], "real": []}
    for _ in range(count):
        layers = {"smooth": [], "real": []}
        first = rng.uniform(SIDE / 2 - 10, SIDE / 2 + 10, 2)
        for member in range(int(rng.integers(2, 5)) if blends else 1):
            turn = rng.uniform(0.0, 2.0 * np.pi)
            offset = rng.uniform(4.0, 16.0) * np.array((np.cos(turn), np.sin(turn))) if member else 0.0
            for kind, galaxy in _twins(rng, stamps, survey).items():
                layers[kind].append(_render(galaxy, *(first + offset), survey))
        noise = rng.standard_normal((SIDE, SIDE))
        for kind, parts in layers.items():
            scenes[kind].append(_observe(np.array(parts), noise, survey))
    return {kind: tuple(np.stack(parts) for parts in zip(*pairs)) for kind, pairs in scenes.items()}


def _twins(rng, stamps, survey):
    """One galaxy, from a real stamp and as an exponential disk of its size, as GalSim sees them through the PSF."""
    import galsim

    for _ in range(100):
        magnitude = rng.uniform(*MAGNITUDES)
        radius = EXPONENTIAL_HALF_LIGHT * median_disk_scale(magnitude) * rng.lognormal(0.0, 0.3)
        sharp = [stamp for stamp in stamps if stamp.psf_fwhm * radius / stamp.half_light <= SHARPEST]
        if sharp:
            break
    else:
        raise DataError(
            f"no stamp has a PSF below {SHARPEST} arcsec when it is shrunk to a galaxy of magnitude {MAGNITUDES[0]:g} "
            f"to {MAGNITUDES[1]:g}. Give larger or sharper stamps."
        )
    stamp = sharp[rng.integers(len(sharp))]
    shrink, flux = radius / stamp.half_light, survey.flux(magnitude)
    turn, axis_ratio = rng.uniform(0.0, 2.0 * np.pi) * galsim.radians, rng.uniform(0.4, 1.0)
    image = galsim.Image(stamp.image, scale=stamp.pixel_scale)
    real = galsim.InterpolatedImage(image, normalization="flux").dilate(shrink).rotate(turn).withFlux(flux)
    smooth = galsim.Exponential(half_light_radius=radius, flux=flux).shear(q=axis_ratio, beta=turn)
    rest = math.sqrt(survey.psf_fwhm**2 - (stamp.psf_fwhm * shrink) ** 2)
    return {
        "smooth": galsim.Convolve(smooth, galsim.Gaussian(fwhm=survey.psf_fwhm)),
        "real": galsim.Convolve(real, galsim.Gaussian(fwhm=rest)),
    }


def _render(profile, x, y, survey):
    import galsim

    image = galsim.Image(SIDE, SIDE, scale=survey.pixel_scale, dtype=float)
    return profile.drawImage(image, center=galsim.PositionD(x + 1.0, y + 1.0)).array


def _observe(layers, noise, survey):
    """Image and class map of sources [G, SIDE, SIDE] with unit noise [SIDE, SIDE]."""
    clean = layers.sum(axis=0)
    image = clean + noise * np.sqrt(survey.sky_sigma**2 + np.maximum(clean, 0.0))
    return image.astype(np.float32), np.minimum((layers > survey.sky_sigma).sum(axis=0), 2).astype(np.uint8)


def sample_stars(survey: Survey, magnitude: float, count: int, seed: int) -> np.ndarray:
    """Images [count, SIDE, SIDE] of single stars with the sharp diffraction pattern of one wavelength."""
    import galsim

    rng = np.random.default_rng((seed, int(10 * magnitude)))
    pattern = galsim.OpticalPSF(
        lam_over_diam=survey.airy_scale,
        obscuration=survey.obscuration,
        nstruts=survey.struts,
        strut_thick=survey.strut_thickness,
        flux=survey.flux(magnitude),
    )
    positions = rng.uniform(SIDE / 2 - 8, SIDE / 2 + 8, (count, 2))
    return np.stack(
        [
            _observe(_render(pattern, x, y, survey)[None], rng.standard_normal((SIDE, SIDE)), survey)[0]
            for x, y in positions
        ]
    )


def sample_large(rng: np.random.Generator, count: int, magnitudes: tuple[float, float], structure: float) -> Sources:
    """Galaxies at (0, 0) of magnitudes uniform in a range: single Sersic profiles, or a share of structured ones."""
    galaxies = sample_galaxies(rng, rng.uniform(*magnitudes, count))
    if structure:
        return galaxies
    single = np.tile((1.0, 0.0), (count, 1))
    index = np.stack((rng.choice((1.0, 2.0, 4.0), count), np.ones(count)), axis=1)
    return galaxies.replace(flux_fraction=single, sersic_index=index)


def predict(sampler: Sampler, images: np.ndarray, population: str = CALIBRATED):
    """Batches of (slice, samples, probabilities) at a population's odds."""
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        yield part, *sampler.sample(images[part][..., None], SAMPLES, 1, [population] * len(images[part]))


def judge_pairs(
    sampler: Sampler, images: np.ndarray, truth: np.ndarray, population: str = CALIBRATED
) -> dict[str, float | None]:
    """`METRICS` of the scenes at a population's odds, and the share of them with false blends."""
    blocks, false = [], []
    for part, samples, probabilities in predict(sampler, images, population):
        names = np.array([f"{i:06d}" for i in range(part.start, part.start + len(samples))])
        blocks.append(scene_statistics(truth[part], samples, probabilities, names))
        false.append(false_pixels(probabilities, truth[part]))
    values = aggregate(concatenate(blocks))
    result = {name: values[name] for name in METRICS}
    if not (truth == 2).any():  # every blended pixel is a false one, which `false_blends` says
        result["iou_blended"] = result["coverage_blended_area_68"] = math.nan
    result["false_blends"] = float((np.concatenate(false) >= FALSE_PIXELS).mean())
    return {name: None if math.isnan(value) else round(value, 4) for name, value in result.items()}


def false_pixels(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels of each scene whose most probable class is blended and whose truth is not [B]."""
    return ((probabilities.argmax(-1) == 2) & (truth != 2)).sum(axis=(1, 2))


def count_sources(sampler: Sampler, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each scene that are called a source, and those that are called blended [B]."""
    maps = np.concatenate([probabilities.argmax(-1) for _, _, probabilities in predict(sampler, images)])
    return (maps > 0).sum(axis=(1, 2)), (maps == 2).sum(axis=(1, 2))


def judge_large(
    sampler: Sampler, simulator: LargeGalaxies, structure: float, magnitudes: tuple[float, float], seed: int
) -> float:
    """Share of `LARGE_COUNT` galaxies, each alone in a stamp, that come out with false blends."""
    rng = np.random.default_rng((seed, int(10 * structure)))
    galaxies = sample_large(rng, LARGE_COUNT, magnitudes, structure)
    x, y = rng.uniform(SIDE / 2 - 10, SIDE / 2 + 10, (2, LARGE_COUNT))
    stamps = simulator.render_each(rng, galaxies.replace(x=x, y=y), SIDE, structure)
    scenes = [_observe(stamp[None], rng.standard_normal((SIDE, SIDE)), simulator.survey) for stamp in stamps]
    _, blended = count_sources(sampler, np.stack([image for image, _ in scenes]))
    return float((blended >= FALSE_PIXELS).mean())


def judge_field(model: str | Path, simulator: LargeGalaxies, structure: float, seed: int) -> float:
    """False blends per galaxy: connected blended pixels on a field whose galaxies are far from each other."""
    rng = np.random.default_rng((seed, 1, int(10 * structure)))
    galaxies = sample_large(rng, FIELD_CELLS**2, FIELD, structure)
    middle = np.full(len(galaxies), (FIELD_CELL - 1) / 2.0)
    cells = simulator.render_each(rng, galaxies.replace(x=middle, y=middle), FIELD_CELL, structure)
    shape = (FIELD_CELLS, FIELD_CELLS, FIELD_CELL, FIELD_CELL)
    clean = cells.reshape(shape).transpose(0, 2, 1, 3).reshape(2 * (FIELD_CELLS * FIELD_CELL,))
    noise = rng.standard_normal(clean.shape) * np.sqrt(simulator.survey.sky_sigma**2 + np.maximum(clean, 0.0))
    found = Segmenter.load(model).sample((clean + noise).astype(np.float32), SAMPLES).class_map == 2
    labels, _ = ndimage.label(found, structure=np.ones((3, 3)))
    return float((np.bincount(labels.ravel())[1:] >= FALSE_PIXELS).sum() / len(galaxies))


def judge(model: str | Path, stamps: list[Stamp], scenes: int, seed: int, blends_as: str = CALIBRATED) -> dict:
    """All figures of a pushed model, as --json writes them; `blends_as`: the population whose odds the blends get."""
    survey, simulator, sampler = get_survey("euclid_wide"), LargeGalaxies(SimulationConfig()), Sampler(str(model))
    result = {"model": str(model), "stamps": len(stamps), "scenes": scenes, "blends_as": blends_as}
    result |= {"pairs": {}, "stars": {}, "noise": {}}
    for name, blends in (("single", False), ("blends", True)):
        pairs = sample_pairs(stamps, survey, scenes, blends, seed)
        population = blends_as if blends else CALIBRATED
        result["pairs"][name] = {kind: judge_pairs(sampler, *pair, population) for kind, pair in pairs.items()}
    for magnitude in STARS:
        _, blended = count_sources(sampler, sample_stars(survey, magnitude, max(scenes // 5, 1), seed))
        result["stars"][f"{magnitude:g}"] = float((blended >= STAR_PIXELS).mean())
    for correlation in CORRELATIONS:
        rng = np.random.default_rng((seed, int(10 * correlation)))
        noise = np.stack([unit_noise(rng, SIDE, correlation) for _ in range(scenes)])
        result["noise"][f"{correlation:g}"] = float(count_sources(sampler, noise * survey.sky_sigma)[0].mean())
    kinds = {"single Sersic": 0.0, "structured": 1.0}
    result["large"] = {name: judge_large(sampler, simulator, share, LARGE, seed) for name, share in kinds.items()}
    result["field"] = {name: judge_field(model, simulator, share, seed) for name, share in kinds.items()}
    return result


def show(result: dict) -> None:
    """Prints the figures as tables."""
    from rich.console import Console
    from rich.table import Table

    labels = METRICS | {"false_blends": f"scenes with {FALSE_PIXELS} or more falsely blended pixels"}
    pairs = Table("", "single: smooth", "real", "blends: smooth", "real", title=f"{result['scenes']} pairs of scenes")
    for key, label in labels.items():
        values = [result["pairs"][name][kind][key] for name in ("single", "blends") for kind in ("smooth", "real")]
        pairs.add_row(label, *("" if value is None else f"{value:.3f}" for value in values))
    others = Table("", "", "", title="What is not there")
    for magnitude, share in result["stars"].items():
        others.add_row(f"stars of {magnitude} mag", "called blended", f"{share:.0%}")
    for correlation, count in result["noise"].items():
        others.add_row(f"noise correlated by {correlation} pixels", "false pixels per scene", f"{count:.2f}")
    for name, share in result["large"].items():
        others.add_row(f"{name} of {LARGE[0]:g} to {LARGE[1]:g} mag", "with a false blend", f"{share:.1%}")
    for name, count in result["field"].items():
        others.add_row(f"{name} of {FIELD[0]:g} to {FIELD[1]:g} mag, field", "false blends a galaxy", f"{count:.2f}")
    console = Console()
    console.print(pairs)
    console.print(others)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a pushed version, or of all versions")
    parser.add_argument("--stamps", required=True, help="folder of stamps.fits and catalog.csv")
    parser.add_argument("--half", choices=("open", "hidden", "all"), default="all")
    parser.add_argument("--scenes", type=int, default=200, help="pairs of each sort")
    parser.add_argument("--blends-as", default=CALIBRATED, choices=tuple(POPULATIONS), help="odds of the blends")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    try:
        stamps = read_stamps(options.stamps, options.half)
        result = judge(find_model(options.model), stamps, options.scenes, options.seed, options.blends_as)
    except BlendinatorError as error:
        raise SystemExit(f"{error}")
    show(result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
