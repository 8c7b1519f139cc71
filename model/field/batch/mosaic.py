"""One catalogue of overlapping tiles, with each object of an overlap once.

A position belongs to the tile in which it lies farthest from the edge: there its light is cut least and its sky is
measured best. An object is kept from the tile that its centre belongs to. Where two tiles meet, a centre that differs a
little between them could be kept by both or by none; so objects within `MEETING` of that line are taken one after the
other, those of their own tile first, and each is kept unless one of another tile is kept already within `SAME`. A blend
is kept with its object.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from blendinator.errors import DataError
from blendinator.files import write_errors
from blendinator.model.field.outputs import CATALOGUES, Together
from blendinator.model.field.tables import write_table
from blendinator.model.field.wcs import Celestial, celestial

if TYPE_CHECKING:
    from astropy.table import Table

CATALOG = "catalog"  # the file's name, without its ending
SAME = 0.5  # arcsec: objects of two tiles whose centres are nearer are one
MEETING = 2 * SAME  # arcsec: difference of two tiles' distances to their edges
RULE = (
    "an object in an overlap is kept from the tile in which its centre lies farthest from the edge; where that is the"
    f" same within {MEETING:g} arcsec, once for all objects of different tiles within {SAME:g} arcsec"
)
_BOUND = 1.05  # a tile's radius times this reaches its corners, whatever its distortion


@dataclass(frozen=True)
class Tile:
    """Where a tile lies on the sky.

    Attributes:
      name: of its results. wcs: of its pixels. shape: H, W.
    """

    name: str
    wcs: Celestial
    shape: tuple[int, int]

    def depth(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Arcsec from positions (degrees) to the nearest edge; -inf outside."""
        x, y = self.wcs.to_pixels(ra, dec)
        height, width = self.shape
        pixels = np.min([x + 0.5, y + 0.5, width - 0.5 - x, height - 0.5 - y], axis=0)
        return np.where(pixels >= 0, pixels * self.wcs.pixel_scale, -np.inf)  # NaN is outside, too

    def circle(self) -> tuple[np.ndarray, float]:
        """Unit vector of the centre, and the length of a chord that reaches the corners."""
        height, width = self.shape
        x, y = np.array([0, width - 1, 0, width - 1]), np.array([0, 0, height - 1, height - 1])
        center = vectors(*self.wcs.to_sky(np.array([(width - 1) / 2]), np.array([(height - 1) / 2])))[0]
        return center, _BOUND * float(np.linalg.norm(vectors(*self.wcs.to_sky(x, y)) - center, axis=1).max())


def tile_of(content: dict) -> Tile:
    """The tile of an image's record.

    Raises:
      DataError: the image has no WCS.
    """
    from astropy.io import fits

    wcs = None
    if content.get("wcs"):
        wcs, _ = celestial(fits.Header.fromstring(content["wcs"], sep="\n"))
    if wcs is None:
        raise DataError(
            f"{content['name']}: this image has no WCS, so that it cannot join others in one catalogue. Leave it out,"
            " or add a WCS to its header."
        )
    return Tile(content["name"], wcs, (content["shape"][0], content["shape"][1]))


