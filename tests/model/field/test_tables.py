"""The catalogue of a field in every format: values, units, descriptions and provenance."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import check_ucd
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


def test_every_column_has_a_ucd_of_the_vocabulary(written):
    fields = list(parse(str(written / "c.vot")).get_first_table().fields)
    assert all(check_ucd(field.ucd, check_controlled_vocabulary=True) for field in fields)
    ucds = {field.name: field.ucd for field in fields}
    assert ucds["ra"] == "pos.eq.ra;meta.main" and ucds["flux_hi95"] == "phot.count;stat.max"
    assert all(field.description for field in fields)


@pytest.fixture(scope="module")
def labels(written):
    return fits.getdata(written / "maps.fits.gz", "LABELS").astype(np.int32)


def test_labels_are_the_catalogues_objects(written, labels):
    table = Table.read(written / "c.ecsv")
    objects = table[table["kind"] == "object"]
    assert labels.ndim == 2 and len(objects) > 0
    np.testing.assert_array_equal(np.unique(labels[labels > 0]), objects["id"])
    np.testing.assert_array_equal([np.sum(labels == one["id"]) for one in objects], objects["footprint"])


def test_photutils_reads_the_labels(written, labels, image):
    segmentation = pytest.importorskip("photutils.segmentation")
    table = Table.read(written / "c.ecsv")
    sources = segmentation.SourceCatalog(image.astype(float), segmentation.SegmentationImage(labels))
    objects = table[table["kind"] == "object"]
    np.testing.assert_array_equal(sources.labels, objects["id"])
    np.testing.assert_array_equal(sources.area.value, objects["footprint"])


def test_gzipped_maps_and_a_picture(written):
    content = (written / "maps.fits.gz").read_bytes()
    assert gzip.decompress(content).startswith(b"SIMPLE  =") and fits.getdata(written / "maps.fits.gz", "CLASS").size
    assert (written / "p.jpg").read_bytes().startswith(b"\xff\xd8\xff")
