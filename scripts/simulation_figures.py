"""The pictures of docs/simulations.md, which `scripts/pictures.py` makes."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from blendinator.config import SimulationConfig, StructureConfig
from blendinator.data import population
from blendinator.data.classes import CLASSES
from blendinator.data.profiles import Psf
from blendinator.data.records import first_band
from blendinator.data.scene import Simulator
from blendinator.data.show import show_scene
from blendinator.data.stars import Optics, points
from blendinator.data.structure import add_structure
from blendinator.data.survey import get_survey


def scenes(path):
    """Scenes of both populations and of the three surveys, each with its truth."""
    rows = [
        ("boosted", SimulationConfig(train_populations={"boosted": 1.0})),
        ("natural", SimulationConfig(train_populations={"natural": 1.0})),
        ("natural, Euclid deep", SimulationConfig(train_populations={"natural": 1.0}, survey="euclid_deep")),
        ("boosted, LSST i", SimulationConfig(train_populations={"boosted": 1.0}, survey="lsst_i")),
    ]
    figure, axes = plt.subplots(
        len(rows),
        10,
        figsize=(15, 7.2),
        gridspec_kw={"wspace": 0.04, "hspace": 0.24, "left": 0.01, "right": 0.99, "bottom": 0.01, "top": 0.95},
    )
    for line, (title, config) in zip(axes, rows):
        for i, scene in enumerate(Simulator(config).scenes(1, range(5))):
            image, sky_sigma = first_band(scene)
            line[2 * i].imshow(np.arcsinh(image / sky_sigma), cmap="gray", vmin=-1.5, vmax=4.5, origin="lower")
            line[2 * i + 1].imshow(
                scene["mask"],
                cmap=ListedColormap([one.color for one in CLASSES]),
                vmin=0,
                vmax=2,
                origin="lower",
                interpolation="nearest",
            )
        line[0].set_title(title, fontsize=10, loc="left")
    for axis in axes.flat:
        axis.axis("off")
    figure.savefig(path, dpi=80)


def structure(path, size=64):
    """Bright galaxies with and without their structure, and stars, each alone with noise."""
    simulator = Simulator(SimulationConfig())
    rng = np.random.default_rng(5)
    count, middle = 10, (size - 1) / 2
    galaxies = population.sample_galaxies(rng, rng.uniform(19.5, 22.0, count))
    galaxies = galaxies.replace(x=np.full(count, middle), y=np.full(count, middle))
    extent = np.full(count, 12.0)
    rows = [galaxies] + [
        add_structure(np.random.default_rng(seed), galaxies, extent, StructureConfig(share=1.0)) for seed in (1, 2, 3)
    ]
    stars = points(np.full(count, middle), np.full(count, middle), np.linspace(16.5, 23.7, count))
    optics = [Optics(angle, blur) for angle, blur in rng.random((count, 2)) * (2 * np.pi, 1.0)]
    figure, axes = plt.subplots(
        len(rows) + 1,
        count,
        figsize=(15, 8.6),
        gridspec_kw={"wspace": 0.04, "hspace": 0.24, "left": 0.01, "right": 0.99, "bottom": 0.01, "top": 0.96},
    )
    titles = ("smooth", "three draws of structure for the same galaxies", "", "", "stars of magnitude 16.5 to 23.7")
    for line, sources, title in zip(axes, [*rows, stars], titles):
        psf = [np.full(count, value) for value in (simulator.survey.psf_fwhm, 0.0, 0.0)]
        stamps = simulator.render(sources, extent / simulator.survey.pixel_scale, psf, optics, size)
        noise = rng.standard_normal(stamps.shape) * np.sqrt(simulator.sky_sigma**2 + stamps.clip(0.0))
        for axis, image in zip(line, stamps + noise):
            axis.imshow(np.arcsinh(image / simulator.sky_sigma), cmap="gray", vmin=-1.5, vmax=6.0, origin="lower")
            axis.axis("off")
        line[0].set_title(title, fontsize=10, loc="left")
    figure.savefig(path, dpi=80)


def psf(path):
    """Profiles and transforms of the surveys' PSFs."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    for name, color in (("euclid_wide", "C0"), ("lsst_i", "C1")):
        for profile, style in (("airy_gaussian", "-"), ("moffat", "--")):
            survey = get_survey(name)
            model = Psf(survey, profile)
            image = (
                model.galsim(survey.psf_fwhm, 0.0, 0.0)
                .drawImage(scale=survey.psf_fwhm / 20, nx=241, ny=241, method="no_pixel")
                .array
            )
            radius = np.arange(121) / 20 * survey.psf_fwhm
            label = f"{name}, {'Airy x Gaussian' if profile == 'airy_gaussian' else 'Moffat'}"
            axes[0].semilogy(radius, image[120, 120:] / image[120, 120], style, color=color, label=label)
            frequency = np.linspace(0.0, 1.5, 301)
            axes[1].semilogy(
                frequency, np.maximum(np.abs(model.fourier(frequency / survey.pixel_scale)), 1e-7), style, color=color
            )
    axes[0].axhline(0.5, color="0.8", zorder=0)
    axes[0].set(xlabel="radius [arcsec]", ylabel="surface brightness / peak", ylim=(1e-5, 1.2), xlim=(0, 2.5))
    axes[0].legend(fontsize=8)
    axes[1].axvline(0.5, color="0.8", zorder=0)
    axes[1].text(0.51, 3e-6, "Nyquist", color="0.5", fontsize=8)
    axes[1].set(xlabel="frequency [cycles per pixel]", ylabel="transform", ylim=(1e-6, 1.2))
    figure.savefig(path, dpi=80)


