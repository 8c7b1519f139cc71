"""Pushed versions on disk: how they appear and disappear, so that a server never finds half of one.

TensorFlow Serving serves the folder with the highest number and skips names that are not numbers. A version is
copied beside under such a name and renamed; a version that goes is renamed first, then removed.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from blendinator.files import atomic_folder, check_local, leftover_folders
from blendinator.model.live import list_versions


def publish(
    source: Path, serving_dir: Path, again: bool = False, notes: Mapping[str, dict] = MappingProxyType({})
) -> Path:
    """Copies a SavedModel to a new version, higher than all others, that appears whole; returns its folder.

    Args:
      source: folder of the SavedModel.
      serving_dir: folder of the versions.
      again: make a new version even when the newest one holds the same files. Without it that one is returned: a run
        that was killed after its push pushes nothing twice.
      notes: JSON files to add, by name.

    Raises:
      ConfigError: `serving_dir` is in an object store.
    """
    check_local(serving_dir, "serving folder")
    serving_dir.mkdir(parents=True, exist_ok=True)
    with _alone(serving_dir):
        return _publish(source, serving_dir, again, notes)


def _publish(source: Path, serving_dir: Path, again: bool, notes: Mapping[str, dict]) -> Path:
    clean(serving_dir)
    versions = list_versions(serving_dir)
    if versions and not again and digest(versions[-1]) == digest(source):
        return versions[-1]
    # All numbers count, also of folders that hold no model: the new one must be the highest.
    taken = [int(path.name) for path in serving_dir.iterdir() if path.name.isdigit()]
    number = max([int(time.time()), *(one + 1 for one in taken)])
    target = serving_dir / str(number)
    with atomic_folder(target) as incoming:
        shutil.copytree(source, incoming, dirs_exist_ok=True)
        for name, content in notes.items():
            (incoming / name).write_text(json.dumps(content) + "\n", encoding="utf-8")
    return target


@contextlib.contextmanager
def _alone(serving_dir: Path) -> Iterator[None]:
    """Keeps a push and a rollback from choosing the same number. The file lies beside the folder of the versions."""
    with open(serving_dir.with_name(f".{serving_dir.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def clean(serving_dir: Path) -> None:
    """Removes what a push or removal that was killed left behind."""
    for path in leftover_folders(serving_dir):
        shutil.rmtree(path)


def digest(folder: Path, leave_out: str = "") -> str:
    """SHA-256 over the names and contents of a folder's files, but for one name."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != leave_out:
            content = path.read_bytes()
            found.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
