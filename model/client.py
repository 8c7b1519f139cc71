"""A pushed model for notebooks: samples and probability maps of images of any size.

Needs TensorFlow and NumPy only (`blendinator.model.field.reading` also astropy), no TFX, Beam or Keras:

    from blendinator.model.client import Segmenter

    segmenter = Segmenter.load("output/serving/blendinator")
    maps = segmenter.sample(image, num_samples=16, seed=1)
    areas = (maps.samples == 2).sum(axis=(1, 2))
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.model import released
from blendinator.model.bands import count_bands
from blendinator.model.field import noise
from blendinator.model.field.tiling import Tile, core_shape, padded, plan
from blendinator.model.live import FIELD_FILE, FIELD_FORMAT, list_versions, read_facts
from blendinator.stack import check_processor
from blendinator.stores import Place, place as place_of

__all__ = ["Maps", "Segmenter", "Timing", "check_draws", "find_model"]

SIGNATURE = "sample_with_noise"
NO_DATA = 255  # in class maps and samples
TILE = 1024  # pixels per side of a tile's core: docs/segmentation.md has the measurements
ROW_PIXELS = 2**23  # that a row of tiles may hold, so that memory is flat in the field's width, too
_loaded_in: set[int] = set()  # processes that loaded a model: those forked from them must not use TensorFlow
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
        facts = _read_facts(path)
        if tile < facts["downsampling"]:
            raise ConfigError(f"tile: received {tile}; allowed: at least {facts['downsampling']} pixels")
        if population is not None and population not in facts["odds"]:
            raise ConfigError(
                f"population: received {population!r}; allowed for {path}: {', '.join(sorted(facts['odds']))}"
            )
        check_processor()
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(path))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: this SavedModel cannot be loaded ({error}). Push the model again.")
        if SIGNATURE not in loaded.signatures:
            raise ModelError(_too_old(path))
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
        image = _check_image(image, self.bands)
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


def check_draws(num_samples: int, seed: int) -> None:
    """Raises ConfigError unless there is at least one sample and the seed is at least 0."""
    if num_samples < 1:
        raise ConfigError(f"num_samples: received {num_samples}; allowed: at least 1")
    if seed < 0:
        raise ConfigError(f"seed: received {seed}; allowed: at least 0")


def find_model(path: str | Place) -> Path:
    """A version's folder, or the newest version below a folder of versions; of an object store, a cached copy.

    Raises:
      ModelError: there is no SavedModel.
    """
    path = place_of(path, "model")
    versions = [path] if (path / "saved_model.pb").is_file() else list_versions(path)
    if not versions:
        raise ModelError(
            f"{path}: there is no SavedModel here. Give the folder of a pushed version, or run `blendinator run` first."
        )
    return versions[-1] if isinstance(versions[-1], Path) else released.download(versions[-1])


def _read_facts(path: Path) -> dict:
    try:
        facts = json.loads((path / FIELD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(_too_old(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / FIELD_FILE}: this file cannot be read ({error}). Push the model again.")
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FIELD_FORMAT:
        raise ModelError(
            f"{path / FIELD_FILE}: received format {found!r}; allowed: {FIELD_FORMAT}. Use the"
            " release that pushed the model, or push it again."
        )
    if facts["latent"] != "spatial":
        raise ModelError(
            f"{path}: model.latent is {facts['latent']}: one latent for a whole stamp has no meaning on a"
            " field. Train with model.latent: spatial."
        )
    return facts


def _too_old(path: Path) -> str:
    return (
        f"{path}: this model has no signature {SIGNATURE!r}, which tiles of a field need; it was exported by an"
        " earlier release. Run the pipeline again to export one."
    )


def _forked(path: str | Place | None) -> str:
    return (
        f"{path}: this process was forked from one that had loaded a model, and TensorFlow does not work in it. Load"
        ' models in the children alone, or start them by multiprocessing.get_context("spawn").'
    )


def _check_image(image: Any, bands: int) -> np.ndarray:
    """The image as float32 [H, W], or [H, W, C] for C > 1 bands, with NaN where it is masked."""
    allowed = f"an array [H, W, {bands}]" if bands > 1 else "a two-dimensional array"
    unit, mask = getattr(image, "unit", None), getattr(image, "mask", None)
    mask = None if callable(mask) else mask  # a pandas DataFrame has a method of this name
    data = image.data if mask is not None and not isinstance(image, np.ndarray) else getattr(image, "unmasked", image)
    try:
        array = np.ma.getdata(np.asarray(data))
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError) as error:
        raise DataError(f"image: this is not an array of numbers ({error}); allowed: {allowed} of real numbers")
    if bands == 1 and array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
        mask = np.asarray(mask)[..., 0] if np.ndim(mask) == 3 else mask
    fits = array.ndim == 2 if bands == 1 else array.ndim == 3 and array.shape[-1] == bands
    if not fits or not array.size or array.dtype.kind not in "fiub":
        raise DataError(
            f"image: received {array.dtype} of shape {list(array.shape)}; allowed: {allowed} of real numbers"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and no data
        array = array.astype(np.float32) * np.float32(_electrons_per(unit))
    if mask is not None and np.any(mask):
        mask = mask[..., None] if np.ndim(mask) == 2 and bands > 1 else mask
        array = np.where(np.broadcast_to(np.asarray(mask, bool), array.shape), np.float32(np.nan), array)
    if not np.isfinite(array).any():
        raise DataError("image: no pixel is finite. Give an image that holds data.")
    return array


def _electrons_per(unit: Any) -> float:
    """Electrons in one of an image's unit, an astropy unit or None."""
    if unit is None or str(unit) == "":
        return 1.0
    try:
        return float(unit.to("electron"))
    except Exception:  # astropy's classes of errors are not imported here
        raise DataError(
            f"image: received the unit {unit}; allowed: electron. Convert it, for example by the gain, or use"
            " `blendinator segment`, which does."
        )
