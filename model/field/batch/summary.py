"""A table of a run: one row per image, from the records in its folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blendinator.files import atomic_write
from blendinator.model.field.batch import record
from blendinator.model.field.batch.inputs import Image
from blendinator.model.field.reading import SCALE_TOLERANCE

if TYPE_CHECKING:
    from astropy.table import Table

SUMMARY = "summary.ecsv"
PENDING = "pending"
# name: (type, value where it is not known, unit, description)
COLUMNS = {
    "name": (str, "", None, "what the results are named after"),
    "input": (str, "", None, "the image"),
    "state": (str, PENDING, None, "done, failed, running (or ended by force), or pending"),
    "objects": (int, 0, None, "rows of kind object in the catalogue"),
    "blends": (int, 0, None, "rows of kind blend in the catalogue"),
    "pixels": (int, 0, "pixel", "of the image"),
    "missing": (float, np.nan, None, "share of the pixels without data"),
    "sky_sigma": (float, np.nan, "electron", "measured sky noise per pixel"),
    "noise_ratio": (float, np.nan, None, "measured noise over that of the training, before any scaling"),
    "pixel_scale": (float, np.nan, "arcsec", "of the image's WCS"),
    "seconds": (float, np.nan, "s", "for the image"),
    "warnings": (str, "", None, "what was said of it"),
    "error": (str, "", None, "why it failed"),
}


def read_records(folder: Path, images: Iterable[Image]) -> list[dict]:
    """The record of each image, as far as there is one."""
    found = []
    for image in images:
        content = record.read(record.record_file(folder, image.name)) or {"state": PENDING}
        found.append({**content, "name": image.name, "input": image.path})
    return found


def write(folder: Path, records: list[dict], run: dict) -> Path:
    """Writes the summary under another name and renames it; returns its path."""
    table, path = to_table(records), folder / SUMMARY
    table.meta.update({"run": run, "states": states(records), "mixed": mixed(records) or ""})
    with atomic_write(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    return path


def to_table(records: list[dict]) -> "Table":
    """An astropy Table with the columns of `COLUMNS`."""
    from astropy.table import Column, Table

    table = Table()
    for name, (kind, unknown, unit, description) in COLUMNS.items():
        values = [_value(one, name, unknown) for one in records]
        dtype = {str: np.str_, int: np.int64, float: np.float64}[kind]
        table[name] = Column(np.array(values, dtype), unit=unit, description=description)
        if kind is float:
            table[name][:] = np.round(table[name], 4)
    return table


def states(records: list[dict]) -> dict[str, int]:
    """How many images are in each state."""
    found = [one["state"] for one in records]
    return {state: found.count(state) for state in sorted(set(found))}


def mixed(records: list[dict]) -> str | None:
    """One sentence where the images have more than one pixel scale, as those of different surveys have."""
    known = sorted((one["pixel_scale"], one["name"]) for one in records if one.get("pixel_scale"))
    groups: list[list] = []
    for scale, name in known:
        if groups and scale <= groups[-1][0][0] * (1 + SCALE_TOLERANCE):
            groups[-1].append((scale, name))
        else:
            groups.append([(scale, name)])
    if len(groups) < 2:
        return None
    parts = [
        f'{group[0][0]:.3g}" in {len(group)} {"image" if len(group) == 1 else "images"} ({group[0][1]}'
        f"{', ...' if len(group) > 1 else ''})"
        for group in groups
    ]
    return (
        f"images of more than one survey: a pixel is {', '.join(parts)}. A model holds for one survey: segment each"
        " with its own, in a folder of its own."
    )


def _value(one: dict, name: str, unknown: Any) -> Any:
    value = one.get(name)
    if name == "warnings":
        return "; ".join(value or ())
    return unknown if value is None else value