def select(tiles: Sequence[Tile], tile: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Which objects are kept, by the rule above.

    Args:
      tile: index of each object's tile [G]. ra, dec: of its centre, degrees [G].

    Returns:
      bool [G].
    """
    own, rival = np.zeros(len(ra)), np.full(len(ra), -np.inf)
    first = np.ones(len(ra), bool)  # whether it wins a tie
    at, circles = vectors(ra, dec), [one.circle() for one in tiles]
    for i, one in enumerate(tiles):
        mine = tile == i
        own[mine] = np.maximum(one.depth(ra[mine], dec[mine]), 0.0)
        center, reach = circles[i]
        near = np.flatnonzero(~mine & (np.linalg.norm(at - center, axis=1) <= reach))
        depth = one.depth(ra[near], dec[near])
        first[near[depth >= rival[near]]] = tile[near[depth >= rival[near]]] < i
        rival[near] = np.maximum(rival[near], depth)
    keep = (own > rival) | ((own == rival) & first)
    meeting = np.flatnonzero(np.abs(own - rival) < MEETING)
    keep[meeting] = _once(at[meeting], tile[meeting], np.lexsort((-own[meeting], ~keep[meeting])))
    return keep


def merge(tables: Sequence[Any], tiles: Sequence[Tile]) -> "Table":
    """One table of the kept rows of several catalogues, objects first.

    Args:
      tables: astropy Tables of `columns.to_table`, one per tile.

    Returns:
      The table, with `tile` and `tile_id`, the name of the tile and the id there; `id` and `parent` are numbered again.
    """
    from astropy.table import Table, vstack

    for table in tables:
        table.convert_bytestring_to_unicode()
    kinds = [np.asarray(table["kind"]).astype(str) for table in tables]
    of = np.concatenate([np.full(int((kind == "object").sum()), i) for i, kind in enumerate(kinds)])
    ra, dec = (
        np.concatenate([np.asarray(table[name][kind == "object"], float) for table, kind in zip(tables, kinds)])
        for name in ("ra", "dec")
    )
    keep = select(tiles, of, ra, dec)
    objects, blends, count = [], [], 0
    for i, (table, kind) in enumerate(zip(tables, kinds)):
        table = Table(table, meta={}, copy=True)
        chosen = table[kind == "object"][keep[of == i]]
        number = dict(zip(np.asarray(chosen["id"]).tolist(), range(count + 1, count + 1 + len(chosen))))
        part = table[(kind == "blend") & np.isin(table["parent"], list(number))]
        part["parent"] = [number[parent] for parent in np.asarray(part["parent"]).tolist()]
        for rows in (chosen, part):
            rows.add_column(np.full(len(rows), tiles[i].name, dtype=object).astype(str), 0, "tile")
            rows.add_column(rows["id"].copy(), 1, "tile_id")
        objects.append(chosen)
        blends.append(part)
        count += len(chosen)
    out = vstack([*objects, *blends], metadata_conflicts="silent")
    out["tile"].description, out["tile_id"].description = "image that the row is from", "id in its catalogue"
    out["id"] = np.arange(1, len(out) + 1)
    out["id"].description = "number of the row"
    out.meta.update({"tiles": [one.name for one in tiles], "overlaps": RULE, "left_out": int((~keep).sum())})
    return out


def write(folder: Path, records: Sequence[dict], ending: str, meta: dict) -> Path:
    """Joins the catalogues of a run in its folder; returns the path, `catalog` with the ending of theirs.

    Args:
      records: of the images that are done.
      meta: what else the file should say.

    Raises:
      DataError: an image has no WCS, or a catalogue cannot be read.
    """
    tiles = [tile_of(content) for content in records]
    table = merge([_read(folder, content, ending) for content in records], tiles)
    table.meta.update(meta)
    path = folder / f"{CATALOG}{ending}"
    with Together() as together, write_errors(path):
        write_table(table, together.part(path), ending)
    return path


def _read(folder: Path, content: dict, ending: str) -> "Table":
    from astropy.table import Table

    [name] = [name for name in content["outputs"] if name.endswith(f".objects{ending}")]
    kind = CATALOGUES[ending]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units that the formats spell otherwise
            return Table.read(folder / name, format=kind, **({"hdu": "CATALOG"} if kind == "fits" else {}))
    except Exception as error:  # astropy's readers raise many kinds
        raise DataError(f"{folder / name}: this catalogue cannot be read ({error}). Remove it and segment again.")


def vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Unit vectors [G, 3] of positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack((np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)), axis=-1)


def _once(at: np.ndarray, tile: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Greedy: in this order, each is kept unless one of another tile is within `SAME`."""
    keep = np.zeros(len(at), bool)
    if not len(at):
        return keep
    neighbours = cKDTree(at).query_ball_point(at, np.radians(SAME / 3600))
    for i in order:
        keep[i] = not any(keep[j] and tile[j] != tile[i] for j in neighbours[i])
    return keep
