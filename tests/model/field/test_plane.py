"""One image of a FITS file: which HDU, which axes, and one test per message."""

import numpy as np
import pytest
from astropy.io import fits

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.plane import Plane, split_hdu


def write(path, data, header=None, **keywords):
    hdu = fits.PrimaryHDU(data, header)
    hdu.header.update(keywords)
    hdu.writeto(path)
    return path


@pytest.fixture
def two_chips(tmp_path, image):
    """SCI and DQ of two chips; those of the second are larger by 100."""
    chips = []
    for version in (1, 2):
        chips.append(fits.ImageHDU(image + 100 * (version - 1), name="SCI", ver=version))
        chips.append(fits.ImageHDU(np.full(image.shape, version, np.int16), name="DQ", ver=version))
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(tmp_path / "f.fits")
    return tmp_path / "f.fits"


@pytest.mark.parametrize("hdu, index", [("SCI,2", 3), ("sci, 2", 3), ("DQ,1", 2), ("SCI", 1), ("3", 3), (3, 3)])
def test_hdu_by_name_version_and_number(two_chips, hdu, index):
    assert Plane(two_chips, hdu).index == index


@pytest.mark.parametrize(
    "text, hdu", [("f.fits[3]", "3"), ("f.fits[SCI,2]", "SCI,2"), ("f.fits[SCI]", "SCI"), ("f.fits", None)]
)
def test_hdu_in_brackets(two_chips, text, hdu):
    path, found = split_hdu(two_chips.parent / text, None)
    assert (path, found) == (two_chips, hdu) and Plane(path, found).shape == (61, 83)


def test_maps_that_come_first_are_not_the_image(tmp_path, image):
    maps = [fits.ImageHDU(np.full_like(image, 26.3), name="ERR"), fits.ImageHDU(image.astype(np.int16), name="DQ")]
    write_all(tmp_path / "f.fits", *maps, fits.ImageHDU(image, name="CHIP"))
    assert Plane(tmp_path / "f.fits").index == 3
    write_all(tmp_path / "f.fits", *maps)
    assert Plane(tmp_path / "f.fits").index == 1


def test_a_thumbnail_that_comes_first_is_not_the_image(tmp_path, image):
    fits.HDUList([fits.PrimaryHDU(image[:20, :20]), fits.ImageHDU(image, name="SCI")]).writeto(tmp_path / "f.fits")
    assert Plane(tmp_path / "f.fits").index == 1 and Plane(tmp_path / "f.fits").others == []


def test_other_images_of_the_file_are_noted(two_chips):
    assert Plane(two_chips).others == ["SCI,2"] and Plane(two_chips, "SCI").others == []


def write_all(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)


def test_brackets_that_belong_to_a_name(two_chips):
    odd = two_chips.rename(two_chips.with_name("f.fits[3]"))
    assert split_hdu(odd, "1") == (odd, "1")


def test_hdu_in_brackets_and_as_an_option(two_chips):
    with pytest.raises(ConfigError, match=r"f.fits\[3\]: `hdu` 1 names an HDU as well. Give one of the two"):
        split_hdu(f"{two_chips}[3]", "1")


def test_a_version_that_is_not_there(two_chips):
    with pytest.raises(
        DataError, match="there is no HDU SCI,3; it holds 0 PRIMARY: empty; 1 SCI: 61x83; .*3 SCI,2: 61x83"
    ):
        Plane(two_chips, "SCI,3")


@pytest.mark.parametrize("shape", [(1, 61, 83), (1, 1, 61, 83), (61, 83, 1), (61, 1, 83)])
@pytest.mark.parametrize("compressed", [False, True])
def test_axes_of_length_1_are_dropped(tmp_path, image, shape, compressed):
    data = np.rint(image).astype(np.int32).reshape(shape)
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    fits.HDUList([fits.PrimaryHDU(), kind(data)]).writeto(tmp_path / "f.fits")
    plane = Plane(tmp_path / "f.fits")
    assert plane.shape == (61, 83)
    np.testing.assert_array_equal(plane.rows(10, 40), np.rint(image)[10:40])


def test_axes_that_are_left(tmp_path, image):
    assert Plane(write(tmp_path / "a.fits", image[None])).axes == (1, 2)
    assert Plane(write(tmp_path / "b.fits", image[:, :, None])).axes == (2, 3)
    assert Plane(write(tmp_path / "c.fits", image[:, None])).axes == (1, 3)


def test_values_beyond_any_flux_are_no_data(tmp_path):
    data = np.array([[1.0, -1e30, 1e29, 9e28, -np.inf, np.nan]], np.float64)
    rows = Plane(write(tmp_path / "f.fits", np.repeat(data, 2, axis=0))).rows(0, 1)
    assert np.isfinite(rows).tolist() == [[True, False, False, True, False, False]]


def test_a_map_in_the_images_own_file(two_chips):
    image = Plane(two_chips, "SCI,2")
    mask = Plane(two_chips, prefer=("MASK", "DQ"), apart=image)
    assert mask.index == 4  # of the same chip
    with pytest.raises(DataError, match="this is the image's own file, and no HDU of it is called ERR, RMS; it holds"):
        Plane(two_chips, prefer=("ERR", "RMS"), apart=image)
    with pytest.raises(DataError, match="HDU 3 is the image itself; it holds"):
        Plane(two_chips, 3, apart=image)


def test_not_a_fits_file(tmp_path):
    (tmp_path / "f.fits").write_text("no")
    with pytest.raises(DataError, match="f.fits: this is not a FITS file that can be read"):
        Plane(tmp_path / "f.fits")


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="f.fits: this file does not exist. Check the path."):
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
        ("0", r"HDU 0 is not an image of two dimensions \(received \[\]\)"),
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


def test_compressed_image_of_absurd_size(tmp_path, image):
    path = tmp_path / "f.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype(np.int32))]).writeto(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"ZNAXIS1 =")
    content[place : place + 80] = b"ZNAXIS1 =        1099511627776".ljust(80)
    path.write_bytes(content)
    with pytest.raises(DataError, match="the header gives the sizes .*; allowed: up to 1000000 per side"):
        Plane(path)


def test_extension_whose_type_cannot_be_read(tmp_path, image):
    path = tmp_path / "f.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype(np.int32))]).writeto(path)
    content = bytearray(path.read_bytes())
    content[2880:2960] = f"{'XTENSION':8}= {'inf':>20}".encode().ljust(80)
    path.write_bytes(content)
    with pytest.raises(DataError, match="f.fits: the file holds no image"):
        Plane(path)
