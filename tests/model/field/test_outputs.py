"""Where results go: what is refused before any work, and names that are given when all is whole."""

import errno
import gzip
import os

import pytest

from blendinator.errors import ConfigError, DataError
from blendinator.files import write_errors
from blendinator.model.field.outputs import Outputs, Together, compress


def folder(path):
    path.mkdir()


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "make, error, message",
    [
        (folder, ConfigError, "m.fits: this is a folder; allowed: a new name or, with `overwrite`, a regular file"),
        (os.mkfifo, ConfigError, "m.fits: this is a pipe; allowed"),
        (lambda path: path.symlink_to("/dev/null"), ConfigError, "m.fits: this is a device; allowed"),
        (loop, DataError, "m.fits: this name cannot be used"),
        (lambda path: path.symlink_to("nowhere/m.fits"), DataError, "m.fits: the folder .*nowhere does not exist"),
    ],
)
def test_what_is_no_regular_file_is_refused(tmp_path, overwrite, make, error, message):
    make(tmp_path / "m.fits")
    before = os.lstat(tmp_path / "m.fits")
    with pytest.raises(error, match=message):
        Outputs(tmp_path / "m.fits", overwrite=overwrite).check()
    assert os.lstat(tmp_path / "m.fits") == before


def test_a_device_is_refused():
    with pytest.raises(ConfigError, match="/dev/null: this is a device"):
        Outputs("/dev/null", overwrite=True).check()


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path):
    (tmp_path / "m.fits").write_text("precious")
    with pytest.raises(ConfigError, match="m.fits: this exists already. Give another name, or `overwrite`"):
        Outputs(tmp_path / "m.fits").check()
    Outputs(tmp_path / "m.fits", overwrite=True).check()


@pytest.mark.parametrize(
    "names, message",
    [
        (["m.txt"], "`maps`: received .*m.txt, whose ending names no format.*; allowed: .fits, .fit, .fits.gz"),
        (["m.fits.fz"], "`maps`: received"),
        (["m"], "`maps`: received"),
        ([".fits"], "`maps`: received"),
        (["m.fits", "c.csv"], "`catalogue`: received .*c.csv.*; allowed: .ecsv, .fits, .fit, .vot, .parquet"),
        (["m.fits", "c.ecsv", "p.bmp"], "`preview`: received .*p.bmp.*; allowed: .png, .jpg, .jpeg, .pdf"),
    ],
)
def test_an_ending_without_a_format_is_refused(tmp_path, names, message):
    with pytest.raises(ConfigError, match=message):
        Outputs(*(tmp_path / name for name in names)).check()


def test_endings_in_capitals(tmp_path):
    Outputs(tmp_path / "M.FITS.GZ", tmp_path / "C.VOT", tmp_path / "P.JPG").check()


def test_parquet_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Parquet needs pyarrow, which is not installed. Install it"):
        Outputs(tmp_path / "m.fits", tmp_path / "c.parquet").check()


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "store").mkdir()
    for name, old in (("there", "old"), ("new", None)):
        target, link = tmp_path / "store" / name, tmp_path / f"{name}.fits"
        link.symlink_to(target)
        if old:
            target.write_text(old)
        with Together() as together:
            together.part(link).write_text("content")
        assert link.is_symlink() and target.read_text() == "content"
    assert {path.name for path in tmp_path.rglob("*")} == {"store", "there", "new", "there.fits", "new.fits"}


def test_all_files_or_none(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), Together() as together:
        for name in "ab":
            together.part(tmp_path / name).write_text("new")
        raise ZeroDivisionError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]
    with Together() as together:
        for name in "ab":
            together.part(tmp_path / name).write_text("new")
        assert (tmp_path / "a").read_text() == "old" and not (tmp_path / "b").exists()
    assert sorted((path.name, path.read_text()) for path in tmp_path.iterdir()) == [("a", "new"), ("b", "new")]


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("ä" * 124 + ".fits")  # 253 bytes
    with Together() as together:
        together.part(path).write_text("content")
    assert path.read_text() == "content"


def test_a_disk_that_is_full(tmp_path):
    message = r"x: this cannot be written \(No space left on device\). The disk is full: free some space"
    with pytest.raises(DataError, match=message), write_errors(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_compression(tmp_path):
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    compress(tmp_path / "a.part")
    assert gzip.decompress((tmp_path / "a.part").read_bytes()) == b"x" * 1000 and len(list(tmp_path.iterdir())) == 1
