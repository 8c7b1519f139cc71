"""Checks of the machine, the installed libraries and an output folder. TensorFlow is asked in a process of its own.

Each check is a function that returns one `Check` and raises nothing.
"""

import contextlib
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from blendinator import lock, stack
from blendinator.config import Config
from blendinator.config_loader import config_to_dict
from blendinator.data.spans import find_fault, list_spans
from blendinator.errors import BlendinatorError
from blendinator.files import leftover_folders
from blendinator.model.live import list_versions, read_facts
from blendinator.pipeline.history import metadata as metadata_store
from blendinator.stores import Place, place

OK, WARNING, PROBLEM = "ok", "warning", "problem"
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
_NEW, _RUNNING = 1, 2  # states of an execution in ML Metadata


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
      name: a word or two.
      state: "ok", "warning" (a run works, with less comfort) or "problem" (a run will fail).
      text: what is there.
      remedy: what to do about it; empty when all is well.
    """

    name: str
    state: str
    text: str
    remedy: str = ""


def examine(config: Config) -> list[Check]:
    """All checks, in the order in which they are shown."""
    checks: list[Callable[[], Check]] = [
        python,
        libraries,
        pins,
        processor,
        lambda: pace(config),
        gpu,
        memory,
        lambda: disk(config),
        lambda: writable("output folder", config.output_dir, "Set output_dir to a folder where you may write."),
        lambda: writable("temporary folder", tempfile.gettempdir(), "Set TMPDIR to a folder where you may write."),
        lambda: running(config.output_dir),
        lambda: spans(config.data_root),
        lambda: store(config.metadata_path),
        lambda: serving(config.serving_dir),
    ]
    return [check() for check in checks]


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
    found = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]
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


def disk(config: Config) -> Check:
    """Room for the spans, their ingested copy and a run's files."""
    from blendinator.pipeline.run import needed_space

    folder, needed = _existing(config.output_dir), needed_space(config)
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free in {folder}; a run needs {needed / 1e9:.1f} GB"
    if free < needed:
        return Check("disk", PROBLEM, text, "Free some space, or set output_dir to another disk.")
    return Check("disk", OK, text)


def writable(name: str, path: str | Path, remedy: str) -> Check:
    """Whether files can be made in a folder, or in the one in which it would be made."""
    if Path(path).exists() and not Path(path).is_dir():
        return Check(name, PROBLEM, f"{path}: this is not a folder", remedy)
    folder = _existing(path)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check(name, OK, str(path))
    except OSError as error:
        return Check(name, PROBLEM, f"{folder}: {error.strerror}", remedy)


def running(output_dir: str | Path) -> Check:
    """Whether a run holds the output folder's lock."""
    holder = lock.holder(output_dir)
    if holder:
        return Check("lock", WARNING, f"{holder} uses the output folder", "Wait until it has ended.")
    return Check("lock", OK, "no run is going on")


def spans(data_root: str | Place) -> Check:
    """Spans of scenes that are complete, and those that are not."""
    try:
        numbers = list_spans(data_root)
        folders: list[Place] = list(place(data_root).glob("span-*"))
        found = [find_fault(path) for path in sorted(folders, key=str)]
    except BlendinatorError as error:  # of an object store
        return Check("spans", PROBLEM, str(error), "Without it nothing can run.")
    faults, whole = [fault for fault in found if fault], None in found
    text = f"{len(numbers)} in {data_root}" if numbers else "none yet; the first run simulates one"
    if numbers and not whole:
        return Check("spans", PROBLEM, faults[0], "There is no other: a run needs a complete one.")
    if faults:
        return Check(
            "spans",
            WARNING,
            faults[0],
            "`--spans latest` passes it over." if whole else "The next run simulates span 1.",
        )
    return Check("spans", OK, text)


def store(path: str | Path) -> Check:
    """Whether the metadata store is sound, and executions that a killed run left open."""
    path = Path(path)
    if not path.exists():
        return Check("metadata", OK, "none yet; the first run makes it")
    remedy = metadata_store.remedy(path)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            [(found,)] = database.execute("PRAGMA quick_check(1)").fetchall()
            if found != "ok":
                return Check("metadata", PROBLEM, f"{path}: {found}", remedy)
            [(total, left)] = database.execute(
                "SELECT COUNT(*), COUNT(*) FILTER (WHERE last_known_state IN (?, ?)) FROM Execution", (_NEW, _RUNNING)
            ).fetchall()
    except sqlite3.Error as error:
        return Check("metadata", PROBLEM, f"{path}: {error}", remedy)
    text = f"{total} executions, {path.stat().st_size / 1e6:.1f} MB"
    if left and not lock.holder(path.parent):
        return Check(
            "metadata", WARNING, f"{text}; {left} left open by a run that was killed", "The next run closes them."
        )
    return Check("metadata", OK, text)


def serving(serving_dir: str | Place) -> Check:
    """Whether the live version is whole, and what a killed push left behind."""
    serving_dir = place(serving_dir)
    try:
        versions = list_versions(serving_dir)
        left = [path.name for path in leftover_folders(serving_dir)]
    except BlendinatorError as error:  # of an object store
        return Check("serving", PROBLEM, str(error), "Without it nothing can be pushed.")
    if not versions:
        return Check("serving", OK, "nothing was pushed yet")
    live = versions[-1]
    text = f"{len(versions)} version{'s' if len(versions) > 1 else ''}, live is {live.name}"
    try:
        read_facts(live)
        whole = (live / "variables" / "variables.index").is_file()
    except (OSError, ValueError, BlendinatorError):
        whole = False
    if not whole:
        return Check(
            "serving",
            PROBLEM,
            f"{live}: the live version is damaged",
            "`blendinator rollback` makes the one before it live again.",
        )
    if left:
        return Check("serving", WARNING, f"{text}; left over: {', '.join(left)}", "The next push removes it.")
    return Check("serving", OK, text)


def _existing(path: str | Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = Path(path)
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
