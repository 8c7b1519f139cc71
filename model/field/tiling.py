"""How a field is cut into tiles.

A tile has a core, whose results are kept, and margins, which are context only. Where a margin is at least the network's
receptive radius, the core's results are those of one pass over the whole field: no blending of tiles is needed. At the
field's border there is no margin: the network pads its layers with zeros there, as it did at the border of each stamp
in training, where galaxies were cut in the same way.
"""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Tile:
    """A tile, in pixels of the field padded to multiples of the network's downsampling.

    Attributes:
      top, left, height, width: of the core.
      margins: rows of context above and below, columns left and right.
    """

    top: int
    left: int
    height: int
    width: int
    margins: tuple[int, int, int, int]

    @property
    def rows(self) -> slice:
        """Rows with the margins."""
        return slice(self.top - self.margins[0], self.top + self.height + self.margins[1])

    @property
    def columns(self) -> slice:
        """Columns with the margins."""
        return slice(self.left - self.margins[2], self.left + self.width + self.margins[3])


def padded(side: int, factor: int) -> int:
    """The next multiple of `factor`."""
    return -(-side // factor) * factor


def core_shape(width: int, side: int, row_pixels: int) -> tuple[int, int]:
    """Height and width of the cores of a field: squares, or of the same area and lower where a row would get too large.

    Args:
      width: of the field.
      side: of a square core.
      row_pixels: that a row of tiles may hold: its maps are all in memory. A core is no lower than a quarter of `side`.
    """
    height = min(side, max(row_pixels // width, side // 4))
    return height, side * side // height


def plan(height: int, width: int, core: tuple[int, int], halo: int, factor: int) -> list[list[Tile]]:
    """Rows of tiles that cover a field.

    Args:
      height, width: of the field in pixels, at least 1.
      core: largest height and width of a core; cores of one field differ by at most one `factor`.
      halo: margin towards a neighbour, a multiple of `factor`; cut at the field's border.
      factor: the network's downsampling: every tile and core starts at a multiple of it.
    """
    height, width = padded(height, factor), padded(width, factor)
    rows, columns = _cuts(height, core[0], factor), _cuts(width, core[1], factor)
    return [
        [
            Tile(
                top,
                left,
                bottom - top,
                right - left,
                (min(halo, top), min(halo, height - bottom), min(halo, left), min(halo, width - right)),
            )
            for left, right in pairwise(columns)
        ]
        for top, bottom in pairwise(rows)
    ]


def _cuts(length: int, side: int, factor: int) -> list[int]:
    """Borders of even pieces of at most `side`, all at multiples of `factor`."""
    units = length // factor
    pieces = -(-units // max(side // factor, 1))
    return [units * i // pieces * factor for i in range(pieces + 1)]
