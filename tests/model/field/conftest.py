"""A tiny pushed model, and a small field as a FITS file."""

import numpy as np
import pytest
from astropy.io import fits

from blendinator.config_loader import config_to_dict
from blendinator.model.client import Segmenter
from blendinator.model.export import export
from blendinator.model.probaunet import ProbaUNet

HEIGHT, WIDTH = 61, 83  # no multiples of anything
CALIBRATION = {
    "population": "natural",
    "populations": {
        "natural": {"temperature": 1.0, "class_offsets": [0.0, 0.0, 0.0]},
        "boosted": {"temperature": 1.0, "class_offsets": [0.0, 0.0, 2.0]},
    },
}


@pytest.fixture(scope="session")
def pushed(tmp_path_factory, tiny_config, transform_output):
    """Folder of all versions, with one version."""
    folder = tmp_path_factory.mktemp("serving")
    network = ProbaUNet(tiny_config.model, seed=3)
    export(
        network,
        transform_output,
        str(folder / "1700000000"),
        default_draws=4,
        default_seed=1,
        stamp_size=16,
        facts={"key": "abc", "config": config_to_dict(tiny_config), "calibration": CALIBRATION},
    )
    return folder


@pytest.fixture(scope="session")
def segmenter(pushed):
    return Segmenter.load(pushed, tile=32)


@pytest.fixture(scope="session")
def image():
    """Noise of the survey and a few round galaxies, electrons [H, W]."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    out = rng.normal(0, 26.3, (HEIGHT, WIDTH))
    for _ in range(9):
        y, x = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
        out += rng.uniform(200, 2000) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
    return out.astype(np.float32)


@pytest.fixture(scope="session")
def wcs_header():
    header = fits.Header()
    for key, value in {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0,
        "CRVAL2": 2.0,
        "CRPIX1": 40.0,
        "CRPIX2": 30.0,
        "CD1_1": -0.1 / 3600,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": 0.1 / 3600,
    }.items():
        header[key] = value
    return header


@pytest.fixture
def field_file(tmp_path, image, wcs_header):
    """The image in electrons, with a WCS, in the first extension."""
    path = tmp_path / "field.fits"
    science = fits.ImageHDU(image, wcs_header, name="SCI")
    science.header["BUNIT"] = "electron"
    fits.HDUList([fits.PrimaryHDU(), science]).writeto(path)
    return path
