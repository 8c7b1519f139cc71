"""Sky level and noise."""

import numpy as np
import pytest

from blendinator.model.field import background


def test_level_and_noise_of_a_sky_with_sources_and_a_gradient():
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:400, :520]
    gradient = 50 + 0.02 * rows - 0.01 * columns
    image = gradient + rng.normal(0, 5, gradient.shape)
    for _ in range(60):
        y, x = rng.uniform(0, 400), rng.uniform(0, 520)
        image += 300 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 10)
    image[100:140, 200:260] = np.nan
    measured = background.measure(lambda start, stop: image[start:stop], image.shape, 64)
    np.testing.assert_allclose(measured.sky_sigma, 5, rtol=0.06)
    level = np.concatenate([measured.rows(0, 150), measured.rows(150, 400)])
    inner = np.s_[40:-40, 40:-40]
    assert np.abs(level - gradient)[inner].max() < 1.0 and abs((level - gradient)[inner].mean()) < 0.3


def test_clipped_mode_by_hand():
    """3 sigma clipping takes out the one bright pixel; mean 2, median 2."""
    level, sigma = background.clipped_mode(np.array([[1.0, 2.0, 3.0] * 10 + [1e6]]))
    assert level == 2.0
    np.testing.assert_allclose(sigma, np.sqrt(2 / 3))


def test_box_without_enough_data_takes_its_neighbours_level():
    image = np.random.default_rng(1).normal(10, 1, (64, 192))
    image[:, 64:128] = np.nan
    measured = background.measure(lambda start, stop: image[start:stop], image.shape, 64)
    np.testing.assert_allclose(measured.level, 10, atol=0.3)


def test_no_data_at_all():
    assert background.measure(lambda start, stop: np.full((stop - start, 64), np.nan), (64, 64), 32) is None


@pytest.mark.parametrize("side, expected", [(64, [0, 64]), (100, [0, 64, 100]), (90, [0, 90]), (10, [0, 10])])
def test_a_rest_smaller_than_half_a_box_joins_its_neighbour(side, expected):
    assert background._edges(side, 64) == expected


@pytest.mark.parametrize("value", [0.0, -999.0, 1e6, 1e20])
def test_a_value_that_fills_15_percent_of_a_box_does_not_spoil_it(value):
    pixels = np.random.default_rng(1).normal(300, 20, 4000)
    pixels[:600] = value
    level, sigma = background.clipped_mode(pixels)
    assert level == pytest.approx(300, abs=2) and sigma == pytest.approx(20, rel=0.05)


def test_integers_of_which_most_are_equal():
    """Their median absolute deviation is 0: clipping starts at all of them."""
    pixels = np.array([0.0] * 60 + [1.0] * 20 + [-1.0] * 20)
    level, sigma = background.clipped_mode(pixels)
    assert level == 0 and sigma == pytest.approx(np.sqrt(0.4))
