"""The executor: verifies the spans against their manifests and copies their files."""

import json
import logging
import shutil
from pathlib import Path

from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from blendinator.data import records, spans
from blendinator.errors import DataError

log = logging.getLogger("blendinator.ingest")


class Executor(base_executor.BaseExecutor):
    """Executor of `SpanExampleGen`."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Ingests the spans; see `SpanExampleGen` for the outputs and parameters.

        Raises:
          ConfigError: the selection of spans cannot be read.
          DataError: a span, file or record is missing or damaged, of another stamp size, or records were lost.
        """
        data_root = exec_properties["data_root"]
        chosen = spans.resolve_spans(exec_properties["spans"], data_root)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        folders = [spans.span_dir(data_root, span) for span in chosen]
        counts = ingest(folders, Path(examples.uri), exec_properties["stamp_size"])
        log.info("ingested span %s: %s", ", ".join(map(str, chosen)), counts)

        examples.split_names = artifact_utils.encode_split_names(list(spans.SPLITS))
        examples.span = chosen[-1]
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples.set_string_custom_property("data_root", str(data_root))
        examples.set_string_custom_property("spans", ",".join(map(str, chosen)))
        examples.set_string_custom_property("records", json.dumps(counts))


def ingest(folders: list[Path], destination: Path, stamp_size: int) -> dict[str, int]:
    """Verifies spans and copies their files to `destination`/Split-<split>/.

    Returns:
      Records per split, equal to the sum over the manifests.

    Raises:
      DataError: see `Executor.Do`.
    """
    counts = dict.fromkeys(spans.SPLITS, 0)
    expected = dict.fromkeys(spans.SPLITS, 0)
    for folder in folders:
        manifest = spans.verify_span(folder)
        for name, entry in manifest["files"].items():
            split = entry["split"]
            target = destination / f"Split-{split}" / f"{folder.name}-{name}"
            check_first_record(folder / name, stamp_size)
            copy_verified(folder / name, target, entry["sha256"])
            counts[split] += entry["records"]
        for split in spans.SPLITS:
            expected[split] += manifest["splits"].get(split, {}).get("records", 0)
    for split in spans.SPLITS:
        if counts[split] != expected[split] or not counts[split]:
            names = ", ".join(folder.name for folder in folders)
            raise DataError(
                f"{folders[0].parent}: split {split}: the files of {names} hold {counts[split]} records; "
                f"the manifests say {expected[split]}, and a split must not be empty. Remove the span's "
                "folder and simulate it again."
            )
    return counts


def check_first_record(path: Path, stamp_size: int) -> None:
    """Decodes one record of a file: finds a span of another stamp size or format before any statistics are made."""
    for serialized in spans.read_records(path):
        try:
            scene = records.decode(serialized)
        except DataError as error:
            raise DataError(f"{path}: record 0: {error}")
        records.check(scene, stamp_size, source=f"{path}: record 0")
        return


def copy_verified(source: Path, target: Path, sha256: str) -> None:
    """Copies a file and checks the copy, so that the artifact is the data that was verified whatever happens later."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    if spans.sha256(target) != sha256:
        raise DataError(
            f"{source}: the file changed while it was ingested, or the disk is faulty (the checksum of the "
            f"copy {target} differs). Run again."
        )
