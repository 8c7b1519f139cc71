"""SIGTERM as an orderly end: a service that is stopped leaves the state that Ctrl-C leaves."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_SIGNAL = 128  # a shell's exit code of a process that a signal ended is this plus the signal's number


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; raised in the main thread, past every `except Exception`."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raises `Terminated` on the first SIGTERM; a second one ends the process at once.

    A second one must: an exception that is raised in a callback of a C library is lost. Outside of the main thread
    Python allows no handler, and nothing is changed.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(error: KeyboardInterrupt) -> int:
    """143 after SIGTERM, 130 after Ctrl-C, as for a process that the signal ended."""
    return EXIT_SIGNAL + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
