"""The Fourier renderer against GalSim, and against itself in other batches."""

import dataclasses

import galsim
import numpy as np
import pytest

from blendinator.config import PopulationConfig, SimulationConfig, StructureConfig
from blendinator.data.galsim_renderer import GalSimRenderer
from blendinator.data.population import sample_galaxies
from blendinator.data.scene import Simulator
from blendinator.errors import DataError

SMOOTH = StructureConfig(share=0.0)
CASES = {
    "boosted": (SimulationConfig(train_populations={"boosted": 1.0}), 20),
    "smooth": (SimulationConfig(train_populations={"boosted": 1.0}, structure=SMOOTH), 10),
    "natural": (SimulationConfig(train_populations={"natural": 1.0}), 20),
    "large stamps": (SimulationConfig(stamp_size=128), 4),
    "Moffat": (SimulationConfig(psf_profile="moffat"), 8),
    "narrow, elliptical PSF": (SimulationConfig(psf_scale=0.5, psf_ellipticity_scatter=0.05, psf_range=(0.7, 1.3)), 4),
    "ground": (SimulationConfig(survey="lsst_i", population=PopulationConfig(magnitude_bright=21.0)), 8),
}


@pytest.mark.parametrize("case", CASES)
def test_agreement_with_galsim(case):
    """Within 0.2 sigma of the scene's noise at the worst pixel, and under 1 % of the truth's pixels differ."""
    config, scenes = CASES[case]
    fourier = Simulator(config)
    reference = Simulator(config, renderer=GalSimRenderer(fourier.psf))
    flips, drawn = 0, 0
    for number in range(scenes):
        (scene, stamps), (_, expected) = (simulator.isolated_images(1, number) for simulator in (fourier, reference))
        seen, reference_seen = (part.sum(axis=0, dtype=float) for part in (stamps, expected))
        noise = np.sqrt(scene.sky_sigma**2 + reference_seen.clip(0.0))
        assert (np.abs(seen - reference_seen) / noise).max(initial=0.0) < 0.2
        threshold = config.truth_threshold * scene.sky_sigma
        truth, other = (np.minimum((part > threshold).sum(axis=0), 2) for part in (stamps, expected))
        flips += np.count_nonzero(truth != other)
        drawn += np.count_nonzero(other)
    assert drawn > 100
    assert flips < 0.01 * scenes * config.stamp_size**2
    assert flips < 0.02 * drawn  # stricter: of the pixels that hold a galaxy


def test_batches_change_nothing():
    simulator = Simulator(SimulationConfig())
    together = simulator.scenes(1, range(40))
    apart = [simulator.scenes(1, [number])[0] for number in range(40)]
    for a, b in zip(together, apart):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def render_one(simulator, **changed):
    """One galaxy of 1000 electrons in the middle of a 33-pixel stamp."""
    galaxies = sample_galaxies(np.random.default_rng(0), np.array([20.0]))
    base = {
        "x": [16.0],
        "y": [16.0],
        "magnitude": [simulator.survey.magnitude(1000.0)],
        "flux_fraction": [[1.0, 0.0]],
        "radius": [[0.3, 0.3]],
        "sersic_index": [[1.0, 4.0]],
        "axis_ratio": [[1.0, 1.0]],
        "angle": [[0.0, 0.0]],
    }
    galaxies = galaxies.replace(**{name: np.array(value) for name, value in {**base, **changed}.items()})
    one = np.ones(1)
    return simulator._renderer.render(galaxies, 1000.0 * one, 20.0 * one, 0.17 * one, 0.0 * one, 0.0 * one, 33)[0]


def test_flux_centre_and_symmetry():
    image = render_one(Simulator(SimulationConfig()))
    assert image.sum() == pytest.approx(980.0, abs=10.0)  # the rest lies in the diffraction wings outside
    np.testing.assert_allclose(image, image[::-1, ::-1], atol=0.01)
    np.testing.assert_allclose(image, image.T, atol=0.01)
    assert np.unravel_index(image.argmax(), image.shape) == (16, 16)


