"""The FITS file of maps: what astropy reads back, checksums, and what is left when something goes wrong."""

import errno
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from blendinator.errors import DataError
from blendinator.model.field import outputs, writing

SHAPE = (37, 41)


def planes(samples=3):
    rng = np.random.default_rng(1)
    out = {
        name: rng.integers(0, 3, SHAPE).astype("u1") if name == "CLASS" else rng.random(SHAPE, np.float32)
        for name in writing.PLANES
    }
    return {**out, "SAMPLES": rng.integers(0, 3, (samples, *SHAPE)).astype("u1")}


def write(path, content, header=fits.Header()):
    with outputs.Together() as together:
        part = together.part(path)
        cards, labels = [("SEED", 7, "of the draws")], writing.LABELS in content
        with writing.MapWriter(path, part, SHAPE, 3, header, cards, ["line ü"], labels) as writer:
            for top in range(0, SHAPE[0], 10):
                if labels:
                    writer.write_labels(top, content[writing.LABELS][top : top + 10])
                writer.write(top, {name: value[..., top : top + 10, :] for name, value in content.items()})


def test_content_wcs_and_checksums(tmp_path, wcs_header):
    content, path = planes(), tmp_path / "maps.fits"
    write(path, content, wcs_header)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # astropy warns of a wrong checksum or a broken standard
        with fits.open(path, checksum=True) as file:
            file.verify("exception")
            assert [hdu.name for hdu in file] == ["PRIMARY", *content]
            assert file[0].header["SEED"] == 7 and list(file[0].header["HISTORY"]) == ["line ?"]
            assert all(hdu.verify_checksum() == 1 and hdu.verify_datasum() == 1 for hdu in file)
            for name, value in content.items():
                np.testing.assert_array_equal(file[name].data, value)
                np.testing.assert_allclose(WCS(file[name].header, naxis=2).all_pix2world(39, 29, 0), (150, 2))
    assert [item.name for item in tmp_path.iterdir()] == ["maps.fits"]


def test_labels_are_renumbered(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 100)
    numbers, path = np.random.default_rng(2).integers(0, 5, SHAPE), tmp_path / "maps.fits"
    ids = np.array([0, 7, 0, 70000, 3])
    with (
        outputs.Together() as together,
        writing.MapWriter(path, together.part(path), SHAPE, 0, fits.Header(), labels=True) as writer,
    ):
        writer.write_labels(0, numbers[:20])
        writer.write_labels(20, numbers[20:])
        writer.renumber(ids)
    with fits.open(path, checksum=True) as file:
        assert file["LABELS"].data.dtype == ">i4" and file["LABELS"].verify_checksum() == 1
        np.testing.assert_array_equal(file["LABELS"].data, ids[numbers])


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    maps = tmp_path / "maps.fits"
    with (
        pytest.raises(ZeroDivisionError),
        outputs.Together() as together,
        writing.MapWriter(maps, together.part(maps), SHAPE, 0, fits.Header()) as writer,
    ):
        writer.write(0, planes())
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_no_space(tmp_path, monkeypatch):
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: type("usage", (), {"free": 10})())
    with pytest.raises(DataError, match=r"the file will have 0.00 GB, and 0.00 GB are free there"):
        write(tmp_path / "maps.fits", planes())


def test_place_where_one_may_not_write(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs.Together, "part", lambda together, path: path.parent)  # a folder is not a file
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "maps.fits", planes())


def test_disk_that_is_full_at_the_end(tmp_path, monkeypatch):
    def full(writer, name):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.MapWriter, "_finish", full)
    with pytest.raises(DataError, match=r"maps.fits: this cannot be written \(.*No space left.*\). The disk is full"):
        write(tmp_path / "maps.fits", planes())
    assert list(tmp_path.iterdir()) == []


def test_checksum_of_the_standards_example():
    """FITS standard 4.0, appendix J.6: the complement of 868229149 is encoded as 'hcHjjc9ghcEghc9g'."""
    assert writing.encode_checksum(~868229149 & 0xFFFFFFFF) == "hcHjjc9ghcEghc9g"
