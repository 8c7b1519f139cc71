"""The hashes change with what they stand for, and with nothing else."""

import json

import pytest

from data import spans
from pipeline.fingerprint import code_fingerprint, data_fingerprint


@pytest.fixture
def project(tmp_path):
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "a.py").write_text("a = 1\n")
    (tmp_path / "package" / "inner" / "b.py").write_text("b = 1\n")
    (tmp_path / "single.py").write_text("c = 1\n")
    return tmp_path


def test_edited_code_changes_the_hash(project):
    before = code_fingerprint("package", "single.py", root=project)
    assert code_fingerprint("single.py", "package", root=project) == before
    (project / "package" / "inner" / "b.py").write_text("b = 2\n")
    edited = code_fingerprint("package", "single.py", root=project)
    assert edited != before
    (project / "package" / "inner" / "b.py").rename(project / "package" / "inner" / "d.py")
    assert code_fingerprint("package", "single.py", root=project) not in (before, edited)


def test_files_that_are_not_code_do_not_count(project):
    before = code_fingerprint("package", root=project)
    (project / "package" / "notes.txt").write_text("x")
    assert code_fingerprint("package", root=project) == before


def test_path_that_does_not_exist_is_an_error(project):
    with pytest.raises(FileNotFoundError):
        code_fingerprint("packages", root=project)


def test_data_hash_follows_the_manifests(tmp_path):
    for span in (1, 2):
        folder = spans.span_dir(tmp_path, span)
        folder.mkdir()
        (folder / spans.MANIFEST).write_text(json.dumps({"span": span}))
    one, both = data_fingerprint(tmp_path, (1,)), data_fingerprint(tmp_path, (1, 2))
    assert one != both
    (spans.span_dir(tmp_path, 2) / spans.MANIFEST).write_text("{}")
    assert data_fingerprint(tmp_path, (1,)) == one and data_fingerprint(tmp_path, (1, 2)) != both
