"""Errors that a user can fix, on their way through Beam.

A runner wraps what a step raises: in this process as the same class with a longer text, from another one as a
RuntimeError that quotes the traceback. A step whose output is read yields `carry(error)` in place of raising, and who
reads the output calls `raise_carried`. For other steps there is `unwrap`.
"""

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator

from blendinator.errors import BlendinatorError, ConfigError, DataError, MachineError, ModelError, ServiceError

_KINDS = {kind.__name__: kind for kind in (BlendinatorError, ConfigError, DataError, ModelError, ServiceError)}
_QUOTED = re.compile(rf"blendinator\.errors\.({'|'.join(_KINDS)}): (.*?)(?: \[while running|\n|\\n|$)")

_CONNECTIONS = ("beam_control_read", "read_grpc_client_inputs", "run_worker")  # Beam's threads that fail with a worker


class _WorkerDied(BaseException):  # no Exception: Beam must not take it for a failure of its own
    pass


def carry(error: BlendinatorError) -> tuple[str, str]:
    """The error as an element that any coder takes: the name of its class, and its message."""
    return type(error).__name__, str(error)


def raise_carried(errors: Iterable[tuple[str, str]]) -> None:
    """Raises the first of the errors that `carry` was given; does nothing where there is none."""
    for name, message in errors:
        raise _KINDS.get(name, BlendinatorError)(message)


def unwrap(error: BaseException) -> BlendinatorError | None:
    """The error that a step raised, from what a runner made of it; None if it was not one that a user can fix."""
    if isinstance(error, BlendinatorError):
        return type(error)(re.sub(r" \[while running [^\]]*\]$", "", str(error).strip()))
    found = _QUOTED.search(str(error))
    return _KINDS[found[1]](found[2]) if found else None


@contextlib.contextmanager
def end_with_a_dead_worker() -> Iterator[None]:
    """Ends the job of the block when one of its worker processes on this machine dies; Beam itself would wait forever.

    The main thread is interrupted by a signal of its own: a process that a script started in the background ignores
    that of Ctrl-C. In another thread nothing is changed.

    Raises:
      MachineError: a worker process was killed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found: list[str] = []
    before = threading.excepthook

    def hook(args: "threading.ExceptHookArgs") -> None:
        name, text = args.thread.name if args.thread else "", str(args.exc_value)
        if text.startswith("Worker subprocess exited") and not found:  # what Beam's local runner raises there
            found.append(text)
            os.kill(os.getpid(), signal.SIGUSR1)
        elif not name.startswith(_CONNECTIONS):
            before(args)

    def interrupt(number: int, frame: object) -> None:
        raise _WorkerDied

    threading.excepthook = hook
    handler = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield
    except _WorkerDied:
        raise MachineError(
            f"a worker process was killed, perhaps because the memory was used up ({found[0]}). What is done is kept:"
            " call again, with fewer workers if need be."
        ) from None
    finally:
        signal.signal(signal.SIGUSR1, handler)
        threading.excepthook = before
