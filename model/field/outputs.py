"""Where results go: names checked before the work, temporary ones during it, and the final ones when all is whole."""

import contextlib
import gzip
import importlib.util
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blendinator.errors import ConfigError, DataError
from blendinator.files import atomic_write, temporary_name, write_errors

MAPS = (".fits", ".fit", ".fits.gz", ".fit.gz")
CATALOGUES = {".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits", ".vot": "votable", ".parquet": "parquet"}
PREVIEWS = (".png", ".jpg", ".jpeg", ".pdf")
REGIONS, CUTOUTS = (".reg",), (".png",)
LEFTOVER = 3600  # seconds: a file of a process that lives was written to within less
PART = ".part"  # ends the name of a file that is being written
_TEMPORARY = re.compile(r"(?s)\..+\.[0-9a-f]{12}\.(part|tmp)")  # the names of `Together.part`, and those of `compress`
GZIP_LEVEL = 1  # floating-point noise gains little from more, and takes several times as long


@dataclass(frozen=True)
class Outputs:
    """Where the results go. The ending of a name says its format.

    Attributes:
      maps: FITS, gzipped if the name says so. catalogue: see `CATALOGUES`. preview: see `PREVIEWS`. regions: for DS9.
        cutouts: a page of the most uncertain blends. None for those not wanted; at least one is.
      samples: whether the sample maps go into the FITS file.
      overwrite: whether existing files may be replaced.
    """

    maps: Path | None = None
    catalogue: Path | None = None
    preview: Path | None = None
    samples: bool = False
    overwrite: bool = False
    regions: Path | None = None
    cutouts: Path | None = None

    @property
    def needs_catalogue(self) -> bool:
        """Whether anything is made from the catalogue."""
        return any(one is not None for one in (self.catalogue, self.regions, self.cutouts))

    def places(self) -> list[Path]:
        """The files that are wanted."""
        return [Path(path) for _, path, _ in self._wanted() if path is not None]

    def _wanted(self) -> tuple[tuple[str, Path | None, tuple[str, ...]], ...]:
        return (
            ("maps", self.maps, MAPS),
            ("catalogue", self.catalogue, tuple(CATALOGUES)),
            ("preview", self.preview, PREVIEWS),
            ("regions", self.regions, REGIONS),
            ("cutouts", self.cutouts, CUTOUTS),
        )

    def check(self, inputs: Iterable[str | Path | None] = ()) -> None:
        """Raises unless every place can be written, has an ending that is known, and is none of the inputs.

        Raises:
          ConfigError, DataError: with the name and the remedy.
        """
        places = [(option, Path(path), endings) for option, path, endings in self._wanted() if path is not None]
        taken = {target(Path(path)) for path in inputs if path is not None}
        for _, path, _ in places:
            where = target(path)
            if where in taken:
                raise ConfigError(f"{path}: this is an input, or another output, as well. Give each a file of its own.")
            taken.add(where)
        for option, path, endings in places:
            check_place(path, self.overwrite)
            if not path.name.lower().endswith(endings) or path.name.lower() in endings:
                raise ConfigError(
                    f"`{option}`: received {path}, whose ending names no format that is written; allowed: "
                    f"{', '.join(endings)}"
                )
        parquet = self.catalogue is not None and ending(self.catalogue) == ".parquet"
        if parquet and importlib.util.find_spec("pyarrow") is None:
            raise ConfigError(
                f"`catalogue`: received {self.catalogue}; Parquet needs pyarrow, which is not installed. Install it"
                " (pip install pyarrow), or write an .ecsv, .fits or .vot file."
            )


def ending(path: Path) -> str:
    """The ending that names the format of a catalogue or preview, in lower case."""
    return path.suffix.lower()


def target(path: Path) -> Path:
    """The file behind a name: symbolic links are followed, so that they stay and their targets are written."""
    return Path(os.path.realpath(path))


def check_place(path: Path, overwrite: bool) -> None:
    """Raises unless a regular file may be written at `path`."""
    where = target(path)
    if not where.parent.is_dir():
        raise DataError(f"{path}: the folder {where.parent} does not exist. Make it first.")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:  # a link to itself, a name that is too long
        raise DataError(f"{path}: this name cannot be used ({error.strerror}). Give another one.")
    if not stat.S_ISREG(mode):
        kinds = (
            (stat.S_ISDIR, "a folder"),
            (stat.S_ISFIFO, "a pipe"),
            (stat.S_ISCHR, "a device"),
            (stat.S_ISBLK, "a device"),
        )
        kind = next((text for test, text in kinds if test(mode)), "no regular file")
        raise ConfigError(
            f"{path}: this is {kind}; allowed: a new name or, with `overwrite`, a regular file. Give another name."
        )
    if not overwrite:
        raise ConfigError(f"{path}: this exists already. Give another name, or `overwrite`.")


def remove_leftovers(folder: Path) -> list[str]:
    """Removes the temporary files of processes that were killed: those not written to for `LEFTOVER` seconds.

    Returns:
      Their names.
    """
    found = []
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime > LEFTOVER:
            path.unlink(missing_ok=True)
            found.append(path.name)
    return sorted(found)


class Together:
    """Files that get their names together, when all of them are whole; after an error none of them is left.

    Use as a context; a link's target is written, and the link stays.
    """

    def __init__(self) -> None:
        self._parts: dict[Path, Path] = {}

    def part(self, path: Path) -> Path:
        """A temporary name for the content of `path`, in the folder that it will be in."""
        where = target(path)
        self._parts[path] = temporary_name(where, ".", PART)
        return self._parts[path]

    def __enter__(self) -> "Together":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                for path, part in self._parts.items():
                    with write_errors(path):
                        os.replace(part, target(path))
        finally:
            for part in self._parts.values():
                with contextlib.suppress(OSError):
                    part.unlink()


def compress(part: Path) -> None:
    """Gzips a file in its place; the same content gives the same bytes."""
    with (
        atomic_write(part) as packed,
        open(part, "rb") as source,
        open(packed, "wb") as raw,
        gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as file,
    ):
        shutil.copyfileobj(source, file, 1 << 22)
