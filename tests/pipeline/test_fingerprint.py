"""The hashes change with what they stand for, and with nothing else."""

import dataclasses
import json

import pytest

from blendinator.config import (
    BeamConfig,
    Config,
    DriftConfig,
    EvaluationConfig,
    RetrainingConfig,
    SimulationConfig,
    TrainingConfig,
)
from blendinator.data import spans
from blendinator.pipeline import fingerprint
from blendinator.pipeline.fingerprint import code_fingerprint, data_fingerprint, request_fingerprint


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


def test_other_libraries_change_the_hash(project, monkeypatch):
    before, request = code_fingerprint("package", root=project), request_fingerprint(Config(), "abc")
    other = fingerprint.stack.versions() | {"scipy": "99"}
    monkeypatch.setattr(fingerprint.stack, "versions", lambda: other)
    assert code_fingerprint("package", root=project) != before
    assert request_fingerprint(Config(), "abc") != request


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


@pytest.mark.parametrize(
    "change, differs",
    [
        ({"training": TrainingConfig(steps=5)}, True),
        ({"evaluation": EvaluationConfig(min_scenes=7)}, True),
        ({"retraining": RetrainingConfig(drift=DriftConfig(action="warn"))}, True),
        ({"retraining": RetrainingConfig(on_failure="mail", keep_versions=9)}, False),
        ({"simulation": SimulationConfig(train_scenes=7)}, False),  # the data tell
        ({"beam": BeamConfig(simulation_workers=3)}, False),
    ],
)
def test_request_is_what_the_outcome_depends_on(change, differs):
    before = request_fingerprint(Config(), "abc")
    assert (request_fingerprint(dataclasses.replace(Config(), **change), "abc") != before) == differs
    assert request_fingerprint(Config(), "xyz") != before


def test_request_changes_with_the_code(monkeypatch):
    before = request_fingerprint(Config(), "abc")
    monkeypatch.setattr(fingerprint, "code_fingerprint", lambda *paths: "edited")
    assert request_fingerprint(Config(), "abc") != before
