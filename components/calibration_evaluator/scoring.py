"""The Beam part: files of records in, rows of statistics out. No image leaves a worker."""

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import numpy as np
import threadpoolctl

from blendinator.beam_errors import carry, raise_carried
from blendinator.config import ClassicalConfig, EvaluationConfig
from blendinator.data import records
from blendinator.data.records import NUM_CLASSES
from blendinator.data.tfrecords import read_records
from blendinator.errors import BlendinatorError, DataError, ModelError
from blendinator.model import classical
from blendinator.model.bands import count_bands, served_image
from blendinator.model.live import read_facts
from blendinator.model.metrics import scenes

_THREADS, _AHEAD = 2, 8  # that score; batches in memory
CANDIDATE, LIVE, CLASSICAL = "candidate", "live", "classical"


class Sampler:
    """The signatures `sample` and `sample_with_odds` of an exported model.

    Images of a population that the model was calibrated for are sampled at its own odds, all others at those of the
    population that the exports are meant for.

    Attributes:
      bands: C, of the images that the model takes.
    """

    def __init__(self, path: str) -> None:
        """Loads the SavedModel in the folder `path`; raises ModelError when it isn't one or lacks the signature."""
        import tensorflow as tf

        from blendinator.model.precision import load_saved_model

        try:
            self._model = load_saved_model(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ModelError(
                f"{path}: this SavedModel cannot be loaded ({error}). Train the model again; if it "
                "is the live one, go back with `blendinator rollback` first."
            )
        if "sample" not in self._model.signatures:
            raise ModelError(
                f"{path}: the signature 'sample' is missing; received {sorted(self._model.signatures)}. "
                "Export the model with this version of the code."
            )
        self.bands = count_bands(self._model.signatures["sample"])
        calibration = read_facts(path).get("calibration", {})
        self._odds = calibration.get("populations", {}) if "sample_with_odds" in self._model.signatures else {}

    def sample(
        self, images: np.ndarray, num_samples: int, seed: int, populations: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Samples uint8 [B, N, H, W] and probabilities float32 [B, H, W, 3] of images in electrons.

        An image's samples depend on its pixels, its population's odds and the seed alone
        (`blendinator.model.sampling.image_noise`), whatever else is in the batch.

        Args:
          images: float32 [B, H, W, C], of as many bands as the model takes.
          num_samples: N.
          seed: of the noise.
          populations: of each image; by default none is known.

        Raises:
          DataError: the images are of another number of bands.
        """
        images = served_image(images, self.bands)
        names = np.full(len(images), "") if populations is None else np.asarray(populations)
        known = [name for name in np.unique(names).tolist() if name in self._odds]
        groups = [(names == name, self._odds[name]) for name in known] + [(~np.isin(names, known), None)]
        samples = np.empty((len(images), num_samples, *images.shape[1:3]), np.uint8)
        probabilities = np.empty((*images.shape[:3], NUM_CLASSES), np.float32)
        for chosen, odds in groups:
            if chosen.any():
                samples[chosen], probabilities[chosen] = self._call(images[chosen], num_samples, seed, odds)
        return samples, probabilities

    def _call(
        self, images: np.ndarray, num_samples: int, seed: int, odds: dict | None
    ) -> tuple[np.ndarray, np.ndarray]:
        import tensorflow as tf

        inputs = {
            "image": tf.constant(images, tf.float32),
            "num_samples": tf.constant(num_samples, tf.int32),
            "seed": tf.constant([seed, 0], tf.int32),
        }
        if odds is None:
            found = self._model.signatures["sample"](**inputs)
        else:
            inputs |= {name: tf.constant(odds[name], tf.float32) for name in ("temperature", "class_offsets")}
            found = self._model.signatures["sample_with_odds"](**inputs)
        return found["samples"].numpy(), found["probabilities"].numpy()


class ClassicalBaseline:
    """`classical.class_map` with the results of `Sampler`: equal samples and certain probabilities."""

    def __init__(self, config: ClassicalConfig) -> None:
        self._config = config

    def sample(self, images: Sequence[np.ndarray], sky_sigma: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Two equal samples uint8 [B, 2, H, W] of B images [H, W], and their probabilities [B, H, W, 3], all 0 or 1."""
        found = np.stack([classical.class_map(*pair, self._config) for pair in zip(images, sky_sigma)])
        return np.stack([found, found], axis=1), np.eye(3, dtype=np.float32)[found]


def score_batch(
    batch: list[dict], method: Sampler | ClassicalBaseline, config: EvaluationConfig
) -> dict[str, np.ndarray]:
    """Rows of `scenes.DESCRIPTORS` and statistics of decoded records."""
    if isinstance(method, ClassicalBaseline):
        samples, probabilities = method.sample(*zip(*map(records.first_band, batch)))
    else:
        images = np.stack([scene["image"] for scene in batch])
        populations = [scene["population"] for scene in batch]
        samples, probabilities = method.sample(images, config.num_samples, config.seed, populations)
    rows = scenes.scene_statistics(
        mask=np.stack([scene["mask"] for scene in batch]),
        samples=samples,
        probabilities=probabilities,
        scene_ids=np.array([scene["scene_id"] for scene in batch]),
        near_source_radius=config.near_source_radius,
        bins=config.calibration_bins,
        seed=config.seed,
        object_overlap=config.object_overlap,
    )
    rows["population"] = np.array([scene["population"] for scene in batch])
    numbers = lambda name: np.array([records.number(scene, name) for scene in batch], np.float32)
    return rows | {name: numbers(name) for name in records.NUMBERS}


class ScoreFile(beam.DoFn):
    """Path of a TFRecord file to blocks: packed `rows` by method, and a last one with the number of `records` it read.

    An error that the user can fix travels on as a block with `error`, see `blendinator.beam_errors`.
    """

    def __init__(self, models: dict[str, str], config: EvaluationConfig, stamp_size: int, bands: int = 1) -> None:
        self._paths, self._config, self._stamp_size, self._bands = models, config, stamp_size, bands
        self._methods: Any = None

    def process(self, path: str) -> Iterator[dict]:
        try:
            if self._methods is None:  # once per worker; not in setup(), whose errors can't become blocks
                self._methods = {label: Sampler(path) for label, path in self._paths.items()}
                if self._config.classical.enabled and classical.available():
                    self._methods[CLASSICAL] = ClassicalBaseline(self._config.classical)
            yield from self._score(path)
        except BlendinatorError as error:
            yield {"error": carry(error)}

    def _score(self, path: str) -> Iterator[dict]:
        scenes_of_file, count = self._read(path), 0
        # The samples are TensorFlow's, the statistics NumPy's: two batches at a time keep two cores busy. BLAS gets one
        # thread: its products are small, and more would spend their time waiting for each other.
        with threadpoolctl.threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
            while batches := list(itertools.islice(self._batches(scenes_of_file), _AHEAD)):
                count += sum(map(len, batches))
                yield from pool.map(self._rows, batches)
        yield {"records": count}

    def _read(self, path: str) -> Iterator[dict]:
        for count, serialized in enumerate(read_records(path)):
            try:
                scene = records.decode(serialized)
            except DataError as error:
                raise DataError(f"{path}: record {count}: {error}")
            records.check(scene, self._stamp_size, f"{path}: record {count}", self._bands)
            yield scene

    def _batches(self, scenes_of_file: Iterator[dict]) -> Iterator[list[dict]]:
        while batch := list(itertools.islice(scenes_of_file, self._config.batch_size)):
            yield batch

    def _rows(self, batch: list[dict]) -> dict:
        return {
            "rows": {label: pack(score_batch(batch, method, self._config)) for label, method in self._methods.items()}
        }


class Collect(beam.CombineFn):
    """Blocks of `ScoreFile` to one: `rows`, a list of packed blocks by method, the sum of `records`, and `errors`."""

    def create_accumulator(self) -> dict:
        return {"rows": [], "records": 0, "errors": []}

    def add_input(self, accumulator: dict, block: dict) -> dict:
        return self.merge_accumulators(
            [
                accumulator,
                {
                    "rows": [block["rows"]] if "rows" in block else [],
                    "records": block.get("records", 0),
                    "errors": [block["error"]] if "error" in block else [],
                },
            ]
        )

    def merge_accumulators(self, accumulators: Iterable[dict]) -> dict:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged["rows"] += accumulator["rows"]
            merged["records"] += accumulator["records"]
            merged["errors"] += accumulator["errors"]
        return merged

    def extract_output(self, accumulator: dict) -> dict:
        blocks = accumulator["rows"]
        rows = {label: [block[label] for block in blocks] for label in (blocks[0] if blocks else ())}
        return {"rows": rows, "records": accumulator["records"], "errors": sorted(accumulator["errors"])}


def pack(rows: dict[str, np.ndarray]) -> bytes:
    """Rows as a compressed NumPy archive: they are mostly zeros, and Beam holds several copies on their way."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **rows)
    return buffer.getvalue()


def unpack(packed: bytes) -> dict[str, np.ndarray]:
    """The rows that `pack` was given."""
    with np.load(io.BytesIO(packed)) as stored:
        return {name: stored[name] for name in stored.files}


def check_account(scene_ids: np.ndarray, records_read: int, errors: list, files: list[str]) -> None:
    """Raises what the workers could not, and DataError when records were lost or scenes came twice.

    Args:
      scene_ids: sorted, of the rows.
      records_read: the sum over the files.
      errors: from `blendinator.beam_errors.carry`.
      files: the files of the split.
    """
    raise_carried(errors)
    where = files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    if not len(scene_ids) and not records_read:
        raise DataError(
            f"{where}: the test split holds no record. Simulate a span with simulation.test_scenes above 0."
        )
    if len(scene_ids) != records_read:
        raise DataError(
            f"{where}: {records_read} records were read and {len(scene_ids)} evaluated. Run the evaluation "
            "again; if it happens again, run Beam with a single worker."
        )
    repeated = scene_ids[1:][scene_ids[1:] == scene_ids[:-1]]
    if len(repeated):
        raise DataError(
            f"{where}: {len(repeated)} scenes come twice, the first is {repeated[0]}. "
            "Leave the repeated span out of the run."
        )