def populations(path, stamps=400):
    """What is drawn against the formulas, and how often galaxies are blended."""
    simulator = Simulator(SimulationConfig(stamp_size=128, train_scenes=stamps, train_populations={"natural": 1.0}))
    rows, area = [], stamps * (12.8 / 60) ** 2
    for number in range(stamps):
        scene, layers = simulator.isolated_images(1, number)
        owned = layers > simulator.sky_sigma
        blended = (owned & (owned.sum(axis=0) > 1)).any(axis=(1, 2))
        inside = (np.abs(scene.sources.x - 63.5) < 64) & (np.abs(scene.sources.y - 63.5) < 64)
        rows += list(zip(scene.sources.magnitude[inside], owned.sum(axis=(1, 2))[inside], blended[inside]))
    magnitude, pixels, blended = np.array(rows, float).T
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.2), layout="constrained")
    edges = np.arange(18.0, 27.01, 0.5)
    middle = (edges[1:] + edges[:-1]) / 2
    expected = np.diff(population.cumulative_counts(edges))
    axes[0, 0].semilogy(middle, expected, "k-", label="46 x 10^(0.31 (i - 25))")
    for use, label in (
        (magnitude > 0, "drawn, where light reaches a pixel"),
        (pixels >= 5, "with 5 or more truth pixels"),
    ):
        axes[0, 0].semilogy(middle, np.histogram(magnitude[use], edges)[0] / area, "o", ms=4, label=label)
    axes[0, 0].set(xlabel="i magnitude", ylabel="galaxies per arcmin^2 and 0.5 mag")
    axes[0, 0].legend(fontsize=8)
    rng = np.random.default_rng(1)
    for low, color in ((21.0, "C0"), (24.0, "C1"), (26.0, "C2")):
        drawn = population.sample_disk_scale(rng, np.full(50_000, low))
        axes[0, 1].hist(drawn, np.linspace(0, 2, 101), density=True, histtype="step", color=color, label=f"i = {low:g}")
        axes[0, 1].axvline(population.median_disk_scale(low), color=color, ls=":", lw=1)
    axes[0, 1].set(xlabel="disk scale length [arcsec] (dotted: the expected median)", ylabel="density")
    axes[0, 1].legend(fontsize=8)
    for sample, label in (
        (population.sample_axis_ratio, "axis ratio"),
        (population.sample_bulge_fraction, "bulge / total"),
    ):
        axes[1, 0].hist(sample(rng, 50_000), np.linspace(0, 1, 51), density=True, histtype="step", label=label)
    axes[1, 0].set(xlabel="axis ratio, bulge / total", ylabel="density")
    axes[1, 0].legend(fontsize=8)
    limits = np.arange(18.0, 27.01)
    share = [np.mean(blended[(pixels > 0) & (magnitude >= low) & (magnitude < low + 1)]) for low in limits[:-1]]
    axes[1, 1].bar(limits[:-1] + 0.5, share, 0.9, color="C1", label="drawn")
    axes[1, 1].plot([18, 22], [0.51, 0.51], "k-", lw=2, label="earlier study: 51 % (18-22), 11 % (24-25)")
    axes[1, 1].plot([24, 25], [0.11, 0.11], "k-", lw=2)
    axes[1, 1].set(xlabel="i magnitude", ylabel="share of galaxies with a blended pixel")
    axes[1, 1].legend(fontsize=8)
    figure.savefig(path, dpi=80)


def save_all(folder: Path) -> list[str]:
    """Draws all of them into a folder, and returns their names."""
    drawn = {
        "sim-scenes.png": scenes,
        "sim-structure.png": structure,
        "sim-psf.png": psf,
        "sim-populations.png": populations,
    }
    for name, draw in drawn.items():
        draw(folder / name)
    show_scene(SimulationConfig(train_populations={"boosted": 1.0}), "1:11", folder / "sim-one-scene.png")
    return [*drawn, "sim-one-scene.png"]
