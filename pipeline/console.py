"""A quiet terminal: our own progress is shown, everything that the libraries print goes to the log file.

With `verbose` the terminal shows what the log file gets, as well.
"""

import contextlib
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console

from blendinator.escape import printable

WIDTH = 160  # columns, where the output is not a terminal

_COMPONENT = re.compile(r"Component (\S+) is (running|finished)\.")
_CACHED = re.compile(r"A cached execution \d+ is used\.")


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps the libraries' warnings off the terminal, where there is no log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def quiet_console(log_path: Path, verbose: bool = False) -> Iterator[Console]:
    """Sends standard output and error to a log file, whatever writes to them, and yields a console on the terminal.

    The redirection is one of file descriptors, because TensorFlow's C++ code and Beam's worker processes know nothing
    of Python's streams. Loggers below "blendinator" write to both.

    Args:
      log_path: the log file; its folder is made. Appended to if it exists.
      verbose: show what goes to the log file on the terminal, too.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(1), "w", buffering=1)
    saved = os.dup(1), os.dup(2)
    with open(log_path, "a", buffering=1, encoding="utf-8") as log_file:
        copier = _copier(terminal, log_path) if verbose else None
        target: IO[str] = copier.stdin if copier and copier.stdin else log_file
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
        console = Console(file=terminal, highlight=False, width=None if terminal.isatty() else WIDTH)
        try:
            with (
                contextlib.redirect_stdout(target),
                contextlib.redirect_stderr(target),
                _logging_to(target, console, verbose),
            ):
                yield console
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            for descriptor in saved:
                os.close(descriptor)
            if copier:
                target.close()
                with contextlib.suppress(subprocess.TimeoutExpired):  # a child that goes on holds the pipe open
                    copier.wait(5)
            terminal.close()


def _copier(terminal: IO[str], log_path: Path) -> subprocess.Popen[str]:
    """A process that copies its input to the terminal and the log file: it also reads what C++ and children write."""
    return subprocess.Popen(
        ["tee", "-a", str(log_path)],
        stdin=subprocess.PIPE,
        stdout=terminal.fileno(),
        text=True,
        bufsize=1,
        encoding="utf-8",
        start_new_session=True,
    )  # Ctrl-C is ours


@contextlib.contextmanager
def _logging_to(log_file: IO[str], console: Console, verbose: bool) -> Iterator[None]:
    """Points the root logger to the file, and ours to the console as well; undone at the end."""
    import absl.logging

    root, ours, absl_logger = logging.getLogger(), logging.getLogger("blendinator"), logging.getLogger("absl")
    before = root.handlers[:], root.level, absl.logging.get_verbosity(), ours.level
    to_file = logging.StreamHandler(log_file)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_console = _ConsoleHandler(console)
    steps = _StepHandler(console)
    root.handlers[:] = [to_file]
    root.setLevel(logging.INFO)
    absl.logging.set_verbosity(absl.logging.INFO)
    ours.setLevel(logging.INFO)
    logging.getLogger("apache_beam").setLevel(logging.WARNING)  # thousands of lines about types and stages
    if not verbose:  # else the terminal has them from the file's copy
        ours.addHandler(to_console)
    absl_logger.addHandler(steps)
    try:
        yield
    finally:
        absl_logger.removeHandler(steps)
        ours.removeHandler(to_console)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        absl.logging.set_verbosity(before[2])
        ours.setLevel(before[3])


class _ConsoleHandler(logging.Handler):
    """Shows a message with the time of day."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        self.console.print(f"  {when}  {printable(record.getMessage())}", markup=False, soft_wrap=True)


class _StepHandler(logging.Handler):
    """Shows a line when TFX's runner starts a component, and one with the time it took when it ends."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console, self.started, self.cached = console, 0.0, False

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        match = _COMPONENT.fullmatch(message)
        if match and match[2] == "running":
            self.started, self.cached = time.monotonic(), False
            self.console.print(f"[bold]{match[1]}[/bold]")
        elif match:
            took = "unchanged, reused" if self.cached else f"done in {time.monotonic() - self.started:.0f} s"
            self.console.print(f"  {took}", style="dim")
        elif _CACHED.fullmatch(message):
            self.cached = True
