"""Values that stand for no data."""

import numpy as np
import pytest
from astropy.io import fits

from blendinator.model.field.fill import mark_no_data
from blendinator.model.field.plane import Plane

SIDE = 128


def sky(kind=np.float32, level=0.0, sigma=26.3):
    image = np.random.default_rng(3).normal(level, sigma, (SIDE, SIDE))
    return (np.rint(image) if np.dtype(kind).kind == "i" else image).astype(kind)


def marked(tmp_path, image, given=()):
    fits.writeto(tmp_path / "f.fits", image)
    plane = Plane(tmp_path / "f.fits")
    return plane, mark_no_data(plane, given)


@pytest.mark.parametrize(
    "value", [0.0, -999.0, -1.0, -9999.0, 65535.0, -32768.0, -9.223372e18, 1e20, np.finfo("f4").min]
)
@pytest.mark.parametrize("share", [0.02, 0.15, 0.6])
def test_one_exact_value_in_a_large_part(tmp_path, value, share):
    image = sky()
    image[: round(share * SIDE)] = value
    plane, said = marked(tmp_path, image)
    rows = round(share * SIDE)
    assert np.isnan(plane.rows(0, rows)).all() and np.isfinite(plane.rows(rows, SIDE)).all()
    assert len(said) == 1 and said[0].startswith(f"{rows * SIDE} pixels (") and "taken as no data" in said[0]


@pytest.mark.parametrize("value", [0, -999, 32767])
def test_integers(tmp_path, value):
    image = sky(np.int16, level=400)
    image[:20] = value
    plane, said = marked(tmp_path, image)
    assert plane.fill == (value,) and said[0].startswith(
        f"2560 pixels (15.62%) are exactly {value:g}: taken as no data"
    )


def test_two_values(tmp_path):
    image = sky(level=2000)
    image[:20], image[20:30] = 0, -999
    plane, said = marked(tmp_path, image)
    assert set(plane.fill) == {0, -999} and len(said) == 2


@pytest.mark.parametrize(
    "image",
    [
        sky(),
        sky(np.int16),
        sky(np.int16, sigma=0.7),  # 0 is common, and so are its neighbours
        np.round(sky(), 0),
        np.maximum(sky(), -200.0),
        np.zeros((SIDE, SIDE), np.float32),  # an image of one value has no noise: an error of its own
    ],
)
def test_images_without_any(tmp_path, image):
    plane, said = marked(tmp_path, image)
    assert plane.fill == () and said == []


def test_a_value_that_is_given(tmp_path):
    image = sky()
    image[:3], image[3:30] = -5.0, 0.0
    plane, said = marked(tmp_path, image, (-5.0,))
    assert plane.fill == (-5.0,) and said == ["384 pixels (2.34%) are exactly -5: no data, as given"]
    assert np.isfinite(plane.rows(3, SIDE)).all()


def test_nan_looks_for_nothing(tmp_path):
    image = sky()
    image[:30] = 0.0
    plane, said = marked(tmp_path, image, (float("nan"),))
    assert plane.fill == () and said == [] and np.isfinite(plane.rows(0, SIDE)).all()


@pytest.mark.parametrize("level", [4, 16])
def test_steps_of_a_compressed_image_are_data(tmp_path, level):
    """fpack's steps differ from row to row, and 0 is one of them in every row."""
    hdu = fits.CompImageHDU(sky(), compression_type="RICE_1", quantize_level=level)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "f.fits.fz")
    plane = Plane(tmp_path / "f.fits.fz")
    assert (plane.rows(0, SIDE) == 0).mean() > 0.01
    assert mark_no_data(plane) == [] and plane.fill == ()


def test_zeros_at_the_edges_of_each_row(tmp_path):
    image = sky()
    image[:, :2] = image[:, -2:] = 0
    plane, said = marked(tmp_path, image)
    assert plane.fill == (0.0,) and said[0].startswith(f"{4 * SIDE} pixels (")
