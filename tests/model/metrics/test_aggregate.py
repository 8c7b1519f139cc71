import numpy as np
import pytest

from blendinator.model.metrics import aggregate, bootstrap


def test_overlap_by_hand():
    confusion = np.array([[[90, 5, 0], [3, 20, 2], [0, 4, 6]]], float)
    result = aggregate._overlap(confusion)
    assert result["iou_galaxy"] == pytest.approx(20 / (25 + 29 - 20))
    assert result["completeness_blended"] == pytest.approx(0.6)
    assert result["purity_blended"] == pytest.approx(0.75)
    assert result["f1_blended"] == pytest.approx(2 * 6 / (10 + 8))


def test_calibration_error_by_hand():
    # One class, two bins: 10 pixels at 0.2 of which 4 hit, 30 at 0.8 of which 24 hit.
    bins = np.array([[[[10, 30], [2, 24], [4, 24]]]], float)
    np.testing.assert_allclose(aggregate.calibration_error(bins), [[2 / 40]])


def test_reliability_by_hand():
    """Blended, four bins: the first does not count; 20 pixels at 0.4 of which 6 hit, 10 at 0.9 of which 7 hit."""
    blended = [[1000, 20, 0, 10], [10, 8, 0, 9], [12, 6, 0, 7]]
    bins = np.array([[np.zeros((3, 4)), np.zeros((3, 4)), blended]], float)
    result = aggregate._reliability(bins)
    np.testing.assert_allclose(result["reliability_blended"], [(2 + 2) / 30])
    np.testing.assert_allclose(result["blended_area_ratio"], [27 / 25])
    assert np.isnan(result["reliability_galaxy"]).all()  # no pixel beyond the first bin


def test_weights_equal_repetition():
    rows = {"scene_id": np.array(["a", "b"]), "scenes": np.ones(2), "nll": np.array([1.0, 3.0])}
    once = aggregate.sum_rows(rows, np.array([[2.0, 1.0]]))
    np.testing.assert_allclose(once["nll"], [5])
    assert "scene_id" not in once


def test_bootstrap_weights_belong_to_the_scene():
    names = np.array(["1:0", "1:1", "1:2"])
    weights = bootstrap.poisson_weights(names, 500, seed=3)
    np.testing.assert_array_equal(weights[:, ::-1], bootstrap.poisson_weights(names[::-1], 500, seed=3))
    assert weights.mean() == pytest.approx(1, abs=0.1)
    assert weights.var() == pytest.approx(1, abs=0.2)
    assert (weights != bootstrap.poisson_weights(names, 500, seed=4)).any()


def test_bootstrap_interval_of_a_mean_has_the_known_width():
    values = np.random.default_rng(0).normal(5, 2, 1000)
    weights = bootstrap.poisson_weights(np.arange(1000).astype(str), 1000, seed=1)
    low, high = bootstrap.interval(weights @ values / weights.sum(1), values.mean())
    assert low < 5 < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / np.sqrt(1000), rel=0.1)


def test_interval_of_unbiased_replicates_is_the_percentile_interval():
    assert bootstrap.interval(np.arange(1001.0), 500.0) == pytest.approx((25, 975))
    assert bootstrap.interval(np.zeros(100), 0.0) == (0, 0)


def test_interval_of_biased_replicates_is_moved_back():
    """Replicates with twice the bias of the value itself: a distance that noise adds to."""
    low, high = bootstrap.interval(np.random.default_rng(0).normal(1, 1, 10000), 0.0)
    assert (low, high) == pytest.approx((-2.96, 0.96), abs=0.15)


def test_interval_without_a_finite_replicate_or_value_is_undefined():
    assert np.isnan(bootstrap.interval(np.array([np.nan, np.nan]), 1.0)).all()
    assert np.isnan(bootstrap.interval(np.array([1.0, 2.0]), np.nan)).all()


def test_brier_decomposition_by_hand():
    # 10 pixels at 0.2 of which 4 hit, 30 at 0.8 of which 24 hit; 28 hits of 40.
    parts = aggregate.brier_decomposition(np.array([[[[10, 30], [2, 24], [4, 24]]]], float))
    assert parts["reliability"] == pytest.approx(10 / 40 * 0.2**2)
    assert parts["resolution"] == pytest.approx(10 / 40 * (0.4 - 0.7) ** 2 + 30 / 40 * 0.1**2)
    assert parts["uncertainty"] == pytest.approx(0.21)


def test_bins_of_equal_mass():
    count = np.array([5, 5, 0, 10, 10, 10], float)
    bins = np.broadcast_to(np.stack([count, count * 0.5, count * 0.25]), (1, 1, 3, 6))
    np.testing.assert_allclose(aggregate.merge_equal_mass(bins, 4)[0, 0, 0], [10, 10, 10, 10])
    np.testing.assert_allclose(aggregate.merge_equal_mass(bins, 4)[0, 0, 2], [2.5] * 4)
    assert not aggregate.merge_equal_mass(np.zeros((1, 1, 3, 6)), 4).any()


def test_auroc_by_hand():
    # Scores: right 0 0 1, wrong 1 2; the wrong ones win 2 + 1/2 of 3 and 3 of 3 pairs.
    assert aggregate.auroc(np.array([[2, 1, 0]]), np.array([[0, 1, 1]])) == pytest.approx(5.5 / 6)


def test_risk_coverage_by_hand():
    coverage, risk = aggregate.risk_coverage(np.array([[0.0, 1, 1]]), np.array([[2.0, 1, 0]]))
    np.testing.assert_allclose(coverage[0], [0.4, 0.8, 1])
    np.testing.assert_allclose(risk[0], [0, 0.25, 0.4])


def test_rank_chi_square_by_hand():
    np.testing.assert_allclose(aggregate.rank_chi_square(np.array([[10.0, 20, 30]])), [(100 + 0 + 100) / 20 / 2])


def test_presence_calibration_is_exact_for_exchangeable_draws():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 0.5, 40000)[:, None]
    holds = rng.random((40000, 5)) < p  # the truth and 4 draws
    table = np.zeros((1, 2, 5))
    np.add.at(table[0], (holds[:, 0].astype(int), holds[:, 1:].sum(1)), 1)
    expected, count, holding = aggregate.presence_calibration(table)
    np.testing.assert_allclose(expected, [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(holding[0] / count[0], expected, atol=0.02)


@pytest.mark.parametrize(
    "name, better",
    [
        ("iou_blended", False),
        ("ece_near_sources", True),
        ("ged", True),
        ("coverage_galaxy_area_68", None),
        ("brier_resolution", False),
        ("error_auroc", False),
        ("diversity", None),
        ("blend_presence_auroc", False),
    ],
)
def test_which_way_is_better(name, better):
    assert aggregate.lower_is_better(name) is better


def test_metric_names_follow_the_number_of_samples():
    assert "ged_8" in aggregate.metric_names(8)
    assert "ged_16" not in aggregate.metric_names(8)
