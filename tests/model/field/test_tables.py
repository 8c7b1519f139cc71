"""The catalogue of a field in every format: values, units, descriptions and provenance."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import Table

from blendinator.model.field import run as runs
from blendinator.model.field.outputs import CATALOGUES

MAGS = (".fits", ".fit", ".vot")  # formats without AB magnitudes


@pytest.fixture(scope="module")
def written(tmp_path_factory, segmenter, image, wcs_header):
    folder = tmp_path_factory.mktemp("formats")
    fits.writeto(folder / "f.fits", image, wcs_header)
    for ending in CATALOGUES:
        outputs = runs.Outputs(folder / "maps.fits.gz", folder / f"c{ending}", folder / "p.jpg", overwrite=True)
        runs.run(segmenter, folder / "f.fits", outputs, num_samples=3, box=32, unit="electron")
    return folder


@pytest.mark.parametrize("ending", CATALOGUES)
@pytest.mark.filterwarnings("ignore")
def test_values_and_units(written, ending):
    found, expected = Table.read(written / f"c{ending}"), Table.read(written / "c.ecsv")
    assert found.colnames == expected.colnames and len(found) == len(expected)
    for name in expected.colnames:
        assert str(found[name].unit) == str(expected[name].unit).replace(
            "mag(AB)", "mag" if ending in MAGS else "mag(AB)"
        )
        if expected[name].dtype.kind in "fi":
            np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(expected[name]))


@pytest.mark.filterwarnings("ignore")
def test_provenance(written):
    history = Table.read(written / "c.ecsv").meta["HISTORY"]
    header = fits.getheader(written / "c.fits", 1)
    assert header["MODEL"] == "1700000000" and header["THRESHOLD"] == 0.5
    assert "".join(header["HISTORY"]).startswith(history[0][:60])
    assert header["TCOMM1"] == "number of the row"
    infos = {info.name: info.value for info in parse(str(written / "c.vot")).resources[0].infos}
    assert infos["MODEL"] == "1700000000" and history[1] in infos["HISTORY"]
    assert Table.read(written / "c.parquet").meta["HISTORY"] == history


def test_gzipped_maps_and_a_picture(written):
    content = (written / "maps.fits.gz").read_bytes()
    assert gzip.decompress(content).startswith(b"SIMPLE  =") and fits.getdata(written / "maps.fits.gz", "CLASS").size
    assert (written / "p.jpg").read_bytes().startswith(b"\xff\xd8\xff")
