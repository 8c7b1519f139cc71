"""The metadata store: damaged, emptied, locked or of a newer version, and what a run does then."""

import dataclasses
import shutil
import sqlite3
import subprocess
import sys

import pytest

from blendinator.config import Config
from blendinator.errors import DataError
from blendinator.pipeline import run
from blendinator.pipeline.history import metadata, run_log

HOLD = """
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    """A store with one execution, backed up."""
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as proto

    path = tmp_path / "metadata.sqlite"
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    opened = metadata_store.MetadataStore(connection)
    kind = opened.put_execution_type(proto.ExecutionType(name="Trainer"))
    opened.put_executions([proto.Execution(type_id=kind, last_known_state=proto.Execution.COMPLETE)])
    metadata.back_up(path)
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:30000])


def overwrite_start(path):
    path.write_bytes(b"x" * 100 + path.read_bytes()[100:])


def overwrite_pages(path):
    content = bytearray(path.read_bytes())
    content[8192:60000] = b"\xff" * (60000 - 8192)
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("fault", [cut, overwrite_start, overwrite_pages, empty])
def test_damaged(store, fault):
    fault(store)
    with pytest.raises(DataError, match=rf"{store}: the metadata store cannot be read \(.*cp {store}.backup {store}"):
        metadata.back_up(store)
    shutil.copy(f"{store}.backup", store)  # the remedy
    metadata.back_up(store)
    assert metadata.close_interrupted(store) == []
    assert len(metadata.open_store(store).get_executions()) == 1


@pytest.mark.parametrize("fault", [cut, overwrite_start, overwrite_pages])
def test_damaged_when_a_command_opens_it(store, fault):
    fault(store)
    with pytest.raises(DataError, match="the metadata store cannot be read.*Restore the copy.*Spans and pushed"):
        metadata.open_store(store)


def test_damaged_without_a_copy(store):
    (store.parent / "metadata.sqlite.backup").unlink()
    cut(store)
    with pytest.raises(DataError, match="Move it away .*if there is no copy of it.*then run again"):
        metadata.back_up(store)


def test_of_a_newer_version(store):
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE MLMDEnv SET schema_version = 99")
    with pytest.raises(DataError, match="MLMD database version 99 is greater than library version"):
        metadata.open_store(store)


def test_locked(store, monkeypatch):
    monkeypatch.setattr(metadata, "LOCK_SECONDS", 0.2)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(store)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="another program has kept the metadata store locked for 0.2 s. End it"):
            metadata.back_up(store)
    finally:
        holder.kill()
        holder.wait()
    metadata.back_up(store)


def test_none_yet(tmp_path):
    metadata.back_up(tmp_path / "metadata.sqlite")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "metadata.sqlite").touch()  # a first run that was killed as the store was made
    metadata.back_up(tmp_path / "metadata.sqlite")


def test_a_run_stops_before_it_does_anything(store, tmp_path, capfd, monkeypatch):
    cut(store)
    config = dataclasses.replace(Config(), output_dir=str(tmp_path))
    monkeypatch.setattr(run, "simulate_if_missing", lambda *_: pytest.fail("the store is looked at first"))
    assert run.run(config) == 1
    assert "the metadata store cannot be read" in capfd.readouterr().out
    [entry] = run_log.read(tmp_path)
    assert entry["status"] == run_log.FAILED and "cp " in entry["reason"]
