"""One image of a FITS file, read by rows, so that memory does not grow with it."""

import gzip
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blendinator.errors import ConfigError, DataError
from blendinator.files import NO_ROOM
from blendinator.model.field.header import inherit
from blendinator.model.field.spool import no_room

if TYPE_CHECKING:
    from astropy.io import fits

COUNTS, MOST = ("NAXIS", "ZNAXIS", "TFIELDS", "WCSAXES"), 999  # of the FITS standard
LARGEST_SIDE = 1_000_000  # pixels; a damaged header of a compressed image can ask for any number
HUGE = 1e29  # no flux is larger: -1e30, -9e33 or 3e38 stand for "no data", and for infinite noise in RMS maps
# Beginnings of the names of HDUs that hold no observed image: maps, models and tables of distortion.
NOT_OBSERVED = (
    *("ERR", "RMS", "SIG", "NOISE", "STD", "UNC", "VAR", "WHT", "WEIGHT", "WGT", "IVAR", "INVVAR"),
    *("DQ", "MASK", "MSK", "FLAG", "FLG", "BPM", "BADPIX", "CON", "CTX", "EXPT", "EXPMAP", "NEXP", "COV"),
    *("SKY", "BKG", "BACK", "MODEL", "RESID", "SEG", "PSF", "D2IM", "WCSDVARR"),
)
_BRACKETS = re.compile(r"(?s)(.+)\[([^\[\]]+)\]")


def split_hdu(path: str | Path, hdu: str | int | None, option: str = "hdu") -> tuple[Path, str | int | None]:
    """A file and its HDU from `FILE[HDU]`; a file that has such a name is taken as it is.

    Raises:
      ConfigError: an HDU is given in both ways.
    """
    match = _BRACKETS.fullmatch(str(path))
    if match is None or Path(path).exists():
        return Path(path), hdu
    if hdu is not None:
        raise ConfigError(f"{path}: `{option}` {hdu} names an HDU as well. Give one of the two.")
    return Path(match[1]), match[2].strip()


