"""Surveys against the published depths."""

import dataclasses
import math

import pytest

from blendinator.data import survey as surveys
from blendinator.data.survey import bands_of, get_survey
from blendinator.errors import ConfigError


def test_euclid_wide():
    survey = get_survey("euclid_wide")
    assert survey.pixel_scale == 0.1 and survey.exposure_time == 2260.0 and survey.psf_fwhm == 0.17
    assert survey.flux(25.92) == pytest.approx(2260.0)  # the zero point: one electron per second
    assert survey.magnitude(survey.flux(23.4)) == pytest.approx(23.4)
    assert survey.sky_sigma == pytest.approx(26.3, abs=0.05)
    # 10 sigma in an aperture of 1.3 arcsec: Euclid's Q1 stack reaches 25.6
    noise = survey.sky_sigma * math.sqrt(math.pi * 6.5**2)
    assert survey.magnitude(10.0 * noise) == pytest.approx(25.6, abs=0.03)
    # lambda / D = 750.637 nm / 1.2 m; the obscured share of the area is 0.13
    assert survey.airy_scale == pytest.approx(0.12902, abs=1e-5)
    assert survey.obscuration == pytest.approx(0.36056, abs=1e-5)


def test_euclid_deep_has_the_same_fluxes_and_less_noise():
    wide, deep = get_survey("euclid_wide"), get_survey("euclid_deep")
    assert deep.flux(24.0) == wide.flux(24.0)
    assert wide.sky_sigma / deep.sky_sigma == pytest.approx(math.sqrt(40.0))


def test_lsst_i_reaches_its_coadded_depth():
    survey = get_survey("lsst_i")
    assert survey.pixel_scale == 0.2
    # 5 sigma for a point source: 26.8 (LSST Science Requirements); effective area of a Gaussian PSF 2.266 FWHM^2
    noise = survey.sky_sigma * math.sqrt(2.266 * survey.psf_fwhm**2 / survey.pixel_scale**2)
    assert survey.magnitude(5.0 * noise) == pytest.approx(26.8, abs=0.3)


def test_hst_f814w_reaches_its_depth():
    survey = get_survey("hst_f814w")
    # 5 sigma in an aperture of 0.24 arcsec, which holds some 80 % of a point source: 27.2 (Scoville et al. 2007)
    noise = survey.sky_sigma * math.sqrt(math.pi * (0.12 / survey.pixel_scale) ** 2)
    assert survey.pixel_scale == 0.03 and survey.magnitude(5.0 * noise / 0.8) == pytest.approx(27.2, abs=0.3)


def test_hsc_i_reaches_its_depth():
    survey = get_survey("hsc_i")
    # 5 sigma for a point source in the wide layer: 26.2 (Aihara et al. 2018)
    noise = survey.sky_sigma * math.sqrt(2.266 * survey.psf_fwhm**2 / survey.pixel_scale**2)
    assert survey.magnitude(5.0 * noise) == pytest.approx(26.2, abs=0.3)


def test_an_unknown_survey():
    with pytest.raises(
        ConfigError, match="simulation.survey: received 'sdss'; allowed: one of euclid_wide, euclid_deep, lsst_i, "
    ):
        get_survey("sdss")
    with pytest.raises(ConfigError, match="simulation.survey: received 'sdss'"):
        bands_of("sdss")


def test_bands():
    assert bands_of("euclid_wide") == get_survey("euclid_wide").bands == ("IE",)
    assert [len(bands_of(name)) for name in surveys.PRESETS] == [1] * len(surveys.PRESETS)


@pytest.mark.parametrize("bands", [(), ("i", "i"), ("i", "")])
def test_bands_without_names_of_their_own(bands):
    with pytest.raises(
        ConfigError, match="survey lsst_i: bands: received .*; allowed: one filter or more, each with its"
    ):
        dataclasses.replace(get_survey("lsst_i"), bands=bands)
