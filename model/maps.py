"""The maps of an image, and the arrays that they are put together in from those of tiles."""

from dataclasses import dataclass

import numpy as np

from blendinator.model.field.tiling import padded

__all__ = ["Maps"]

NO_DATA = 255  # in class maps and samples
MAPS = ("probabilities", "class_map", "entropy", "mutual_information", "samples")


@dataclass(frozen=True)
class Maps:
    """What a model says about an image of H x W pixels; pixels without data hold NaN, or `NO_DATA` where integer.

    Attributes:
      samples: plausible class maps, uint8 [N, H, W]: 0 background, 1 one source, 2 blended.
      probabilities: mean class probabilities over the draws, float32 [H, W, 3].
      class_map: the most probable class, uint8 [H, W].
      entropy: of the probabilities, nats, float32 [H, W].
      mutual_information: what the draws disagree about, nats, float32 [H, W].
    """

    samples: np.ndarray
    probabilities: np.ndarray
    class_map: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray


def pad_rows(part: np.ndarray, rows: int, factor: int) -> np.ndarray:
    """Rows [R, W] or [R, W, C], float32, padded with NaN to `rows` rows and to a multiple of `factor` columns."""
    strip = np.full((rows, padded(part.shape[1], factor), *part.shape[2:]), np.nan, np.float32)
    strip[: len(part), : part.shape[1]] = part
    return strip


def empty_maps(height: int, width: int, num_samples: int) -> dict[str, np.ndarray]:
    """Arrays for the maps of an image, by name as in `Maps`."""
    side = (height, width)
    return {
        "samples": np.empty((num_samples, *side), np.uint8),
        "probabilities": np.empty((*side, 3), np.float32),
        "class_map": np.empty(side, np.uint8),
        "entropy": np.empty(side, np.float32),
        "mutual_information": np.empty(side, np.float32),
    }


def place(out: dict[str, np.ndarray], part: dict[str, np.ndarray], rows: slice, columns: slice) -> None:
    """Puts a tile's maps into those of a field, without what lies beyond the field's edge.

    Args:
      out, part: arrays by name, as in `Maps`.
      rows, columns: of the tile in `out`.
    """
    inner = slice(rows.stop - rows.start), slice(columns.stop - columns.start)
    for name, value in part.items():
        leading = () if name == "probabilities" else (...,)
        out[name][leading + (rows, columns)] = value[leading + inner]
