"""The populations: formulas at points computed by hand, sampled distributions, and the sky they add up to."""

import numpy as np
import pytest

from blendinator.config import PopulationConfig, SimulationConfig, StarConfig
from blendinator.data import population
from blendinator.data.scene import Simulator
from blendinator.data.sources import Sources
from blendinator.data.survey import get_survey
from blendinator.errors import ConfigError

SURVEY = get_survey("euclid_wide")


def rng():
    return np.random.default_rng(5)


def test_counts_and_sizes_at_hand_computed_magnitudes():
    assert population.cumulative_counts(25.0) == 46.0
    assert population.cumulative_counts(26.0) == pytest.approx(46.0 * 2.041738, rel=1e-6)  # 10^0.31
    assert population.median_disk_scale(23.0) == pytest.approx(0.318224, rel=1e-5)  # exp(-1.145)
    assert population.median_disk_scale(25.0) == pytest.approx(0.185818, rel=1e-4)


def test_magnitudes_follow_the_counts():
    magnitude = population.sample_magnitudes(rng(), 100_000, 18.0, 27.0)
    assert magnitude.min() >= 18.0 and magnitude.max() <= 27.0
    span = population.cumulative_counts(27.0) - population.cumulative_counts(18.0)
    for limit in (22.0, 25.0, 26.0):
        expected = (population.cumulative_counts(limit) - population.cumulative_counts(18.0)) / span
        assert np.mean(magnitude < limit) == pytest.approx(expected, abs=0.005)


def test_disk_scales_have_their_median_and_shape():
    scale = population.sample_disk_scale(rng(), np.full(100_000, 24.0))
    median = population.median_disk_scale(24.0)
    assert np.median(scale) == pytest.approx(median, rel=0.01)
    # density at r against r exp(-(r / a)^(4/3)), a = median / 1.1343
    a = median / 1.1343
    counts, edges = np.histogram(scale, np.linspace(0.2, 2.0, 10) * a, density=True)
    middle = (edges[1:] + edges[:-1]) / 2
    shape = middle * np.exp(-((middle / a) ** (4 / 3)))
    np.testing.assert_allclose(counts / counts.sum(), shape / shape.sum(), atol=0.01)


def test_axis_ratios_stay_within_the_ellipticity_limit():
    ratio = population.sample_axis_ratio(rng(), 100_000)
    e = (1.0 - ratio) / (1.0 + ratio)
    assert e.min() >= 0.0 and e.max() <= 0.804
    counts, edges = np.histogram(e, np.linspace(0.1, 0.8, 15), density=True)
    middle = (edges[1:] + edges[:-1]) / 2
    shape = middle * (1 - np.exp((middle - 0.804) / 0.2539)) / ((1 + middle) * np.sqrt(middle**2 + 0.0256**2))
    np.testing.assert_allclose(counts / counts.sum(), shape / shape.sum(), atol=0.01)


def test_a_tenth_of_the_galaxies_are_bulges():
    fraction = population.sample_bulge_fraction(rng(), 100_000)
    assert np.mean(fraction == 1.0) == pytest.approx(0.1, abs=0.005)
    assert fraction[fraction < 1.0].mean() == pytest.approx(0.1 * np.sqrt(2.0 / np.pi), rel=0.02)  # of |normal(0, 0.1)|


def test_natural_density_and_positions():
    config = PopulationConfig(margin=1.0)
    drawn = [population.sample_natural(np.random.default_rng(i), config, SURVEY, 64) for i in range(300)]
    expected = (population.cumulative_counts(27.0) - population.cumulative_counts(18.0)) * (84 * 0.1 / 60) ** 2
    assert np.mean([len(g) for g in drawn]) == pytest.approx(expected, abs=4 * np.sqrt(expected / 300))
    x = np.concatenate([g.x for g in drawn])
    assert x.min() >= -10.5 and x.max() <= 73.5 and np.mean((x > -0.5) & (x < 63.5)) == pytest.approx(64 / 84, abs=0.05)


