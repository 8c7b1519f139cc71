"""Stars by their radius: in units of the field's own, and counted at the sky's density."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table


@pytest.fixture(scope="module")
def stars(load_benchmark):
    return load_benchmark("point_sources")


def test_radii_in_units_of_the_bright_stars(stars):
    radius = MaskedColumn([1.0, 2.0, 3.0, 8.0, 4.0], mask=[False, False, False, False, True])
    found = Table({"half_light_radius": radius, "is_star": [True, True, True, False, True]})
    found["true_magnitude"] = [19.0, 20.0, 20.9, 20.0, 23.0]
    np.testing.assert_array_equal(stars.relative_radius(found), [0.5, 1.0, 1.5, 4.0, np.nan])


def test_a_row_per_magnitude(stars):
    found = Table({"relative_radius": [1.0, 1.0, np.nan, 1.3, 0.9, 2.0], "true_magnitude": [22.5] * 6})
    found["is_star"] = [True, True, True, True, False, False]
    # 2 of 4 stars, which are 8 times too many, and 1 galaxy: 0.25 / 1.25.
    assert stars.rows(found, 1.1)[3] == "| 22–23 | 2 of 4 | 1 of 2 | 0.20 |"
    assert stars.rows(found, 1.1)[0] == "| 19–20 | 0 of 0 | 0 of 0 | 0.00 |"
