"""The executor: reads the anomalies, then either names them and the records at fault, or links the examples."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.example import example_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from blendinator.components.artifacts import Artifacts
from blendinator.data.tfrecords import read_records
from blendinator.errors import DataError
from blendinator.files import link_or_copy
from blendinator.schemas.schema import find_violation
from blendinator.stores import place

STATISTICS = "statistics"
ANOMALIES = "SchemaDiff.pb"  # the name ExampleValidator gives
REMEDY = "Repair or simulate the span again, then run again; nothing was trained or pushed."


class Executor(base_executor.BaseExecutor):
    """Executor of `AnomalyGate`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Checks and passes on; see `AnomalyGate` for the inputs and outputs.

        Raises:
          DataError: there are anomalies, which the message lists with the first record at fault; or records were lost
            on the way to the statistics.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        anomalies_uri = artifact_utils.get_single_uri(input_dict["anomalies"])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        )
        data_root = examples.get_string_custom_property("data_root")
        splits = artifact_utils.decode_split_names(examples.split_names)

        check_counts(statistics, json.loads(examples.get_string_custom_property("records")))
        found = []
        for split in splits:
            anomalies = read_anomalies(Path(anomalies_uri) / f"Split-{split}" / ANOMALIES)
            found += describe_anomalies(anomalies, schema, split, Path(examples.uri) / f"Split-{split}", data_root)
        if found:
            lines = "\n".join(f"  {line}" for line in found)
            raise DataError(f"The examples do not conform to the schema:\n{lines}\n{REMEDY}")

        pass_on(examples, artifact_utils.get_single_instance(output_dict["checked_examples"]), Path(statistics.uri))


def check_counts(statistics: types.Artifact, expected: dict[str, int]) -> None:
    """Raises DataError unless the statistics artifact saw as many records of each split as were ingested."""
    seen = {
        split: stats_artifact_utils.load_statistics(statistics, split).proto().datasets[0].num_examples
        for split in expected
    }
    if seen != expected:
        raise DataError(
            f"{statistics.uri}: the statistics saw {seen} records, but {expected} were ingested. Records were "
            "lost in a Beam step: run again with other beam.pipeline_args."
        )


def read_anomalies(path: Path) -> anomalies_pb2.Anomalies:
    """ExampleValidator's findings for one split. Raises DataError when there is no such file: no news is bad news."""
    try:
        return anomalies_pb2.Anomalies.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise DataError(f"{path}: the anomalies of this split cannot be read ({error}). Run ExampleValidator again.")


def describe_anomalies(
    anomalies: anomalies_pb2.Anomalies,
    schema: schema_pb2.Schema,
    split: str,
    folder: Path,
    data_root: str = "",
) -> list[str]:
    """One line per anomaly: split, feature, what TFDV says, and the first record at fault.

    Args:
      anomalies: TFDV's findings for the split.
      schema: the schema the statistics were validated against.
      split: name of the split.
      folder: the split's TFRecord files.
      data_root: folder of the spans; files are named as they are there.
    """
    features = {feature.name: feature for feature in schema.feature}
    records = find_records(features, set(anomalies.anomaly_info) & set(features), folder, data_root)
    lines = []
    for name, info in sorted(anomalies.anomaly_info.items()):
        unnamed = "no single record is at fault" if name in features else "the schema has no such feature"
        where = records.get(name, unnamed)
        lines.append(f"split {split}, feature {name}: {info.description.strip().rstrip('.')}; {where}")
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"split {split}: {anomalies.dataset_anomaly_info.description.strip().rstrip('.')}")
    return lines


def find_records(
    features: dict[str, schema_pb2.Feature], names: set[str], folder: Path, data_root: str = ""
) -> dict[str, str]:
    """{feature: file, record number and fault} of the first record that violates each of the named features."""
    found = {}
    for path in sorted(folder.glob("*")):
        for index, serialized in enumerate(read_records(path)):
            example = example_pb2.Example.FromString(serialized)
            for name in sorted(names - set(found)):
                fault = find_violation(features[name], feature_values(example, name))
                if fault:
                    scene = feature_values(example, "scene_id")
                    suffix = f" (scene {scene[0].decode(errors='replace')})" if scene is not None and len(scene) else ""
                    found[name] = f"{original_path(path, data_root)}: record {index}{suffix}: {name} {fault}"
            if names == set(found):
                return found
    return found


def feature_values(example: example_pb2.Example, name: str) -> np.ndarray | None:
    """The flat values of a feature: float32, int64 or bytes objects; None when it is missing."""
    kind = example.features.feature[name].WhichOneof("kind") if name in example.features.feature else None
    if kind is None:
        return None
    dtype = {"float_list": np.float32, "int64_list": np.int64, "bytes_list": object}[kind]
    return np.array(getattr(example.features.feature[name], kind).value, dtype)


def original_path(path: Path, data_root: str) -> str:
    """The file of the span that SpanExampleGen copied to `path`."""
    match = re.fullmatch(r"(span-\d+)-(.+)", path.name)
    return str(place(data_root) / match[1] / match[2]) if match else str(path)


def pass_on(examples: types.Artifact, checked: types.Artifact, statistics: Path) -> None:
    """Makes `checked` the same as `examples`: the same properties, and hard links to the same files.

    The statistics go along as `statistics/<split>.pb`: the Trainer, which gets nothing but examples, puts those of the
    training split into the export, as the reference for later drift.
    """
    for path in sorted(Path(examples.uri).glob("Split-*/*")):
        link_or_copy(path, Path(checked.uri) / path.parent.name / path.name)
    for path in sorted(statistics.glob("Split-*/FeatureStats.pb")):
        link_or_copy(path, Path(checked.uri) / STATISTICS / f"{path.parent.name.removeprefix('Split-')}.pb")
    checked.split_names = examples.split_names
    checked.span = examples.span
    examples_utils.set_payload_format(checked, examples_utils.get_payload_format(examples))
    examples_utils.set_file_format(checked, examples_utils.get_file_format(examples))
    for name in ("data_root", "spans", "records"):
        if examples.has_custom_property(name):
            checked.set_string_custom_property(name, examples.get_string_custom_property(name))