class Plane:
    """A two-dimensional image in a FITS file; axes of length 1 beside its two are dropped.

    Args:
      path: a FITS file; gzipped ones are unpacked to a temporary file first.
      hdu: number, name, or `NAME,VERSION` of the HDU; by default SCI, or the first image of two dimensions that
        is not named like a map of noise or bad pixels.
      prefer: names of the HDUs that are looked for first. Without `hdu`.
      apart: a plane that this one must not be. Without `hdu`, it is not chosen; with it, it is an error.

    Attributes:
      header: the image's, with what the primary one adds; `inherited` names that. `elsewhere` is the primary header
        where INHERIT = F keeps it out, else None.
      others: without `hdu`, the images of the same shape that might have been meant as well.
      fill: values that stand for "no data" besides NaN.
      axes: the FITS numbers of the two axes that are left, (1, 2) as a rule.

    Raises:
      DataError: the file is not a FITS file, damaged, or has no such image.
    """

    def __init__(
        self,
        path: str | Path,
        hdu: str | int | None = None,
        prefer: tuple[str, ...] = (),
        apart: "Plane | None" = None,
    ) -> None:
        from astropy.io import fits

        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{path}: this file does not exist. Check the path.")
        self._unpacked: Any = None
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                source = self._source()
                _check_counts(source)
                self.file = fits.open(source, memmap=False, lazy_load_hdus=False)
        except DataError:
            raise
        except Exception as error:  # astropy raises many kinds for a damaged file
            raise DataError(f"{path}: this is not a FITS file that can be read ({_first_line(error)})")
        if any("truncated" in str(warning.message) for warning in caught):
            raise DataError(f"{path}: the file ends before its data do. Copy or make it again.")
        self.others: list[str] = []
        self.index = self._choose(hdu, prefer, apart)
        self.hdu = self.file[self.index]
        self.name = f"{path}[{self.index}]"
        self.fill: tuple[float, ...] = ()
        own, self.unreadable = _readable(self.hdu.header)
        primary = _readable(self.file[0].header)[0] if self.index else None
        try:
            sizes = [int(size) for size in self.hdu.shape]
            self.integer = own.get("BITPIX", -32) > 0 and own.get("BSCALE", 1) == 1
        except (TypeError, ValueError):
            raise DataError(
                f"{self.name}: the header gives the sizes {self.hdu.shape} and BITPIX {own.get('BITPIX')}; allowed:"
                " numbers"
            )
        kept = _kept_axes(sizes)
        self.shape = sizes[kept[0]], sizes[kept[1]]
        self.axes = len(sizes) - kept[1], len(sizes) - kept[0]
        self._cut = tuple(slice(None) if i in kept else 0 for i in range(len(sizes)))
        if max(self.shape) > LARGEST_SIDE:
            raise DataError(
                f"{self.name}: the header gives the sizes {list(self.shape)}; allowed: up to {LARGEST_SIDE}"
                " per side. The header is damaged, or the field has to be cut into parts."
            )
        first = getattr(self.file[0], "shape", ())
        self.header, self.inherited = inherit(own, primary, first in ((), None, self.hdu.shape))
        self.elsewhere = primary if own.get("INHERIT", True) is False else None

    def values(self, start: int, stop: int) -> np.ndarray:
        """Rows [stop - start, W] in the type of the file, scaled."""
        cut = list(self._cut)
        cut[cut.index(slice(None))] = slice(start, stop)
        try:
            return np.asarray(self.hdu.section[tuple(cut)]).reshape(-1, self.shape[1])
        except Exception as error:  # as above
            raise DataError(f"{self.name}: rows {start} to {stop} cannot be read ({_first_line(error)})")

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows as float32 [stop - start, W] in the file's unit; NaN where there is no data."""
        with np.errstate(over="ignore", invalid="ignore"):
            part = np.array(self.values(start, stop), np.float32)
            part[~(np.abs(part) < HUGE)] = np.nan
        for value in self.fill:
            part[part == np.float32(value)] = np.nan
        return part

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
        if self._unpacked is not None:
            self._unpacked.close()

    def _first_observed(self, flat: list[tuple[int, Any]]) -> int:
        """The first HDU called SCI, else the first that is not named like a map; the others like it are noted."""
        observed = [(i, hdu) for i, hdu in flat if not hdu.name.upper().startswith(NOT_OBSERVED)] or flat
        named = [(i, hdu) for i, hdu in observed if hdu.name.upper() == "SCI"] or observed
        self.others = [f"{hdu.name or i}{_version(hdu)}" for i, hdu in named[1:] if hdu.shape == named[0][1].shape]
        return named[0][0]

    def same_hdu(self, other: "Plane") -> bool:
        """Whether both are the same HDU of the same file."""
        return self.index == other.index and self.path.samefile(other.path)

    def _source(self) -> str | Path:
        with open(self.path, "rb") as file:
            if file.read(2) != b"\x1f\x8b":
                return self.path
        # Rows of a gzipped file can only be reached from its start.
        self._unpacked = tempfile.NamedTemporaryFile(suffix=".fits")  # noqa: SIM115 stays while the image is open
        try:
            with gzip.open(self.path) as packed:
                shutil.copyfileobj(packed, self._unpacked, 1 << 22)
            self._unpacked.flush()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise no_room(self.path)
        return self._unpacked.name

    def _choose(self, wanted: str | int | None, prefer: tuple[str, ...], apart: "Plane | None") -> int:
        images = [(i, hdu) for i, hdu in enumerate(self.file) if _is_image(hdu)]
        listing = "; ".join(
            f"{i} {hdu.name or '-'}{_version(hdu)}: {'x'.join(map(str, hdu.shape)) or 'empty'}" for i, hdu in images
        )
        taken = apart.index if apart is not None and apart.path.samefile(self.path) else None
        if wanted is None:
            flat = [(i, hdu) for i, hdu in images if _is_flat(hdu)]
            named = [(i, hdu) for i, hdu in flat if hdu.name.upper() in prefer and i != taken]
            if apart is not None and len(named) > 1:  # the one of the same chip
                named.sort(key=lambda one: one[1].ver != apart.hdu.ver)
            if named:
                return named[0][0]
            if taken is not None:
                raise DataError(
                    f"{self.path}: this is the image's own file, and no HDU of it is called {', '.join(prefer)}; it"
                    f" holds {listing}. Name the HDU as FILE[HDU]."
                )
            if flat:
                return flat[0][0] if prefer else self._first_observed(flat)
            if not any(len(hdu.shape) for _, hdu in images):
                raise DataError(f"{self.path}: the file holds no image")
            raise DataError(
                f"{self.path}: no image has two dimensions; it holds {listing}. Write the wanted plane"
                " of a cube to a file of its own."
            )
        name, _, version = str(wanted).rpartition(",")
        try:
            if str(wanted).strip().isdigit():
                chosen = int(wanted)
            elif name and version.strip().isdigit():
                chosen = self.file.index_of((name.strip(), int(version)))
            else:
                chosen = self.file.index_of(str(wanted).strip())
            hdu = self.file[chosen]
        except (IndexError, KeyError):
            raise DataError(f"{self.path}: there is no HDU {wanted}; it holds {listing}")
        if not _is_image(hdu) or not _is_flat(hdu):
            shape = list(hdu.shape) if _is_image(hdu) else "a table"
            raise DataError(
                f"{self.path}: HDU {wanted} is not an image of two dimensions (received {shape}); it holds {listing}"
            )
        if chosen == taken:
            raise DataError(f"{self.path}: HDU {wanted} is the image itself; it holds {listing}. Name another.")
        return chosen


