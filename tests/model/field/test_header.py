"""Numbers of headers as people write them."""

import pytest
from astropy.io import fits

from blendinator.model.field.header import inherit, parse, read_numbers


@pytest.mark.parametrize(
    "header, name, value, keyword",
    [
        ({"GAIN": 2.0}, "gain", 2.0, "GAIN"),
        ({"GAIN": 139, "EGAIN": 0.25}, "gain", 0.25, "EGAIN"),
        ({"GAIN": 100, "CCDGAIN": 1.5}, "gain", 1.5, "CCDGAIN"),
        ({"EGAIN": 0.0, "GAIN": 1.7}, "gain", 1.7, "GAIN"),
        ({"GAIN": "2.0     "}, "gain", 2.0, "GAIN"),
        ({"GAIN": "'2.0'"}, "gain", 2.0, "GAIN"),
        ({"GAIN": "2.5 e-/ADU"}, "gain", 2.5, "GAIN"),
        ({"EXPTIME": "1.2D2"}, "exposure_time", 120.0, "EXPTIME"),
        ({"EXPTIME": "60 s"}, "exposure_time", 60.0, "EXPTIME"),
        ({"EXPTIME": -1.0, "EXPOSURE": 30}, "exposure_time", 30.0, "EXPOSURE"),
        ({"MAGZEROP": 0.0, "MAGZPT": 25.3}, "zero_point", 25.3, "MAGZPT"),
        ({"MAGZPT": 25.3, "PHOTZP": 30.1}, "zero_point", 30.1, "PHOTZP"),  # that of the image's own unit first
        ({"ZP": "27.5 mag"}, "zero_point", 27.5, "ZP"),
    ],
)
def test_what_is_believed(header, name, value, keyword):
    found = read_numbers(header).found[name]
    assert (found.value, found.keyword) == (value, keyword)


@pytest.mark.parametrize(
    "header, name, said",
    [
        ({"GAIN": 139, "EGAIN": 0.25}, "gain", "GAIN = 139 is not used, EGAIN = 0.25 is"),
        ({"GAIN": 0.0}, "gain", "GAIN = 0 is taken as not set (allowed: 0.0001 to 1e+06)"),
        ({"GAIN": "high"}, "gain", "GAIN = 'high' is not a number"),
        ({"GAIN": True}, "gain", "GAIN = True is not a number"),
        ({"GAINA": 4.2}, "gain", "the header has GAINA = 4.2, which may be meant"),
        ({"EXPTIME": "2 min"}, "exposure_time", "EXPTIME = '2 min' is not a number"),
        ({"MAGZEROP": 0.0}, "zero_point", "MAGZEROP = 0 is taken as not set (allowed: 10 to 40)"),
        ({"MAGZERO": 99.0}, "zero_point", "MAGZERO = 99 is taken as not set (allowed: 10 to 40)"),
        ({"ABZPOINT": 25.9}, "zero_point", "the header has ABZPOINT = 25.9, which may be meant"),
    ],
)
def test_what_is_ignored_is_said(header, name, said):
    assert said in read_numbers(header).ignored[name]


def test_nothing():
    numbers = read_numbers({})
    assert numbers.found == {} and not any(numbers.ignored.values())


@pytest.mark.parametrize(
    "keyword, comment, per_second",
    [
        ("MAGZPT", "", True),
        ("MAGZERO", "", False),
        ("MAGZERO", "zero point for 1 s", True),
        ("ZP", "[mag] for 1 count per second", True),
        ("ZP", "mag of 1 count/s", True),
        ("ZP", "magnitude of one count in this image", False),
    ],
)
def test_zero_points_of_one_second(keyword, comment, per_second):
    header = fits.Header([(keyword, 25.0, comment)])
    assert read_numbers(header).found["zero_point"].per_second is per_second


def test_the_primary_header_supplies_what_the_images_lacks():
    primary = fits.Header(
        [("EXPTIME", 100.0), ("GAIN", 2.0), ("EXTEND", True), ("RADESYS", "FK4"), ("CTYPE1", "GLON-TAN")]
    )
    image = fits.Header([("BUNIT", "adu"), ("GAIN", 3.0), ("CTYPE1", "RA---TAN")])
    merged, inherited = inherit(image, primary, same_shape=True)
    assert dict(merged) == {"BUNIT": "adu", "GAIN": 3.0, "CTYPE1": "RA---TAN", "EXPTIME": 100.0, "RADESYS": "FK4"}
    assert inherited == {"EXPTIME", "RADESYS"}
    numbers = read_numbers(merged, inherited)
    assert str(numbers.found["exposure_time"]) == "EXPTIME of the primary header = 100"


def test_a_wcs_is_inherited_as_a_whole_from_an_image_of_the_same_shape():
    primary = fits.Header([("CTYPE1", "RA---TAN"), ("CRVAL1", 1.0)])
    assert "CRVAL1" in inherit(fits.Header(), primary, same_shape=True)[0]
    assert "CRVAL1" not in inherit(fits.Header(), primary, same_shape=False)[0]


def test_inherit_f_is_obeyed_and_said():
    primary, image = fits.Header([("EXPTIME", 100.0)]), fits.Header([("INHERIT", False)])
    merged, inherited = inherit(image, primary, same_shape=True)
    assert "EXPTIME" not in merged and not inherited
    said = read_numbers(merged, inherited, primary).ignored["exposure_time"]
    assert said == ["the primary header has EXPTIME = 100, and INHERIT = F says that it is not the image's"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, None, "", "nan", "1.2.3", b"2"])
def test_no_number(value):
    assert parse(value) is None


def test_the_constant_of_hubbles_headers_is_not_taken_for_a_zero_point():
    assert read_numbers({"PHOTZPT": -21.1}).ignored["zero_point"] == []
