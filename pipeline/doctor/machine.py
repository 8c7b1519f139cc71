"""Checks of the machine and the installed libraries. TensorFlow runs in a process of its own."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from blendinator import stack
from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.pipeline.doctor.check import OK, PROBLEM, WARNING, Check

MEMORY = 4e9  # bytes: a default run takes 2.5 GB at most
PINS = ("apache-beam", "dill", "protobuf", "kfp", "keras", "pip")  # those that break the pipeline most often
PROJECT = "blendinator"
NEEDED, OPTIONAL = ("", "pipeline"), "kubeflow"  # extras of the package
SET_UP = "Run `make setup` to install what the lock file says."
# Reads a configuration as JSON and prints how long a warm and a cold training would take.
_PACE = """
import json, sys
from blendinator.config_loader import config_from_dict
from blendinator.model import pace
config = config_from_dict(json.load(sys.stdin))
print("; ".join(pace.outlook(config, warm) for warm in (True, False)))
"""


def python(
    version: tuple[int, ...] = sys.version_info[:3], system: str = platform.system(), machine: str = platform.machine()
) -> Check:
    """Python's version and the platform, for which the stack has libraries."""
    text = f"{'.'.join(map(str, version))} on {system} {machine}"
    if (system, machine) != ("Linux", "x86_64"):
        return Check("python", PROBLEM, text, "TFX's libraries exist for Linux on x86-64 only.")
    if not (3, 10) <= version < (3, 14):
        return Check("python", PROBLEM, text, f"Python 3.10 to 3.13 is needed. {SET_UP}")
    return Check("python", OK, text)


def libraries() -> Check:
    """Which of the two stacks is installed."""
    try:
        return Check("stack", OK, stack.describe())
    except metadata.PackageNotFoundError as error:
        return Check("stack", PROBLEM, f"{error.name} is not installed", SET_UP)


def pins(requirements: Iterable[str] | None = None, installed: Callable[[str], str] = metadata.version) -> Check:
    """Whether what is installed is within the ranges that the project asks for.

    Args:
      requirements: as in the package's metadata; by default the project's own. Those of the extra `kubeflow` count when
        they are installed.
      installed: gives a package's version, or raises PackageNotFoundError.
    """
    try:
        requirements = metadata.requires(PROJECT) or [] if requirements is None else requirements
    except metadata.PackageNotFoundError:
        return Check("pins", PROBLEM, f"{PROJECT} itself is not installed", SET_UP)
    wrong, shown = [], []
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        plain = not marker or any(marker.evaluate({"extra": extra}) for extra in NEEDED)
        if marker and not plain and not marker.evaluate({"extra": OPTIONAL}):
            continue
        try:
            version = installed(requirement.name)
        except metadata.PackageNotFoundError:
            if plain:
                wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} (allowed: {requirement.specifier})")
        elif requirement.name in PINS:
            shown.append(f"{requirement.name} {version}")
    if wrong:
        return Check("pins", PROBLEM, ", ".join(wrong), SET_UP)
    return Check("pins", OK, ", ".join(dict.fromkeys(shown)))


def processor(cpuinfo: Path = stack.CPUINFO) -> Check:
    """Cores, and whether they compute in bfloat16."""
    cores = len(os.sched_getaffinity(0))
    text = f"{cores} core{'s' if cores > 1 else ''}, "
    flags = stack.processor_flags(cpuinfo)
    if flags and "avx" not in flags:
        return Check("processor", PROBLEM, text + "no AVX", "TensorFlow's wheels need it: use a newer processor.")
    if "avx2" not in flags:
        return Check("processor", WARNING, text + "no AVX2", "All will be slow; use a newer processor.")
    found = [flag for flag in stack.BFLOAT16_FLAGS if flag in flags]
    return Check(
        "processor",
        OK,
        text
        + (f"bfloat16 by {found[0]}" if found else "no bfloat16: training is in float32 and takes about twice as long")
        + f"; oneDNN {'on' if os.environ.get('TF_ENABLE_ONEDNN_OPTS') == '1' else 'switched off'}",
    )


def pace(config: Config, program: str = _PACE) -> Check:
    """How long a training would take here, after a second of convolutions: in a process of its own, since TensorFlow
    takes seconds to load, and does not survive a processor that it was not built for."""
    given = json.dumps(config_to_dict(config))
    try:
        done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("pace", WARNING, f"TensorFlow does not answer ({type(error).__name__})", SET_UP)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Check("pace", WARNING, f"TensorFlow does not compute here ({why[:200]})", SET_UP)
    return Check("pace", OK, done.stdout.strip())


def gpu(folder: Path = Path("/proc/driver/nvidia/gpus")) -> Check:
    """NVIDIA's GPUs that the kernel's driver knows; whether TensorFlow can use them is for TensorFlow to say."""
    found = len(list(folder.iterdir())) if folder.is_dir() else 0
    return Check("gpu", OK, f"{found} seen by the driver" if found else "none; the processor does the work")


def memory(meminfo: Path = Path("/proc/meminfo")) -> Check:
    """Memory that is free for a run."""
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    if not found:
        return Check("memory", WARNING, "unknown", f"A default run needs {MEMORY / 1e9:.0f} GB.")
    text = f"{found[0] / 1e9:.1f} GB free"
    if found[0] < MEMORY:
        return Check(
            "memory",
            WARNING,
            text,
            f"A default run needs {MEMORY / 1e9:.0f} GB: close other programs, or lower training.batch_size.",
        )
    return Check("memory", OK, text)
