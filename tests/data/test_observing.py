"""What an image has besides its sources: edges of depth, background left, residue of cosmic rays, bad pixels."""

import dataclasses

import numpy as np
import pytest

from blendinator.config import DefectsConfig
from blendinator.data import observing

CLEAN = DefectsConfig(
    background_error=0.0, oversubtraction=0.0, depth_edge_share=0.0, residue_share=0.0, no_data_share=0.0
)
SIDE, SIGMA = 64, 20.0
DARK = np.zeros((SIDE, SIDE), np.float32)


def image(seed=1, light=DARK, noise=0.0, **settings):
    """A stamp of 64 x 64 pixels whose unit noise is multiplied by `noise`."""
    rng = np.random.default_rng(seed)
    draws = observing.sample_draws(rng, np.float32(noise) * observing.unit_noise(rng, SIDE))
    return observing.observe_one(light, SIGMA, draws, dataclasses.replace(CLEAN, **settings))


def test_without_defects_it_is_light_and_noise():
    light = DARK + 300.0
    np.testing.assert_array_equal(image(light=light), light)
    assert np.std(image(light=light, noise=1.0)) == pytest.approx(np.sqrt(SIGMA**2 + 300.0), rel=0.03)


def test_the_same_draws_give_the_same_image():
    everything = {"noise": 1.0, "residue_share": 1.0, "no_data_share": 1.0, "background_error": 0.1}
    np.testing.assert_array_equal(image(**everything), image(**everything))
    assert not np.array_equal(image(**everything), image(seed=2, **everything))


def test_an_edge_of_depth_parts_the_noise_by_the_root_of_the_dithers():
    ratios = []
    for seed in range(40):
        # Noise of the same absolute value everywhere shows the sigma itself.
        rng = np.random.default_rng(seed)
        draws = observing.sample_draws(rng, np.ones((SIDE, SIDE)))
        sigma = observing.observe_one(DARK, SIGMA, draws, dataclasses.replace(CLEAN, depth_edge_share=1.0))
        assert len(np.unique(sigma)) <= 2
        ratios.append(sigma.max() / sigma.min())
        deep, shallow = SIGMA * 0.75**0.25, SIGMA / 0.75**0.25
        assert all(np.isclose(value, deep) or np.isclose(value, shallow) for value in np.unique(sigma))
    assert max(ratios) == pytest.approx(np.sqrt(4 / 3)) and np.mean(np.array(ratios) > 1.1) > 0.7


def test_background_left_is_a_plane_of_the_rms_that_is_configured():
    planes = np.array([image(seed, background_error=0.05) for seed in range(300)])
    assert np.std(planes[:, 31:33, 31:33].mean(axis=(1, 2))) == pytest.approx(0.05 * SIGMA, rel=0.1)
    np.testing.assert_allclose(np.diff(planes, 2, axis=1), 0.0, atol=1e-5)


def test_oversubtraction_takes_a_share_of_the_clipped_light():
    light = DARK.copy()
    light[:32] = 1e5  # half of the stamp: the estimate sees half of three sigma
    taken = np.array([(light - image(seed, light=light, oversubtraction=0.2)).mean() for seed in range(200)])
    assert taken.min() >= -1e-3 and taken.max() == pytest.approx(0.2 * 1.5 * SIGMA, rel=0.05)
    assert image(light=DARK, oversubtraction=0.2).max() == 0.0


def test_residue_is_positive_thin_and_of_the_brightness_that_is_configured():
    found = [image(seed, residue_share=1.0, residue_range=(3.0, 30.0)) for seed in range(200)]
    lengths = np.array([(one > 0).sum() for one in found])
    bright = np.array([one.max() for one in found])[lengths > 0] / SIGMA
    assert 3.0 <= bright.min() < 4.0 and 25.0 < bright.max() <= 30.0 + 1e-3
    assert all(one.min() >= 0.0 for one in found) and np.median(lengths) < 12 and lengths.max() < 40
    assert np.mean(lengths > 0) > 0.95


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_bad_pixels_are_zero_in_the_share_of_stamps_that_is_configured(share):
    holes = np.array([image(seed, light=DARK + 50.0, no_data_share=share) == 0.0 for seed in range(300)])
    assert np.mean(holes.any(axis=(1, 2))) == pytest.approx(share, abs=0.12)
    columns = holes.sum(axis=1).max(axis=1)
    if share == 1.0:  # columns, whole and in part, and groups
        assert np.mean(columns == SIDE) > 0.15 and 0.3 < np.mean(columns <= 6) < 0.8
    assert holes.mean() <= 0.03


def test_a_field_has_them_in_its_tiles():
    light = np.zeros((200, 200), np.float32)
    rng = lambda: np.random.default_rng(1)
    field = observing.observe_field(rng(), light, SIGMA, 64, dataclasses.replace(CLEAN, no_data_share=1.0))
    assert field.shape == (200, 200) and field.dtype == np.float32
    gaps = np.isnan(field[:192, :192]).reshape(3, 64, 3, 64).any(axis=(1, 3))
    assert gaps.sum() >= 7
    assert np.nanstd(field) == pytest.approx(SIGMA, rel=0.02)
    clean = observing.observe_field(rng(), light, SIGMA, 64, CLEAN)
    np.testing.assert_array_equal(clean[~np.isnan(field)], field[~np.isnan(field)])