def test_no_density_means_no_galaxies():
    assert len(population.sample_natural(rng(), PopulationConfig(density_scale=0.0), SURVEY, 64)) == 0


def nearest(galaxies):
    distance = np.hypot(galaxies.x[:, None] - galaxies.x, galaxies.y[:, None] - galaxies.y)
    return np.median(np.min(distance + np.diag(np.full(len(galaxies), np.inf)), axis=1))


def test_clustering_brings_neighbours_closer_and_keeps_the_number():
    random = population.sample_natural(rng(), PopulationConfig(density_scale=5.0), SURVEY, 64)
    close = PopulationConfig(density_scale=5.0, clustering=0.8, clustering_radius=1.0)
    clustered = population.sample_natural(rng(), close, SURVEY, 64)
    assert len(clustered) == len(random)
    assert nearest(clustered) < 0.8 * nearest(random)


def test_boosted_pairs_are_uniform_in_separation_and_magnitude_difference():
    config = PopulationConfig(
        density_scale=0.0, boosted_groups_max=1, boosted_companions_max=1, boosted_single_share=0.0
    )
    pairs = [population.sample_boosted(np.random.default_rng(i), config, SURVEY, 64) for i in range(2000)]
    assert {len(pair) for pair in pairs} == {2}
    first, second = (np.array([pair.magnitude[i] for pair in pairs]) for i in (0, 1))
    assert config.boosted_magnitude_bright <= first.min() and first.max() <= config.boosted_magnitude_faint
    np.testing.assert_allclose(np.quantile(second - first, [0.25, 0.5, 0.75]), [0.75, 1.5, 2.25], atol=0.1)
    radii = np.array(
        [(pair.half_light / np.sqrt((pair.flux_fraction * pair.axis_ratio).sum(axis=1))).sum() for pair in pairs]
    )
    distance = (
        np.array([np.hypot(*(pair.x[1] - pair.x[0], pair.y[1] - pair.y[0])) for pair in pairs]) * SURVEY.pixel_scale
    )
    np.testing.assert_allclose(
        np.quantile(np.log(distance / radii), [0.0, 0.25, 0.5, 0.75, 1.0]),
        np.linspace(*np.log([0.1, 3.0]), 5),
        atol=0.1,
    )


def test_groups_of_a_galaxy_and_its_companions():
    config = PopulationConfig(
        density_scale=0.0, boosted_groups_max=1, boosted_companions_max=3, boosted_single_share=0.25
    )
    groups = [population.sample_boosted(np.random.default_rng(i), config, SURVEY, 64) for i in range(2000)]
    sizes = np.bincount([len(group) for group in groups]) / 2000
    np.testing.assert_allclose(sizes, [0.0, 0.25, 0.25, 0.25, 0.25], atol=0.03)
    assert all((group.magnitude[1:] >= group.magnitude[0]).all() for group in groups)


def test_a_bright_scene_is_a_natural_one_with_one_more_galaxy():
    config = PopulationConfig(bright_range=(17.0, 19.0))
    background = population.sample_natural(rng(), config, SURVEY, 64)
    scenes = [population.sample_bright(np.random.default_rng(seed), config, SURVEY, 64) for seed in range(400)]
    first = Sources.concatenate([scene.take(np.array([0])) for scene in scenes])
    assert first.magnitude.min() >= 17.0 and first.magnitude.max() <= 19.0
    assert first.magnitude.mean() == pytest.approx(18.0, abs=0.1)  # uniform: 18 +- 0.58 / 20
    assert first.x.min() >= -0.5 and first.x.max() <= 63.5 and first.y.mean() == pytest.approx(31.5, abs=3.0)
    others = np.mean([len(scene) - 1 for scene in scenes])
    assert others == pytest.approx(len(background), rel=0.2)


