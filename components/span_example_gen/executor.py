"""The executor: verifies the spans against their manifests and copies their files, in process or as a Beam job."""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from blendinator.beam_errors import carry, raise_carried
from blendinator.components.artifacts import Artifacts
from blendinator.data import records, spans
from blendinator.data.tfrecords import read_records
from blendinator.errors import BlendinatorError, DataError
from blendinator.files import atomic_write, local_copy, sha256
from blendinator.stack import use_in_memory_runner
from blendinator.stores import Place, place

ACCOUNT = "account.json"  # what a Beam job has ingested; there only while it runs

File: TypeAlias = tuple[str, str, dict]  # source, target, entry of the manifest

log = logging.getLogger("blendinator.ingest")


class Executor(base_executor.BaseExecutor):
    """Executor of `SpanExampleGen`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Ingests the spans; see `SpanExampleGen` for the outputs and parameters.

        Raises:
          ConfigError: the selection of spans cannot be read.
          DataError: a span, file or record is missing or damaged, of another stamp size or number of bands, or records
            were lost.
        """
        data_root = exec_properties["data_root"]
        chosen = spans.resolve_spans(exec_properties["spans"], data_root)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        folders = [spans.span_dir(data_root, span) for span in chosen]
        pipeline_args = json.loads(exec_properties.get("pipeline_args") or "[]")
        counts = ingest(
            folders, Path(examples.uri), exec_properties["stamp_size"], pipeline_args, exec_properties["bands"]
        )
        log.info("ingested span %s: %s", ", ".join(map(str, chosen)), counts)

        examples.split_names = artifact_utils.encode_split_names(list(spans.SPLITS))
        examples.span = chosen[-1]
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples.set_string_custom_property("data_root", str(data_root))
        examples.set_string_custom_property("spans", ",".join(map(str, chosen)))
        examples.set_string_custom_property("records", json.dumps(counts))


def ingest(
    folders: Sequence[Place], destination: Path, stamp_size: int, pipeline_args: Sequence[str] = (), bands: int = 1
) -> dict[str, int]:
    """Verifies spans and copies their files to `destination`/Split-<split>/.

    Args:
      folders: of the spans.
      destination: a new folder.
      stamp_size: pixels per side that the records must have.
      pipeline_args: of Beam: a job with one element per file. Without them, this process works through the files. The
        copies are the same bytes.
      bands: that the images must have.

    Returns:
      Records per split, equal to the sum over the manifests.

    Raises:
      DataError: see `Executor.Do`.
    """
    expected = dict.fromkeys(spans.SPLITS, 0)
    files = []
    for folder in folders:
        manifest = spans.check_listing(folder)
        for name, entry in manifest["files"].items():
            target = destination / f"Split-{entry['split']}" / f"{folder.name}-{name}"
            files.append((str(folder / name), str(target), entry))
        for split in spans.SPLITS:
            expected[split] += manifest["splits"].get(split, {}).get("records", 0)
    counts = dict.fromkeys(spans.SPLITS, 0)
    for split, records_read in _run(files, destination, (stamp_size, bands), pipeline_args):
        counts[split] += records_read
    for split in spans.SPLITS:
        if counts[split] != expected[split] or not counts[split]:
            names = ", ".join(folder.name for folder in folders)
            raise DataError(
                f"{folders[0].parent}: split {split}: the files of {names} hold {counts[split]} records; "
                f"the manifests say {expected[split]}, and a split must not be empty. Remove the span's "
                "folder and simulate it again."
            )
    return counts


def ingest_file(file: File, stamp_size: int, bands: int = 1) -> tuple[str, int]:
    """Verifies one file and copies it; returns its split and number of records."""
    source, target, entry = place(file[0]), Path(file[1]), file[2]
    with local_copy(source) as path:
        spans.verify_file(path, entry, source)
        check_first_record(path, stamp_size, source, bands)
        copy_verified(path, target, entry["sha256"], source)
    return entry["split"], entry["records"]


def _run(
    files: list[File], destination: Path, shape: tuple[int, int], pipeline_args: Sequence[str]
) -> list[tuple[str, int]]:
    if not pipeline_args:
        return [ingest_file(file, *shape) for file in files]
    account = destination / ACCOUNT
    destination.mkdir(parents=True, exist_ok=True)
    use_in_memory_runner()
    with beam.Pipeline(options=PipelineOptions(list(pipeline_args))) as pipeline:
        (
            pipeline
            | "Files" >> beam.Create(list(enumerate(files)), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Ingest" >> beam.Map(_ingest_or_report, shape=shape)
            | "Collect" >> beam.combiners.ToList()
            | "Account" >> beam.Map(_write_account, path=str(account))
        )
    entries = sorted(json.loads(account.read_text(encoding="utf-8")))
    account.unlink()
    raise_carried(error for _, _, error in entries if error)
    if [number for number, _, _ in entries] != list(range(len(files))):
        raise DataError(f"{destination}: {len(files)} files were to be ingested and {len(entries)} were. Run again.")
    return [found for _, found, _ in entries]


def _ingest_or_report(numbered: tuple[int, File], shape: tuple[int, int]) -> tuple[int, list, tuple[str, str] | None]:
    """(number, result, None), or (number, [], carried error), see `blendinator.beam_errors`."""
    number, file = numbered
    try:
        return number, list(ingest_file(file, *shape)), None
    except BlendinatorError as error:
        return number, [], carry(error)


def _write_account(entries: list, path: str) -> None:
    Path(path).write_text(json.dumps(entries), encoding="utf-8")


def check_first_record(path: Path, stamp_size: int, name: Place, bands: int = 1) -> None:
    """Decodes one record of a file: finds a span of another shape or format before any statistics are made."""
    for serialized in read_records(path, spans.REMEDY, name):
        try:
            scene = records.decode(serialized)
        except DataError as error:
            raise DataError(f"{name}: record 0: {error}")
        records.check(scene, stamp_size, f"{name}: record 0", bands)
        return


def copy_verified(source: Path, target: Path, checksum: str, name: Place) -> None:
    """Copies a file and checks the copy, so that the artifact is the data that was verified whatever happens later."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as part:  # an engine may try a file twice at a time
        shutil.copyfile(source, part)
    if sha256(target) != checksum:
        raise DataError(
            f"{name}: the file changed while it was ingested, or the disk is faulty (the checksum of the "
            f"copy {target} differs). Run again."
        )
