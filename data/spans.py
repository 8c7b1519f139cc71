"""Spans on disk: names, which there are, and whether one is whole.

A span is a folder `span-0001` with `{split}-00000-of-00020.tfrecord.gz` files and `manifest.json`, which is written
last: a folder without a complete manifest is not a span that later steps may read.
"""

import gzip
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from pipeline.errors import ConfigError, DataError

SPLITS = ("train", "calibration", "test")
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
BYTES_PER_PIXEL = 4  # generous, of a compressed record: for the checks of free disk space

_SPAN_FOLDER = re.compile(r"span-(\d{4,})$")


def span_dir(data_root: str | Path, span: int) -> Path:
    """The folder of a span."""
    return Path(data_root) / f"span-{span:04d}"


def shard_name(split: str, index: int, count: int) -> str:
    """File name of shard `index` of `count` of a split."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord.gz"


def list_spans(data_root: str | Path) -> tuple[int, ...]:
    """Numbers of the complete spans under a folder, rising."""
    found = [(_SPAN_FOLDER.fullmatch(path.name), path) for path in Path(data_root).glob("span-*")]
    return tuple(sorted(int(match[1]) for match, path in found if match and (path / MANIFEST).is_file()))


def resolve_spans(selection: str, data_root: str | Path) -> tuple[int, ...]:
    """Spans that a selection names, rising and without repeats.

    Args:
      selection: "latest", or numbers and ranges such as "1,3-5".
      data_root: folder of the spans.

    Raises:
      ConfigError: the selection cannot be read.
      DataError: a span is missing or incomplete.
    """
    available = list_spans(data_root)
    remedy = f"Run `blendinator simulate` first, or choose from: {', '.join(map(str, available)) or 'none'}."
    if selection.strip() == "latest":
        if not available:
            raise DataError(f"{data_root}: there is no complete span. {remedy}")
        return available[-1:]
    spans = set()
    for part in selection.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(f"spans: received {selection!r}; allowed: latest, or numbers and ranges such as 1,3-5")
        spans.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    missing = sorted(spans - set(available))
    if missing:
        raise DataError(f"{span_dir(data_root, missing[0])}: span {missing[0]} is missing or incomplete. {remedy}")
    return tuple(sorted(spans))


def read_manifest(folder: str | Path) -> dict:
    """The manifest of a span's folder.

    Raises:
      DataError: it is missing, unreadable, incomplete or of another format.
    """
    path = Path(folder) / MANIFEST
    remedy = "Call `blendinator simulate` again to complete the span."
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no manifest, so the span is missing or incomplete. {remedy}")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the manifest cannot be read ({error}). Remove the span's folder and simulate it again."
        )
    if not isinstance(manifest, dict) or not manifest.get("complete"):
        raise DataError(f"{path}: the manifest does not say that the span is complete. {remedy}")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: format_version is {manifest.get('format_version')}; allowed: {FORMAT_VERSION}. "
            "Simulate the span again with this version."
        )
    return manifest


def verify_span(folder: str | Path) -> dict:
    """Checks a span against its manifest (files, sizes, checksums, record counts) and returns the manifest.

    Raises:
      DataError: a file is missing, extra, truncated or altered; the message names it.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    remedy = f"Remove {folder} and simulate the span again."
    listed = manifest["files"]
    present = {path.name for path in folder.glob("*.tfrecord.gz")}
    for name in sorted(present - set(listed)):
        raise DataError(
            f"{folder / name}: this file is not in the manifest. Remove it, or {remedy[0].lower()}{remedy[1:]}"
        )
    for name, entry in listed.items():
        path = folder / name
        if name not in present:
            raise DataError(f"{path}: this file is missing. {remedy}")
        if sha256(path) != entry["sha256"]:
            count = sum(1 for _ in read_records(path))  # names the damaged record, where that can be said
            raise DataError(f"{path}: the checksum differs from the manifest ({count} readable records). {remedy}")
        count = sum(1 for _ in read_records(path))
        if count != entry["records"]:
            raise DataError(f"{path}: received {count} records; the manifest says {entry['records']}. {remedy}")
    return manifest


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_records(path: str | Path) -> Iterator[bytes]:
    """Yields the serialized records of a gzip-compressed TFRecord file, checking each checksum.

    Raises:
      DataError: the file is missing, truncated or corrupt; the message names the file and the record.
    """
    index = 0
    try:
        with gzip.open(path, "rb") as file:
            while header := file.read(12):
                length, crc = struct.unpack("<QI", header)
                if _masked_crc(header[:8]) != crc:
                    raise ValueError("the checksum of its length is wrong")
                data = file.read(length)
                footer = file.read(4)
                if len(data) < length or len(footer) < 4:
                    raise EOFError("the file ends within it")
                if _masked_crc(data) != struct.unpack("<I", footer)[0]:
                    raise ValueError("its checksum is wrong")
                yield data
                index += 1
    except FileNotFoundError:
        raise DataError(f"{path}: this file is missing. Simulate the span again.")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"{path}: record {index} cannot be read: the file is truncated or corrupt ({error}). "
            "Remove the span's folder and simulate it again."
        )


def frame_record(data: bytes) -> bytes:
    """A record with TFRecord's framing: length and its checksum before, the data's checksum after."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", _masked_crc(length)), data, struct.pack("<I", _masked_crc(data))))


def _masked_crc(data):
    # The rotated and shifted CRC-32C of TensorFlow's record_writer.h.
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
