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
    ServingConfig,
    SimulationConfig,
    TrainingConfig,
)
from blendinator.data import spans
from blendinator.pipeline import fingerprint
from blendinator.pipeline.fingerprint import code_fingerprint, data_fingerprint, imported, request_fingerprint


@pytest.fixture
def package(tmp_path):
    """A package: `run` imports `inner.a` (in a function), which imports a name of `inner.b`; `other` stands apart."""
    files = {
        "__init__.py": "",
        "run.py": "import os\n\n\ndef main():\n    from package.inner import a\n",
        "inner/__init__.py": "",
        "inner/a.py": "from package.inner.b import value\n",
        "inner/b.py": "from package.errors import Broken\nvalue = 1\n",
        "errors.py": "class Broken(Exception): ...\n",
        "other.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import package.run\n",
        "schema.txt": "x",
    }
    for name, text in files.items():
        (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / name).write_text(text)
    return tmp_path / "package"


def edit(path):
    path.write_text(path.read_text() + "# edited\n")


def names(package, *entries):
    return {path.relative_to(package).as_posix() for path in imported(*entries, root=package)}


def test_the_code_is_found_from_the_imports(package):
    assert names(package, "run") == {"run.py", "inner/__init__.py", "inner/a.py", "inner/b.py"}
    assert names(package, "other") == {"other.py"}
    assert names(package, "inner") == {"inner/__init__.py", "inner/a.py", "inner/b.py"}  # all of a package
    (package / "inner" / "a.py").write_text("import package.other\n")
    assert names(package, "run") == {"run.py", "inner/__init__.py", "inner/a.py", "other.py"}


@pytest.mark.parametrize(
    ("name", "changes"), [("inner/b.py", True), ("inner/__init__.py", True), ("other.py", False), ("errors.py", False)]
)
def test_edited_code_changes_the_hash(package, name, changes):
    before = code_fingerprint("run", root=package)
    assert code_fingerprint("run", root=package) == before
    edit(package / name)
    assert (code_fingerprint("run", root=package) != before) == changes


def test_a_renamed_module_changes_the_hash(package):
    before = code_fingerprint("inner", root=package)
    (package / "inner" / "b.py").rename(package / "inner" / "c.py")
    edited = (package / "inner" / "a.py").read_text().replace("inner.b", "inner.c")
    (package / "inner" / "a.py").write_text(edited)
    assert code_fingerprint("inner", root=package) != before


def test_files_that_the_code_reads_count_where_they_are_named(package):
    alone, both = (code_fingerprint("run", files=files, root=package) for files in ((), ("schema.txt",)))
    edit(package / "schema.txt")
    assert alone != both != code_fingerprint("run", files=("schema.txt",), root=package)
    assert code_fingerprint("run", root=package) == alone


def test_other_libraries_change_the_hash(package, monkeypatch):
    before, request = code_fingerprint("run", root=package), request_fingerprint(Config(), "abc")
    other = fingerprint.stack.versions() | {"scipy": "99"}
    monkeypatch.setattr(fingerprint.stack, "versions", lambda: other)
    assert code_fingerprint("run", root=package) != before
    assert request_fingerprint(Config(), "abc") != request


@pytest.mark.parametrize("missing", [{"entries": ["runs"]}, {"entries": ["run"], "files": ("schema.pb",)}])
def test_what_does_not_exist_is_an_error(package, missing):
    with pytest.raises(FileNotFoundError):
        code_fingerprint(*missing.pop("entries"), **missing, root=package)


@pytest.mark.parametrize(
    ("entry", "some"),
    [
        ("model.trainer", {"model/trainer.py", "model/network.py", "model/losses.py", "data/records.py"}),
        ("components.calibration_evaluator", {"model/metrics/scenes.py", "model/classical.py", "data/tfrecords.py"}),
        ("components.export_check", {"components/export_check/signatures.py", "data/tfrecords.py"}),
        ("components.anomaly_gate", {"schemas/schema.py", "files.py"}),
        ("pipeline.run", {"pipeline/dag.py", "components/drift_gate/executor.py", "data/simulate.py"}),
    ],
)
def test_of_this_package(entry, some):
    found = names(fingerprint.PACKAGE, entry)
    assert some <= found and not {"config.py", "pipeline/cli.py"} & found


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
        ({"serving": ServingConfig(infra_check="triton")}, True),
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
    monkeypatch.setattr(fingerprint, "code_fingerprint", lambda *modules, files=(): "edited")
    assert request_fingerprint(Config(), "abc") != before
