"""From a field on disk to maps on disk, a row of tiles at a time.

Reading the next rows and writing the last ones happen beside the network's work, and only a few rows of tiles are in
memory at a time, whatever the size of the field.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from blendinator.errors import ModelError
from blendinator.model.client import Segmenter, Timing, check_draws
from blendinator.model.field.reading import Field
from blendinator.model.field.tiling import Tile
from blendinator.model.maps import NO_DATA, empty_maps, pad_rows, place


@dataclass(frozen=True)
class Report:
    """What a segmentation took.

    Attributes:
      pixels: of the field. seconds: in all; network: those inside the SavedModel.
      missing: pixels without data.
    """

    pixels: int
    seconds: float
    network: float
    missing: int

    @property
    def rate(self) -> float:
        """Megapixels a second."""
        return self.pixels / self.seconds / 1e6


def segment(
    segmenter: Segmenter,
    field: Field,
    sinks: Iterable,
    num_samples: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Runs a model over a field.

    Args:
      segmenter, num_samples, seed: see `Segmenter.sample`.
      field: the image.
      sinks: objects with `write(top, maps)`, called in order of rows with the maps of full rows: `Maps`' arrays by
        name, and `image`, float32 [rows, W] electrons.
      progress: called with the number of pixels done since the last call.

    Raises:
      ModelError: the model takes images of several bands.
    """
    check_draws(num_samples, seed)
    if segmenter.bands > 1:
        raise ModelError(
            f"{segmenter.path}: this model takes images of {segmenter.bands} bands, and a field's file is read as one. "
            f"Call Segmenter.sample with an image [H, W, {segmenter.bands}]."
        )
    height, width = field.shape
    timing, missing, start = Timing(), 0, time.perf_counter()
    rows_of_tiles = segmenter.tiles(height, width)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        following = reader.submit(_read, segmenter, field, rows_of_tiles[0])
        writing: Any = None
        for i, row in enumerate(rows_of_tiles):
            strip, image = following.result()
            if i + 1 < len(rows_of_tiles):
                following = reader.submit(_read, segmenter, field, rows_of_tiles[i + 1])
            maps = {**empty_maps(len(image), width, num_samples), "image": image}
            for tile, part in segmenter.run(strip, row, num_samples, seed, timing):
                columns = slice(tile.left, min(tile.left + tile.width, width))
                place(maps, part, slice(0, len(image)), columns)
                if progress:
                    progress(len(image) * (columns.stop - columns.start))
            missing += int(np.count_nonzero(maps["class_map"] == NO_DATA))
            if writing is not None:
                writing.result()
            writing = writer.submit(_write, sinks, row[0].top, maps)
        writing.result()
    return Report(height * width, time.perf_counter() - start, timing.network, missing)


def _read(segmenter: Segmenter, field: Field, row: list[Tile]) -> tuple[np.ndarray, np.ndarray]:
    """The strip for the network, and the field's own rows of the cores in electrons."""
    height, _ = field.shape
    rows = row[0].rows
    top, stop = row[0].top, min(row[0].top + row[0].height, height)
    seen = field.network_rows(rows.start, min(rows.stop, height))
    strip = pad_rows(seen, rows.stop - rows.start, segmenter.facts["downsampling"])
    plain = field.noise_scale == 1.0 and field.weight is None
    return strip, (seen[top - rows.start : stop - rows.start] if plain else field.rows(top, stop))


def _write(sinks: Iterable[Any], top: int, maps: dict[str, np.ndarray]) -> None:
    for sink in sinks:
        sink.write(top, maps)
