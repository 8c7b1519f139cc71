"""Pushed versions: how they appear and disappear, so that a server never finds half of one.

TensorFlow Serving serves the folder with the highest number and skips names that are not numbers. On a disk a version
is copied beside under such a name and renamed; a version that goes is renamed first, then removed. An object store
cannot rename: there `saved_model.pb`, without which nobody takes a folder for a version, is written last and removed
first, and a small object beside says meanwhile which version is incomplete, so that the next push can tidy up.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType

from blendinator.files import INCOMING, REMOVED, atomic_folder, leftover_folders, remove_folder, remove_tree
from blendinator.lock import hold
from blendinator.model.live import list_versions
from blendinator.stores import ObjectPath, Place

MODEL = "saved_model.pb"


def publish(
    source: Place, serving_dir: Place, again: bool = False, notes: Mapping[str, dict] = MappingProxyType({})
) -> Place:
    """Copies a SavedModel to a new version, higher than all others, that appears whole; returns its folder.

    Args:
      source: folder of the SavedModel.
      serving_dir: folder of the versions.
      again: make a new version even when the newest one holds the same files. Without it that one is returned: a run
        that was killed after its push pushes nothing twice.
      notes: JSON files to add, by name.

    Raises:
      BusyError: `serving_dir` is in an object store, and another process pushes there.
      ServiceError: the store refuses; what was uploaded is removed again, at the latest by the next push.
    """
    serving_dir.mkdir(parents=True, exist_ok=True)
    with _alone(serving_dir):
        clean(serving_dir)
        versions = list_versions(serving_dir)
        if versions and not again and digest(versions[-1]) == digest(source):
            return versions[-1]
        # All numbers count, also of folders that hold no model: the new one must be the highest.
        taken = [int(path.name) for path in serving_dir.iterdir() if path.name.isdigit()]
        target = serving_dir / str(max([int(time.time()), *(one + 1 for one in taken)]))
        content = {name: (json.dumps(note) + "\n").encode() for name, note in notes.items()}
        if isinstance(target, ObjectPath):
            _upload(source, target, content)
        else:
            with atomic_folder(target) as incoming:
                shutil.copytree(str(source), incoming, dirs_exist_ok=True)
                for name, data in content.items():
                    (incoming / name).write_bytes(data)
        return target


def _upload(source: Place, target: ObjectPath, notes: Mapping[str, bytes]) -> None:
    incoming = target.with_name(INCOMING + target.name)
    incoming.write_bytes(b"")
    try:
        for name, content in notes.items():
            (target / name).write_bytes(content)
        for inner, path in sorted(_files(source), key=lambda file: file[0] == PurePath(MODEL)):
            (target / str(inner)).write_bytes(path.read_bytes())
    except BaseException:
        with contextlib.suppress(Exception):
            remove_tree(target)
            incoming.unlink()
        raise
    incoming.unlink()


@contextlib.contextmanager
def _alone(serving_dir: Place) -> Iterator[None]:
    """Keeps a push and a rollback from choosing the same number. The lock lies beside the folder of the versions."""
    path = serving_dir.with_name(f".{serving_dir.name}.lock")
    if isinstance(path, ObjectPath):
        with hold(path, "push", "pushes there. Wait until it has ended."):
            yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(version: Place) -> None:
    """Removes a version: it disappears at once for all who look for it, then its files."""
    if isinstance(version, ObjectPath):
        note = version.with_name(REMOVED + version.name)
        note.write_bytes(b"")
        (version / MODEL).unlink()
        version.remove_tree()
        note.unlink()
    else:
        remove_folder(version)


def clean(serving_dir: Place) -> None:
    """Removes what a push or removal that was killed left behind."""
    for path in leftover_folders(serving_dir):
        if isinstance(path, ObjectPath):
            version = path.with_name(path.name.removeprefix(INCOMING).removeprefix(REMOVED))
            if version.name.isdigit() and not (version / MODEL).is_file():  # else only the last step was missing
                version.remove_tree()
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)


def digest(folder: Place, leave_out: str = "") -> str:
    """SHA-256 over the names and contents of a folder's files, but for one name."""
    found = hashlib.sha256()
    for name, path in _files(folder):
        if path.name != leave_out:
            content = path.read_bytes()
            found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def _files(folder: Place) -> list[tuple[PurePath, Place]]:
    """(name within the folder, path) of all files below, in the same order wherever they lie."""
    found: list[tuple[PurePath, Place]]
    if isinstance(folder, ObjectPath):
        found = [(path.relative_to(folder), path) for path in folder.rglob("*")]
    else:
        found = [(path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file()]
    return sorted(found, key=lambda file: file[0].parts)
