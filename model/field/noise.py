"""Noise on a global grid, in windows: a function of (seed, stream, draw, position) alone.

Tiles of one field then share their noise where they overlap, in whatever order, size and number they are computed, and
memory does not grow with the field. The generator is Philox (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"), whose counter is set by the position of a block of grid points.
"""

import numpy as np

BLOCK = 32  # grid points per side that are generated together
LATENT, CLASSES = 0, 1  # streams: the latent's noise and the class fields'


def window(
    seed: int, stream: int, draws: int, channels: int, top: int, left: int, height: int, width: int
) -> np.ndarray:
    """Standard normal noise of a window of the grid, float32 [draws, height, width, channels].

    Args:
      seed: at least 0.
      stream: which of the independent grids.
      draws: number of draws; those of a smaller number are the first of a larger one.
      channels: values per grid point.
      top, left: the window's first row and column, at least 0.
      height, width: of the window in grid points.
    """
    out = np.empty((draws, height, width, channels), np.float32)
    for draw in range(draws):
        key = np.random.SeedSequence((seed, stream, draw)).generate_state(2, np.uint64)
        for row in range(top // BLOCK, (top + height - 1) // BLOCK + 1):
            for column in range(left // BLOCK, (left + width - 1) // BLOCK + 1):
                block = _block(key, row, column, channels)
                into_rows, from_rows = _overlap(row * BLOCK, top, height)
                into_columns, from_columns = _overlap(column * BLOCK, left, width)
                out[draw, into_rows, into_columns] = block[from_rows, from_columns]
    return out


def _block(key: np.ndarray, row: int, column: int, channels: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=key, counter=(0, 0, row, column)))
    return generator.standard_normal((BLOCK, BLOCK, channels), dtype=np.float32)


def _overlap(block_start: int, start: int, length: int) -> tuple[slice, slice]:
    """Slices of the window and of the block where they overlap along one axis."""
    first, last = max(block_start, start), min(block_start + BLOCK, start + length)
    return slice(first - start, last - start), slice(first - block_start, last - block_start)
