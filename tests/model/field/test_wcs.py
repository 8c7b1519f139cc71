"""Sky positions from WCS of many kinds, against astropy's own classes or by hand."""

import re

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, BarycentricMeanEcliptic, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from blendinator.model.field.wcs import celestial, output_header

X, Y = np.array([0.0, 39.0, 70.0]), np.array([5.0, 29.0, 50.0])
STEP = 0.1 / 3600


def header(first="RA---TAN", second="DEC--TAN", **keywords):
    out = fits.Header()
    values = {"CTYPE1": first, "CTYPE2": second, "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 40.0, "CRPIX2": 30.0}
    matrix = {"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP}
    out.update({**values, **matrix, **keywords})
    return out


@pytest.mark.parametrize(
    "cards, frame",
    [
        (header("GLON-TAN", "GLAT-TAN"), Galactic()),
        (header(RADESYS="FK4", EQUINOX=1950.0), FK4(equinox="B1950")),
        (header(RADESYS="FK5", EQUINOX=1975.0), FK5(equinox="J1975")),
        (header(EQUINOX=1950.0), FK4(equinox="B1950")),  # without RADESYS, the standard's rule
        (header("ELON-TAN", "ELAT-TAN", EQUINOX=2000.0), BarycentricMeanEcliptic(equinox="J2000")),
    ],
)
def test_every_frame_becomes_icrs(cards, frame):
    sky, said = celestial(cards)
    ra, dec = sky.to_sky(X, Y)
    expected = SkyCoord(150.0, 2.0, unit="deg", frame=frame).icrs  # of the reference pixel
    np.testing.assert_allclose((ra[1], dec[1]), (expected.ra.deg, expected.dec.deg), atol=1e-8)
    np.testing.assert_allclose(sky.to_pixels(ra, dec), (X, Y), atol=1e-5)
    assert said == []


def test_swapped_axes_come_out_right():
    plain = celestial(header())[0]
    swapped = header("DEC--TAN", "RA---TAN", CRVAL1=2.0, CRVAL2=150.0, CD1_1=0.0, CD1_2=STEP, CD2_1=-STEP, CD2_2=0.0)
    sky = celestial(swapped)[0]
    np.testing.assert_allclose(sky.to_sky(X, Y), plain.to_sky(X, Y), atol=1e-10)
    np.testing.assert_allclose(sky.to_pixels(*sky.to_sky(X, Y)), (X, Y), atol=1e-5)


def tables(shift=3.0):
    """A field whose lookup tables move it by some pixels in both axes."""
    science = fits.ImageHDU(np.zeros((61, 83), np.float32), header(), name="SCI")
    hdus = [fits.PrimaryHDU(), science]
    for axis in (1, 2):
        science.header[f"CPDIS{axis}"] = "LOOKUP"
        for text in (f"EXTVER: {axis}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
            science.header.append((f"DP{axis}", text), end=True)
        table = fits.ImageHDU(np.full((4, 4), shift, np.float32), name="WCSDVARR", ver=axis)
        table.header.update(CRPIX1=1.0, CRPIX2=1.0, CRVAL1=1.0, CRVAL2=1.0, CDELT1=30.0, CDELT2=30.0)
        hdus.append(table)
    return fits.HDUList(hdus)


def test_lookup_tables_of_other_hdus(tmp_path):
    tables().writeto(tmp_path / "f.fits")
    with fits.open(tmp_path / "f.fits") as file:
        sky, said = celestial(file[1].header, file)
        plain = celestial(header())[0]
        np.testing.assert_allclose(sky.to_sky(X, Y), plain.to_sky(X + 3, Y + 3), atol=1e-9)
    assert len(said) == 1 and "the catalogue's positions follow them" in said[0]


def test_lookup_tables_that_are_missing(tmp_path):
    cards = tables()[1].header
    sky, said = celestial(cards, fits.HDUList([fits.PrimaryHDU()]))
    np.testing.assert_allclose(sky.to_sky(X, Y), celestial(header())[0].to_sky(X, Y))
    assert len(said) == 1 and said[0].startswith("the WCS is used without the lookup tables of its distortion (")


def test_sip():
    cards = header("RA---TAN-SIP", "DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=1e-3, B_0_2=2e-3)
    sky = celestial(cards)[0]
    plain = celestial(header())[0]
    u, v = X - 39, Y - 29
    np.testing.assert_allclose(sky.to_sky(X, Y), plain.to_sky(X + 1e-3 * u**2, Y + 2e-3 * v**2), atol=1e-9)


def test_sip_that_ctype_does_not_announce(capfd):
    sky, said = celestial(header(A_ORDER=2, B_ORDER=2, A_2_0=1e-3))
    assert sky is not None and said == ["the WCS has SIP polynomials that its CTYPE does not announce: they are used"]
    assert capfd.readouterr() == ("", "")


def test_sip_of_one_axis_alone():
    sky, said = celestial(header("RA---TAN-SIP", "DEC--TAN-SIP", A_ORDER=2, A_2_0=1e-3))
    np.testing.assert_allclose(sky.to_sky(X, Y), celestial(header())[0].to_sky(X, Y))
    assert len(said) == 1 and said[0].startswith("the WCS is used without its distortion (A_ORDER provided without")


def test_tnx():
    """The first axis' polynomial is the constant 0.01 degrees, on the tangent plane."""
    cards = header("RA---TNX", "DEC--TNX", WAT0_001="system=image")
    for axis, shift, of in ((1, 0.01, "ra lngcor"), (2, 0.0, "dec latcor")):
        text = f'wtype=tnx axtype={of} = "1. 2. 2. 2. -0.1 0.1 -0.1 0.1 {shift} 0. 0. "'
        cards[f"WAT{axis}_001"], cards[f"WAT{axis}_002"] = text[:68], text[68:]
    (ra,), (dec,) = celestial(cards)[0].to_sky([39.0], [29.0])
    assert ra == pytest.approx(150 + 0.01 / np.cos(np.radians(2)), abs=1e-6) and dec == pytest.approx(2.0, abs=1e-6)


def test_tpv():
    """PV1_1 scales the first axis."""
    sky = celestial(header("RA---TPV", "DEC--TPV", PV1_1=1.5, PV2_1=1.0))[0]
    np.testing.assert_allclose(sky.to_sky(X, Y), celestial(header())[0].to_sky(39 + 1.5 * (X - 39), Y), atol=1e-7)


@pytest.mark.parametrize(
    "cards, message",
    [
        (header("RA---TAN", "LINEAR"), r"the WCS cannot be used \(Unmatched celestial axes\): there are no ra and dec"),
        (header("RA---XYZ", "DEC--XYZ"), r"the WCS cannot be used \(.*\): there are no ra and dec"),
        (header(CD1_1=0.0), r"the WCS cannot be used \(.*\): there are no ra and dec"),
        (header("TLON-TAN", "TLAT-TAN"), r"the coordinate frame of the WCS \(TLON-TAN, TLAT-TAN, .*cannot be brought"),
    ],
)
def test_what_cannot_be_used_is_said(cards, message):
    sky, said = celestial(cards)
    assert sky is None and len(said) == 1 and re.match(message, said[0]), said


def test_none_at_all():
    assert celestial(fits.Header({"BUNIT": "adu"})) == (None, [])
    assert celestial(header("LINEAR", "LINEAR")) == (None, [])


CUBE = {
    "WCSAXES": 4,
    "CTYPE3": "FREQ",
    "CRVAL3": 1.4e9,
    "CDELT3": 1e6,
    "CRPIX3": 1.0,
    "CTYPE4": "STOKES",
    "CRPIX4": 1.0,
}


def test_output_has_exactly_the_keywords_of_its_axes():
    cards = header(
        **CUBE, PC3_1=0.0, CD3_3=1.0, CD1_3=0.0, PV2_1=1.0, CUNIT3="Hz", RADESYS="ICRS", CPDIS1="LOOKUP", OBJECT="M1"
    )
    out = output_header(cards)
    own = set(header()) | {"WCSAXES", "PV2_1", "RADESYS"}
    assert set(out) == own and out["WCSAXES"] == 2 and next(iter(out)) == "WCSAXES"
    np.testing.assert_allclose(WCS(out).all_pix2world(39, 29, 0), (150, 2))


def test_celestial_axes_that_are_not_the_first(tmp_path):
    """A cube whose frequency axis, the first, has length 1."""
    number = {"1": "2", "2": "3"}
    cards = fits.Header()
    for key, value in header().items():
        name, _, last = key.partition("_")
        cards[name[:-1] + number[name[-1]] + (f"_{number[last]}" if last else "")] = value
    cards.update(CTYPE1="FREQ", CRVAL1=1.4e9, CRPIX1=1.0, CD1_1=1e6)
    sky, said = celestial(cards, axes=(2, 3))
    np.testing.assert_allclose(sky.to_sky(X, Y), celestial(header())[0].to_sky(X, Y))
    assert set(output_header(cards, (2, 3))) == {*header(), "WCSAXES"} and said == []
