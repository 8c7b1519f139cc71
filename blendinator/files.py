"""Files: written whole or not at all, checksums, links in place of copies, and one message for what goes wrong."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blendinator.errors import ConfigError, DataError
from blendinator.stores import ObjectPath, Place

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
INCOMING, REMOVED = ".incoming-", ".removed-"
_BLOCK = 1 << 20  # bytes


def write_error(path: str | Place | None, error: OSError) -> DataError:
    """The message for a file that cannot be written."""
    if error.errno in NO_ROOM:
        remedy = "The disk is full: free some space or choose another folder, then run again."
    else:
        remedy = "Check the folder's permissions, or choose another folder."
    return DataError(f"{path}: this cannot be written ({error.strerror or error}). {remedy}")


def read_error(path: str | Place, error: OSError) -> DataError:
    """The message for a file that cannot be read."""
    return DataError(
        f"{path}: this file cannot be read ({error.strerror or error}). Check its name, its permissions and the disk."
    )


@contextlib.contextmanager
def write_errors(path: str | Place) -> Iterator[None]:
    """Raises an OSError of the block as `write_error` of the path."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error)


def temporary_name(path: Path, start: str = "", ending: str = ".tmp") -> Path:
    """A name beside `path` that nobody else takes."""
    # Of a long name only a part: file systems allow 255 bytes.
    return path.with_name(f"{start}{path.name[:40]}.{uuid.uuid4().hex[:12]}{ending}")


@contextlib.contextmanager
def atomic_write(path: str | Place) -> Iterator[Path]:
    """A temporary name in the folder of `path` for its content, which gets the name `path` when the block ends.

    When the block raises, the temporary file is removed, and a file that `path` names stays as it is. For an object the
    temporary file is on this machine, and is uploaded when the block ends.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="blendinator-") as folder:
            temporary = Path(folder) / "content"
            yield temporary
            path.upload(temporary)
        return
    temporary = temporary_name(Path(path))
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for the content of `folder`, which gets that name when the block ends and all is on the disk.

    When the block raises, it is removed. What a killed process leaves lies beside `folder` and starts with `INCOMING`.
    """
    incoming = temporary_name(folder, INCOMING, "")
    incoming.mkdir()
    try:
        yield incoming
        sync_tree(incoming)  # a power cut must not leave a folder of empty files
        os.rename(incoming, folder)
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise


def remove_folder(folder: Path) -> None:
    """Removes a folder: its name disappears at once, then its files; what a killed process leaves starts with
    `REMOVED`."""
    removed = folder.with_name(REMOVED + folder.name)
    os.rename(folder, removed)
    shutil.rmtree(removed)


def leftover_folders(parent: Place) -> list[Place]:
    """What `atomic_folder` and `remove_folder` left in a folder when their processes were killed; in an object store,
    what says so of versions (`blendinator.model.versions`)."""
    found: list[Place] = []
    for start in (INCOMING, REMOVED):
        found += parent.glob(start + "*")
    return sorted(found, key=str)


def write_json(path: str | Place, content: Any) -> None:
    """Writes a JSON file that is either whole or not there."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content.

    Raises:
      DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise read_error(path, error)
    return digest.hexdigest()


@contextlib.contextmanager
def local_copy(path: Place) -> Iterator[Path]:
    """The file itself; of an object, a copy on this machine's disk that is removed when the block ends."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="blendinator-") as folder:
        copy = Path(folder) / path.name
        path.download(copy)
        yield copy


def check_local(path: str | Path, name: str) -> None:
    """Raises ConfigError when a path is an address such as gs://bucket/data, of which pathlib would make a folder gs:.

    Args:
      path: to be checked; as text, or as pathlib writes an address ("gs:/bucket/data").
      name: what the message calls it.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        raise ConfigError(
            f"{name}: received {path}; allowed: a folder of this machine or of a mounted disk, which the metadata store"
            " and the artifacts need. Spans and pushed versions can lie in an object store: set storage.data_root and"
            " storage.serving_dir. docs/serving.md has an example"
        )


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, which takes no space; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def link_tree(source: Place, target: Path) -> None:
    """The files of a folder at another place, see `link_or_copy`; those of an object store are downloaded."""
    if isinstance(source, ObjectPath):
        source.download_tree(target)
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            link_or_copy(path, target / path.relative_to(source))


def sync_tree(folder: Path) -> None:
    """Makes sure that a folder's files are on the disk."""
    for path in sorted([folder, *folder.rglob("*")]):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_tree(folder: Place) -> None:
    """Removes a folder and all files below."""
    if isinstance(folder, ObjectPath):
        folder.remove_tree()
    else:
        shutil.rmtree(folder)


def size(folder: Place) -> int:
    """Bytes that the files below a folder take; a file with several links there counts once."""
    if isinstance(folder, ObjectPath):
        return folder.tree_size()
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[status.st_ino] = status.st_size
    return sum(found.values())