def test_positions_and_angles_follow_x_and_y():
    simulator = Simulator(SimulationConfig())
    rows, columns = np.mgrid[:33, :33]
    moved = render_one(simulator, x=[18.25], y=[15.5])
    assert (moved * columns).sum() / moved.sum() == pytest.approx(18.25, abs=0.1)
    assert (moved * rows).sum() / moved.sum() == pytest.approx(15.5, abs=0.1)
    turned = render_one(simulator, axis_ratio=[[0.4, 1.0]], angle=[[np.pi / 2, 0.0]])
    assert (turned * (rows - 16) ** 2).sum() > 2 * (turned * (columns - 16) ** 2).sum()  # long along y


def test_a_bright_galaxy_outside_the_stamp_contributes():
    image = render_one(Simulator(SimulationConfig()), x=[-3.0])
    assert image[16, 0] > 5.0 and image[16, 0] > image[16, 3] > image[16, 8]


@pytest.mark.parametrize("index", [0.3, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("ratio", [0.12, 0.3, 1.0])
def test_the_stamp_s_size_changes_nothing(index, ratio):
    """A galaxy far larger than the stamp: other frequencies are summed, over a window that holds most of its light."""
    simulator = Simulator(SimulationConfig())
    flux, one = simulator.survey.flux(16.0), np.ones(1)
    shape = {"axis_ratio": [[ratio, ratio]], "angle": [[0.7, 0.7]], "radius": [[3.3, 2.0]]}
    galaxy = sample_galaxies(np.random.default_rng(0), np.array([16.0])).replace(
        **{name: np.array(value) for name, value in shape.items()},
        sersic_index=np.array([[index, 4.0]]),
        flux_fraction=np.array([[0.9, 0.1]]),
    )
    small, large = (
        simulator._renderer.render(
            galaxy.replace(x=(start + 20.0) * one, y=(start + 35.0) * one),
            flux * one,
            250.0 * one,
            0.16 * one,
            0.01 * one,
            0.005 * one,
            size,
        )[0]
        for start, size in ((0, 64), (128, 320))
    )
    large = large[128:192, 128:192]
    assert (np.abs(small - large) / np.sqrt(simulator.sky_sigma**2 + large)).max() < 0.05


def test_the_galsim_renderer_is_galsim():
    config = dataclasses.replace(SimulationConfig(), renderer="galsim")
    simulator = Simulator(config)
    profile = galsim.Exponential(half_light_radius=0.3, flux=1000.0)
    expected = galsim.Convolve(profile, simulator.psf.galsim(0.17, 0.0, 0.0)).drawImage(nx=33, ny=33, scale=0.1).array
    np.testing.assert_allclose(render_one(simulator), expected, atol=0.05)


def flat_bulge(simulator):
    """A very flat galaxy for which GalSim 2.8 gives NaN with its default grids."""
    shape = sample_galaxies(np.random.default_rng(0), np.array([20.0]))
    ratio, angle = [[0.16002355080195932] * 2], [[2.537973004686937] * 2]
    galaxies = shape.replace(
        x=np.array([-9.263496389737277]),
        y=np.array([62.977563348786646]),
        magnitude=np.array([23.666433912476993]),
        flux_fraction=np.array([[0.9606490789915366, 0.03935092100846342]]),
        radius=np.array([[1.1248675591829584, 0.6702234793365299]]),
        sersic_index=np.array([[1.0, 4.0]]),
        axis_ratio=np.array(ratio),
        angle=np.array(angle),
    )
    psf = [np.array([value]) for value in (0.16524684603768086, 0.01190510517358632, -0.009130005436545106)]
    return galaxies, simulator.survey.flux(galaxies.magnitude), np.array([60.0]), *psf, 64


def test_galsim_is_asked_again_where_it_gives_nan():
    simulator = Simulator(SimulationConfig())
    drawn = GalSimRenderer(simulator.psf).render(*flat_bulge(simulator))
    np.testing.assert_allclose(
        drawn, simulator._renderer.render(*flat_bulge(simulator)), atol=0.2 * simulator.sky_sigma
    )


def test_a_galaxy_that_galsim_cannot_draw_is_named(monkeypatch):
    simulator = Simulator(SimulationConfig())
    monkeypatch.setattr(galsim.GSObject, "drawImage", lambda self, image, center: image.fill(np.nan))
    with pytest.raises(
        DataError, match="GalSim draws NaN for a galaxy of magnitude 23.67 .* Set simulation.renderer to fourier"
    ):
        GalSimRenderer(simulator.psf).render(*flat_bulge(simulator))
