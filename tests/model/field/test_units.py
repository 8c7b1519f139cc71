"""Electrons from units, keywords and options; one test per message."""

import pytest

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.header import read_numbers
from blendinator.model.field.units import conversion as convert

SURVEY = {"name": "euclid_wide", "zero_point": 25.92, "exposure_time": 2260.0}


def conversion(header, survey, **options):
    return convert(read_numbers(header), header.get("BUNIT", ""), survey, **options)


@pytest.mark.parametrize(
    "header, options, factor, counted",
    [
        ({"BUNIT": "electron"}, {}, 1.0, True),
        ({"BUNIT": "ELECTRONS/S", "EXPTIME": 100.0}, {}, 100.0, True),
        ({"BUNIT": "e-/s", "EXPTIME": 100.0}, {"exposure_time": 50.0}, 50.0, True),
        ({"BUNIT": "ADU", "GAIN": 3.5}, {}, 3.5, True),
        ({"BUNIT": "counts/s", "GAIN": 2.0, "EXPOSURE": 10}, {}, 20.0, True),
        ({"BUNIT": "what"}, {"unit": "adu", "gain": 2.0}, 2.0, True),
        # One electron in 2260 s is of magnitude 25.92 + 2.5 log10(2260) = 34.3053.
        ({}, {"zero_point": 34.3053}, 1.0, False),
        ({"MAGZERO": 31.8053}, {}, 10.0, False),
        ({"BUNIT": "adu", "MAGZERO": 31.8053}, {}, 10.0, False),
        ({"BUNIT": "nJy"}, {}, 14.537, False),  # 10^(0.4 (34.3053 - 31.4))
        ({"BUNIT": "electron", "MAGZERO": 20.0}, {}, 1.0, True),
        ({"BUNIT": "10.0*nanoJansky"}, {}, 145.37, False),
        ({"BUNIT": "MJy"}, {}, 14.537e15, False),  # a megajansky is not a millijansky
        ({"BUNIT": "erg / (Hz s cm2)"}, {}, 14.537e32, False),
        ({"BUNIT": "MJy/sr", "PIXAR_SR": 2.35e-13}, {}, 14.537e15 * 2.35e-13, False),
        ({"FLUXMAG0": 10 ** (0.4 * 31.8053)}, {}, 10.0, False),
        ({"BUNIT": "adu", "FLUXMAG0": 10 ** (0.4 * 31.8053), "ZP": 34.3053}, {}, 1.0, False),
        # F814W of ACS: 7.0332e-20 erg/s/cm2/A, 8045 A, that is 25.947; of an exposure of 100 s, 30.947.
        ({"BUNIT": "adu", "PHOTFLAM": 7.0332e-20, "PHOTPLAM": 8045.0, "EXPTIME": 100.0}, {}, 22.07, False),
        ({"MAGZERO": -1e300, "ZP": 31.8053}, {}, 10.0, False),  # no image has such a zero point
    ],
)
def test_factor(header, options, factor, counted):
    found = conversion(header, SURVEY, **options)
    assert found.factor == pytest.approx(factor, rel=1e-3) and found.counted is counted


@pytest.mark.parametrize("text", ["e-/sec", "electron.s-1", "electron s**-1", "Electrons / Second", "E/S", "elec s^-1"])
def test_spellings_of_a_rate(text):
    assert conversion({"BUNIT": text, "EXPTIME": 7.0}, SURVEY).factor == 7.0


