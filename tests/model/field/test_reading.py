"""Fields from FITS files of all sorts; one test per message."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from blendinator.errors import DataError
from blendinator.model.field.reading import Plane, noise_of, open_field

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


def test_other_noise_and_other_pixels_are_warned_of(tmp_path, image, wcs_header):
    header = wcs_header.copy()
    header["CD1_1"] *= 2
    header["CD2_2"] *= 2
    first, second = opened(write(tmp_path / "f.fits", 3 * image, header, BUNIT="electron")).warnings
    assert "times the 26.3 e- that the model was trained with" in first and "--match-noise or --weight" in first
    assert "a pixel is 0.2 arcsec, and 0.1 in the training" in second


def test_not_a_fits_file(tmp_path):
    (tmp_path / "f.fits").write_text("no")
    with pytest.raises(DataError, match="f.fits: this is not a FITS file that can be read"):
        Plane(tmp_path / "f.fits")


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="f.fits: there is no such file"):
        Plane(tmp_path / "f.fits")


def test_truncated_file(tmp_path, image):
    path = write(tmp_path / "f.fits", image)
    path.write_bytes(path.read_bytes()[: -2880 * 3])
    with pytest.raises(DataError, match="f.fits: the file ends before its data do"):
        Plane(path)


@pytest.mark.parametrize(
    "hdu, message",
    [
        ("7", r"there is no HDU 7; it holds 0 PRIMARY: empty; 1 SCI: 61x83"),
        ("BAD", "there is no HDU BAD; it holds"),
        ("0", r"HDU 0 is no image of two dimensions \(received \[\]\)"),
    ],
)
def test_wrong_hdu(field_file, hdu, message):
    with pytest.raises(DataError, match=message):
        Plane(field_file, hdu)


def test_hdu_by_name_and_number(field_file):
    assert Plane(field_file, "SCI").shape == Plane(field_file, 1).shape == (61, 83)


def test_table_instead_of_an_image(tmp_path):
    path = tmp_path / "f.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(path)
    with pytest.raises(DataError, match="f.fits: the file holds no image"):
        Plane(path)
    with pytest.raises(DataError, match="received a table"):
        Plane(path, 1)


def test_cube(tmp_path):
    with pytest.raises(
        DataError, match="no image has two dimensions; it holds 0 PRIMARY: 3x20x20. Write the wanted plane"
    ):
        Plane(write(tmp_path / "f.fits", np.zeros((3, 20, 20), np.float32)))


def test_integers_without_a_unit(tmp_path, image):
    with pytest.raises(DataError, match="the pixels are integers without a unit"):
        opened(write(tmp_path / "f.fits", image.astype(np.int32)))


def test_too_small(tmp_path, image):
    with pytest.raises(DataError, match=r"the image has 83 x 10 pixels; allowed: at least 16 a side"):
        opened(write(tmp_path / "f.fits", image[:10], BUNIT="electron"))


def test_no_data(tmp_path, image):
    with pytest.raises(DataError, match="too few pixels hold data to measure the sky, or none does"):
        opened(write(tmp_path / "f.fits", np.full_like(image, np.nan), BUNIT="electron"))


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


@pytest.mark.parametrize(
    "card, message",
    [
        ("NAXIS   =           7299565125", "NAXIS is 7299565125; allowed: at most 999"),
        ("TFIELDS =                 1000", "TFIELDS is 1000; allowed: at most 999"),
        ("NAXIS2  =                -7160", "the size of the data is negative"),
    ],
)
def test_headers_that_would_never_end(tmp_path, image, card, message):
    """Astropy counts up to such a number, for hours, and reads on before data of negative size."""
    content = bytearray(write(tmp_path / "f.fits", image, BUNIT="electron").read_bytes())
    place = content.index(b"BUNIT   =" if card.startswith("TFIELDS") else card[:9].encode())
    content[place : place + 80] = card.encode().ljust(80)
    (tmp_path / "f.fits").write_bytes(content)
    with pytest.raises(DataError, match=f"not a FITS file that can be read .{message}"):
        Plane(tmp_path / "f.fits")


def test_header_with_values_that_are_none(tmp_path, image):
    """NaN is no value in FITS, and surveys write it all the same."""
    path = write(tmp_path / "f.fits", image, BUNIT="electron", EXPTIME=7.0, CRVAL1=7.0)
    path.write_bytes(path.read_bytes().replace(b"7.0", b"nan"))
    field = opened(path)
    assert field.warnings[0] == "the header's values of EXPTIME, CRVAL1 cannot be read and are left out"
    assert "CRVAL1" not in field.image.header and field.image.header["BUNIT"] == "electron"
    path.write_bytes(path.read_bytes().replace(b"'electron'", b"nan       "))
    with pytest.raises(DataError, match="nothing says what unit the pixels have"):
        opened(path)


def test_compressed_image_of_absurd_size(tmp_path, image):
    path = tmp_path / "f.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype(np.int32))]).writeto(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"ZNAXIS1 =")
    content[place : place + 80] = b"ZNAXIS1 =        1099511627776".ljust(80)
    path.write_bytes(content)
    with pytest.raises(DataError, match="the header gives the sizes .*; allowed: up to 1000000 a side"):
        Plane(path)


def test_extension_whose_type_cannot_be_read(tmp_path, image):
    path = tmp_path / "f.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype(np.int32))]).writeto(path)
    content = bytearray(path.read_bytes())
    content[2880:2960] = f"{'XTENSION':8}= {'inf':>20}".encode().ljust(80)
    path.write_bytes(content)
    with pytest.raises(DataError, match="f.fits: the file holds no image"):
        Plane(path)
