"""The yardstick of real galaxies, on stamps made here and with models whose answers are known."""

import numpy as np
import pytest
from astropy.io import fits

from blendinator.data.survey import get_survey
from blendinator.errors import DataError

SURVEY = get_survey("euclid_wide")


@pytest.fixture(scope="module")
def real_sky(load_benchmark):
    return load_benchmark("real_sky")


def write_stamps(folder, psf_fwhm=0.05, good=(True, True, True)):
    """Three round Gaussian galaxies of sigma 5 pixels of 0.03 arcsec, in HDUs 1 to 3."""
    distance = np.hypot(*np.mgrid[-20:21, -20:21])
    image = np.exp(-(distance**2) / 50.0).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(image / image.sum()) for _ in good)]).writeto(
        folder / "stamps.fits"
    )
    rows = [f"{hdu},{flag},0.03,{psf_fwhm},0.177" for hdu, flag in enumerate(good, start=1)]
    (folder / "catalog.csv").write_text("hdu,good,pixel_scale,psf_fwhm,r50_arcsec\n" + "\n".join(rows) + "\n")
    return folder


class Always:
    """A model that calls every pixel one class."""

    def __init__(self, category):
        self.category = category

    def sample(self, images, num_samples, seed, populations):
        self.populations = populations
        samples = np.full((len(images), num_samples, *images.shape[1:3]), self.category, np.uint8)
        return samples, np.tile(np.eye(3, dtype=np.float32)[self.category], (*images.shape[:3], 1))


def test_halves_are_the_even_and_the_odd_hdus(real_sky, tmp_path):
    write_stamps(tmp_path)
    assert [len(real_sky.read_stamps(tmp_path, half)) for half in ("open", "hidden", "all")] == [1, 2, 3]


def test_stamps_that_are_not_good_are_left_out(real_sky, tmp_path):
    assert len(real_sky.read_stamps(write_stamps(tmp_path, good=(True, False, True)))) == 2


def test_an_absent_folder(real_sky, tmp_path):
    with pytest.raises(DataError, match=r"catalog.csv: this file does not exist. Give the folder .* as --stamps"):
        real_sky.read_stamps(tmp_path / "nowhere")


def test_a_half_without_stamps(real_sky, tmp_path):
    with pytest.raises(DataError, match="no row of the open half is good"):
        real_sky.read_stamps(write_stamps(tmp_path, good=(True, False, True)), "open")


def test_blunt_stamps(real_sky, tmp_path):
    stamps = real_sky.read_stamps(write_stamps(tmp_path, psf_fwhm=9.0))
    with pytest.raises(DataError, match=r"no stamp has a PSF below 0.15 arcsec"):
        real_sky.sample_pairs(stamps, SURVEY, 1, False, seed=1)


def test_the_scenes_of_a_pair_hold_the_same_light_in_the_same_place(real_sky, tmp_path):
    stamps = real_sky.read_stamps(write_stamps(tmp_path))
    pairs = real_sky.sample_pairs(stamps, SURVEY, 4, False, seed=1)
    (smooth, smooth_truth), (real, real_truth) = pairs["smooth"], pairs["real"]
    assert smooth.shape == real.shape == (4, 64, 64)
    assert smooth_truth.max() == real_truth.max() == 1  # a single galaxy
    # With noise of its own, each image would differ from the other by .95 sigma in the median.
    assert np.median(np.abs(smooth - real)) < 0.5 * SURVEY.sky_sigma
    bright = smooth_truth.sum(axis=(1, 2)) > 20
    assert bright.any()
    for a, b in zip(smooth_truth[bright], real_truth[bright]):
        centres = [np.argwhere(truth).mean(axis=0) for truth in (a, b)]
        np.testing.assert_allclose(*centres, atol=1.0)


def test_blends_hold_two_to_four_galaxies(real_sky, tmp_path):
    stamps = real_sky.read_stamps(write_stamps(tmp_path))
    for _, truth in real_sky.sample_pairs(stamps, SURVEY, 6, True, seed=2).values():
        assert set(np.unique(truth)) == {0, 1, 2}


def test_a_model_that_sees_blends_everywhere(real_sky):
    truth = np.zeros((3, 64, 64), np.uint8)
    truth[0] = 1
    figures = real_sky.judge_pairs(Always(2), np.zeros(truth.shape, np.float32), truth)
    assert figures["false_blends"] == 1.0
    assert figures["iou_galaxy"] == 0.0
    assert figures["iou_blended"] is None  # nothing is blended
    # Confidence 1 in blended, which is never true, and 0 in galaxy (a third of the pixels) and background.
    assert figures["ece_near_sources"] == pytest.approx((1 + 1 / 3 + 2 / 3) / 3, abs=1e-4)


def test_a_model_that_is_right(real_sky):
    truth = np.ones((2, 64, 64), np.uint8)
    figures = real_sky.judge_pairs(Always(1), np.zeros(truth.shape, np.float32), truth)
    assert (figures["iou_galaxy"], figures["ece_near_sources"], figures["false_blends"]) == (1.0, 0.0, 0.0)
    assert figures["coverage_galaxy_area_68"] is not None


def test_blends_may_have_the_odds_of_another_population(real_sky):
    sampler, images = Always(1), np.zeros((2, 64, 64), np.float32)
    for population in ("natural", "boosted"):
        real_sky.judge_pairs(sampler, images, np.ones(images.shape, np.uint8), population)
        assert sampler.populations == [population] * 2


def test_pixels_are_counted_by_scene(real_sky):
    images = np.zeros((2, 64, 64), np.float32)
    sources, blended = real_sky.count_sources(Always(1), images)
    assert sources.tolist() == [4096, 4096]
    assert blended.tolist() == [0, 0]


def test_a_star_has_its_flux(real_sky):
    stars = real_sky.sample_stars(SURVEY, 19.0, 2, seed=1)
    # The wings beyond the stamp hold some per cent of the light.
    np.testing.assert_allclose(stars.sum(axis=(1, 2)), SURVEY.flux(19.0), rtol=0.08)
    assert not np.array_equal(*stars)


def test_large_galaxies_are_single_profiles_or_structured(real_sky):
    rng = np.random.default_rng(1)
    single = real_sky.sample_large(rng, 50, (16.0, 20.0), 0.0)
    assert single.flux_fraction[:, 0].min() == 1.0
    assert set(single.sersic_index[:, 0]) <= {1.0, 2.0, 4.0}
    assert single.magnitude.min() >= 16.0
    assert single.magnitude.max() <= 20.0
