import numpy as np
import pytest

from blendinator.model.metrics import pixels

# One scene of 2 x 3 pixels.
TRUTH = np.array([[[0, 0, 1], [1, 2, 2]]])
PREDICTED = np.array([[[0, 1, 1], [1, 2, 0]]])


def test_confusion_counts_true_by_predicted():
    expected = [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    np.testing.assert_array_equal(pixels.confusion(TRUTH, PREDICTED), [expected])


def test_confusion_keeps_scenes_apart():
    both = pixels.confusion(np.concatenate([TRUTH, PREDICTED]), np.concatenate([PREDICTED, TRUTH]))
    np.testing.assert_array_equal(both[1], both[0].T)


def test_near_sources_reaches_exactly_the_radius():
    truth = np.zeros((2, 9, 9), int)
    truth[0, 4, 4] = 1
    near = pixels.near_sources(truth, np.zeros_like(truth), 3)
    assert near[0, 4, 7] and near[0, 4, 1] and not near[0, 4, 8]
    assert near[0, 6, 6] and not near[0, 7, 7]  # a disc: sqrt(8) < 3 < sqrt(18)
    assert not near[1].any()  # never across scenes


def test_near_sources_counts_predicted_sources_and_radius_zero():
    predicted = np.zeros((1, 5, 5), int)
    predicted[0, 2, 2] = 2
    assert pixels.near_sources(np.zeros_like(predicted), predicted, 0).sum() == 1


def test_scores_of_one_pixel():
    truth, probabilities = np.array([[[1]]]), np.array([[[[0.2, 0.5, 0.3]]]])
    assert pixels.log_score(truth, probabilities)[0, 0, 0] == pytest.approx(np.log(2))
    assert pixels.brier_score(truth, probabilities)[0, 0, 0] == pytest.approx(0.04 + 0.25 + 0.09)
    expected = -(0.2 * np.log(0.2) + 0.5 * np.log(0.5) + 0.3 * np.log(0.3))
    assert pixels.entropy(probabilities)[0, 0, 0] == pytest.approx(expected)


def test_an_impossible_class_costs_a_finite_score():
    truth, probabilities = np.array([[[2]]]), np.array([[[[1.0, 0.0, 0.0]]]])
    assert pixels.log_score(truth, probabilities)[0, 0, 0] == pytest.approx(-np.log(1e-7))
    assert pixels.entropy(probabilities)[0, 0, 0] == pytest.approx(2e-7 * -np.log(1e-7))


def test_calibration_bins_of_three_pixels():
    truth = np.array([[[1, 0, 1]]])
    probabilities = np.array([[[[0.7, 0.3, 0.0], [0.4, 0.6, 0.0], [0.0, 1.0, 0.0]]]])
    bins = pixels.calibration_bins(truth, probabilities, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(bins[0, 1, 0], [1, 2])  # pixels by P(galaxy) below and above one half
    np.testing.assert_allclose(bins[0, 1, 1], [0.3, 1.6])
    np.testing.assert_allclose(bins[0, 1, 2], [1, 1])
    np.testing.assert_allclose(bins[0, 2], [[3, 0], [0, 0], [0, 0]])
    nothing = pixels.calibration_bins(truth, probabilities, np.array([0.0, 0.5, 1.0]), np.zeros((1, 1, 3), bool))
    assert not nothing.any()


def test_histogram_takes_only_the_pixels_asked_for():
    values, where = np.array([[[0.1, 0.4, 0.9, 5.0]]]), np.array([[[True, False, True, True]]])
    np.testing.assert_array_equal(pixels.histogram(values, np.array([0, 0.5, 1]), where), [[1, 2]])
