"""Profiles and PSF: known radii and transforms, and GalSim's values."""

import galsim
import numpy as np
import pytest

from blendinator.data import profiles
from blendinator.data.survey import get_survey

SURVEY = get_survey("euclid_wide")


def test_sersic_b_is_the_tabulated_one():
    np.testing.assert_allclose(profiles.sersic_b([1.0, 4.0]), [1.67834699, 7.66924944], rtol=1e-8)


def test_the_peak_of_an_exponential_disk():
    # F / (2 pi h^2) with h = radius / 1.678347
    assert profiles.sersic_peak(100.0, 2.0, 1.0) == pytest.approx(100.0 / (2 * np.pi * (2.0 / 1.67834699) ** 2))


def test_the_reach_is_where_the_surface_brightness_falls_to_the_level():
    profile = galsim.Sersic(2.5, half_light_radius=0.7, flux=50.0).shear(q=0.4, beta=0.0 * galsim.radians)
    extent = profiles.sersic_extent(50.0, 0.7, 2.5, 0.4, 0.01)
    assert profile.xValue(float(extent), 0.0) == pytest.approx(0.01, rel=1e-3)
    assert profiles.sersic_extent(50.0, 0.7, 1.0, 1.0, 1e6) == 0.0


@pytest.mark.parametrize("index", [0.5, 1.0, 2.3, 4.0, 6.2])
def test_sersic_transforms_agree_with_galsim(index):
    frequency = np.array([0.0, 0.003, 0.02, 0.1, 0.5, 2.0, 10.0, 50.0])
    profile = galsim.Sersic(index, half_light_radius=1.0)
    expected = [profile.kValue(2 * np.pi * f, 0.0).real for f in frequency]
    np.testing.assert_allclose(profiles.sersic_fourier(index, np.float32(frequency) ** 2), expected, atol=2e-4)


def test_the_airy_transform_agrees_with_galsim():
    frequency = np.linspace(0.0, 1.2, 25)
    airy = galsim.Airy(lam_over_diam=1.0, obscuration=0.36)
    expected = [airy.kValue(2 * np.pi * f, 0.0).real for f in frequency]
    np.testing.assert_allclose(profiles.airy_fourier(frequency, 0.36), expected, atol=1e-4)
    np.testing.assert_allclose(profiles.airy_fourier(np.array([0.0, 0.5, 1.0]), 0.0), [1.0, 0.391, 0.0], atol=5e-4)


def test_the_moffat_transform_agrees_with_galsim():
    moffat = galsim.Moffat(beta=3.5, fwhm=1.0)
    frequency = np.linspace(0.0, 1.5, 16)
    expected = [moffat.kValue(2 * np.pi * f, 0.0).real for f in frequency]
    np.testing.assert_allclose(profiles.moffat_fourier(frequency, 3.5), expected, atol=1e-4)


@pytest.mark.parametrize("profile", ["airy_gaussian", "moffat"])
@pytest.mark.parametrize("name", ["euclid_wide", "lsst_i"])
def test_the_psf_has_the_survey_s_width(name, profile):
    survey = get_survey(name)
    drawn = profiles.Psf(survey, profile).galsim(survey.psf_fwhm, 0.0, 0.0)
    image = drawn.drawImage(scale=survey.psf_fwhm / 40, method="no_pixel", nx=201, ny=201).array
    row = image[100, 100:] / image[100, 100]
    half = np.interp(-0.5, -row[:60], np.arange(60)) / 40  # in FWHM
    assert 2 * half == pytest.approx(1.0, abs=0.01)


def test_the_table_ends_at_zero_and_starts_at_one():
    psf = profiles.Psf(SURVEY, "airy_gaussian")
    assert psf.table[0] == pytest.approx(1.0) and psf.table[-1] == 0.0
    assert psf.cutoff <= 1.001 / SURVEY.airy_scale  # no light beyond the diffraction limit
