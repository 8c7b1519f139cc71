"""Spans on disk: names, which there are, and whether one is whole.

A span is a folder `span-0001` with `{split}-00000-of-00020.tfrecord.gz` files and `manifest.json`, which is written
last: a folder without a complete manifest is not a span that later steps may read.
"""

import json
import logging
import re
import reprlib
from pathlib import Path
from typing import Any

from blendinator.data.tfrecords import read_records
from blendinator.errors import ConfigError, DataError
from blendinator.files import local_copy, remove_tree, sha256
from blendinator.stores import Place, place

log = logging.getLogger("blendinator.spans")

REMEDY = "Remove the span's folder and simulate it again."  # for a file of a span that is damaged
SPLITS = ("train", "calibration", "test")
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
# For the checks of free disk space.
BYTES_PER_PIXEL = 4  # and band: generous, of a compressed record
MAPPED_BYTES_PER_PIXEL = 9  # and band: image, noise_free and mask, as a training maps them into memory

_SPAN_FOLDER = re.compile(r"span-(\d{4,})$")
_FILE = re.compile(r"[^./\\\0][^/\\\0]*\.tfrecord\.gz")


def span_dir(data_root: str | Place, span: int) -> Place:
    """The folder of a span."""
    return place(data_root, "data_root") / f"span-{span:04d}"


def shard_name(split: str, index: int, count: int) -> str:
    """File name of shard `index` of `count` of a split."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord.gz"


def list_spans(data_root: str | Place) -> tuple[int, ...]:
    """Numbers of the complete spans under a folder, rising."""
    return tuple(span for span, path in _folders(data_root) if (path / MANIFEST).is_file())


def resolve_spans(selection: str, data_root: str | Place) -> tuple[int, ...]:
    """Spans that a selection names, rising and without repeats.

    Incomplete spans above the newest complete one are passed over by "latest", with a message. Checksums are verified
    where a span is read (`verify_span`).

    Args:
      selection: "latest"; "latest:3", the three newest ones or as many as there are; or numbers and ranges: "1,3-5".
      data_root: folder of the spans.

    Raises:
      ConfigError: the selection cannot be read.
      DataError: a span is missing or incomplete.
    """
    wanted = parse_selection(selection)
    if isinstance(wanted, int):
        whole = _whole(data_root)
        if not whole:
            raise DataError(f"{data_root}: there is no complete span. {_remedy(data_root, data_root)}")
        for span, path in _folders(data_root):
            if span > whole[-wanted:][0] and span not in whole:
                log.warning("span %d is skipped: %s", span, find_fault(path))
        return whole[-wanted:]
    for span in wanted:
        folder = span_dir(data_root, span)
        fault = find_fault(folder)
        if fault:
            why = f" ({fault})" if folder.exists() else ""
            raise DataError(f"{folder}: span {span} is missing or incomplete{why}. {_remedy(data_root, folder)}")
    return wanted


def parse_selection(selection: str) -> int | tuple[int, ...]:
    """A selection of spans: how many of the newest ones, or the numbers that it names, rising.

    Raises:
      ConfigError: it cannot be read.
    """
    latest = re.fullmatch(r"\s*latest(?::([1-9]\d{0,5}))?\s*", selection)
    if latest:
        return int(latest[1] or 1)
    numbers = set()
    for part in selection.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)  # of at most six digits: it counts through them
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(
                f"spans: received {reprlib.repr(selection)}; allowed: latest, latest:3, or numbers and ranges such as "
                "1,3-5"
            )
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(numbers))


def find_fault(folder: str | Place) -> str | None:
    """Why a span is not complete, or None: its manifest and the presence of its files, not their content."""
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        return str(error)
    folder = place(folder)
    present = _record_files(folder)
    missing = [name for name in manifest["files"] if name not in present]
    return f"{folder / missing[0]}: this file is missing" if missing else None


def remove_span(folder: Place) -> None:
    """Removes a span, its manifest first, so that a reader finds the whole span or none."""
    (folder / MANIFEST).unlink(missing_ok=True)
    remove_tree(folder)


def _whole(data_root: str | Place) -> tuple[int, ...]:
    return tuple(span for span, path in _folders(data_root) if find_fault(path) is None)


def _folders(data_root: str | Place) -> list[tuple[int, Place]]:
    found = [(_SPAN_FOLDER.fullmatch(path.name), path) for path in place(data_root, "data_root").glob("span-*")]
    return sorted((int(match[1]), path) for match, path in found if match)


def _record_files(folder: Place) -> set[str]:
    return {path.name for path in folder.glob("*.tfrecord.gz")}


def _remedy(data_root: str | Place, folder: str | Place) -> str:
    return f"Run {_command(folder)} first, or choose from: {', '.join(map(str, _whole(data_root))) or 'none'}."


def _command(folder: str | Place) -> str:
    """What completes the span of a folder if it was simulated here; of another folder, what makes a new one."""
    number = _SPAN_FOLDER.fullmatch(place(folder).name)
    return f"`blendinator simulate{f' --span {int(number[1])}' if number else ''}`"


def read_manifest(folder: str | Place) -> dict:
    """The manifest of a span's folder.

    Raises:
      DataError: it is missing, unreadable, incomplete or of another format.
    """
    path = place(folder) / MANIFEST
    remedy = f"Call {_command(folder)} to complete it."
    again = f"Correct it, or call {_command(folder)}, which completes a span that was simulated here."
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no manifest, so the span is missing or incomplete. {remedy}")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: the manifest cannot be read ({error}). {again}")
    if not isinstance(manifest, dict) or not manifest.get("complete"):
        raise DataError(f"{path}: the manifest does not say that the span is complete. {remedy}")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: format_version is {manifest.get('format_version')}; allowed: {FORMAT_VERSION}. "
            "Simulate the span again with this version."
        )
    _check_files(path, manifest.get("files"))
    splits = manifest.get("splits")
    if not isinstance(splits, dict) or not all(
        isinstance(entry, dict) and type(entry.get("records")) is int for entry in splits.values()
    ):
        raise DataError(
            f"{path}: splits: received {str(splits)[:200]}; allowed: a mapping of splits, each with `records`. {again}"
        )
    _check_facts(path, manifest)
    return manifest


def _check_files(path: Place, files: Any) -> None:
    """A manifest may come from elsewhere: what it names must be files of its own folder, of splits that there are."""
    what = "a mapping of file names"
    if isinstance(files, dict):
        wrong = next(
            (
                name
                for name, entry in files.items()
                if not _FILE.fullmatch(name)
                or not isinstance(entry, dict)
                or entry.get("split") not in SPLITS
                or not isinstance(entry.get("sha256"), str)
                or type(entry.get("records")) is not int
            ),
            None,
        )
        if wrong is None:
            return
        files = {wrong: files[wrong]}
        what = (
            "plain names ending in .tfrecord.gz, each with `sha256`, `records` and the `split` "
            + ", ".join(SPLITS[:-1])
            + f" or {SPLITS[-1]}"
        )
    raise DataError(
        f"{path}: files: received {str(files)[:200]}; allowed: {what}. Correct the manifest, or remove the "
        "span's folder and simulate it again."
    )


def _check_facts(path: Place, manifest: dict) -> None:
    """What else a manifest may hold: reports show it, and a user's own images may come without."""
    is_mapping = lambda value: isinstance(value, dict)
    is_number = lambda value: type(value) in (int, float)
    is_shares = lambda value: isinstance(value, list) and len(value) == 3 and all(map(is_number, value))
    numbers = ("seed", "sky_sigma", "psf_fwhm", "pixel_scale", "zero_point", "exposure_time")
    for names, allowed, holds in (
        (("simulation", "versions"), "a mapping", is_mapping),
        (
            ("class_shares",),
            "a mapping to three shares",
            lambda value: is_mapping(value) and all(map(is_shares, value.values())),
        ),
        (numbers, "a number", is_number),
    ):
        for name in names:
            if name in manifest and not holds(manifest[name]):
                raise DataError(
                    f"{path}: {name}: received {str(manifest[name])[:200]}; allowed: {allowed}. Correct "
                    f"the manifest, or leave {name} out."
                )


