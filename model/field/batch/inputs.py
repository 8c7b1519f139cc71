"""Which images a run has: files, patterns, lists of paths; the name of each one's results; the shard of a job."""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from blendinator.errors import ConfigError, DataError
from blendinator.model.field.plane import split_hdu
from blendinator.model.field.spool import STDIN

ENDINGS = (".fits.gz", ".fits.fz", ".fit.gz", ".fit.fz", ".fits", ".fit", ".fts", ".fz", ".gz")
LIST = "@"  # in front of a text file of paths
_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")
T = TypeVar("T")


@dataclass(frozen=True)
class Image:
    """One image of a run.

    Attributes:
      name: what its results are named after: the file's name without its ending, with the HDU if one is given.
      path: as the user gave it, perhaps with an HDU in brackets.
    """

    name: str
    path: str

    @property
    def file(self) -> Path:
        """The file, without the HDU."""
        return split_hdu(self.path, None)[0]


def expand(given: Sequence[str | Path]) -> list[Image]:
    """The images of a run, sorted by name.

    A name that exists is taken literally, with or without an HDU behind it. Else `*`, `?` and `[` make it a pattern,
    and `@list.txt` names a text file with one of these per line; lines that are empty or start with # are skipped.
    Relative paths in a list start from the current folder. An image that is given twice counts once.

    Raises:
      ConfigError: two images would have results of the same name, or one of them is standard input.
      DataError: a pattern matches nothing, or a list cannot be read or is empty.
    """
    found: dict[str, Image] = {}
    for path in _paths(given, lists=True):
        image = Image(result_name(path), path)
        other = found.setdefault(image.name, image)
        if _place(other) != _place(image):
            raise ConfigError(
                f"{image.path}: its results would have the name {image.name}, as those of {other.path} have. Segment"
                " the two in different output folders, or rename one."
            )
    return [found[name] for name in sorted(found)]


def result_name(path: str) -> str:
    """`tile-7` for `survey/tile-7.fits.gz`, `tile-7-SCI-1` for its HDU `[SCI,1]`."""
    file, hdu = split_hdu(path, None)
    ending = next((one for one in ENDINGS if file.name.lower().endswith(one) and file.name.lower() != one), "")
    stem = file.name[: len(file.name) - len(ending)]
    return stem if hdu is None else f"{stem}-{re.sub(r'[^0-9A-Za-z_.]+', '-', str(hdu))}"


def shard(items: Sequence[T], text: str | None) -> list[T]:
    """The I-th of N parts of the items, for "I/N" counted from 1; all of them for None.

    Raises:
      ConfigError: the text is not of this form, or I is not one of 1 to N.
    """
    if text is None:
        return list(items)
    match = _SHARD.fullmatch(text.strip())
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ConfigError(
            f"shard: received {text!r}; allowed: I/N with I from 1 to N, for example 3/8. A job array that counts"
            " from 0 must add 1."
        )
    return list(items[number - 1 :: count])


def _paths(given: Iterable[str | Path], lists: bool) -> Iterator[str]:
    for one in map(str, given):
        if one == STDIN:
            raise ConfigError("-: standard input cannot be one of many images. Give files, patterns or a list.")
        if split_hdu(one, None)[0].exists():
            yield one
        elif lists and one.startswith(LIST):
            yield from _paths(_lines(Path(one[1:])), lists=False)
        elif glob.has_magic(one):
            matches = _matches(one)
            if not matches:
                raise DataError(f"{one}: no file matches this pattern. Check the folder, or quote a literal name.")
            yield from matches
        else:
            yield one  # it is missing: a failure of this image alone


def _matches(pattern: str) -> list[str]:
    """Files that match; where none does, a last bracket is an HDU of those that match what stands before it."""
    found = sorted(glob.glob(pattern, recursive=True))
    files, hdu = split_hdu(pattern, None)
    return found or [f"{one}[{hdu}]" for one in sorted(glob.glob(str(files), recursive=True)) if hdu is not None]


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    except OSError as error:
        raise DataError(f"{path}: this list of images cannot be read ({error.strerror}). Give a text file of paths.")
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise DataError(f"{path}: this list of images is empty. Write one path per line.")
    return found


def _place(image: Image) -> tuple[Path, str | int | None]:
    """What tells two images apart: links to one file are one."""
    file, hdu = split_hdu(image.path, None)
    return file.resolve(), hdu
