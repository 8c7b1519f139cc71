"""Scenes: a function of seed, span and number; noise, truth and scalars."""

import dataclasses

import numpy as np
import pytest

from blendinator.config import DefectsConfig, PopulationConfig, SimulationConfig, StarConfig
from blendinator.data import survey
from blendinator.data.observing import unit_noise
from blendinator.data.scene import Simulator, population_of, split_start
from blendinator.data.sources import GALAXY, STAR
from blendinator.errors import ConfigError, DataError

CONFIG = SimulationConfig(
    train_scenes=10,
    calibration_scenes=4,
    test_scenes=6,
    train_populations={"boosted": 0.8, "natural": 0.2},
    calibration_populations={"boosted": 0.5, "natural": 0.5},
    test_populations={"boosted": 0.5, "natural": 0.5},
)
MANY = dataclasses.replace(CONFIG, train_scenes=300)
EMPTY = PopulationConfig(density_scale=0.0)
CLEAN = DefectsConfig(
    background_error=0.0, oversubtraction=0.0, depth_edge_share=0.0, residue_share=0.0, no_data_share=0.0
)


def test_seed_span_and_number_decide():
    simulator = Simulator(CONFIG)
    first, again = (simulator.scenes(1, [3])[0] for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    others = [
        simulator.scenes(1, [4])[0],
        simulator.scenes(2, [3])[0],
        Simulator(dataclasses.replace(CONFIG, seed=2)).scenes(1, [3])[0],
    ]
    assert not any(np.array_equal(first["image"], other["image"]) for other in others)


def test_shares_of_boosted_scenes_are_exact_and_spread():
    names = [population_of(CONFIG, number) for number in range(20)]
    assert names[:10].count("boosted") == 8 and names[:5].count("boosted") == 4
    assert names[10:14].count("boosted") == 2 and names[14:].count("boosted") == 3
    assert split_start(CONFIG, "calibration") == 10 and split_start(CONFIG, "test") == 14


@pytest.mark.parametrize("number", [-1, 20])
def test_there_is_no_such_scene(number):
    with pytest.raises(DataError, match=f"scene {number}: the span has no such scene; allowed: 0 to 19"):
        population_of(CONFIG, number)


def test_an_empty_scene():
    config = SimulationConfig(
        train_populations={"natural": 1.0}, population=EMPTY, stars=StarConfig(density_scale=0.0), defects=CLEAN
    )
    scene = Simulator(config).scenes(1, [0])[0]
    assert scene["num_galaxies"] == 0 and scene["min_separation"] == -1 and scene["brightest_magnitude"] == 99
    assert scene["magnitude_difference"] == -1 and scene["snr"] == 0 and scene["blended_share"] == 0
    assert not scene["mask"].any() and not scene["noise_free"].any()
    assert np.std(scene["image"]) == pytest.approx(scene["sky_sigma"], rel=0.05)


def test_truth_and_scalars_follow_from_the_layers():
    config = SimulationConfig(train_populations={"boosted": 1.0}, truth_threshold=2.0)
    simulator = Simulator(config)
    for number in range(8):
        scene = simulator.scenes(1, [number])[0]
        drawn, stamps = simulator.isolated_images(1, number)
        owned = stamps > 2.0 * drawn.sky_sigma
        np.testing.assert_array_equal(scene["mask"], np.minimum(owned.sum(axis=0), 2))
        seen = [i for i in range(len(owned)) if owned[i].any()]
        rows = [i for i in seen if drawn.sources.kind[i] == GALAXY]
        stars = [i for i in seen if drawn.sources.kind[i] == STAR]
        assert (scene["num_galaxies"], scene["num_stars"]) == (len(rows), len(stars))
        assert scene["brightest_star"] == min(drawn.sources.magnitude[stars], default=99.0)
        assert scene["blended_share"] == np.mean(scene["mask"] == 2)
        magnitudes = sorted(drawn.sources.magnitude[rows])
        assert scene["brightest_magnitude"] == magnitudes[0]
        if len(rows) > 1:
            assert scene["magnitude_difference"] == magnitudes[1] - magnitudes[0]
        if len(seen) > 1:
            pairs = [
                np.hypot(drawn.sources.x[i] - drawn.sources.x[j], drawn.sources.y[i] - drawn.sources.y[j])
                for i in seen
                for j in seen
                if i < j
            ]
            assert scene["min_separation"] == pytest.approx(0.1 * min(pairs))
        brightest = min(rows, key=lambda i: drawn.sources.magnitude[i])
        assert scene["snr"] == pytest.approx(np.sqrt((stamps[brightest].astype(float) ** 2).sum()) / drawn.sky_sigma)


def test_noise_is_that_of_sky_and_source():
    config = SimulationConfig(
        train_populations={"boosted": 1.0},
        white_noise_share=1.0,
        population=PopulationConfig(boosted_magnitude_bright=21.0),
        defects=CLEAN,
    )
    scenes = Simulator(config).scenes(1, range(60))
    image, noise_free = (np.stack([scene[name] for scene in scenes]) for name in ("image", "noise_free"))
    sky_sigma = np.array([scene["sky_sigma"] for scene in scenes])[:, None, None, None]
    sigma = np.sqrt(sky_sigma**2 + np.maximum(noise_free, 0))
    unit = (image - noise_free) / sigma
    assert np.mean(unit) == pytest.approx(0.0, abs=0.01) and np.std(unit) == pytest.approx(1.0, abs=0.01)
    bright = noise_free > 3 * sky_sigma**2
    assert bright.sum() > 50 and np.std(unit[bright]) == pytest.approx(1.0, abs=0.25)  # without source noise: 2


def test_rounding_is_far_below_the_noise():
    simulator = Simulator(CONFIG)
    assert simulator.quantum == 0.25 and simulator.quantum <= simulator.sky_sigma / 64
    scene = simulator.scenes(1, [0])[0]
    for name in ("image", "noise_free"):
        np.testing.assert_array_equal(scene[name] % 0.25, 0.0)
    _, stamps = simulator.isolated_images(1, 0)
    exact = stamps.sum(axis=0)
    assert np.abs(scene["noise_free"][..., 0] - exact).max() <= 0.126


def test_noise_scale_and_deep_survey_change_the_sky():
    wide = Simulator(CONFIG).sky_sigma
    assert Simulator(dataclasses.replace(CONFIG, noise_scale=2.0)).sky_sigma == 2 * wide
    assert Simulator(dataclasses.replace(CONFIG, survey="euclid_deep")).sky_sigma == pytest.approx(wide / np.sqrt(40))


def test_the_psf_scatters_between_scenes():
    simulator = Simulator(MANY)
    fwhm, g1 = np.array([[simulator.sample(1, n).fwhm, simulator.sample(1, n).g1] for n in range(200)]).T
    assert 0.82 <= fwhm.min() / 0.17 < 0.84 and 1.16 < fwhm.max() / 0.17 <= 1.18
    assert 0.003 < np.std(g1) < 0.02
    still = Simulator(dataclasses.replace(CONFIG, psf_range=(1.0, 1.0), psf_ellipticity_scatter=0.0)).sample(1, 0)
    assert (still.fwhm, still.g1, still.g2) == (0.17, 0.0, 0.0)


def test_noise_varies_between_scenes():
    simulator = Simulator(MANY)
    drawn = [simulator.sample(1, number) for number in range(300)]
    noise = np.array([scene.sky_sigma for scene in drawn]) / simulator.sky_sigma
    assert 0.7 <= noise.min() < 0.72 and 1.37 < noise.max() <= 1.4
    assert np.mean(np.log(noise)) == pytest.approx(np.log(0.7 * 1.4) / 2, abs=0.04)  # log-uniform
    correlation = np.array([scene.noise_correlation for scene in drawn])
    assert np.mean(correlation == 0) == pytest.approx(0.5, abs=0.1) and 1.2 < correlation.max() < 1.3


def test_white_noise_is_white_and_correlated_noise_is_not():
    def neighbours(correlation):
        noise = np.stack([unit_noise(np.random.default_rng(i), 64, correlation) for i in range(30)])
        return np.std(noise), np.mean(noise[:, :, 1:] * noise[:, :, :-1])

    std, product = neighbours(0.0)
    assert std == pytest.approx(1.0, abs=0.01) and product == pytest.approx(0.0, abs=0.01)
    std, product = neighbours(1.0)
    # white noise under a Gaussian kernel of sigma s: correlation exp(-1 / (4 s^2)) at one pixel
    assert std == pytest.approx(1.0, abs=0.02) and product == pytest.approx(np.exp(-0.25), abs=0.03)


def test_a_survey_of_several_bands_is_not_rendered(monkeypatch):
    monkeypatch.setitem(survey.PRESETS, "lsst_i", ("LSST", ("g", "i"), 1, 0.0, 1, 2.0e7))
    with pytest.raises(ConfigError, match="simulation.survey: lsst_i has the bands g, i; allowed: a survey of one"):
        Simulator(SimulationConfig(survey="lsst_i"))
