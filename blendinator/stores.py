"""Files in an object store, with the part of pathlib's interface that spans and pushed versions need.

    place("gs://bucket/data") / "span-0001" / "manifest.json"   # an ObjectPath
    place("output/data") / "span-0001" / "manifest.json"        # a Path

Google's own client does the work; it is imported at the first request, and talks to an emulator where
STORAGE_EMULATOR_HOST names one. An object appears whole or not at all, and nothing can be renamed: what must not be
seen half-written ends with one small object that readers look for (`manifest.json`, `saved_model.pb`).
"""

import fnmatch
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from blendinator import gcs
from blendinator.errors import ConfigError, DataError

__all__ = ["ObjectPath", "Place", "place"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
_GS = re.compile(r"gs:/{1,2}([^/]+)(?:/(.*))?", re.DOTALL)  # with one slash where pathlib has read it
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")


class Status(NamedTuple):
    """Of an object: its size in bytes, when it was written (seconds since 1970), and the number of its generation."""

    st_size: int
    st_mtime: float
    generation: int


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or what its name shares with others as if it were a folder. Folders need not be made.

    Every method that asks the store raises ServiceError where it does not answer, refuses, or has no such bucket, and
    ConfigError where the client is not installed; where an object is missing, FileNotFoundError as pathlib does.

    Attributes:
      bucket: its name.
      key: the object's name, without slashes at its ends; empty for the bucket itself.
    """

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, name: str | PurePosixPath) -> "ObjectPath":
        return ObjectPath(self.bucket, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> "ObjectPath":
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    @property
    def parents(self) -> tuple["ObjectPath", ...]:
        return (self.parent, *self.parent.parents) if self.key else ()

    def with_name(self, name: str) -> "ObjectPath":
        return self.parent / name

    def resolve(self) -> "ObjectPath":
        return self

    def relative_to(self, other: "ObjectPath") -> PurePosixPath:
        return PurePosixPath(self.key).relative_to(other.key)

    def mkdir(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: a store has no folders."""

    def is_file(self) -> bool:
        try:
            self.stat()
            return True
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        return any(True for _ in self._list(f"{self.key}/", max_results=1))

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def stat(self) -> Status:
        blob = self._blob()
        with gcs.errors(self):
            blob.reload(**gcs.patience())
        return Status(blob.size, blob.updated.timestamp(), blob.generation)

    def iterdir(self) -> Iterator["ObjectPath"]:
        return self.glob("*")

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Objects and folders directly below whose name matches a pattern without slashes."""
        above = f"{self.key}/" if self.key else ""
        # The pattern's beginning, which the store can look for by itself.
        found = self._list(above + re.split(r"[*?\[]", pattern)[0], delimiter="/")
        names = [blob.name for blob in found]
        for key in sorted({*names, *(prefix.rstrip("/") for prefix in found.prefixes)}):
            name = key[len(above) :]
            if name and fnmatch.fnmatchcase(name, pattern):
                yield self / name

    def rglob(self, pattern: str) -> Iterator["ObjectPath"]:
        """All objects below whose own name matches a pattern."""
        for blob in self._list(f"{self.key}/" if self.key else ""):
            path = ObjectPath(self.bucket, blob.name)
            if not blob.name.endswith("/") and fnmatch.fnmatchcase(path.name, pattern):
                yield path

    def tree_size(self) -> int:
        """Bytes of all objects below."""
        return sum(blob.size for blob in self._list(f"{self.key}/"))

    def read_bytes(self) -> bytes:
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def open(self) -> IO[bytes]:
        """The content as a file without a name on this machine's disk, at its beginning."""
        blob = self._blob()
        file = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            with gcs.errors(self):
                blob.download_to_file(file, **gcs.patience())
            file.seek(0)
            return file
        except BaseException:
            file.close()
            raise

    def download(self, target: Path) -> None:
        """Copies the object to a file of this machine, whose folder is made if need be."""
        blob = self._blob()
        target.parent.mkdir(parents=True, exist_ok=True)
        with gcs.errors(self):
            blob.download_to_filename(str(target), **gcs.patience())

    def download_tree(self, target: Path) -> None:
        """Copies all objects below to a folder of this machine."""
        for path in self.rglob("*"):
            inner = path.relative_to(self)
            if ".." in inner.parts:  # a name that would leave the folder
                raise DataError(f"{path}: this object's name holds '..'. Remove it from the store.")
            path.download(target / inner)

    def write_bytes(self, data: bytes, new: bool = False) -> int:
        """Writes the object; returns its generation. FileExistsError where it must be `new` and is not."""
        blob = self._blob()
        with gcs.errors(self, writing=True):
            blob.upload_from_string(data, checksum="crc32c", **_only_if(new), **gcs.patience())
        return blob.generation

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        self.write_bytes(text.encode(encoding))

    def upload(self, source: Path) -> None:
        """Writes the object from a file of this machine."""
        blob = self._blob()
        with gcs.errors(self, writing=True):
            blob.upload_from_filename(str(source), checksum="crc32c", **gcs.patience())

    def unlink(self, missing_ok: bool = False, generation: int | None = None) -> None:
        """Removes the object, where `generation` is given only that one of it."""
        blob = self._blob()
        try:
            with gcs.errors(self):
                blob.delete(if_generation_match=generation, **gcs.patience())
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Removes all objects below."""
        for path in list(self.rglob("*")):
            path.unlink(missing_ok=True)

    def _blob(self) -> Any:
        return gcs.client(self).bucket(self.bucket).blob(self.key)

    def _list(self, prefix: str, **options: Any) -> "_Listing":
        """The objects whose names begin with `prefix`, all asked for at once, so that errors are raised here."""
        client = gcs.client(self)
        with gcs.errors(self, writing=True):
            found = client.list_blobs(self.bucket, prefix=prefix, **options, **gcs.patience())
            return _Listing(list(found), found.prefixes)


Place = Path | ObjectPath


def place(path: str | Place, name: str = "path") -> Place:
    """A folder or file of this machine, or in an object store.

    Args:
      path: a path, or an address gs://bucket/folder.
      name: what the message calls it.

    Raises:
      ConfigError: an address of another kind, or without a bucket.
    """
    if isinstance(path, ObjectPath) or not _ADDRESS.match(str(path)):
        return path if isinstance(path, ObjectPath) else Path(path)
    match = _GS.fullmatch(str(path))
    if not match or not _BUCKET.fullmatch(match[1]):
        raise ConfigError(
            f"{name}: received {path}; allowed: a path, or an address gs://bucket/path. See docs/serving.md"
        )
    return ObjectPath(match[1], "/".join(part for part in (match[2] or "").split("/") if part))


class _Listing(list):
    def __init__(self, blobs: list, prefixes: set[str]):
        super().__init__(blobs)
        self.prefixes = prefixes


def _only_if(new: bool) -> dict[str, int]:
    return {"if_generation_match": 0} if new else {}
