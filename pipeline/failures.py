"""What stopped a run, as an error that a user can fix."""

import errno
import os
import re

from blendinator import beam_errors, files
from blendinator.errors import BlendinatorError, DataError

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EROFS)


def explain(error: BaseException | None) -> BlendinatorError | KeyboardInterrupt | None:
    """The error as one that a user can fix, or None when it is a defect of ours.

    Looks through the errors that this one was raised from: libraries wrap what an executor or a Beam step raises.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, KeyboardInterrupt):
            return type(error)("Interrupted. Run again to go on with what was not finished.")
        if (ours := beam_errors.unwrap(error)) is not None:
            return ours
        full = isinstance(error, OSError) and error.errno in files.NO_ROOM
        if full or re.search(r"No space left on device|disk is full", str(error)):
            where = getattr(error, "filename", None) or "output_dir"
            return files.write_error(where, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
            return files.write_error(error.filename, error)
        if re.search(r"Read-only file system|attempt to write a readonly database", str(error)):
            return DataError(
                f"{str(error)[:200]}: output_dir cannot be written. Check its permissions and how the "
                "disk is mounted, or set output_dir to another folder."
            )
        # TensorFlow's errors by their names: they are told apart without importing it.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            text = str(error).splitlines()[0][:200] if str(error) else "no text"
            return DataError(
                f"There is not enough memory ({text})."
                " Reduce training.batch_size, evaluation.batch_size or the number of scenes, or end other "
                "programs, then run again."
            )
        if type(error).__name__ == "DataLossError":
            return DataError(
                f"A file of an earlier step is damaged ({str(error).splitlines()[0][:200]}). Run again "
                "with `blendinator run --no-cache`, which makes all of them again, and have the disk "
                "checked."
            )
        error = error.__cause__ or error.__context__
    return None
