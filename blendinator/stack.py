"""Which of the two sets of libraries is installed, and all that differs between them. Imports none of them.

*current* is TFX 1.21 with Keras 3.15, NumPy 2 and protobuf 6; *compatible* is TFX 1.16 for Python 3.10 and a glibc
older than 2.39. Only this module asks which one is there; docs/stacks.md compares them.
"""

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from blendinator.errors import MachineError

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
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")  # instruction sets for convolutions in bfloat16


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


@contextlib.contextmanager
def quiet_beam() -> Iterator[None]:
    """Keeps Beam's log of stages and workers, and the import warnings of its worker processes, off the terminal."""
    logger = logging.getLogger("apache_beam")
    level, before = logger.level, os.environ.get("PYTHONWARNINGS")
    logger.setLevel(logging.ERROR)
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def processor_flags(cpuinfo: Path | None = None) -> frozenset[str]:
    """Names of the processor's instruction sets, such as avx2; empty where the kernel does not tell them."""
    try:
        lines = (cpuinfo or CPUINFO).read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def check_processor() -> None:
    """To be called before TensorFlow is imported, which ends the process on a processor that it was not built for.

    Raises:
      MachineError: the processor has no AVX, which TensorFlow's wheels for x86-64 are compiled with.
    """
    flags = processor_flags()
    if flags and "avx" not in flags:
        raise MachineError(
            "This machine's processor has no AVX instructions, and TensorFlow's wheels need them. Use a newer "
            "processor; on a virtual machine, have it show the host's (QEMU: -cpu host)."
        )


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow without a message on standard error; errors of a later call are still shown.

    TensorFlow 2.16 leaves its C++ messages out when TF_CPP_MIN_LOG_LEVEL says so. 2.21 writes them before it has read
    any setting, the last of them when the first tensor is made: standard error is closed for that long. The warnings
    are of what TensorFlow imports: Google's libraries say that they will drop Python 3.10.

    Raises:
      MachineError: see `check_processor`.
    """
    check_processor()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings(), _without_standard_error() if stack_name() == CURRENT else contextlib.nullcontext():
        warnings.simplefilter("ignore")
        import tensorflow as tf

        tf.constant(0.0) + 0.0


@contextlib.contextmanager
def _without_standard_error() -> Iterator[None]:
    """Closes the file descriptor, which C++ writes to, too."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
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
