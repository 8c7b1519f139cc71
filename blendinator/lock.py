"""One run at a time for an output folder, one simulation at a time for a span.

The lock is the kernel's record lock on a file: it ends with the process that holds it, however that process ends, so
that no stale lock can stand in the way. Processes forked by the holder do not inherit it. The file says who holds it.

In an object store the lock is an object that is made only where there is none. It outlives a holder that is killed: the
message then says which object to remove.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from blendinator.errors import BlendinatorError, DataError
from blendinator.stores import ObjectPath, Place

log = logging.getLogger("blendinator.lock")
LOCK_FILE = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_FLOCK = "hhqqi4x"  # C's struct flock on 64-bit Linux: type, whence, start, length, process


class BusyError(BlendinatorError):
    """Another run uses the output folder."""


def exclusive(output_dir: str | Path, what: str) -> contextlib.AbstractContextManager[None]:
    """Holds the lock of an output folder.

    Args:
      output_dir: the folder; it is made if need be.
      what: what the holder does, for the message to others.

    Raises:
      BusyError: another process holds it; the message says which.
      DataError: the file system has no locks.
    """
    return hold(
        Path(output_dir) / LOCK_FILE,
        what,
        "uses this output folder. Wait until it has ended, or set output_dir to another folder.",
    )


@contextlib.contextmanager
def hold(path: Place, what: str, busy: str) -> Iterator[None]:
    """Holds the lock on a file, which stays; `busy` ends the BusyError's message where another process holds it."""
    if isinstance(path, ObjectPath):
        with _hold_object(path, what, busy):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not through a file object of which a second one might be opened: closing any of them would end the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise BusyError(f"{path}: {_holder(descriptor)} {busy}")
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise DataError(
                f"{path}: the file system has no locks ({error.strerror}), so that two runs could meet. Set output_dir"
                " to a folder on another one, or mount this one with locks."
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "what": what, "since": _now()}).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(output_dir: str | Path) -> str | None:
    """Who holds the lock of an output folder, in words, or None.

    It only looks, and does not block others; but not for the holder itself, whose lock would end with it.
    """
    path = Path(output_dir) / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_ = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
        return None if kind == fcntl.F_UNLCK else _holder(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _hold_object(path: ObjectPath, what: str, busy: str) -> Iterator[None]:
    token = uuid.uuid4().hex
    content = {"pid": os.getpid(), "host": socket.gethostname(), "what": what, "since": _now(), "token": token}
    try:
        generation = path.write_bytes(json.dumps(content).encode(), new=True)
    except FileExistsError:
        try:
            held, generation = path.read_bytes(), path.stat().generation
        except FileNotFoundError:  # the holder has just ended
            raise BusyError(f"{path}: another process {busy}")
        if token.encode() not in held:  # else it is ours: the answer to the first request was lost, and it was repeated
            raise BusyError(
                f"{path}: {_described(held)} {busy} If that process was killed, remove its lock:"
                f" gcloud storage rm {path}"
            )
    try:
        yield
    finally:
        try:
            path.unlink(missing_ok=True, generation=generation)
        except (BlendinatorError, OSError) as error:  # the work is done all the same
            log.warning("the lock %s could not be removed: %s", path, error)


def _holder(descriptor: int) -> str:
    return _described(os.pread(descriptor, 1000, 0))


def _described(content: bytes) -> str:
    try:
        found = json.loads(content)
        host = f" on {found['host']}" if "host" in found else ""
        return f"process {found['pid']}{host} (blendinator {found['what']}, since {found['since']})"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not written yet
        return "another process"


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