def test_the_natural_sky_has_the_published_shares_and_density():
    """400 stamps of 128 x 128 pixels, 18 arcmin^2; the table is printed with `pytest -s`.

    Expected for Euclid VIS (see docs/simulations.md): 96.0 % background, 3.9 % galaxy, 0.06-0.08 % blended;
    Q1 finds 132 sources per arcmin^2; 10-11 % of the galaxies have a blended pixel.
    """
    config = SimulationConfig(
        stamp_size=128,
        train_scenes=400,
        train_populations={"natural": 1.0},
        stars=StarConfig(density_scale=0.0),
        noise_range=(1.0, 1.0),
        population=PopulationConfig(magnitude_bright=18.0),
    )
    simulator = Simulator(config)
    threshold = simulator.sky_sigma
    pixels, rows = np.zeros(3), []
    for number in range(400):
        scene, stamps = simulator.isolated_images(1, number)
        owned = stamps > threshold
        count = owned.sum(axis=0)
        pixels += np.bincount(np.minimum(count, 2).ravel(), minlength=3)
        galaxies = scene.sources  # no stars: see the configuration
        inside = (np.abs(galaxies.x - 63.5) < 64) & (np.abs(galaxies.y - 63.5) < 64)
        blended = (owned & (count > 1)).any(axis=(1, 2))
        rows += list(zip(galaxies.magnitude[inside], owned.sum(axis=(1, 2))[inside], blended[inside]))
    magnitude, area, blended = np.array(rows, float).T
    sky = 400 * (12.8 / 60.0) ** 2
    detected = area >= 5  # pixels, as SExtractor asks for
    shares = pixels / pixels.sum()
    print(f"\nbackground {shares[0]:.2%}, galaxy {shares[1]:.2%}, blended {shares[2]:.3%}")
    print(f"{detected.sum() / sky:.0f} galaxies of 5 or more pixels per arcmin^2")
    print(f"{blended[area > 0].mean():.1%} of those with a pixel have a blended one")
    print("magnitude  per arcmin^2  with 5 pixels  with a blended pixel")
    for low in range(18, 27):
        use = (magnitude >= low) & (magnitude < low + 1)
        own = use & (area > 0)
        cells = f"{use.sum() / sky:12.2f}  {np.mean(detected[use]):13.0%}  {np.mean(blended[own]):14.0%}"
        print(f"{low}-{low + 1}    {cells}")
    assert shares[0] == pytest.approx(0.960, abs=0.012)
    assert shares[1] == pytest.approx(0.039, abs=0.012)
    assert 0.0004 < shares[2] < 0.0025
    # Every galaxy of 5 pixels above 1 sigma counts here, which is more complete than a detection: about 150.
    assert 132 * 0.85 < detected.sum() / sky < 132 * 1.25
    assert 0.07 < blended[area > 0].mean() < 0.17


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 1 / 3, 0.2, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_two_populations_take_turns_as_they_always_did(share):
    """Spans of earlier versions have the same scenes: the rule that held for `train_boosted_share`."""
    shares = {"natural": round(1.0 - share, 12), "boosted": share}
    for place in range(2000):
        former = "boosted" if int((place + 1) * share) > int(place * share) else "natural"
        assert population.population_at(shares, place) == former


def test_three_populations_have_their_shares_everywhere_in_a_split(monkeypatch):
    monkeypatch.setitem(population.POPULATIONS, "crowded", population.POPULATIONS["natural"])
    shares = {"crowded": 0.2, "boosted": 0.5, "natural": 0.3}
    names = np.array([population.population_at(shares, place) for place in range(1000)])
    for start in range(0, 1000, 100):
        for name, share in shares.items():
            assert abs((names[start : start + 100] == name).sum() - 100 * share) <= 2
    assert {population.population_at({"boosted": 0.5, "crowded": 0.5}, place) for place in range(9)} == {
        "boosted",
        "crowded",
    }
    assert {population.population_at({"crowded": 1.0}, place) for place in range(9)} == {"crowded"}


def test_a_population_that_there_is_not():
    with pytest.raises(ConfigError, match="simulation.train_populations: received 'crowded'; allowed: boosted, nat"):
        Simulator(SimulationConfig(train_populations={"crowded": 1.0}))
