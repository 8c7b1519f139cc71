"""The images of a run: names taken literally, patterns, lists, and shards."""

import pytest

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.batch.inputs import expand, result_name, shard


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.fits", "a.fits.gz", "c[1].fits", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path, name",
    [
        ("survey/tile-7.fits.gz", "tile-7"),
        ("tile-7.fz", "tile-7"),
        ("tile.7.FITS", "tile.7"),
        ("tile-7.fits[SCI,2]", "tile-7-SCI-2"),
        ("tile-7.img", "tile-7.img"),
        (".fits", ".fits"),
    ],
)
def test_results_are_named_after_the_image(path, name):
    assert result_name(path) == name


def test_files_patterns_and_lists(folder):
    (folder / "list.txt").write_text("# tiles\n\nb.fits\na*.gz\nmissing.fits\n")
    found = expand(["@list.txt", "b.fits", "*.fits"])
    assert [(image.name, image.path) for image in found] == [
        ("a", "a.fits.gz"),
        ("b", "b.fits"),
        ("c[1]", "c[1].fits"),
        ("missing", "missing.fits"),
    ]


def test_a_pattern_with_an_hdu(folder):
    assert [image.path for image in expand(["b*.fits[SCI]"])] == ["b.fits[SCI]"]
    assert [str(image.file) for image in expand(["b.fits[SCI]", "c[1].fits"])] == ["b.fits", "c[1].fits"]


def test_a_file_whose_name_is_like_a_list(folder):
    (folder / "@x.fits").write_bytes(b"")
    assert [image.name for image in expand(["@x.fits"])] == ["@x"]


@pytest.mark.parametrize(
    "given, error, message",
    [
        (["z*.fits"], DataError, r"z\*.fits: no file matches this pattern"),
        (["@no.txt"], DataError, "no.txt: this list of images cannot be read"),
        (["@notes.txt"], DataError, "notes.txt: this list of images is empty"),
        (["-"], ConfigError, "standard input cannot be one of many images"),
        (["b.fits", "sub/b.fits.gz"], ConfigError, "sub/b.fits.gz: its results would have the name b, as"),
    ],
)  # fmt: skip
def test_what_is_refused(folder, given, error, message):
    (folder / "sub").mkdir()
    (folder / "sub" / "b.fits.gz").write_bytes(b"")
    with pytest.raises(error, match=message):
        expand(given)


def test_the_shards_share_the_images():
    parts = [shard("abcdefg", f"{i}/3") for i in (1, 2, 3)]
    assert parts == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    assert shard("ab", None) == ["a", "b"] and shard("ab", "3/3") == []


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "3", "a/b", "-1/3", ""])
def test_a_shard_out_of_range(text):
    with pytest.raises(ConfigError, match="shard: received .*; allowed: I/N with I from 1 to N"):
        shard("abc", text)
