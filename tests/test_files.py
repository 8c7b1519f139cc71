"""Files are whole or not there; what goes wrong has one message."""

import errno
import hashlib
import json

import pytest

from blendinator.errors import DataError
from blendinator.files import (
    atomic_folder,
    atomic_write,
    leftover_folders,
    read_error,
    remove_folder,
    sha256,
    write_error,
    write_errors,
    write_json,
)


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_former_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise ValueError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_name_of_255_bytes_has_a_temporary_one(tmp_path):
    write_json(tmp_path / ("x" * 255), {"b": 1, "a": 2})
    assert json.loads((tmp_path / ("x" * 255)).read_text()) == {"a": 2, "b": 1}


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    folder = tmp_path / "7"
    with atomic_folder(folder) as incoming:
        (incoming / "a").write_text("new")
        assert not folder.exists() and leftover_folders(tmp_path) == [incoming]
    assert (folder / "a").read_text() == "new" and list(tmp_path.iterdir()) == [folder]
    with pytest.raises(OSError), atomic_folder(folder) as incoming:  # which is there and holds something
        (incoming / "a").write_text("other")
    assert (folder / "a").read_text() == "new" and list(tmp_path.iterdir()) == [folder]
    remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_leave_of_folders_is_found(tmp_path):
    for name in (".incoming-7.0123", ".removed-6", "8"):
        (tmp_path / name).mkdir()
    assert [path.name for path in leftover_folders(tmp_path)] == [".incoming-7.0123", ".removed-6"]


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(DataError, match=r"b: this file cannot be read \(No such file or directory\). Check its name"):
        sha256(tmp_path / "b")


@pytest.mark.parametrize(
    "code, remedy",
    [
        (errno.ENOSPC, "The disk is full: free some space or choose another folder, then run again."),
        (errno.EDQUOT, "The disk is full"),
        (errno.EACCES, "Check the folder's permissions, or choose another folder."),
    ],
)
def test_the_message_of_a_write_names_the_remedy(code, remedy):
    assert str(write_error("/x/y", OSError(code, "why"))).startswith(f"/x/y: this cannot be written (why). {remedy}")
    with pytest.raises(DataError, match="/x/y: this cannot be written"), write_errors("/x/y"):
        raise OSError(code, "why")


def test_an_error_without_a_number_keeps_its_text():
    assert "(what a library says)" in str(write_error("x", OSError("what a library says")))
    assert "(what a library says)" in str(read_error("x", OSError("what a library says")))