def verify_span(folder: str | Place) -> dict:
    """Checks a span against its manifest (files, sizes, checksums, record counts) and returns the manifest.

    Raises:
      DataError: a file is missing, extra, truncated or altered; the message names it.
    """
    manifest = check_listing(folder)
    for name, entry in manifest["files"].items():
        path = place(folder) / name
        with local_copy(path) as copy:
            verify_file(copy, entry, path)
    return manifest


def check_listing(folder: str | Place) -> dict:
    """The manifest of a span whose folder holds the files that it lists and no others; their content is not read.

    Raises:
      DataError: a file is missing or extra.
    """
    folder = place(folder)
    manifest = read_manifest(folder)
    listed = manifest["files"]
    present = _record_files(folder)
    for name in sorted(present - set(listed)):
        raise DataError(
            f"{folder / name}: this file is not in the manifest. Remove it, or remove {folder} and simulate the span"
            " again."
        )
    for name in listed:
        if name not in present:
            raise DataError(f"{folder / name}: this file is missing. Call {_command(folder)} to make it again.")
    return manifest


def verify_file(path: Path, entry: dict, name: Place) -> None:
    """Checks one file of a span against its `entry` in the manifest: checksum, framing and number of records.

    Args:
      path: the file, or a copy of it.
      entry: of the manifest.
      name: where it lies in the span, for messages.

    Raises:
      DataError: it is truncated or altered.
    """
    remedy = f"Remove {name.parent} and simulate the span again."
    if sha256(path) != entry["sha256"]:
        count = sum(1 for _ in read_records(path, REMEDY, name))  # names the damaged record, where that can be said
        raise DataError(f"{name}: the checksum differs from the manifest ({count} readable records). {remedy}")
    count = sum(1 for _ in read_records(path, REMEDY, name))
    if count != entry["records"]:
        raise DataError(f"{name}: received {count} records; the manifest says {entry['records']}. {remedy}")
