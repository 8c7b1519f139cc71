"""The catalogue of a field in the formats of `outputs.CATALOGUES`, each with units, descriptions and provenance."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendinator.model.field.columns import ucd
from blendinator.model.field.outputs import CATALOGUES

if TYPE_CHECKING:
    from astropy.table import Table


def write_table(table: "Table", path: Path, ending: str) -> None:
    """Writes a catalogue.

    Args:
      table: of `columns.to_table`.
      path: a temporary name. ending: of the final one, which names the format.
    """
    kind = CATALOGUES[ending]
    if kind == "fits":
        _write_fits(table, path)
    elif kind == "votable":
        _write_votable(table, path)
    else:
        table.write(path, format=kind, overwrite=True)


def _write_fits(table: "Table", path: Path) -> None:
    """A header holds no mappings, and keywords of eight characters: both go into lines of text."""
    from astropy.io import fits

    short = {name: value for name, value in table.meta.items() if isinstance(value, (int, float, str, bool))}
    plain = table.copy(copy_data=False)
    plain.meta = {}
    for column in plain.columns.values():
        column.unit = None  # astropy leaves out those that the standard does not list, such as electrons
    hdu = fits.table_to_hdu(plain)
    hdu.header["EXTNAME"] = "CATALOG"
    for name, value in short.items():
        hdu.header[name if len(name) <= 8 else f"HIERARCH {name}"] = value
    for line in table.meta.get("HISTORY", ()):
        hdu.header["HISTORY"] = line.encode("ascii", "replace").decode()
    for name in set(table.meta) - set(short) - {"HISTORY"}:
        hdu.header["COMMENT"] = f"{name}: {json.dumps(table.meta[name])}"
    for i, name in enumerate(table.colnames, 1):
        hdu.header[f"TCOMM{i}"] = table[name].description or ""
        if table[name].unit is not None:
            hdu.header[f"TUNIT{i}"] = _unit(table[name])
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True, checksum=True)


def _unit(column: Any) -> str | None:
    """The unit as text; neither format has AB magnitudes, which the description tells."""
    text = str(column.unit or "") or None
    return "mag" if text == "mag(AB)" else text


def _write_votable(table: "Table", path: Path) -> None:
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that VOTable spells otherwise
        plain = table.copy(copy_data=False)
        for column in plain.columns.values():
            column.unit = _unit(column)
            column.meta["ucd"] = ucd(column.name)
        votable = from_table(plain)
        [resource] = votable.resources
        for name, value in table.meta.items():
            text = "\n".join(value) if name == "HISTORY" else value if isinstance(value, str) else json.dumps(value)
            resource.infos.append(Info(name=name, value=text))
        with open(path, "wb") as file:  # a name that astropy cannot take for one of a gzipped file
            votable.to_xml(file)
