"""Tables of users: read by the ending of their name, columns found by meaning, values brought to the unit wanted."""

import gzip
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blendinator.errors import DataError

if TYPE_CHECKING:
    from astropy.table import Table

FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
}


def read_table(path: str | Path, what: str = "table") -> "Table":
    """Reads a table; a name may also end in .gz, and a text may begin with a byte order mark.

    Args:
      path: of the file.
      what: the user's word for it, in messages.

    Raises:
      DataError: the ending is not known, or the file cannot be read.
    """
    from astropy.io import ascii
    from astropy.table import Table

    name = Path(path).name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        raise DataError(
            f"{path}: {what}s with the ending {suffix!r} are not known; allowed: {', '.join(FORMATS)}, also with .gz"
        )
    kind = FORMATS[suffix]
    try:
        with open(path, "rb") as file:
            content = file.read()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        # Content and not a name: astropy would expand, download or unpack what a name seems to say.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units that are not known are dealt with where a column is used
            if kind.startswith("ascii."):
                lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
                return ascii.read(lines, format=kind.removeprefix("ascii."), guess=False)
            return Table.read(io.BytesIO(content), format=kind)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the {what} cannot be read ({error.reason}): its text is not UTF-8. Save it as UTF-8.")
    except Exception as error:  # astropy raises many kinds for a damaged file
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: the {what} cannot be read ({why}). Give an existing FITS, CSV or ECSV file.")


def columns_by_meaning(
    path: str | Path, table: "Table", needed: Iterable[str], aliases: Mapping[str, str]
) -> dict[str, str]:
    """{meaning: name of the column}; names are compared in lower case, `aliases` gives other words for a meaning.

    Raises:
      DataError: two columns mean the same, and it is one of those needed.
    """
    needed = set(needed)
    found: dict[str, str] = {}
    for name in table.colnames:
        meaning = aliases.get(name.lower(), name.lower())
        if meaning in found and meaning in needed:
            raise DataError(
                f"{path}: the columns {found[meaning]!r} and {name!r} both mean {meaning}. Remove or rename one."
            )
        found[meaning] = name
    return found


def in_unit(
    path: str | Path, table: "Table", name: str, unit: str | None, pixel_scale: float | None = None
) -> np.ndarray:
    """A column as float64 in a unit; values that are masked are NaN.

    Args:
      path: for messages.
      table: an astropy Table.
      name: of the column.
      unit: that is wanted, as astropy writes it; "" for a pure number. A column without a unit is taken to have it.
        None takes the numbers as they are.
      pixel_scale: arcsec per pixel, to convert pixels to angles.

    Raises:
      DataError: the column does not hold numbers, or is in another kind of unit.
    """
    column = table[name]
    given = getattr(column, "unit", None)
    try:
        values = np.ma.filled(np.ma.asarray(getattr(column, "value", column), dtype=float), np.nan)
    except (TypeError, ValueError):
        raise DataError(f"{path}: column {name!r} does not hold numbers. Correct the file.")
    if unit is None or given is None or str(given) == "":
        return values
    return values * _factor(path, name, given, unit, pixel_scale)


def _factor(path: str | Path, name: str, given: Any, unit: str, pixel_scale: float | None) -> float:
    from astropy import units as u

    if unit == "mag":  # AB, whether the file says so or not
        if str(given).replace(" ", "") in ("mag", "mag(AB)", "ABmag"):
            return 1.0
        allowed: Sequence[str] = ("mag", "mag(AB)")
    else:
        try:
            return float(given.to(u.Unit(unit)))
        except (ValueError, TypeError):  # another kind of unit, or none that astropy knows
            allowed = (f"a unit that converts to {unit}",) if unit else ("no unit",)
        if pixel_scale and str(given) in ("pix", "pixel") and u.Unit(unit).is_equivalent(u.arcsec):
            return float((pixel_scale * u.arcsec).to(u.Unit(unit)).value)
    raise DataError(
        f"{path}: column {name!r} is in {str(given)!r}; allowed: {' or '.join(allowed)}. Convert the column, or correct"
        " its unit."
    )
