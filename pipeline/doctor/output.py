"""Checks of an output folder: whether a run fits in, and what earlier runs left there."""

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

from blendinator import lock
from blendinator.config import Config
from blendinator.data.spans import find_fault, list_spans
from blendinator.errors import BlendinatorError
from blendinator.files import leftover_folders
from blendinator.model.live import list_versions, read_facts
from blendinator.pipeline.doctor.check import OK, PROBLEM, WARNING, Check
from blendinator.pipeline.history import metadata
from blendinator.pipeline.space import needed_space
from blendinator.stores import Place, place

_NEW, _RUNNING = 1, 2  # states of an execution in ML Metadata


def disk(config: Config) -> Check:
    """Room for the spans, their ingested copy and a run's files."""
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
    return Check("lock", OK, "no run is in progress")


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
            "`--spans latest` skips it." if whole else "The next run simulates span 1.",
        )
    return Check("spans", OK, text)


def store(path: str | Path) -> Check:
    """Whether the metadata store is sound, and executions that a killed run left open."""
    path = Path(path)
    if not path.exists():
        return Check("metadata", OK, "none yet; the first run makes it")
    remedy = metadata.remedy(path)
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
