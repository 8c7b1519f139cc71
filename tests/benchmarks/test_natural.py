"""Reliability at natural density: sums by hand, and a model whose answers are known."""

import dataclasses

import numpy as np
import pytest

from blendinator.config import SimulationConfig
from blendinator.data.scene import population_of


@pytest.fixture(scope="module")
def natural(load_benchmark):
    return load_benchmark("natural")


def bins_of(natural, p, hits, count=100):
    """Rows [S, 3, bins] of scenes that hold `count` pixels of probability p each, of which `hits` [S] are true."""
    bins = np.zeros((len(hits), 3, len(natural.EDGES) - 1))
    place = np.searchsorted(natural.EDGES, p, side="right") - 1
    bins[:, :, place] = np.stack([np.full(len(hits), count), np.full(len(hits), count * p), hits], axis=1)
    return bins


def weights(scenes):
    return np.random.default_rng(1).poisson(1.0, (200, scenes)).astype(float)


def test_every_scene_is_natural(natural):
    config = natural.natural_config(SimulationConfig(train_populations={"boosted": 1.0}), 50)
    assert {population_of(config, number) for number in range(50)} == {"natural"}


def test_the_sky_is_the_configured_one(natural):
    config = dataclasses.replace(SimulationConfig(), noise_scale=2.0)
    assert natural.natural_config(config, 5).noise_scale == 2.0


def test_probabilities_that_are_too_high(natural):
    hits = np.array([40, 60, 50, 50] * 10)  # half of the pixels that are called blended with .75
    figures = natural.reliability(bins_of(natural, 0.75, hits), weights(40))
    assert figures["expected_over_true"]["value"] == pytest.approx(1.5)
    assert figures["deviation"]["value"] == pytest.approx(0.25)
    (row,) = figures["bins"]
    assert (row["predicted"], row["observed"], row["count"]) == (0.75, 0.5, 4000)
    assert row["low"] < 0.5 < row["high"] < 0.55
    assert not row["within"]


def test_probabilities_that_are_right(natural):
    figures = natural.reliability(bins_of(natural, 0.75, np.array([70, 80] * 20)), weights(40))
    assert figures["expected_over_true"]["value"] == pytest.approx(1.0)
    assert figures["deviation"]["value"] == pytest.approx(0.0)
    assert figures["bins"][0]["within"]


def test_the_lowest_bin_is_in_the_area_and_not_in_the_deviation(natural):
    both = bins_of(natural, 0.01, np.zeros(4)) + bins_of(natural, 0.5, np.full(4, 50.0))
    figures = natural.reliability(both, weights(4))
    assert figures["deviation"]["value"] == pytest.approx(0.0)
    assert figures["expected_over_true"]["value"] == pytest.approx(51 / 50)


def test_a_share_of_zero_has_an_interval(natural):
    # 1 - .025^(1/3): three scenes of which none has a hit.
    assert natural.share_interval(0.0, np.zeros(10), 3) == (0.0, pytest.approx(0.7076, abs=1e-4))
    assert natural.share_interval(1.0, np.ones(10), 3) == (pytest.approx(0.2924, abs=1e-4), 1.0)


def test_presence_counts_the_truth_as_one_draw(natural):
    # The truth and three of three draws hold a blend: four of four. The second: none of four.
    rows = natural.presence_rows(np.array([True, False]), np.array([3, 0]), 3)
    bins = natural.presence_bins(rows)
    np.testing.assert_array_equal(bins[0, :, -1], (1, 1, 1))
    np.testing.assert_array_equal(bins[1, :, 0], (1, 0, 0))
    assert bins.sum() == 4


def test_rows_of_scenes(natural):
    truth = np.zeros((2, 4, 4), np.uint8)
    truth[0, 0, 0] = 2
    samples = np.zeros((2, 3, 4, 4), np.uint8)
    samples[0, :2, 0, 0] = 2  # two of three draws
    probabilities = np.zeros((2, 4, 4, 3), np.float32)
    probabilities[..., 0] = 1.0
    probabilities[0, 0, 0] = (1 / 3, 0.0, 2 / 3)
    rows = natural.scene_rows(truth, samples, probabilities)
    place = np.searchsorted(natural.EDGES, 2 / 3) - 1
    np.testing.assert_allclose(rows["bins"][0, 2, :, place], (1, 2 / 3, 1), atol=1e-6)
    assert rows["presence"][0, 1, 2] == rows["presence"][1, 0, 0] == 1
