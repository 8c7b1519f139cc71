"""Whatever a catalogue holds, it is read to galaxies that can be drawn or refused by a DataError."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, strategies as st

from blendinator.data import catalog
from blendinator.data.catalog import read_catalog
from blendinator.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say of damaged input is no news here

NUMBERS = st.one_of(
    st.floats(), st.floats(0.1, 30.0), st.integers(-(2**62), 2**62), st.sampled_from([0.0, 1e308, 1e-320])
)
TEXTS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
NAMES = st.sampled_from([*catalog.TABLE, *catalog.ALIASES, *catalog.CATSIM, *catalog.COSMOS, "other"])


def _columns(rows):
    column = st.one_of(
        st.lists(st.floats(0.4, 0.9), min_size=rows, max_size=rows),
        st.lists(NUMBERS, min_size=rows, max_size=rows),
        st.lists(TEXTS, min_size=rows, max_size=rows),
        st.lists(st.booleans(), min_size=rows, max_size=rows),
        st.integers(0, 17).map(lambda width: np.full((rows, width), 0.5).tolist()),
    )
    sets = st.sampled_from((catalog.TABLE, catalog.CATSIM, catalog.COSMOS, tuple(catalog.ALIASES)))
    whole = sets.flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.lists(st.floats(0.4, 0.9), min_size=rows, max_size=rows) for name in names}
        )
    )
    return st.tuples(whole, st.dictionaries(NAMES, column, max_size=3)).map(lambda pair: {**pair[0], **pair[1]})


TABLES = st.integers(0, 4).flatmap(_columns)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def read(path):
    try:
        found = read_catalog(str(path))
    except DataError as error:
        assert str(path) in str(error) and len(str(error)) < 3000
        return None
    galaxies = found.galaxies
    assert len(galaxies) == found.provenance["rows"] > 0
    assert np.isfinite(galaxies.magnitude).all() and np.isfinite(galaxies.flux_fraction).all()
    used = galaxies.flux_fraction > 0
    for values in (galaxies.radius, galaxies.sersic_index, galaxies.axis_ratio, galaxies.angle):
        assert np.isfinite(values[used]).all()
    assert (galaxies.radius[used] > 0).all() and (galaxies.axis_ratio[used] > 0).all()
    return found


@given(columns=TABLES, suffix=st.sampled_from(("fits", "csv", "ecsv")))
def test_any_table(folder, columns, suffix):
    path = folder / f"table.{suffix}"
    try:
        Table(columns).write(path, overwrite=True)
    except Exception:  # astropy does not write every table in every format
        return
    read(path)


def _bytes(suffix):
    table = Table({name: [0.5, 0.6] for name in catalog.TABLE})
    if suffix == "fits":
        out = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table)]).writeto(out)
        return out.getvalue()
    out = io.StringIO()
    table.write(out, format=f"ascii.{suffix}")
    return out.getvalue().encode()


WHOLE = {suffix: _bytes(suffix) for suffix in ("fits", "csv", "ecsv")}


@given(data=st.data(), suffix=st.sampled_from(tuple(WHOLE)))
def test_a_damaged_file(folder, data, suffix):
    content = WHOLE[suffix]
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 80) | st.just(len(content)))
    put = data.draw(
        st.binary(max_size=10) | st.sampled_from((b"9999999999", b"!!python/object:os.system", b"-1", b"1e999"))
    )
    path = folder / f"damaged.{suffix}"
    path.write_bytes(content[:start] + put + content[start + length :])
    read(path)


def test_whole_files_pass(folder):
    for suffix, content in WHOLE.items():
        path = folder / f"whole.{suffix}"
        path.write_bytes(content)
        assert read(path).format == "table"
