"""Predictions for TFRecords of stamps, on any Beam runner: one file of predictions for each file of records.

A prediction has the id of its record, and samples that depend on model, seed and pixels alone. What was read and what
was written is counted, and compared at the end.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from blendinator.beam_errors import carry, end_with_a_dead_worker, raise_carried
from blendinator.components.calibration_evaluator.scoring import Sampler
from blendinator.data.tfrecords import frame_record, read_records
from blendinator.errors import BlendinatorError, ConfigError, DataError
from blendinator.model.live import read_facts
from blendinator.model.pushed import check_population
from blendinator.pipeline.predictions import encode, parse
from blendinator.stack import use_in_memory_runner
from blendinator.stores import place

ACCOUNT = "account.json"
BATCH = 16 * 64 * 64  # pixels of the images that are sampled at once; a larger image is sampled alone


class PredictFile(beam.DoFn):
    """Path of a TFRecord file to one entry of the account; writes the file of predictions.

    An error that the user can fix travels on as an entry with `error`, see `blendinator.beam_errors`.

    Args:
      model: folder of the SavedModel.
      output: folder of the predictions.
      num_samples: samples per record. seed: of the samples.
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
            return sampler.sample(images, self._num_samples, self._seed, populations)
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
      DataError: no file, two of one name, a damaged record, or records that were lost.
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
    check_population(population, read_facts(model).get("calibration", {}).get("populations", {}), model)
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
    except BaseException:  # what is not whole must not block the next run
        _remove([posixpath.join(output, name) for name in (*names, *(f"{one}.part" for one in names), ACCOUNT)])
        raise
    return account


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
