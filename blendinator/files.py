"""Files: links in place of copies, and folders that appear whole or not at all."""

import errno
import os
import shutil
from pathlib import Path

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, which takes no space; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """The files of a folder at another place, see `link_or_copy`."""
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


def size(folder: Path) -> int:
    """Bytes that the files below a folder take; a file with several links there counts once."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[status.st_ino] = status.st_size
    return sum(found.values())
