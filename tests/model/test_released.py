"""The released model: unpacked once, checked, and every way in which that fails."""

import hashlib
import io
import json
import logging
import tarfile

import pytest

from blendinator.errors import ModelError
from blendinator.model import released


def ship(folder, files=(("released/saved_model.pb", b"graph"),), **changes):
    """An archive with these files and its card."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / released.ARCHIVE, "w:xz") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256((folder / released.ARCHIVE).read_bytes()).hexdigest()
    card = {"format": released.FORMAT, "name": "euclid_wide-0.1.0", "sha256": digest, **changes}
    (folder / released.CARD).write_text(json.dumps(card))
    return folder


def test_it_is_unpacked_once(tmp_path):
    shipped, cache = ship(tmp_path / "package"), tmp_path / "cache"
    folder = released.unpack(shipped, cache)
    assert folder.name == "released" and (folder / "saved_model.pb").read_bytes() == b"graph"
    (shipped / released.ARCHIVE).unlink()  # not needed again
    assert released.unpack(shipped, cache) == folder
    assert [path.name for path in cache.iterdir()] == [folder.parent.name]  # nothing half-made is left


def test_the_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "blendinator") in released.unpack(ship(tmp_path / "package")).parents


def test_a_cache_that_cannot_be_written_is_replaced(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "blendinator"):
        folder = released.unpack(ship(tmp_path / "package"), tmp_path / "file" / "cache")
    assert (folder / "saved_model.pb").is_file() and tmp_path not in folder.parents
    assert "cannot be written" in caplog.text and "unpacked for this process only" in caplog.text


def damage_archive(folder):
    (folder / released.ARCHIVE).write_bytes(b"damaged")


@pytest.mark.parametrize(
    "prepare, message",
    [
        (
            lambda folder: folder.mkdir(),
            "this installation holds no released model. Install the package again, or train",
        ),
        (lambda folder: (ship(folder), damage_archive(folder)), "its checksum is not the one on its card"),
        (lambda folder: ship(folder, format=99), "it is not a card of format 1"),
        (lambda folder: ship(folder, files=[("other/file", b"")]), "it holds no released/saved_model.pb"),
        (lambda folder: (ship(folder) / released.ARCHIVE).unlink(), "No such file"),
        (
            lambda folder: (ship(folder) / released.CARD).write_text("{"),
            r"model.json: the released model cannot be used \(",
        ),
        (
            lambda folder: (
                ship(folder),
                damage_archive(folder),
                (folder / released.CARD).write_text(
                    json.dumps({"format": 1, "sha256": hashlib.sha256(b"damaged").hexdigest()})
                ),
            ),
            r"model.tar.xz: the released model cannot be used \(",
        ),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, prepare, message):
    prepare(tmp_path / "package")
    with pytest.raises(ModelError, match=message):
        released.unpack(tmp_path / "package", tmp_path / "cache")
    assert not any((tmp_path / "cache").glob("*"))
