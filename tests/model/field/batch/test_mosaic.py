"""Overlapping tiles: each object once, whatever the tiles' edges, and none lost."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from blendinator.errors import DataError
from blendinator.model.field.batch.mosaic import SAME, merge, select, tile_of

SIDE, STEP = 200, 150  # pixels of 0.1 arcsec: tiles overlap by 50


def tile(name, column, row=0):
    """A tile of a common tangent plane whose first pixel is (column, row)."""
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    cards |= {"CRPIX1": 1.0 - column, "CRPIX2": 1.0 - row, "CD1_1": -0.1 / 3600, "CD2_2": 0.1 / 3600}
    header = fits.Header(cards)
    return tile_of({"name": name, "wcs": header.tostring(sep="\n"), "shape": [SIDE, SIDE]})


def seen(tiles, x, y, jitter=0.0, seed=0):
    """What each tile sees of sources at x, y of the common plane: (tile, source, ra, dec)."""
    rng, whole = np.random.default_rng(seed), tile("plane", 0)
    found = []
    for i, one in enumerate(tiles):
        column, row = one.wcs.to_pixels(*whole.wcs.to_sky(x, y))
        inside = (np.minimum(column, row) > 0) & (np.maximum(column, row) < SIDE - 1)
        for source in np.flatnonzero(inside):
            place = x[source] + jitter * rng.normal(), y[source] + jitter * rng.normal()
            found.append((i, source, *(float(value) for value in whole.wcs.to_sky(*place))))
    return [np.array(column) for column in zip(*found)]


@pytest.fixture(scope="module")
def grid():
    return [tile(f"t{i}{j}", STEP * i, STEP * j) for i in range(2) for j in range(2)]


def test_depth_by_hand():
    one = tile("t", 0)
    np.testing.assert_allclose(
        one.depth(*one.wcs.to_sky(np.array([10.0, 100.0]), np.array([50.0, 195.0]))), [1.05, 0.45]
    )
    assert one.depth(*one.wcs.to_sky(np.array([-1.0]), np.array([5.0])))[0] == -np.inf


def test_each_source_once_from_the_deepest_tile(grid):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(5, 340, (2, 800))
    of, source, ra, dec = seen(grid, x, y)
    keep = select(grid, of, ra, dec)
    assert len(source) > 1000
    kept, counts = np.unique(source[keep], return_counts=True)
    far = np.array([np.min(np.hypot(x - x[i], y - y[i])[np.arange(800) != i]) for i in kept]) > 10 * SAME
    assert (counts[far] == 1).all()
    assert set(np.unique(source[~np.isin(source, kept)])) <= {
        i for i in range(800) if np.sum(np.hypot(x - x[i], y - y[i]) < 10 * SAME) > 1
    }
    middle = far & (np.abs(x[kept] - 175) > 10) & (np.abs(y[kept] - 175) > 10)  # away from where tiles meet
    owner = (x[kept[middle]] > 174.5) * 2 + (y[kept[middle]] > 174.5)
    found = dict(zip(source[keep], of[keep]))
    assert [found[i] for i in kept[middle]] == owner.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_centres_that_differ_neither_double_nor_lose(grid, seed):
    """Sources along the line where two tiles meet, with centres that differ by a pixel."""
    y = np.arange(10.0, 140.0, 15)
    x = np.full(len(y), 174.5)
    of, source, ra, dec = seen(grid, x, y, jitter=1.0, seed=seed)
    assert len(source) == 2 * len(y)
    assert sorted(source[select(grid, of, ra, dec)]) == list(range(len(y)))


def test_one_tile_keeps_all():
    one = tile("t", 0)
    of, _, ra, dec = seen([one], np.array([20.0, 22.0]), np.array([20.0, 20.0]))
    assert select([one], of, ra, dec).all()
    assert select([one], np.zeros(0, int), np.zeros(0), np.zeros(0)).shape == (0,)


def catalogue(rows, whole):
    ra, dec = whole.wcs.to_sky(*(np.array([row[k] for row in rows], float) for k in (3, 4)))
    names = {"id": 0, "kind": 1, "parent": 2}
    table = Table({name: [row[k] for row in rows] for name, k in names.items()}, meta={"SEED": 1})
    table["ra"], table["dec"] = ra, dec
    return table


def test_blends_go_with_their_objects():
    tiles = [tile("left", 0), tile("right", STEP)]
    whole = tiles[0]
    left = catalogue([(1, "object", 0, 20, 50), (2, "object", 0, 190, 60), (3, "blend", 2, 190, 60)], whole)
    right = catalogue([(1, "object", 0, 190, 60), (2, "object", 0, 300, 9), (3, "blend", 1, 190, 60)], whole)
    table = merge([left, right], tiles)
    assert list(table["id"]) == [1, 2, 3, 4] and list(table["kind"]) == ["object"] * 3 + ["blend"]
    assert list(table["tile"]) == ["left", "right", "right", "right"] and list(table["tile_id"]) == [1, 1, 2, 3]
    assert list(table["parent"]) == [0, 0, 0, 2] and table.meta["left_out"] == 1
    assert "farthest from the edge" in table.meta["overlaps"]


def test_an_image_without_a_wcs():
    with pytest.raises(DataError, match="t7: this image has no WCS, so that it cannot join others"):
        tile_of({"name": "t7", "wcs": "", "shape": [9, 9]})
