"""Predictions for TFRecords of stamps, on any Beam runner: one file of predictions for each file of records.

A prediction has the id of its record, and draws that depend on model, seed and pixels alone. What was read and what
was written is counted, and compared at the end.
"""

import json
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from blendinator.beam_errors import carry, end_with_a_dead_worker, raise_carried
from blendinator.components.calibration_evaluator.scoring import Sampler
from blendinator.data.tfrecords import frame_record, read_records
from blendinator.errors import BlendinatorError, ConfigError, DataError
from blendinator.model.live import read_facts
from blendinator.stack import use_in_memory_runner
from blendinator.stores import place

if TYPE_CHECKING:
    import tensorflow as tf

ACCOUNT = "account.json"
BATCH = 16 * 64 * 64  # pixels of the images that are drawn at once; a larger image is drawn alone


class PredictFile(beam.DoFn):
    """Path of a TFRecord file to one entry of the account; writes the file of predictions.

    An error that the user can fix travels on as an entry with `error`, see `blendinator.beam_errors`.

    Args:
      model: folder of the SavedModel.
      output: folder of the predictions.
      num_samples: draws per record. seed: of the draws.
      keep_samples: whether the sample maps are part of a prediction.
      population: whose odds the probabilities have; None for the one that the model is meant for.
    """

    def __init__(
        self,
        model: str,
        output: str,
        num_samples: int,
        seed: int,
        keep_samples: bool,
        population: str | None = None,
    ) -> None:
        self._path, self._output, self._keep = model, output, keep_samples
        self._num_samples, self._seed, self._population = num_samples, seed, population
        self._sampler: Sampler | None = None

    def process(self, path: str) -> Iterator[dict]:
        try:
            if self._sampler is None:  # once per worker
                self._sampler = Sampler(self._path)
            yield self._predict(self._sampler, path)
        except BlendinatorError as error:
            yield {"file": path, "error": carry(error)}

    def _predict(self, sampler: Sampler, path: str) -> dict:
        name = prediction_name(path)
        target = posixpath.join(self._output, name)
        part = target + ".part"  # a bundle that is tried again starts over
        read, ids = 0, set()
        bands = sampler.bands
        stamps = (parse(serialized, f"{path}: record {i}", bands) for i, serialized in enumerate(read_records(path)))
        try:
            with FileSystems.create(part) as file:  # gzip by the name's end is off: the name ends in .part
                for scene_ids, images in batches(stamps, BATCH):
                    for scene_id, samples, probabilities in zip(scene_ids, *self._sample(sampler, path, images)):
                        file.write(frame_record(encode(scene_id, samples, probabilities, self._keep)))
                    read += len(scene_ids)
                    ids.update(scene_ids)
        except BaseException:
            _remove([part])
            raise
        _remove([target])
        FileSystems.rename([part], [target])
        written = sum(1 for _ in read_records(target))
        return {"file": path, "predictions": name, "read": read, "written": written, "ids": len(ids)}

    def _sample(self, sampler: Sampler, path: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import tensorflow as tf

        try:
            populations = None if self._population is None else [self._population] * len(images)
            return sampler.draw(images, self._num_samples, self._seed, populations)
        except tf.errors.InvalidArgumentError as error:
            lines = error.message.splitlines()
            why = next((line for line in lines if "assertion failed" in line), lines[0])  # which sizes the model takes
            raise DataError(f"{path}: the model refuses images of {images.shape[1]} x {images.shape[2]} pixels ({why})")


def batches(stamps: Iterable[tuple[str, np.ndarray]], pixels: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids and images [B, S, S, C] of stamps that follow one another and are of one size, in their order.

    A batch holds at most `pixels` pixels, or one stamp.
    """
    ids: list[str] = []
    images: list[np.ndarray] = []
    for scene_id, image in stamps:
        if images and ((len(images) + 1) * image.size > pixels or image.shape != images[0].shape):
            yield ids, np.stack(images)
            ids, images = [], []
        ids.append(scene_id)
        images.append(image)
    if images:
        yield ids, np.stack(images)


def parse(serialized: bytes, where: str, bands: int = 1) -> tuple[str, np.ndarray]:
    """Id and image [S, S, C] of a tf.Example with `scene_id` and `image`.

    Raises:
      DataError: one is missing, or the image is not a square of finite pixels in each band; names `where`.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise DataError(
            f"{where}: this is not a tf.Example ({error}). Give TFRecords as docs/segmentation.md describes them."
        )
    ids, pixels = features["scene_id"].bytes_list.value, np.array(features["image"].float_list.value, np.float32)
    if len(ids) != 1 or not pixels.size:
        raise DataError(
            f"{where}: received the features {', '.join(sorted(features)) or 'none'}; needed: scene_id, one"
            " bytes value, and image, floats"
        )
    try:
        scene_id = ids[0].decode()
    except UnicodeDecodeError:
        raise DataError(f"{where}: scene_id: received {ids[0][:40]!r}; allowed: UTF-8 text")
    side = math.isqrt(pixels.size // bands)
    if side * side * bands != pixels.size:
        allowed = "a square of pixels" + (f" in {bands} bands, those of the model" if bands > 1 else "")
        raise DataError(f"{where} (scene {scene_id}): image has {pixels.size} values; allowed: {allowed}")
    if not np.isfinite(pixels).all():
        raise DataError(
            f"{where} (scene {scene_id}): image has pixels that are NaN or infinite. Leave the"
            " record out, or set them to 0, the sky."
        )
    return scene_id, pixels.reshape(side, side, bands)


def encode(scene_id: str, samples: np.ndarray, probabilities: np.ndarray, keep_samples: bool) -> bytes:
    """A prediction as a serialized tf.Example.

    Features: `scene_id` (bytes), `shape` (int64: H, W), `class_map` (bytes: uint8 [H, W], row by row), `probabilities`
    (float [H, W, 3]), and `samples` (bytes: uint8 [N, H, W]) if they are kept.
    """
    import tensorflow as tf

    feature = {
        "scene_id": _bytes(scene_id.encode()),
        "class_map": _bytes(probabilities.argmax(-1).astype(np.uint8).tobytes()),
        "probabilities": tf.train.Feature(float_list=tf.train.FloatList(value=probabilities.ravel())),
        "shape": tf.train.Feature(int64_list=tf.train.Int64List(value=probabilities.shape[:2])),
    }
    if keep_samples:
        feature["samples"] = _bytes(samples.tobytes())
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def decode(serialized: bytes) -> dict:
    """A prediction as {name: value}; arrays in their shapes."""
    import tensorflow as tf

    features = tf.train.Example.FromString(serialized).features.feature
    height, width = features["shape"].int64_list.value
    out = {
        "scene_id": features["scene_id"].bytes_list.value[0].decode(),
        "class_map": np.frombuffer(features["class_map"].bytes_list.value[0], np.uint8).reshape(height, width),
        "probabilities": np.array(features["probabilities"].float_list.value, np.float32).reshape(height, width, 3),
    }
    if "samples" in features:
        out["samples"] = np.frombuffer(features["samples"].bytes_list.value[0], np.uint8).reshape(-1, height, width)
    return out


def _bytes(value: bytes) -> "tf.train.Feature":
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def prediction_name(path: str) -> str:
    """Name of the file of predictions for a file of records."""
    name = posixpath.basename(str(path)).removesuffix(".gz")
    return (name if "tfrecord" in name else name + ".tfrecord").replace("tfrecord", "predictions.tfrecord", 1)


def predict(
    patterns: Sequence[str],
    output: str | Path,
    model: str | Path,
    num_samples: int = 16,
    seed: int = 1,
    keep_samples: bool = True,
    pipeline_args: Sequence[str] = (),
    population: str | None = None,
) -> dict:
    """Predicts every record of the files.

    Args:
      patterns: paths or globs of TFRecord files, compressed or not. A path that exists is taken as it is.
      output: a new folder for the predictions and the account.
      model: a pushed version's folder.
      num_samples, seed, keep_samples, population: see `PredictFile`.
      pipeline_args: of Beam.

    Returns:
      The account, as in `account.json`: the files, and the numbers of records read and predictions written.

    Raises:
      DataError: no file, two of one name, a damaged record, or records that got lost.
      ConfigError: the folder is in use, an address is not gs://, or the model was not calibrated for `population`.
      ModelError: the model cannot be used.
    """
    place(output, "--output")
    files = sorted({path for pattern in patterns for path in find_files(str(pattern))})
    if not files:
        raise DataError(f"{', '.join(map(str, patterns))}: no file matches. Give paths or globs of TFRecord files.")
    names = [prediction_name(path) for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{', '.join(twice)}: two files of records would get this name. Predict them into different folders."
        )
    check_population(model, population)
    output = str(output)
    present = FileSystems.match([posixpath.join(literal(output), "*")])[0].metadata_list
    if any(not one.path.endswith(".part") for one in present):  # those are what a killed run left
        raise ConfigError(f"{output}: this folder holds files already. Give a new one.")
    if not FileSystems.exists(output):
        FileSystems.mkdirs(output)
    use_in_memory_runner()
    try:
        account = _run(
            files, PredictFile(str(model), output, num_samples, seed, keep_samples, population), output, pipeline_args
        )
        check_account(account, files)
    except BaseException:  # what is not whole must not stand in the way of the next run
        _remove([posixpath.join(output, name) for name in (*names, *(f"{one}.part" for one in names), ACCOUNT)])
        raise
    return account


def check_population(model: str | Path, population: str | None) -> None:
    """Raises ConfigError unless the model was calibrated for the population, if one is given."""
    known = read_facts(model).get("calibration", {}).get("populations", {})
    if population is not None and population not in known:
        allowed = ", ".join(sorted(known)) or "none: it was calibrated for no population"
        raise ConfigError(f"population: received {population!r}; allowed for {model}: {allowed}")


def find_files(pattern: str) -> list[str]:
    """The files that a path or glob names; one that exists is meant literally, whatever characters it has."""
    try:
        pattern.encode()
    except UnicodeEncodeError:
        raise DataError(f"{pattern}: names of TFRecord files must be UTF-8. Rename it.")
    place(pattern, "RECORDS")
    if Path(pattern).is_dir():
        raise DataError(f"{pattern}: this is a folder; allowed: files, such as {pattern.rstrip('/')}/*")
    if FileSystems.exists(pattern):
        return [pattern]
    return [match.path for match in FileSystems.match([pattern])[0].metadata_list]


def literal(path: str) -> str:
    """A glob that matches this path alone."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        if FileSystems.exists(path):
            FileSystems.delete([literal(path)])  # it takes globs


def _run(files: Sequence[str], predict_file: PredictFile, output: str, pipeline_args: Sequence[str]) -> dict:
    with end_with_a_dead_worker(), beam.Pipeline(options=PipelineOptions(list(pipeline_args))) as pipeline:
        (
            pipeline
            | "Files" >> beam.Create(files)
            | "Spread" >> beam.Reshuffle()
            | "Predict" >> beam.ParDo(predict_file)
            | "Collect" >> beam.combiners.ToList()
            | "Account" >> beam.Map(_write_account, path=posixpath.join(output, ACCOUNT))
        )
    with FileSystems.open(posixpath.join(output, ACCOUNT)) as file:
        return json.loads(file.read())


def _write_account(entries: list, path: str) -> None:
    """Writes the account, on a worker."""
    account = {
        "read": sum(entry.get("read", 0) for entry in entries),
        "written": sum(e.get("written", 0) for e in entries),
        "files": sorted(entries, key=lambda entry: entry["file"]),
    }
    with FileSystems.create(path) as file:
        file.write(json.dumps(account, indent=1).encode())


def check_account(account: dict, files: Sequence[str]) -> None:
    """Raises the first error of the account, or DataError unless every file and record is in it once."""
    raise_carried(entry["error"] for entry in account["files"] if "error" in entry)
    seen = [entry["file"] for entry in account["files"]]
    if sorted(seen) != sorted(files):
        raise DataError(f"{len(files)} files were to be predicted and {len(seen)} were. Run again into a new folder.")
    for entry in account["files"]:
        if not entry["read"] == entry["written"] == entry["ids"]:
            raise DataError(
                f"{entry['file']}: {entry['read']} records with {entry['ids']} different ids, {entry['written']}"
                " predictions. Every record needs an id of its own."
            )
