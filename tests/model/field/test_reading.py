"""Fields from FITS files of all sorts; one test per message."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.reading import open_field

SURVEY = {"name": "euclid_wide", "zero_point": 25.92, "exposure_time": 2260.0, "pixel_scale": 0.1, "sky_sigma": 26.3}
STAMP = 16


def opened(path, **options):
    return open_field(path, SURVEY, STAMP, box=32, **options)


def write(path, data, header=None, **keywords):
    hdu = fits.PrimaryHDU(data, header)
    hdu.header.update(keywords)
    hdu.writeto(path)
    return path


def test_first_image_by_rows_in_electrons(field_file, image):
    field = opened(field_file, background=False)
    assert field.shape == image.shape and field.image.name.endswith("[1]")
    np.testing.assert_array_equal(field.rows(10, 40), image[10:40])
    np.testing.assert_array_equal(field.network_rows(0, 61), image)
    assert field.sky_sigma == pytest.approx(26.3, rel=0.15)


def test_background_is_subtracted(tmp_path, image):
    field = opened(write(tmp_path / "f.fits", image + 500, BUNIT="electron"))
    assert abs(np.median(field.rows(0, 61))) < 5


def test_compressed_scaled_and_gzipped_files_read_the_same(tmp_path, image, wcs_header):
    stored = np.rint(image).astype(np.int16)
    plain = write(tmp_path / "plain.fits", stored, wcs_header, BUNIT="adu", GAIN=2.0)
    scaled = tmp_path / "scaled.fits"
    hdu = fits.PrimaryHDU(stored.astype(np.float32))
    hdu.scale("int16", bzero=100.0, bscale=0.5)
    hdu.header.update(BUNIT="adu", GAIN=2.0)
    hdu.writeto(scaled)
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    tiled = tmp_path / "tiled.fits"
    header = wcs_header.copy()
    header.update(BUNIT="adu", GAIN=2.0)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(stored, header)]).writeto(tiled)
    for path in (plain, scaled, packed, tiled):
        field = opened(path, background=False)
        np.testing.assert_allclose(field.rows(7, 50), 2.0 * stored[7:50], err_msg=str(path))
        field.close()


def test_blank_nan_masked_and_badly_weighted_pixels_are_no_data(tmp_path, image):
    counts = np.rint(image).astype(np.int16)
    counts[3, 4] = -32768
    path = write(tmp_path / "f.fits", counts, BUNIT="electron", BLANK=-32768)
    mask, rms = np.zeros(image.shape, np.uint8), np.full(image.shape, 26.3, np.float32)
    mask[5, 6], rms[7, 8], rms[9, 10] = 1, 0.0, 1e30
    field = opened(path, mask=write(tmp_path / "mask.fits", mask), weight=write(tmp_path / "rms.fits", rms))
    missing = np.argwhere(~np.isfinite(field.network_rows(0, 61)))
    assert missing.tolist() == [[3, 4], [5, 6], [7, 8], [9, 10]]


def test_weight_map_brings_each_pixel_to_the_trainings_noise(tmp_path, image):
    rms = np.full(image.shape, 26.3, np.float32)
    rms[:, 40:] *= 2
    path = write(tmp_path / "f.fits", image * rms / 26.3)  # no unit is needed then
    field = opened(path, weight=write(tmp_path / "rms.fits", rms), background=False)
    np.testing.assert_allclose(field.network_rows(0, 61), image, rtol=1e-5)
    np.testing.assert_allclose(field.rows(0, 61)[:, 40:], 2 * image[:, 40:], rtol=1e-5)
    assert not field.warnings


def test_match_noise_scales_to_the_measured_noise(tmp_path, image):
    field = opened(write(tmp_path / "f.fits", image / 1000), match_noise=True)
    assert field.sky_sigma * field.noise_scale == pytest.approx(26.3)
    np.testing.assert_allclose(field.network_rows(0, 61), field.rows(0, 61) * field.noise_scale, rtol=1e-6)


def test_other_noise_and_other_pixels_are_warned_of(tmp_path, image, wcs_header):
    header = wcs_header.copy()
    header["CD1_1"] *= 2
    header["CD2_2"] *= 2
    first, second = opened(write(tmp_path / "f.fits", 3 * image, header, BUNIT="electron")).warnings
    assert "times the 26.3 e- that the model was trained with" in first and "`match_noise` or `weight`" in first
    assert "a pixel is 0.2 arcsec, and 0.1 in the training" in second


def test_integers_without_a_unit(tmp_path, image):
    with pytest.raises(DataError, match="the pixels are integers without a unit"):
        opened(write(tmp_path / "f.fits", image.astype(np.int32)))


def test_too_small(tmp_path, image):
    with pytest.raises(DataError, match=r"the image has 83 x 10 pixels; allowed: at least 16 per side"):
        opened(write(tmp_path / "f.fits", image[:10], BUNIT="electron"))


def test_no_data(tmp_path, image):
    with pytest.raises(DataError, match="too few pixels hold data to measure the sky, or none does"):
        opened(write(tmp_path / "f.fits", np.full_like(image, np.nan), BUNIT="electron"))


def test_no_data_names_the_fill_value(tmp_path, image):
    holed = image.copy()
    holed[:50] = -999
    with pytest.raises(DataError, match=r"too few pixels hold data .*, or none does \(4150 pixels .* are exactly -999"):
        open_field(write(tmp_path / "f.fits", holed, BUNIT="electron"), SURVEY, STAMP)


def test_no_noise(tmp_path, image):
    with pytest.raises(DataError, match="the image has no noise"):
        opened(write(tmp_path / "f.fits", np.ones_like(image), BUNIT="electron"))


@pytest.mark.parametrize("name", ["weight", "mask"])
def test_map_of_another_shape(tmp_path, field_file, name):
    other = write(tmp_path / "other.fits", np.ones((5, 5), np.float32))
    with pytest.raises(
        DataError, match=rf"other.fits\[0\]: the {name} map has the shape \[5, 5\]; allowed: \[61, 83\]"
    ):
        opened(field_file, **{name: other})


def test_match_noise_needs_a_model_that_names_its_survey(field_file):
    with pytest.raises(DataError, match="needs a model that names its survey"):
        open_field(field_file, None, STAMP, match_noise=True)


def test_header_with_values_that_are_none(tmp_path, image):
    """NaN is not a value in FITS, but surveys write it."""
    path = write(tmp_path / "f.fits", image, BUNIT="electron", EXPTIME=7.0, CRVAL1=7.0)
    path.write_bytes(path.read_bytes().replace(b"7.0", b"nan"))
    field = opened(path)
    assert field.warnings[0] == "the header's values of EXPTIME, CRVAL1 cannot be read and are left out"
    assert "CRVAL1" not in field.image.header and field.image.header["BUNIT"] == "electron"
    path.write_bytes(path.read_bytes().replace(b"'electron'", b"nan       "))
    with pytest.raises(DataError, match="nothing says what unit the pixels have"):
        opened(path)


def test_metadata_of_the_primary_header(tmp_path, image, wcs_header):
    """As HST and DECam write it: the exposure time in the primary header, the WCS with the image."""
    science = fits.ImageHDU(image / 2260, wcs_header, name="SCI")
    science.header["BUNIT"] = "ELECTRONS/S"
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({"EXPTIME": 2260.0})), science]).writeto(tmp_path / "f.fits")
    field = opened(tmp_path / "f.fits", background=False)
    np.testing.assert_allclose(field.rows(0, 61), image, rtol=1e-5)
    assert "EXPTIME of the primary header" in field.conversion.text and field.wcs is not None


@pytest.mark.parametrize("options", [{}, {"match_noise": True}])
def test_noise_that_no_survey_explains(tmp_path, image, options):
    path = write(tmp_path / "f.fits", image, BUNIT="adu", GAIN=139, MAGZEROP=0.0)
    with pytest.raises(
        DataError,
        match=r"times the 26.3 e- of the training; allowed: 1/20 to 20 .*BUNIT = adu, GAIN = 139.*Give `unit`, `gain`",
    ):
        opened(path, **options)


def test_noise_is_not_judged_without_a_unit(tmp_path, image):
    path = write(tmp_path / "f.fits", image, BUNIT="adu", GAIN=139)
    field = opened(path, unit="unknown", match_noise=True)
    assert field.sky_sigma * field.noise_scale == pytest.approx(26.3) and not field.conversion.calibrated
    with pytest.raises(ConfigError, match="`unit`: received unknown; allowed with `match_noise` or `weight`"):
        opened(path, unit="unknown")


def test_fill_values_are_found_said_and_do_not_shift_the_sky(tmp_path, image):
    holed = image.copy()
    holed[20:32, 10:70] = -999
    field = opened(write(tmp_path / "f.fits", holed, BUNIT="electron"))
    assert "720 pixels (14.22%) are exactly -999: taken as no data" in field.warnings[0]
    assert np.isnan(field.rows(20, 32)[:, 10:70]).all()
    whole = opened(write(tmp_path / "g.fits", image, BUNIT="electron"))
    assert field.sky_sigma == pytest.approx(whole.sky_sigma, rel=0.05)


def test_a_weight_of_the_images_own_file(tmp_path, image):
    hdus = [fits.ImageHDU(image, name="SCI"), fits.ImageHDU(np.full_like(image, 26.3**-2), name="WHT")]
    hdus[0].header["BUNIT"] = "electron"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "f.fits")
    path = tmp_path / "f.fits"
    assert opened(path, weight=path, weight_type="weight").weight.index == 2
    assert opened(path, weight=f"{path}[WHT]", weight_type="weight").weight.index == 2
    assert opened(path, weight=path, weight_hdu="2", weight_type="weight").weight.index == 2
    with pytest.raises(DataError, match="this is the image's own file, and no HDU of it is called ERR"):
        opened(path, weight=path)
    with pytest.raises(DataError, match="HDU SCI is the image itself"):
        opened(path, weight=path, weight_hdu="SCI")


@pytest.mark.parametrize("options", [{}, {"match_noise": True}])
def test_a_weight_of_the_wrong_type(tmp_path, field_file, image, options):
    variance = write(tmp_path / "v.fits", np.full(image.shape, 26.3**2, np.float32))
    with pytest.raises(DataError, match="read as rms, the map's noise is .* `weight_type` variance would fit"):
        opened(field_file, weight=variance, **options)


def test_bits_of_a_mask(tmp_path, field_file, image):
    mask = np.zeros(image.shape, np.int16)
    mask[3, 4], mask[5, 6] = 1, 4
    path = write(tmp_path / "m.fits", mask, MP_BAD=0)
    for bits, missing in ((None, [[3, 4], [5, 6]]), ("BAD", [[3, 4]]), ("2", [[5, 6]])):
        field = opened(field_file, mask=path, mask_bits=bits)
        assert np.argwhere(np.isnan(field.rows(0, 61))).tolist() == missing


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mask_bits": "1"}, "`mask_bits`: received 1 without `mask`"),
        ({"mask_hdu": "DQ"}, "`mask_hdu`: received DQ without `mask`"),
        ({"weight_hdu": "WHT"}, "`weight_hdu`: received WHT without `weight`"),
    ],
)
def test_options_without_a_map(field_file, options, message):
    with pytest.raises(ConfigError, match=message):
        opened(field_file, **options)


def test_asinh_magnitudes_are_refused(tmp_path, image):
    path = write(tmp_path / "f.fits", np.arcsinh(image / 50), BSOFTEN=50.0, BOFFSET=0.0, ZPT=25.0)
    with pytest.raises(DataError, match=r"f\.fits\[0\]: the pixels are asinh magnitudes, as those of Pan-STARRS"):
        opened(path)


def test_the_images_of_a_file_that_are_not_segmented_are_named(tmp_path, image):
    chips = [fits.ImageHDU(image, fits.Header({"BUNIT": "electron"}), name=f"CCD{i}") for i in range(1, 8)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(tmp_path / "f.fits")
    [said] = opened(tmp_path / "f.fits").warnings
    assert "[1] is the first of several images, and the only one that is segmented: CCD2, CCD3, CCD4, CCD5" in said
    assert "and 2 more are left out. `hdu` names another" in said
    assert opened(tmp_path / "f.fits", hdu="CCD2").warnings == ()
