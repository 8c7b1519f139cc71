"""Simulated fields: the same light as a scene of that size, whatever the patches."""

import numpy as np
import pytest

from blendinator.config import DefectsConfig, PopulationConfig, SimulationConfig, StarConfig, StructureConfig
from blendinator.data.field import FieldSimulator
from blendinator.data.sources import GALAXY, Sources

SIDE = 160


@pytest.fixture(scope="module")
def simulator():
    return FieldSimulator(
        SimulationConfig(
            stars=StarConfig(density_scale=0.0),
            structure=StructureConfig(share=0.0),
            population=PopulationConfig(magnitude_bright=18.0),
            defects=DefectsConfig(residue_share=0.0, no_data_share=0.5),
        )
    )


@pytest.fixture(scope="module")
def field(simulator):
    return simulator.field(SIDE, seed=3)


def test_patches_add_up_to_the_galaxies_drawn_on_the_whole_field(simulator, field):
    fwhm = simulator.survey.psf_fwhm
    extent = simulator._extent(field.sources, fwhm, field.sky_sigma)
    outside = np.maximum(np.abs(np.stack((field.sources.x, field.sources.y)) - (SIDE - 1) / 2) - SIDE / 2, 0)
    seen = (outside < extent + 0.5).all(axis=0)  # the renderer takes only galaxies whose patch reaches the image
    galaxies = field.sources.take(seen)
    psf = [np.full(len(galaxies), value) for value in (fwhm, 0.0, 0.0)]
    alone = simulator.render(galaxies, extent[seen], psf, [], SIDE)
    # A patch may be a column short, where the light has fallen to the render level.
    difference = np.abs(alone.sum(axis=0) - field.noise_free)
    assert difference.max() < 1.1 * simulator.config.render_level * field.sky_sigma
    assert np.mean(difference > 0.002 * field.sky_sigma) < 0.01  # the window decides which frequencies are summed
    owned = alone > np.float32(field.sky_sigma)
    np.testing.assert_array_equal(np.minimum(owned.sum(axis=0), 2), field.mask)
    np.testing.assert_array_equal(owned.sum(axis=(1, 2)), field.pixels[seen])
    assert not field.pixels[~seen].any()


def test_a_large_galaxy_has_light_on_all_sides(simulator):
    """Its light reaches farther than 255 pixels, for which patches of 512 are too small."""
    one = Sources.make(
        kind=np.array([GALAXY], np.int8),
        x=np.array([512.0]),
        y=np.array([512.0]),
        magnitude=np.array([18.0]),
        flux_fraction=np.array([[1.0, 0.0]]),
        radius=np.array([[5.0, 1.0]]),
        sersic_index=np.array([[1.0, 4.0]]),
        axis_ratio=np.ones((1, 2)),
        angle=np.zeros((1, 2)),
    )
    stamp = simulator._renderer.render(
        one, np.array([1e7]), np.array([400.0]), np.array([0.16]), np.zeros(1), np.zeros(1), 1024
    )[0]
    left, right = stamp[:, 112:512].sum(), stamp[:, 513:913].sum()
    assert left == pytest.approx(right, rel=1e-3) and stamp[512, 120] > 0 and stamp[120, 512] > 0


def test_noise_and_shapes(field):
    assert field.image.shape == field.mask.shape == (SIDE, SIDE) and field.mask.max() <= 2
    residual = (field.image - field.noise_free) / np.sqrt(field.sky_sigma**2 + field.noise_free)
    assert abs(np.nanmean(residual)) < 0.03 and abs(np.nanstd(residual) - 1) < 0.03
    assert 0.0005 < np.isnan(field.image).mean() < 0.05  # bad pixels
    assert (field.snr >= np.sqrt(field.pixels)).all()  # each owned pixel is above one sigma


def test_same_seed_same_field_other_seed_other_field(simulator, field):
    np.testing.assert_array_equal(simulator.field(SIDE, seed=3).image, field.image)
    assert (simulator.field(SIDE, seed=4).image != field.image).any()
