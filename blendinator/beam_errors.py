"""Errors that a user can fix, on their way through Beam.

A runner wraps what a step raises: in this process as the same class with a longer text, from another one as a
RuntimeError that quotes the traceback. A step whose output is read yields `carry(error)` in place of raising, and who
reads the output calls `raise_carried`. For other steps there is `unwrap`.
"""

import re
from collections.abc import Iterable

from blendinator.errors import BlendinatorError, ConfigError, DataError, ModelError, ServiceError

_KINDS = {kind.__name__: kind for kind in (BlendinatorError, ConfigError, DataError, ModelError, ServiceError)}
_QUOTED = re.compile(rf"blendinator\.errors\.({'|'.join(_KINDS)}): (.*?)(?: \[while running|\n|\\n|$)")


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
