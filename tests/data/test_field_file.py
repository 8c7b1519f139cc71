"""A simulated field on disk: the image with its classes, and the true sources as `segment --truth` reads them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from blendinator.data.field import SimulatedField
from blendinator.data.field_file import truth_path, write_field
from blendinator.data.sources import GALAXY, STAR, Sources
from blendinator.data.survey import get_survey
from blendinator.errors import ConfigError, DataError

SIDE = 32


@pytest.fixture
def field():
    """A galaxy at (9, 4), a star at (20, 30), and a galaxy below the noise."""
    sources = Sources.make(
        kind=np.array([GALAXY, STAR, GALAXY], np.int8),
        x=np.array([9.0, 20.0, 5.0]),
        y=np.array([4.0, 30.0, 5.0]),
        magnitude=np.array([22.0, 18.0, 29.0]),
        flux_fraction=np.array([[1.0, 0.0]] * 3),
        radius=np.full((3, 2), 0.4),
        sersic_index=np.ones((3, 2)),
        axis_ratio=np.ones((3, 2)),
        angle=np.zeros((3, 2)),
    )
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4, 9] = 2
    image = np.arange(SIDE**2, dtype=np.float32).reshape(SIDE, SIDE)
    return SimulatedField(image, image, mask, sources, np.array([12, 40, 0]), np.array([15.0, 900.0, 0.2]), 26.0)


def test_image_classes_and_truth(field, tmp_path):
    path = tmp_path / "field.fits"
    truth = write_field(field, get_survey("euclid_wide"), path)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "CLASS"] and hdus[0].header["BUNIT"] == "electron"
        np.testing.assert_array_equal(hdus[0].data, field.image)
        np.testing.assert_array_equal(hdus[1].data, field.mask)
        sky = WCS(hdus[0].header)
    table = Table.read(truth)
    assert truth == tmp_path / "field-truth.ecsv" and list(table["kind"]) == ["galaxy", "star"]
    assert list(table["x"]) == [10.0, 21.0] and list(table["y"]) == [5.0, 31.0] and table["x"].unit == "pix"
    assert list(table["half_light"]) == [0.4, 0.0] and list(table["pixels"]) == [12, 40]
    np.testing.assert_allclose(sky.wcs_pix2world(table["x"], table["y"], 1), [table["ra"], table["dec"]])


def test_names(tmp_path):
    assert truth_path("a/field.fits.gz").as_posix() == "a/field-truth.ecsv"


def test_wrong_ending_existing_file_missing_folder(field, tmp_path):
    survey = get_survey("euclid_wide")
    with pytest.raises(ConfigError, match="field.png: received this name for a field; allowed: one that ends in .fits"):
        write_field(field, survey, tmp_path / "field.png")
    with pytest.raises(DataError, match="none/field.fits: this cannot be written .No such file"):
        write_field(field, survey, tmp_path / "none" / "field.fits")
    (tmp_path / "field-truth.ecsv").touch()
    with pytest.raises(ConfigError, match="field-truth.ecsv: this file exists already. Give another name, or `overwr"):
        write_field(field, survey, tmp_path / "field.fits")
    write_field(field, survey, tmp_path / "field.fits", overwrite=True)
