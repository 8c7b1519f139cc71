"""Maps of noise and of bad pixels."""

import numpy as np
import pytest
from astropy.io import fits

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.background import Background
from blendinator.model.field.plane import Plane
from blendinator.model.field.weights import check_weight, masked_rows, noise_of, read_bits

SHAPE = 40, 50


def plane(tmp_path, data, **keywords):
    header = fits.Header()
    header.update(keywords)
    fits.writeto(tmp_path / "m.fits", data, header, overwrite=True)
    return Plane(tmp_path / "m.fits")


def check(tmp_path, value, kind, sigma=4.0, exposure_time=None):
    measured = Background(np.zeros((2, 2)), np.full((2, 2), sigma), 20, SHAPE)
    check_weight(plane(tmp_path, np.full(SHAPE, value, np.float32)), kind, measured, exposure_time)


@pytest.mark.parametrize(
    "value, kind",
    [(4.0, "rms"), (7.9, "rms"), (2.1, "rms"), (16.0, "variance"), (1 / 16, "weight"), (1 / 60, "weight")],
)
def test_a_map_within_a_factor_of_2(tmp_path, value, kind):
    check(tmp_path, value, kind)


@pytest.mark.parametrize(
    "value, kind, options, message",
    [
        (
            16.0,
            "rms",
            {},
            r"m.fits\[0\]: read as rms, the map's noise is 4 times the image's .*`weight_type` variance would",
        ),
        (4.0, "variance", {}, "read as variance, the map's noise is 0.5.*|`weight_type` rms would fit"),
        (1 / 16, "rms", {}, "the map's noise is 0.0156 times .*allowed: 1/2 to 2. `weight_type` weight would fit"),
        (
            2260.0,
            "weight",
            {"exposure_time": 2260.0},
            "holds exposure times .of 2260 s., no weights: multiply it by 2.77e-05",
        ),
        (
            2260.0,
            "weight",
            {},
            r"No type fits \(565 as rms, 11.9 as variance\).*Multiply it by 2.77e-05 if only its scale",
        ),
        (
            12.0,
            "rms",
            {"sigma": 3.3},
            "the map's noise is 3.64 times .*`weight_type` variance would fit.*use `match_noise`",
        ),
        (0.0, "weight", {}, "the weight map has no usable pixel as weight"),
    ],
)
def test_a_map_that_is_something_else(tmp_path, value, kind, options, message):
    if kind == "variance":
        options = {**options, "sigma": 4.1}
    with pytest.raises(DataError, match=message):
        check(tmp_path, value, kind, **options)


BITS = np.array([[0, 1, 2, 4, 8, 12, 1 << 30]])


@pytest.mark.parametrize(
    "text, marked",
    [
        (None, [0, 1, 1, 1, 1, 1, 1]),
        ("0", [0, 1, 0, 0, 0, 0, 0]),
        ("2", [0, 0, 0, 1, 0, 1, 0]),
        ("1, 3", [0, 0, 1, 0, 1, 1, 0]),
        ("30", [0, 0, 0, 0, 0, 0, 1]),
        ("SAT,bad", [0, 1, 0, 1, 0, 1, 0]),
        ("MP_SAT", [0, 0, 0, 1, 0, 1, 0]),
    ],
)
@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.float64])
def test_bits_by_number_and_name(tmp_path, text, marked, kind):
    mask = plane(tmp_path, BITS.astype(kind).repeat(2, axis=0), MP_BAD=0, MP_SAT=2)
    assert masked_rows(mask, read_bits(text, mask), 0, 1).tolist() == [[bool(one) for one in marked]]


@pytest.mark.parametrize("text", ["COSMIC", "64", "-1", ""])
def test_unknown_bits(tmp_path, text):
    mask = plane(tmp_path, BITS.astype(np.int32), MP_BAD=0, MP_SAT=2)
    with pytest.raises(
        ConfigError, match=rf"`mask_bits`: received '{text}'; allowed: numbers from 0 to 63.*or BAD, SAT"
    ):
        read_bits(text, mask)


def test_a_mask_without_names(tmp_path):
    mask = plane(tmp_path, BITS.astype(np.int32))
    with pytest.raises(ConfigError, match=r"m.fits\[0\] names no bits in MP_ keywords"):
        read_bits("SAT", mask)


def test_bits_of_fractions(tmp_path):
    mask = plane(tmp_path, np.full((2, 2), 0.5, np.float32))
    with pytest.raises(DataError, match="`mask_bits` needs integers; received float32 with fractions"):
        masked_rows(mask, 1, 0, 2)


@pytest.mark.parametrize(
    "kind, value, sigma",
    [
        ("rms", 3.0, 3.0),
        ("variance", 9.0, 3.0),
        ("weight", 0.25, 2.0),
        ("weight", 0.0, np.nan),
        ("rms", -1.0, np.nan),
        ("rms", np.inf, np.nan),
    ],
)
def test_noise_of_a_weight_map(kind, value, sigma):
    np.testing.assert_allclose(noise_of(np.array([value]), kind), [sigma])
