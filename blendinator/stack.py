"""Which of the two sets of libraries is installed, and all that differs between them. Imports none of them.

*current* is TFX 1.21 with Keras 3.15, NumPy 2 and protobuf 6; *compatible* is TFX 1.16 for Python 3.10 and a glibc
older than 2.39. Only this module asks which one is there; docs/stacks.md compares them.
"""

import contextlib
import functools
import os
import sys
from importlib import metadata

CURRENT, COMPATIBLE = "current", "compatible"
SHOWN = ("tfx", "tensorflow", "keras", "apache-beam", "numpy", "protobuf")
# What else the result of a step may depend on.
BEHIND_RESULTS = (
    "tensorflow-transform",
    "tensorflow-probability",
    "tensorflow-data-validation",
    "tfx-bsl",
    "scipy",
    "sep",
    "surveycodex",
)


def _version(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version(package).split(".")[:2])


def stack_name() -> str:
    """`current` or `compatible`, by the installed TensorFlow."""
    return CURRENT if _version("tensorflow") >= (2, 21) else COMPATIBLE


def use_in_memory_runner() -> None:
    """Makes Beam's DirectRunner the in-memory runner of Python on both stacks; to be called before a Beam pipeline.

    Of Beam 2.68 and newer, DirectRunner means Prism: a program that is downloaded from GitHub when the first pipeline
    runs, with the in-memory runner in its place only where that fails. It offers no setting to leave Prism out.
    """
    if stack_name() == CURRENT:
        from apache_beam.runners import runner

        runner._RUNNER_MAP["directrunner"] = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow without its C++ messages on standard error; errors of a later call are still shown.

    TensorFlow 2.16 leaves them out when TF_CPP_MIN_LOG_LEVEL says so. 2.21 writes them before it has read any setting,
    the last of them when the first tensor is made: standard error is closed for that long.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if stack_name() == CURRENT:
        sys.stderr.flush()
        saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            import tensorflow as tf

            tf.constant(0.0) + 0.0
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(nowhere)


@functools.cache  # each step's hash asks, and looking takes 10 ms
def versions() -> dict[str, str]:
    """Versions of the installed packages on which the result of a step may depend."""
    found = {}
    for package in (*SHOWN, *BEHIND_RESULTS):
        with contextlib.suppress(metadata.PackageNotFoundError):  # the classical baseline may be missing
            found[package] = metadata.version(package)
    return found


def describe() -> str:
    """The stack in one line: `compatible (tfx 1.16.0, tensorflow 2.16.2, ...)`."""
    return f"{stack_name()} ({', '.join(f'{package} {metadata.version(package)}' for package in SHOWN)})"
