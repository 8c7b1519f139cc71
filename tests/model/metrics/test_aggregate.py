import numpy as np
import pytest

from model.metrics import aggregate, bootstrap


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
    low, high = bootstrap.interval(weights @ values / weights.sum(1))
    assert low < 5 < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / np.sqrt(1000), rel=0.1)


def test_interval_without_a_finite_replicate_is_undefined():
    assert np.isnan(bootstrap.interval(np.array([np.nan, np.nan]))).all()
