"""The classes of a pixel: the one place for their order, names and colours."""

from dataclasses import dataclass

__all__ = ["CLASSES", "PixelClass"]


@dataclass(frozen=True)
class PixelClass:
    """A class; its number, as masks and maps hold it, is its place in `CLASSES`.

    Attributes:
      name: within names of metrics, such as "iou_galaxy".
      label: in words.
      color: of areas in pictures of maps, which are dark; red, green and blue from 0 to 1.
      line: of curves in charts, which are light.
    """

    name: str
    label: str
    color: tuple[float, float, float]
    line: str


CLASSES = (
    PixelClass("background", "background", (0.055, 0.075, 0.125), "#444444"),
    PixelClass("galaxy", "one source", (0.337, 0.706, 0.914), "#3A9BD9"),
    PixelClass("blended", "blended", (0.902, 0.624, 0.0), "#D98C00"),
)
