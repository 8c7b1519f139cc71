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
