"""`logs/runs.jsonl` in the output folder: one JSON line for each run, for other programs and for the next run.

Keys may be added, none is renamed or removed within one `format_version`:
`format_version`, `command` (run or retrain), `started` and `ended` (ISO 8601, UTC), `seconds`, `pid`, `status` (pushed,
refused, nothing, failed, interrupted), `reason` (a sentence), `spans` (numbers), `request` (hash of all that the
outcome depends on), `run` (name in the metadata store), `version` (folder of the pushed version or null), `report`,
`log`.
"""

import contextlib
import json
import os
from pathlib import Path

FORMAT_VERSION = 1
PUSHED, REFUSED, NOTHING, FAILED, INTERRUPTED = "pushed", "refused", "nothing", "failed", "interrupted"
COMPLETED = (PUSHED, REFUSED)


def log_path(output_dir: str | Path) -> Path:
    """The file of an output folder."""
    return Path(output_dir) / "logs" / "runs.jsonl"


def to_json(entry: dict) -> str:
    """A run as it stands in the file, without the line's end."""
    return json.dumps({"format_version": FORMAT_VERSION, **entry})


def append(output_dir: str | Path, entry: dict) -> None:
    """Adds a run; a single write to the end of the file, so that lines of two processes cannot mix.

    A line that a power cut or a full disk has cut stays a line of its own.
    """
    path = log_path(output_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if cut else b"") + (to_json(entry) + "\n").encode())
    finally:
        os.close(descriptor)


def read(output_dir: str | Path) -> list[dict]:
    """All runs, the oldest first; a line that a power cut has damaged is skipped."""
    path = log_path(output_dir)
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict)]


def last_completed(output_dir: str | Path) -> dict | None:
    """The newest run that came to a decision about its model."""
    return next((entry for entry in reversed(read(output_dir)) if entry["status"] in COMPLETED), None)


def used_spans(output_dir: str | Path) -> set[int]:
    """Spans of all runs that came to a decision."""
    return {span for entry in read(output_dir) if entry["status"] in COMPLETED for span in entry["spans"]}
