"""Completeness, purity and pairs, by hand."""

import numpy as np
import pytest
from astropy.table import Table

from blendinator.errors import DataError
from blendinator.model.field.truth import compare, describe, read_truth
from blendinator.model.field.wcs import celestial

# Three objects: the first holds two galaxies and is called a blend, the second one galaxy, the third none.
COLUMNS = {
    "kind": np.array(["object"] * 3 + ["blend"]),
    "p_blend": np.array([0.8, 0.1, 0.6, 0.9]),
    "footprint": np.array([30, 10, 10, 5]),
}
XY = np.array([[10.0, 10], [14, 10], [50, 50], [56, 50], [500, 10]])
MAGNITUDE = np.array([21.0, 22.5, 23.0, 24.5, 20.0])
OWNERS = np.array([0, 0, 1, -1, -1])


def test_compare():
    out = compare(COLUMNS, OWNERS, XY, MAGNITUDE, (100, 100), 0.1)
    assert (out["galaxies"], out["objects"]) == (4, 3)  # one galaxy lies outside the field
    assert out["completeness"] == 0.75 and out["purity"] == pytest.approx(2 / 3) and out["chance"] == 0.005
    assert out["blend_completeness"] == 1.0 and out["blend_purity"] == 0.5
    assert [(row["low"], row["count"], row["share"]) for row in out["completeness_by_magnitude"]] == [
        (21, 1, 1),
        (22, 1, 1),
        (23, 1, 1),
        (24, 1, 0),
    ]
    # Pairs 0.4 and 0.6 arcsec apart: the first is in one object that is called a blend, of the second one is not found.
    assert [(row["low"], row["count"], row["share"]) for row in out["pairs_by_separation"] if row["count"]] == [
        (0.3, 1, 1),
        (0.6, 1, 0),
    ]
    assert "completeness 0.750, purity 0.667" in describe(out)[0]


def test_no_galaxies_and_no_objects():
    empty = {name: value[:0] for name, value in COLUMNS.items()}
    out = compare(empty, OWNERS[:0], XY[:0], MAGNITUDE[:0], (9, 9), 0.1)
    assert out["completeness"] is None and out["purity"] is None and out["pairs_by_separation"] == []


def test_positions_in_pixels_or_on_the_sky(tmp_path, wcs_header):
    Table({"x": [40.0], "y": [30.0], "mag": [20.0]}).write(tmp_path / "pixels.csv")
    Table({"RA": [150.0], "DEC": [2.0], "magnitude": [20.0]}).write(tmp_path / "sky.ecsv")
    for name in ("pixels.csv", "sky.ecsv"):
        xy, magnitude = read_truth(tmp_path / name, celestial(wcs_header)[0], (60, 80))
        np.testing.assert_allclose(xy, [[39, 29]], atol=1e-6)
        assert magnitude.tolist() == [20.0]


def test_missing_column(tmp_path):
    Table({"x": [1.0], "mag": [20.0]}).write(tmp_path / "t.csv")
    with pytest.raises(DataError, match="t.csv: received the columns x, mag; needed: x and y"):
        read_truth(tmp_path / "t.csv", None, (9, 9))


def test_no_table(tmp_path):
    with pytest.raises(DataError, match="t.fits: the table cannot be read"):
        read_truth(tmp_path / "t.fits", None, (9, 9))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"mag": [20.0, np.nan]}, "column mag: 1 rows hold no finite number, the first is row 2. Leave them out"),
        ({"mag": np.ma.masked_equal([20.0, 0.0], 0.0)}, "column mag: 1 rows hold no finite number, the first is row 2"),
        ({"x": [np.inf, 1.0]}, "column x: 1 rows hold no finite number, the first is row 1"),
        ({"mag": ["bright", "faint"]}, "column 'mag' does not hold numbers"),
    ],
)
def test_rows_without_numbers_are_refused_before_the_work(tmp_path, column, message):
    Table({"x": [1.0, 2.0], "y": [1.0, 2.0], "mag": [20.0, 21.0], **column}).write(tmp_path / "t.ecsv")
    with pytest.raises(DataError, match=message):
        read_truth(tmp_path / "t.ecsv", None, (9, 9))


@pytest.mark.parametrize(
    ("columns", "units"),
    [
        ({"x": [40.0], "y": [30.0]}, {"x": "pix", "y": "pixel"}),
        ({"ra": [9000.0], "dec": [120.0]}, {"ra": "arcmin", "dec": "arcmin"}),
        ({"ra": [10.0], "dec": [2.0]}, {"ra": "hourangle", "dec": "deg"}),
        ({"ra": [np.radians(150)], "dec": [np.radians(2)]}, {"ra": "rad", "dec": "rad", "mag": "mag"}),
    ],
)
def test_units_of_positions_are_converted(tmp_path, wcs_header, columns, units):
    Table({**columns, "mag": [20.0]}, units=units).write(tmp_path / "t.ecsv")
    xy, _ = read_truth(tmp_path / "t.ecsv", celestial(wcs_header)[0], (60, 80))
    np.testing.assert_allclose(xy, [[39, 29]], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "units", "message"),
    [
        ({"x": [4.0], "y": [3.0]}, {"x": "arcsec"}, "column 'x' is in 'arcsec'; allowed: a unit that converts to pix"),
        ({"ra": [4.0], "dec": [3.0]}, {"ra": "pix"}, "column 'ra' is in 'pix'; allowed: a unit that converts to deg"),
        ({"x": [4.0], "y": [3.0]}, {"mag": "nJy"}, r"column 'mag' is in 'nJy'; allowed: mag or mag\(AB\)"),
        ({"x": [4.0], "y": [3.0], "Magnitude": [1.0]}, {}, "the columns 'Magnitude' and 'mag' both mean magnitude"),
        (
            {"x": [400.0], "y": [300.0]},
            {},
            "none of the 1 galaxies lies on the field: the table has x from 400 to 400 and y from 300 to 300, the "
            r"field x from 1 to 80 and y from 1 to 60 \(pixels\)",
        ),
        (
            {"ra": [15.0, 330.0], "dec": [0.2, 0.3]},
            {},
            "the table has ra from 15 to 330 and dec from 0.2 to 0.3, the field ra from 149.99.* to 150.00.* and dec "
            "from 1.99.* to 2.00.*degrees",
        ),
    ],
)
def test_positions_and_units_that_cannot_be_used(tmp_path, wcs_header, columns, units, message):
    Table({**columns, "mag": [20.0] * len(next(iter(columns.values())))}, units=units).write(tmp_path / "t.ecsv")
    with pytest.raises(DataError, match=message):
        read_truth(tmp_path / "t.ecsv", celestial(wcs_header)[0], (60, 80))


def test_the_faintest_galaxy_is_counted_where_its_magnitude_is_whole():
    out = compare(COLUMNS, OWNERS, XY, np.array([21.0, 22.5, 23.0, 24.0, 20.0]), (100, 100), 0.1)
    assert [row["count"] for row in out["completeness_by_magnitude"]] == [1, 1, 1, 1]
