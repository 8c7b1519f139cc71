"""A pushed model for notebooks: samples and probability maps of images of any size.

Needs TensorFlow and NumPy only (`blendinator.model.field.reading` also astropy), no TFX, Beam or Keras:

    from blendinator.model.client import Segmenter

    segmenter = Segmenter.load("output/serving/blendinator")
    maps = segmenter.sample(image, num_samples=16, seed=1)
    areas = (maps.samples == 2).sum(axis=(1, 2))
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blendinator.errors import ConfigError, ModelError
from blendinator.model import released
from blendinator.model.bands import count_bands
from blendinator.model.field import noise
from blendinator.model.field.tiling import Tile, core_shape, plan
from blendinator.model.given_image import check_image
from blendinator.model.live import read_facts
from blendinator.model.maps import MAPS, NO_DATA, Maps, empty_maps, pad_rows, place
from blendinator.model.pushed import SIGNATURE, check_population, find_model, read_field_facts, too_old
from blendinator.stack import check_processor
from blendinator.stores import Place

__all__ = ["Segmenter", "Timing", "check_draws"]

TILE = 1024  # pixels per side of a tile's core: docs/segmentation.md has the measurements
ROW_PIXELS = 2**23  # that a row of tiles may hold, so that memory is flat in the field's width, too
_loaded_in: set[int] = set()  # processes that loaded a model: those forked from them must not use TensorFlow


@dataclass
class Timing:
    """Where the time went: seconds inside the SavedModel."""

    network: float = 0.0


class Segmenter:
    """A pushed model and what it says of itself. Make one with `load`.

    Args:
      signature: the SavedModel's `sample_with_noise`.
      facts: content of `assets.extra/field.json`.
      path: folder of the model.
      tile: pixels per side of a tile's core.
      population: whose odds the probabilities have; by default the one that the model is meant for.

    Attributes:
      population: its name, one of `facts["odds"]`.
      bands: C, of the images that the model takes.
    """

    def __init__(
        self, signature: Callable, facts: dict, path: Path, tile: int = TILE, population: str | None = None
    ) -> None:
        self.facts, self.path, self.tile = facts, path, tile
        self.population = population or facts["population"]
        self.bands = count_bands(signature)
        self._signature = signature
        self._process = os.getpid()

    def __reduce__(self) -> tuple:
        """Pickled to another process it is loaded again there: TensorFlow's functions cannot travel."""
        return type(self).load, (self.path, self.tile, self.population)

    @classmethod
    def load(cls, path: str | Place | None = None, tile: int = TILE, population: str | None = None) -> "Segmenter":
        """Loads a pushed model, or the released one that the package ships.

        Args:
          path: a version's folder, or the folder of all versions, of which the newest is taken, or an address of one of
            them, such as gs://bucket/serving; None for the released model.
          tile: pixels per side of a tile's core: more take more memory and less time.
          population: whose odds the probabilities have: "natural", the density of the sky, by default; "boosted" for
            images that were chosen for their blends, of which a natural field holds few. docs/calibration.md says more.

        Raises:
          ModelError: there is no model, it lacks the signature that tiles need, or has a latent without a place; or
            this process was forked from one that had loaded a model, in which TensorFlow would hang.
          ConfigError: `tile` is too small, or the model was not calibrated for `population`.
          MachineError: TensorFlow does not run on this processor.
        """
        if _loaded_in and os.getpid() not in _loaded_in:
            raise ModelError(_forked(path))
        path = released.unpack() if path is None else find_model(path)
        facts = read_field_facts(path)
        if tile < facts["downsampling"]:
            raise ConfigError(f"tile: received {tile}; allowed: at least {facts['downsampling']} pixels")
        check_population(population, facts["odds"], path)
        check_processor()
        from blendinator.model.precision import load_saved_model

        try:
            loaded = load_saved_model(path)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: this SavedModel cannot be loaded ({error}). Push the model again.")
        if SIGNATURE not in loaded.signatures:
            raise ModelError(too_old(path))
        signature = loaded.signatures[SIGNATURE]
        _loaded_in.add(os.getpid())
        signature.keep_alive = loaded  # variables live as long as the object that holds them
        return cls(signature, facts, path, tile, population)

    @property
    def halo(self) -> int:
        """Pixels of context around a tile: the network's receptive radius."""
        return self.facts["receptive_radius"]

    @property
    def key(self) -> str:
        """What names the model: a hash of the data, code and configuration it was trained from, if it says so."""
        return str(read_facts(self.path).get("key", ""))

    @property
    def survey(self) -> dict | None:
        """Pixel scale (arcsec), zero point (1 e-/s), exposure time (s), sky sigma (e-) of training; None if unknown."""
        return self.facts.get("survey")

    def sample(self, image: np.ndarray, num_samples: int = 16, seed: int = 1) -> Maps:
        """Plausible class maps of an image and their summaries.

        The result depends on the image, the seed and the model alone; the first samples of a larger number are those of
        a smaller one. `blendinator.model.field.segment` does the same file to file with flat memory.

        Args:
          image: [H, W, C] electrons per pixel, sky-subtracted, of any size and real type; [H, W] does for one band.
            NaN, infinite and masked pixels (of `numpy.ma` or an astropy CCDData) are "no data": the network sees sky
            there, and a pixel that lacks one band has no results. A unit that it has (astropy's Quantity, CCDData) must
            convert to electrons.
          num_samples: N, at least 1.
          seed: at least 0.

        Raises:
          DataError: the image is not an array of numbers of this shape, has another unit, or holds no data at all.
          ConfigError: `num_samples` or `seed` is out of range.
          ModelError: the model was loaded in another process, from which this one was forked.
        """
        image = check_image(image, self.bands)
        check_draws(num_samples, seed)
        height, width = image.shape[:2]
        out = empty_maps(height, width, num_samples)
        for row in self.tiles(height, width):
            rows = row[0].rows
            strip = pad_rows(image[rows], rows.stop - rows.start, self.facts["downsampling"])
            for tile, maps in self.run(strip, row, num_samples, seed):
                place(
                    out,
                    maps,
                    slice(tile.top, min(tile.top + tile.height, height)),
                    slice(tile.left, min(tile.left + tile.width, width)),
                )
        return Maps(**out)

    def tiles(self, height: int, width: int) -> list[list[Tile]]:
        """Rows of tiles for a field of this size."""
        core = core_shape(width, self.tile, ROW_PIXELS)
        return plan(height, width, core, self.halo, self.facts["downsampling"])

    def run(
        self, strip: np.ndarray, row: list[Tile], num_samples: int, seed: int, timing: Timing | None = None
    ) -> Iterator[tuple[Tile, dict[str, np.ndarray]]]:
        """The maps of each tile of a row; the next tile's noise is drawn while the network works.

        Args:
          strip: float32 [rows, padded width] for one band, else [rows, padded width, C]: the rows of the tiles with
            their margins (`pad_rows`); NaN means no data.
          row: one row of `tiles`.
          num_samples: as in `sample`.
          seed: likewise.
          timing: is added to.

        Yields:
          A tile and {name: array} as in `Maps`, of the tile's core.
        """
        if os.getpid() != self._process:
            raise ModelError(_forked(self.path))
        check_draws(num_samples, seed)
        timing = timing if timing is not None else Timing()
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(self._inputs, strip, row[0], num_samples, seed)
            for i, tile in enumerate(row):
                inputs, missing = following.result()
                if i + 1 < len(row):
                    following = pool.submit(self._inputs, strip, row[i + 1], num_samples, seed)
                start = time.perf_counter()
                maps = {name: value.numpy()[0] for name, value in self._signature(**inputs).items() if name in MAPS}
                timing.network += time.perf_counter() - start
                if missing.any():
                    for value in maps.values():
                        if value.dtype == np.uint8:
                            value[..., missing] = NO_DATA
                        else:
                            value[missing] = np.nan
                yield tile, maps

    def _inputs(
        self, strip: np.ndarray, tile: Tile, num_samples: int, seed: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The signature's inputs of a tile, and where its core has no data."""
        import tensorflow as tf

        facts, factor = self.facts, self.facts["downsampling"]
        image = strip[:, tile.columns]
        valid = np.isfinite(image)
        rows, columns = tile.rows, tile.columns
        latent = noise.window(
            seed,
            noise.LATENT,
            num_samples,
            facts["latent_dim"],
            rows.start // factor,
            columns.start // factor,
            (rows.stop - rows.start) // factor,
            (columns.stop - columns.start) // factor,
        )
        lattices, offsets = [], []
        for k, spacing in enumerate(facts["sample_scales"]):
            tops = [int(start // spacing) for start in (tile.top, tile.left)]
            counts = [
                int(np.ceil((start + side) / spacing)) + 1 - first
                for start, side, first in zip((tile.top, tile.left), (tile.height, tile.width), tops)
            ]
            lattice = noise.window(seed, noise.CLASSES + k, num_samples, facts["class_fields"], *tops, *counts)
            lattices.append(np.ascontiguousarray(lattice.transpose(0, 3, 1, 2))[None])
            offsets.append([start - first * spacing for start, first in zip((tile.top, tile.left), tops)])
        odds = facts["odds"][self.population]
        inputs = {
            "image": tf.constant(np.where(valid, image, np.float32(0.0))[None]),
            "latent_noise": tf.constant(latent[None]),
            "lattice_offset": tf.constant(offsets, tf.float32),
            "margins": tf.constant(tile.margins, tf.int32),
            "temperature": tf.constant(odds["temperature"], tf.float32),
            "class_offsets": tf.constant(odds["class_offsets"], tf.float32),
        } | {f"class_noise_{k}": tf.constant(lattice) for k, lattice in enumerate(lattices)}
        top, bottom, left, right = tile.margins
        valid = valid if self.bands == 1 else valid.all(axis=-1)
        return inputs, ~valid[top : image.shape[0] - bottom, left : image.shape[1] - right]


def check_draws(num_samples: int, seed: int) -> None:
    """Raises ConfigError unless there is at least one sample and the seed is at least 0."""
    if num_samples < 1:
        raise ConfigError(f"num_samples: received {num_samples}; allowed: at least 1")
    if seed < 0:
        raise ConfigError(f"seed: received {seed}; allowed: at least 0")


def _forked(path: str | Place | None) -> str:
    return (
        f"{path}: this process was forked from one that had loaded a model, and TensorFlow does not work in it. Load"
        ' models in the children alone, or start them by multiprocessing.get_context("spawn").'
    )
