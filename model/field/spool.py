"""Input that can be read only once, from a pipe or standard input, as a file."""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from blendinator.errors import BlendinatorError, DataError
from blendinator.files import NO_ROOM, read_error

STDIN = "-"


def no_room(name: str | Path) -> DataError:
    """The error for an input whose copy does not fit into the folder for temporary files."""
    return DataError(
        f"{name}: its unpacked copy has no room in {tempfile.gettempdir()}. Free some space there, or name another"
        " folder in the environment variable TMPDIR."
    )


class Spool:
    """Copies of pipes and of standard input. Use as a context: they end with it.

    Errors that name a copy name the input instead.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory | None = None
        self._names: dict[str, str] = {}  # copy -> what the user gave

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()
        if isinstance(error, BlendinatorError) and self._names:
            raise type(error)(self.named(str(error))) from None

    def readable(self, path: str | Path | None) -> Path | None:
        """The path of a file with the content of `path`: itself, unless it is a pipe or "-", standard input.

        Raises:
          DataError: the copy has no room, or standard input is requested twice.
        """
        if path is None or not (str(path) == STDIN or _is_pipe(path)):
            return None if path is None else Path(path)
        shown = "standard input" if str(path) == STDIN else str(path)
        if shown in self._names.values():
            raise DataError(f"{shown}: this can be read only once, and two inputs name it. Copy it to a file first.")
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="blendinator-")
        name = "stdin" if str(path) == STDIN else Path(path).name
        copy = Path(self._folder.name) / f"{len(self._names)}-{name}"
        try:
            with contextlib.ExitStack() as stack:
                source = sys.stdin.buffer if str(path) == STDIN else stack.enter_context(open(path, "rb"))
                shutil.copyfileobj(source, stack.enter_context(open(copy, "wb")), 1 << 22)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(shown)
            raise read_error(shown, error)
        self._names[str(copy)] = shown
        return copy

    def named(self, text: str) -> str:
        """A text with the names of copies replaced by those of the inputs."""
        for copy, shown in self._names.items():
            text = text.replace(copy, shown)
        return text


def _is_pipe(path: str | Path) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