def _kept_axes(sizes: Sequence[int]) -> tuple[int, int]:
    """Positions of the two axes that are left when those of length 1 are dropped."""
    if len(sizes) == 2:
        return 0, 1
    long = [i for i, size in enumerate(sizes) if size != 1]
    return (long[0], long[1]) if len(long) == 2 else (len(sizes) - 2, len(sizes) - 1)


def _version(hdu: Any) -> str:
    """`,2` of the second HDU of its name; nothing of the first."""
    return f",{hdu.ver}" if hdu.ver not in (1, None) else ""


def _is_flat(hdu: Any) -> bool:
    """Whether an image has two dimensions, or more of which all but two are of length 1."""
    sizes = hdu.shape
    return len(sizes) == 2 or (len(sizes) > 2 and sum(size != 1 for size in sizes) == 2)


def _readable(header: "fits.Header") -> tuple["fits.Header", list[str]]:
    """A copy without the cards whose values cannot be read, such as NaN, and the keywords of those."""
    from astropy.io import fits

    cards, left_out = [], []
    for card in header.cards:
        try:
            str(card.value)
        except fits.VerifyError:
            left_out.append(card.keyword)
        else:
            cards.append(card)
    return fits.Header(cards), left_out


def _is_image(hdu: Any) -> bool:
    """Whether an HDU holds an image: a damaged one has no shape, or a type that cannot be read."""
    from astropy.io import fits

    try:
        return getattr(hdu, "is_image", False) and hasattr(hdu, "shape")
    except fits.VerifyError:
        return False


def _check_counts(path: str | Path) -> None:
    """Raises ValueError when a header names more axes or columns than FITS has, to which libraries would count, or
    data of negative size, after which the same header would come again and again."""
    from astropy.io import fits

    with open(path, "rb") as file:
        while True:
            try:
                header = fits.Header.fromfile(file)
                counts = {name: header[name] for name in COUNTS if name in header}
            except Exception:  # the end of the file, or damage of which astropy tells more
                return
            wrong = [
                f"{name} is {value}"
                for name, value in counts.items()
                if isinstance(value, (int, float)) and value > MOST
            ]
            if wrong:
                raise ValueError(f"{wrong[0]}; allowed: at most {MOST}")
            try:
                size = header.data_size_padded
            except Exception:  # as above
                return
            if size < 0:
                raise ValueError(f"the size of the data is negative: {size} bytes")
            file.seek(size, 1)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
