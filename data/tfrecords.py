"""TFRecord files, read without TensorFlow: framing, checksums, and compression by content."""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import google_crc32c

from blendinator.errors import DataError
from blendinator.files import read_error
from blendinator.stores import ObjectPath, Place, place

__all__ = ["compression", "frame_record", "read_records"]

HEADER = 12  # bytes: a record's length, and the checksum of that
REMEDY = "Give a whole file of TFRecords: make or copy it again."


def read_records(path: str | Place, remedy: str = REMEDY, name: str | Place | None = None) -> Iterator[bytes]:
    """Yields the serialized records of a TFRecord file, checking each checksum.

    Args:
      path: plain, gzip or zlib, whatever the name says; also an address gs://.
      remedy: what to do about a missing or damaged file, for messages.
      name: what messages call the file; its path by default.

    Raises:
      DataError: the file is missing, cannot be read, holds no TFRecords, or is truncated or corrupt.
      ConfigError: an address of another kind.
    """
    index = 0
    name = name or path
    try:
        with _open(path) as raw, _decompressed(raw, name, remedy) as file:
            while header := file.read(HEADER):
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
        raise DataError(f"{name}: this file is missing. {remedy}")
    except (PermissionError, IsADirectoryError) as error:
        raise read_error(name, error)
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, struct.error, zlib.error) as error:
        raise DataError(f"{name}: record {index} cannot be read: the file is truncated or corrupt ({error}). {remedy}")


def compression(head: bytes) -> str | None:
    """ "gzip", "zlib" or "" for a TFRecord file that begins with these 12 bytes; None where it is not such a file."""
    if not head or _is_record_header(head):
        return ""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    return "zlib" if head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0 else None


def frame_record(data: bytes) -> bytes:
    """A record with TFRecord's framing: length and its checksum before, the data's checksum after."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", _masked_crc(length)), data, struct.pack("<I", _masked_crc(data))))


def _open(path: str | Place) -> IO[bytes]:
    found = place(path, "TFRecords")
    return found.open() if isinstance(found, ObjectPath) else open(found, "rb")


def _decompressed(raw: IO[bytes], path: str | Place, remedy: str) -> IO[bytes] | gzip.GzipFile:
    kind = compression(raw.read(HEADER))
    raw.seek(0)
    if kind is None:
        raise DataError(f"{path}: record 0 cannot be read: this file holds no TFRecords, compressed or not. {remedy}")
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    return io.BytesIO(zlib.decompress(raw.read())) if kind == "zlib" else raw  # zlib is rare: whole in memory


def _is_record_header(head: bytes) -> bool:
    return len(head) == HEADER and _masked_crc(head[:8]) == struct.unpack("<I", head[8:])[0]


def _masked_crc(data: bytes) -> int:
    # The rotated and shifted CRC-32C of TensorFlow's record_writer.h.
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