@pytest.mark.parametrize(
    "header, options, error, message",
    [
        (
            {},
            {},
            DataError,
            r"f\.fits: nothing says what unit the pixels have.*`unit`, one of electron,.*or `zero_point`",
        ),
        ({"BUNIT": "furlong"}, {}, DataError, "the unit 'furlong' is not known; give `unit`"),
        ({"BUNIT": "mag"}, {}, DataError, "the unit 'mag' is not known"),
        (
            {"BUNIT": "MJy/sr", "PIXAR_A2": 0.01},
            {},
            DataError,
            r"the pixels are surface brightnesses \(MJy/sr\), and the solid angle of a pixel \(PIXAR_SR\) is not known"
            r" \(the header has PIXAR_A2 = 0\.01, which may be meant\)\. Give `zero_point`",
        ),
        ({}, {"unit": "furlong"}, ConfigError, "the unit 'furlong' is not known"),
        (
            {"BUNIT": "adu"},
            {},
            DataError,
            r"the pixels are counts \(adu\), and neither gain nor zero point is known. Give `gain`",
        ),
        (
            {"BUNIT": "electron/s"},
            {},
            DataError,
            "are rates .electron/s., and the exposure time is not known. Give `exposure_time`",
        ),
        (
            {},
            {"integer": True},
            DataError,
            "the pixels are integers without a unit .* Give `unit` adu with `gain`, or `zero_point`",
        ),
        ({"BUNIT": "adu"}, {"gain": -1.0}, ConfigError, "`gain`: received -1.0; allowed: a number above 0"),
        (
            {"BUNIT": "adu/s"},
            {"exposure_time": 0.0},
            ConfigError,
            "`exposure_time`: received 0.0; allowed: a number above 0",
        ),
        ({}, {"zero_point": float("nan")}, ConfigError, "`zero_point`: received nan; allowed: a magnitude"),
        (
            {},
            {"zero_point": 1e9},
            ConfigError,
            "`zero_point`: received 1000000000.0; allowed: a magnitude from -100 to",
        ),
        (
            {"BUNIT": "adu/s"},
            {"gain": 1e300, "exposure_time": 1e300},
            DataError,
            "a count would be inf electrons.*Give `gain`",
        ),
    ],
)
def test_messages(header, options, error, message):
    with pytest.raises(error, match=message):
        conversion(header, SURVEY, source="f.fits", **options)


def test_zero_point_without_a_survey():
    with pytest.raises(DataError, match="a zero point needs the survey that the model was trained for"):
        conversion({"BUNIT": "nJy"}, None)


@pytest.mark.parametrize(
    "header, options, factor",
    [
        ({"BUNIT": "adu", "MAGZPT": 26.8053, "EXPTIME": 100.0}, {}, 10.0),  # 26.8053 + 5 = 31.8053
        ({"BUNIT": "adu/s", "MAGZPT": 31.8053, "EXPTIME": 100.0}, {}, 10.0),
        ({"BUNIT": "adu/s", "MAGZERO": 31.8053}, {}, 10.0),
        ({"MAGZPT": 26.8053}, {"unit": "adu", "exposure_time": 100.0}, 10.0),
    ],
)
def test_zero_points_of_one_second_and_of_an_exposure(header, options, factor):
    assert conversion(header, SURVEY, **options).factor == pytest.approx(factor, rel=1e-3)


@pytest.mark.parametrize(
    "header, message",
    [
        (
            {"MAGZPT": 25.0},
            "MAGZPT = 25 is the zero point of one count per second, and nothing says whether.*Give `unit`",
        ),
        (
            {"BUNIT": "adu", "MAGZPT": 25.0},
            "MAGZPT = 25 is the zero point.*exposure time is not known. Give `exposure_time`",
        ),
        ({"BUNIT": "adu", "MAGZEROP": 0.0}, r"neither gain nor zero point is known \(MAGZEROP = 0 is taken as not set"),
    ],
)
def test_zero_points_that_do_not_suffice(header, message):
    with pytest.raises(DataError, match=message):
        conversion(header, SURVEY, source="f.fits")


@pytest.mark.parametrize(
    "header",
    [
        {"BUNIT": "adu", "GAIN": 2.0, "MAGZERO": 25.0},
        {"BUNIT": "electron", "MAGZERO": 25.0},
        {"BUNIT": "nJy", "ZP": 25.0},
    ],
)
def test_a_zero_point_that_is_not_used_is_said(header):
    (note,) = conversion(header, SURVEY).notes
    assert note.startswith("the header's zero point, ") and "`zero_point` 25" in note
