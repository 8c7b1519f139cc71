import numpy as np
import pytest

from blendinator.config import ClassicalConfig
from blendinator.model import classical


def galaxies(*centres, size=48, sigma=2.5, peak=400.0):
    y, x = np.mgrid[:size, :size]
    return sum(peak * np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * sigma**2)) for a, b in centres)


def test_two_overlapping_galaxies_make_a_blend():
    image = galaxies((24, 18), (24, 28)) + np.random.default_rng(0).normal(0, 5, (48, 48))
    found = classical.class_map(image, 5.0, ClassicalConfig())
    assert found.dtype == np.uint8
    assert found[24, 18] == 1 and found[24, 28] == 1  # the centres
    assert found[24, 23] == 2  # between them
    assert found[5, 5] == 0


def test_the_extent_is_that_of_the_ellipse():
    """A Gaussian's second moments above a low threshold come out near its sigma: an ellipse of 3 sigma."""
    found = classical.class_map(galaxies((24, 24), peak=1e5), 1.0, ClassicalConfig())
    assert (found > 0).sum() == pytest.approx(np.pi * (3 * 2.5) ** 2, rel=0.1)


def test_noise_and_nothing_are_background():
    noise = np.random.default_rng(1).normal(0, 5, (48, 48))
    assert not classical.class_map(noise, 5.0, ClassicalConfig(threshold=5.0)).any()
    assert not classical.class_map(np.zeros((48, 48)), 5.0, ClassicalConfig()).any()
