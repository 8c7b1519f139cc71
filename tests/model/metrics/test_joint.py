import numpy as np
import pytest

from blendinator.model.metrics import joint


def test_distance_of_two_maps_by_hand():
    # Galaxy: 1 of 3 pixels shared; blended: empty in both, IoU 1.
    maps = np.array([[[[1, 1, 0]], [[0, 1, 1]]]])
    distance = joint.distances(maps)
    np.testing.assert_allclose(distance[0], [[0, (2 / 3 + 0) / 2], [(2 / 3 + 0) / 2, 0]], atol=1e-12)


def test_distance_of_empty_and_disjoint_maps():
    maps = np.array([[[[0, 0]], [[0, 0]], [[1, 2]], [[2, 1]]]])
    distance = joint.distances(maps)[0]
    assert distance[0, 1] == 0
    assert distance[0, 2] == 1
    assert distance[2, 3] == 1


def test_energy_distance_leaves_the_diagonal_out():
    pairwise = np.array([[[0, 0.4, 0.6], [0.4, 0, 0.2], [0.6, 0.2, 0]]])
    to_truth, among = joint.energy_distance(pairwise)
    assert to_truth == pytest.approx([0.5])
    assert among == pytest.approx([0.2])
    to_truth, among = joint.energy_distance(pairwise, draws=1)
    assert to_truth == pytest.approx([0.4])
    assert np.isnan(among[0])


def test_energy_distance_is_zero_in_the_mean_for_the_right_model():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 3, (400, 9, 4, 4))  # truth and samples of the same distribution
    to_truth, among = joint.energy_distance(joint.distances(maps))
    difference = to_truth - among  # E d(S, Y) = E d(S, S')
    assert abs(difference.mean()) < 4 * difference.std() / 20


@pytest.mark.parametrize(
    "draws, low, high",
    [
        ([1, 2, 3], 0.0, 0.25),  # the truth, 0, is below all
        ([-1, -2, -3], 0.75, 1.0),
        ([0, 0, 0], 0.0, 1.0),  # ties tell nothing
        ([-1, 0, 1], 0.25, 0.75),
    ],
)
def test_rank_interval(draws, low, high):
    ends = joint.rank_interval(np.array([0]), np.array([draws]))
    assert (ends[0][0], ends[1][0]) == (low, high)


def test_coverage_of_rank_intervals():
    low, high = np.array([0.0, 0.75, 0.0, 0.4]), np.array([0.25, 1.0, 1.0, 0.5])
    np.testing.assert_allclose(joint.covered(low, high, 0.68), [0.36, 0.36, 0.68, 1.0])
    np.testing.assert_allclose(joint.covered(low, high, 0.5), [0, 0, 0.5, 1.0], atol=1e-12)


def test_coverage_is_nominal_for_right_draws_even_with_many_ties():
    values = np.random.default_rng(1).poisson(1, (8000, 17))
    coverage = joint.covered(*joint.rank_interval(values[:, 0], values[:, 1:]), 0.68).mean()
    assert coverage == pytest.approx(0.68, abs=0.015)


@pytest.mark.parametrize("scale, expected", [(1, 0.683), (0.5, 0.383), (2, 0.954)])
def test_coverage_tells_too_narrow_and_too_wide_draws(scale, expected):
    """P(|z| < scale) for a standard normal truth and very many draws with `scale` times its width."""
    rng = np.random.default_rng(1)
    truth, draws = rng.normal(size=4000), scale * rng.normal(size=(4000, 400))
    coverage = joint.covered(*joint.rank_interval(truth, draws), 0.6827).mean()
    assert coverage == pytest.approx(expected, abs=0.025)


def test_rank_histogram_spreads_ties():
    low, high = np.array([0.0, 0.0]), np.array([0.25, 1.0])
    np.testing.assert_allclose(joint.rank_histogram(low, high, 4), [[1, 0, 0, 0], [0.25] * 4])


def test_component_counts_join_diagonals_and_keep_maps_apart():
    maps = np.zeros((2, 2, 4, 4), int)
    maps[0, 0, 0, 0] = maps[0, 0, 1, 1] = 1  # touch at a corner
    maps[0, 1, 0, 0] = maps[0, 1, 3, 3] = 2
    maps[1, 1] = 1
    np.testing.assert_array_equal(joint.component_counts(maps), [[1, 2], [0, 1]])


def test_energy_score_by_hand():
    truth, draws = np.array([[0.0, 0.0]]), np.array([[[3.0, 4.0], [0.0, 0.0]]])
    assert joint.energy_score(truth, draws) == pytest.approx([2.5 - 5 / 2])


def test_independent_samples_have_the_same_marginals_and_depend_on_the_seed_only():
    probabilities = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (2, 16, 16, 1))
    samples = joint.independent_samples(probabilities, 64, np.array([5, 6]))
    shares = [(samples == c).mean() for c in range(3)]
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.01)
    alone = joint.independent_samples(probabilities[1:], 64, np.array([6]))
    np.testing.assert_array_equal(samples[1:], alone)
    assert (samples[0] != samples[1]).any()


def test_independent_samples_of_certain_pixels():
    probabilities = np.eye(3, dtype=np.float32)[None, None]
    np.testing.assert_array_equal(joint.independent_samples(probabilities, 5, np.array([1]))[0, :, 0], [[0, 1, 2]] * 5)
