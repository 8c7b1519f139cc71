"""Whatever a FITS file holds, its field is read or refused by one of our errors."""

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, strategies as st

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.reading import open_field

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say of damaged input is no news here

SURVEY = {"name": "euclid_wide", "zero_point": 25.92, "exposure_time": 2260.0, "pixel_scale": 0.1, "sky_sigma": 26.3}
SIDE = 32
KEYWORDS = st.sampled_from(
    (
        "BITPIX",
        "NAXIS",
        "NAXIS1",
        "NAXIS2",
        "BSCALE",
        "BZERO",
        "BLANK",
        "BUNIT",
        "GAIN",
        "EXPTIME",
        "MAGZERO",
        "CTYPE1",
        "CTYPE2",
        "CRPIX1",
        "CRVAL1",
        "CDELT1",
        "CD1_1",
        "EXTEND",
        "PCOUNT",
        "GCOUNT",
        "XTENSION",
        "SIMPLE",
        "ZIMAGE",
        "ZCMPTYPE",
        "ZTILE1",
        "ZNAXIS1",
        "TFORM1",
        "TTYPE1",
        "THEAP",
        "END",
        "WCSAXES",
        "A_ORDER",
        "CHECKSUM",
    )
)
VALUES = st.one_of(
    st.integers(-10, 10),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.sampled_from(
        ("electron", "adu", "adu/s", "nJy", "parsec", "RA---TAN", "DEC--TAN", "GZIP_1", "RICE_1", "1PB(100)", "''")
    ),
)


def _bytes(kind):
    image = np.random.default_rng(1).normal(0, 26, (SIDE, SIDE)).astype(np.float32)
    header = fits.Header()
    header.update(BUNIT="electron", CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CDELT1=1e-4, CDELT2=1e-4, CRVAL1=1.0)
    hdu = {
        "float": fits.PrimaryHDU(image, header),
        "integer": fits.PrimaryHDU(image.astype(np.int16), header),
        "compressed": fits.CompImageHDU(image.astype(np.int32), header),
    }[kind]
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu] if kind == "compressed" else [hdu]).writeto(out)
    return out.getvalue()


WHOLE = {kind: _bytes(kind) for kind in ("float", "integer", "compressed")}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "field.fits"


def read(path, content):
    path.write_bytes(content)
    try:
        field = open_field(path, SURVEY, 16, box=16)
    except (DataError, ConfigError) as error:
        assert str(path) in str(error) and len(str(error)) < 1000
        return None
    try:
        rows = field.rows(0, field.shape[0])
        assert rows.shape == field.shape and not np.isinf(rows).any() and field.sky_sigma > 0
    except DataError as error:
        assert str(path) in str(error)
        return None
    finally:
        field.close()
    return field


@given(kind=st.sampled_from(tuple(WHOLE)), data=st.data(), packed=st.booleans())
def test_a_damaged_file(path, kind, data, packed):
    content = WHOLE[kind]
    if packed:
        content = gzip.compress(content, 1, mtime=0)
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 80) | st.just(len(content)))
    put = data.draw(st.binary(max_size=10))
    read(path, content[:start] + put + content[start + length :])


@given(kind=st.sampled_from(tuple(WHOLE)), data=st.data(), count=st.integers(1, 4))
def test_any_header(path, kind, data, count):
    """Cards are replaced or added as bytes, because astropy does not write what it would not read."""
    content = bytearray(WHOLE[kind])
    for _ in range(count):
        keyword, value = data.draw(KEYWORDS), data.draw(VALUES)
        shown = (
            {True: "T", False: "F"}[value]
            if isinstance(value, bool)
            else (f"'{value}'" if isinstance(value, str) else str(value))
        )
        card = f"{keyword:8}= {shown:>20}".encode()[:80].ljust(80)
        places = [i for i in range(0, len(content) - 79, 80) if content[i : i + 8] == card[:8]]
        place = data.draw(st.sampled_from(places)) if places else 80 * data.draw(st.integers(0, 35))
        content[place : place + 80] = card
    read(path, bytes(content))


@given(content=st.binary(max_size=3000))
def test_any_bytes(path, content):
    read(path, content)


def test_whole_files_pass(path):
    assert [read(path, WHOLE[kind]) is not None for kind in WHOLE] == [True, True, True]
