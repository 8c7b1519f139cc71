"""The cores of the tiles cover the field once; margins reach as far as there is field."""

import numpy as np
import pytest

from blendinator.model.field.tiling import core_shape, plan


@pytest.mark.parametrize("height, width, side", [(1, 1, 64), (61, 83, 32), (200, 72, 64), (128, 128, 128)])
def test_cores_cover_the_padded_field_once(height, width, side):
    halo, factor = 24, 8
    padded = [-(-length // factor) * factor for length in (height, width)]
    covered = np.zeros(padded, int)
    rows = plan(height, width, (side, side), halo, factor)
    for row in rows:
        for tile in row:
            covered[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
            assert max(tile.height, tile.width) <= side and not (tile.top % factor or tile.left % factor)
            assert not any(margin % factor for margin in tile.margins)
            assert tile.rows.start == max(tile.top - halo, 0)
            assert tile.rows.stop == min(tile.top + tile.height + halo, padded[0])
            assert tile.columns.start >= 0 and tile.columns.stop <= padded[1]
        assert len({(tile.top, tile.height) for tile in row}) == 1
    assert (covered == 1).all()


def test_a_field_of_one_tile_has_no_margins():
    [[tile]] = plan(40, 40, (64, 64), 24, 8)
    assert tile.margins == (0, 0, 0, 0) and (tile.height, tile.width) == (40, 40)


@pytest.mark.parametrize(
    "width, expected", [(1000, (1024, 1024)), (8192, (1024, 1024)), (16384, (512, 2048)), (10**6, (256, 4096))]
)
def test_cores_of_a_wide_field_are_lower_and_as_large(width, expected):
    assert core_shape(width, 1024, 2**23) == expected
