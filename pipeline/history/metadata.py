"""The ML Metadata store without TensorFlow or TFX, whose import takes ten times as long as a query."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blendinator.errors import DataError
from blendinator.files import atomic_write

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact, Execution

PUSHED_MODEL = "PushedModel"
BACKUP = ".backup"  # added to the store's name
LOCK_SECONDS = 10  # how long another program may keep the store locked


def open_store(path: str | Path, write: bool = False) -> "MetadataStore":
    """Opens an SQLite store that exists.

    Raises:
      DataError: there is none, or it is damaged or of a newer ML Metadata.
    """
    if not Path(path).exists():
        raise DataError(f"{path}: there is no metadata store, so nothing has run yet. Run the pipeline first.")
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    modes = metadata_store_pb2.SqliteMetadataSourceConfig
    connection.sqlite.connection_mode = modes.READWRITE if write else modes.READONLY
    try:
        return metadata_store.MetadataStore(connection)
    except RuntimeError as error:
        raise _damaged(path, str(error)[:200])


def back_up(path: str | Path) -> None:
    """Checks a store, and copies it to the same name with `BACKUP` added: what a run starts from can be restored.

    Raises:
      DataError: the store is damaged, empty though it was not, or locked by another program.
    """
    path, copy = Path(path), Path(f"{path}{BACKUP}")
    if not path.exists():
        return
    if not path.stat().st_size:
        if copy.exists():
            raise _damaged(path, "it is empty")
        return
    for left in copy.parent.glob(f"{copy.name}.*.tmp"):  # by a run that was killed
        left.unlink()
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as store:
            store.execute("BEGIN IMMEDIATE")  # waits for another writer, and is refused as it would be in the run
            store.rollback()
            found = store.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _damaged(path, found.splitlines()[-1])
            with atomic_write(copy) as temporary, contextlib.closing(sqlite3.connect(temporary)) as target:
                store.backup(target)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise DataError(
                f"{path}: another program has kept the metadata store locked for {LOCK_SECONDS} s. End it "
                "(`fuser` names it), then run again."
            )
        raise DataError(
            f"{path}: the metadata store cannot be copied to {copy} ({error}). Check the permissions and the "
            "space on the disk, then run again."
        )
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error))


def _damaged(path: Path | str, what: str) -> DataError:
    return DataError(f"{path}: the metadata store cannot be read ({what}). {remedy(path)}")


def remedy(path: str | Path) -> str:
    """What to do about a metadata store that cannot be read."""
    copy = Path(f"{path}{BACKUP}")
    restore = (
        f"Restore the copy that the last run started from (cp {copy} {path})"
        if copy.exists()
        else (f"Move it away ({path}) if there is no copy of it")
    )
    return (
        f"{restore}, then run again. Spans and pushed versions are not touched; what is lost is the record of the "
        "runs since."
    )


def close_interrupted(path: str | Path) -> list[str]:
    """Marks executions that a killed run left as running as cancelled, and their artifacts as abandoned.

    To be called with the output folder's lock held: then nothing is running.

    Returns:
      Names of the components.
    """
    if not Path(path).exists():
        return []
    from ml_metadata.proto import metadata_store_pb2 as proto

    store = open_store(path, write=True)
    kinds = {kind.id: kind.name for kind in store.get_execution_types()}
    left = [
        one for one in store.get_executions() if one.last_known_state in (proto.Execution.NEW, proto.Execution.RUNNING)
    ]
    for execution in left:
        execution.last_known_state = proto.Execution.CANCELED
    if left:
        store.put_executions(left)
    pending = [one for one in store.get_artifacts() if one.state == proto.Artifact.PENDING]
    for artifact in pending:
        artifact.state = proto.Artifact.ABANDONED
    if pending:
        store.put_artifacts(pending)
    return [kinds[one.type_id].rsplit(".", 1)[-1] for one in left]


def pushed_versions(store: "MetadataStore") -> dict[str, "Artifact"]:
    """{version: its PushedModel artifact} of all versions that were ever pushed; the newest record of each."""
    if PUSHED_MODEL not in {kind.name for kind in store.get_artifact_types()}:
        return {}
    found = {}
    for artifact in sorted(store.get_artifacts_by_type(PUSHED_MODEL), key=lambda artifact: artifact.id):
        if artifact.custom_properties["pushed"].int_value:
            found[artifact.custom_properties["pushed_version"].string_value] = artifact
    return found


def runs_of(store: "MetadataStore", execution: "Execution") -> set[str]:
    """Names of the runs that an execution belongs to; none for a rollback."""
    from ml_metadata.errors import NotFoundError

    try:
        contexts = store.get_contexts_by_execution(execution.id)
    except NotFoundError:
        return set()
    kinds = {kind.id: kind.name for kind in store.get_context_types()}
    return {one.name for one in contexts if kinds[one.type_id] == "pipeline_run"}


def producers(store: "MetadataStore", artifact: "Artifact") -> Iterator[tuple["Execution", dict[str, "Artifact"]]]:
    """The executions that an artifact comes from, and theirs in turn: (execution, {type of input: artifact}).

    The nearest one comes first, each once.
    """
    from ml_metadata.proto import metadata_store_pb2 as proto

    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    seen, waiting = set(), [artifact.id]
    outputs = (proto.Event.OUTPUT, proto.Event.DECLARED_OUTPUT)
    while waiting:
        events = store.get_events_by_artifact_ids([waiting.pop(0)])
        # Of several (a run that reused a result is one too) the first made it.
        made_by = sorted(event.execution_id for event in events if event.type in outputs)[:1]
        for execution_id in made_by:
            if execution_id in seen:
                continue
            seen.add(execution_id)
            [execution] = store.get_executions_by_id([execution_id])
            ids = [
                event.artifact_id
                for event in store.get_events_by_execution_ids([execution_id])
                if event.type not in outputs
            ]
            inputs = sorted(store.get_artifacts_by_id(ids), key=lambda one: one.id) if ids else []
            yield execution, {kinds[one.type_id]: one for one in inputs}
            waiting += [one.id for one in inputs]
