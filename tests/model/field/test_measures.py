"""What is measured in a sample's mask: by hand on a few pixels, and as the rows of a field come."""

import numpy as np
import pytest

from blendinator.model.field.components import UnionFind
from blendinator.model.field.measures import NAMES, Measurer, measure, radius, summarise
from blendinator.model.field.pixels import PixelStore


def square(side=11):
    """A centred grid of positions."""
    y, x = np.mgrid[:side, :side].reshape(2, -1).astype(float)
    return x, y


def test_radius_by_hand():
    growth = np.array([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(radius(growth, np.array([3.0, 0.5])), np.sqrt(np.array([2.5, 0.5]) / np.pi))
    assert np.isnan(radius(growth, np.array([5.0, np.nan]))).all()


def test_an_even_disk():
    """Half of the light of an even disk lies within 1/sqrt(2) of its radius; concentration 5 log10(2)."""
    x, y = square(61)
    inside = np.hypot(x - 30, y - 30) < 25
    found = measure(np.ones(len(x)), x, y, inside[None].astype(np.uint8), (30.0, 30.0))
    assert found["half_light_radius"][0] == pytest.approx(np.sqrt(inside.sum() / 2 / np.pi), rel=0.01)
    assert found["concentration"][0] == pytest.approx(5 * np.log10(2), abs=0.02)
    assert found["ellipticity"][0] == pytest.approx(0, abs=0.01) and found["blended_flux_fraction"][0] == 0


def test_a_bar_and_its_blended_part():
    """A bar of 6 x 1 pixels: variances 35/12 + 1/12 and 1/12; two of six pixels are blended in the second sample."""
    x, y = np.arange(6.0), np.zeros(6)
    classes = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 2, 2, 1, 1], [0, 0, 0, 0, 0, 0]], np.uint8)
    found = measure(np.full(6, 10.0), x, y, classes, (2.5, 0.0))
    np.testing.assert_allclose(found["ellipticity"][:2], 1 - np.sqrt((1 / 12) / 3))
    np.testing.assert_allclose(found["blended_flux_fraction"], [0, 1 / 3, np.nan])
    assert all(np.isnan(found[name][2]) for name in NAMES)  # this sample has nothing there


def test_quantiles_leave_out_samples_without_a_value():
    values = np.array([[3.0, np.nan, 1.0, 2.0], [np.nan] * 4, [5.0, np.nan, np.nan, np.nan]])
    found = summarise(values)
    np.testing.assert_allclose(found[0], np.quantile([1.0, 2.0, 3.0], [0.5, 0.16, 0.84, 0.025, 0.975]))
    assert np.isnan(found[1]).all() and (found[2] == 5).all()


def test_pixels_wait_until_their_object_is_whole():
    sets = UnionFind()
    sets.grow(3)
    store = PixelStore(sets)
    store.add(np.array([0, 1, 0]), flux=np.array([1.0, 2.0, 3.0]))
    assert [(root, of["flux"].tolist()) for root, of in store.finished(np.array([0]))] == [(1, [2.0])]
    store.add(np.array([2]), flux=np.array([4.0]))
    sets.join(2, 0)  # the next rows show that the two are one
    assert list(store.finished(np.array([2]))) == []
    assert [(root, of["flux"].tolist()) for root, of in store.finished(np.zeros(0, int))] == [(0, [1.0, 3.0, 4.0])]
    assert list(store.finished(np.zeros(0, int))) == []


def test_small_objects_have_no_measures():
    sets = UnionFind()
    sets.grow(2)
    measurer = Measurer(sets, 2, min_pixels=2)
    measurer.add(
        np.array([0, 0, 1]),
        flux=np.array([1.0, 1.0, 5.0]),
        x=np.array([0, 1, 9]),
        y=np.array([0, 0, 9]),
        footprint=np.array([True, True, True]),
        classes=np.ones((3, 2), np.uint8),
    )
    measurer.measure(np.zeros(0, int))
    columns = measurer.columns(np.array([0, 1]))
    assert columns["half_light_radius"][0] == pytest.approx(np.sqrt(1 / np.pi))
    assert np.isnan(columns["half_light_radius_hi95"][1])
    assert len(columns) == 5 * len(NAMES)
