"""What a folder of results says of itself: the run that wrote it, and a record beside the results of each image.

A record is written before the work, with the state "running", and again after it. So a run that was killed finds its
own files, and replaces them; files without a record are another's.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from blendinator.errors import ConfigError, DataError
from blendinator.files import sha256, temporary_name, write_json
from blendinator.model.field.outputs import PART

FORMAT = 1
RUN_FILE = "run.json"
RUNNING, DONE, FAILED = "running", "done", "failed"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
      DataError: it cannot be read, or is a pipe or folder.
    """
    if not path.is_file():
        raise DataError(f"{path}: this file does not exist. Check the path.")
    return sha256(path)


def folder_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of a folder's files."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)} {file_digest(path)}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def text_digest(value: dict) -> str:
    """SHA-256 of a dictionary as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def record_file(folder: Path, name: str) -> Path:
    """Where the record of an image is."""
    return folder / f"{name}.record.json"


def read(path: Path) -> dict | None:
    """A record, or None where there is none or one of another format."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def write(path: Path, content: dict) -> None:
    """Writes a record under another name and renames it: it is there whole or not at all."""
    write_json(path, content)


def running(name: str, run_digest: str) -> dict:
    """The record of an image that is being segmented; `run_digest` is `text_digest` of the run's identity."""
    return {"format": FORMAT, "name": name, "run": run_digest, "state": RUNNING}


def failed(name: str, run_digest: str, error: Exception) -> dict:
    """The record of an image that could not be segmented."""
    return {**running(name, run_digest), "state": FAILED, "error": str(error)}


def claim(folder: Path, run: dict, replace: bool) -> None:
    """Marks a folder as one of this run, or finds that it is: the shards of a run share it.

    Args:
      folder: exists.
      run: what the results depend on apart from the images: {"model": {...}, "options": {...}, "blendinator": version}.
      replace: whether another run's results may be replaced.

    Raises:
      ConfigError: it holds another run's results; the message names what differs.
    """
    path, content = folder / RUN_FILE, {"format": FORMAT, **run}
    part = temporary_name(path, ".", PART)
    try:
        part.write_text(_text(content), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(part, path)  # only one of the shards that start together succeeds
    finally:
        part.unlink()
    found = read(path)
    if found == content:
        return
    if not replace:
        raise ConfigError(
            f"{folder}: this folder holds the results of another run ({_difference(found, content)}). Give a folder of"
            " its own to each run, or allow to overwrite."
        )
    write(path, content)


def _difference(there: dict | None, here: dict) -> str:
    if there is None:
        return f"its {RUN_FILE} is of another release"
    pairs = {
        key: (_flat(there).get(key), _flat(here).get(key))
        for key in sorted({*_flat(there), *_flat(here)})
        if _flat(there).get(key) != _flat(here).get(key)
    }
    return "; ".join(f"{key}: {old} there, {new} here" for key, (old, new) in pairs.items())


def _flat(content: dict) -> dict:
    out = {}
    for key, value in content.items():
        out.update({f"{key} {name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value})
    return out


def _text(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
