"""The gate: bad data stop the run with split, feature, file and record; good data pass unchanged."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from blendinator.components.anomaly_gate import executor
from blendinator.components.span_example_gen import executor as ingest
from blendinator.data import records, spans
from blendinator.errors import DataError
from blendinator.schemas.schema import load_schema

SIZE = 8


def artifact(kind, path):
    made = kind()
    made.uri = str(path)
    return made


def pass_gate(span_maker, tmp_path):
    """Ingests the span, validates it with TFDV as ExampleValidator does, and runs the gate."""
    examples = artifact(standard_artifacts.Examples, tmp_path / "examples")
    ingest.Executor().Do(
        {},
        {"examples": [examples]},
        {"data_root": str(span_maker.data_root), "spans": "1", "stamp_size": SIZE, "bands": 1, "fingerprint": ""},
    )
    schema = load_schema(SIZE)
    io_utils.write_pbtxt_file(str(tmp_path / "schema" / "schema.pbtxt"), schema)
    for split in spans.SPLITS:
        statistics = tfdv.generate_statistics_from_tfrecord(f"{examples.uri}/Split-{split}/*")
        (tmp_path / "statistics" / f"Split-{split}").mkdir(parents=True)
        (tmp_path / "statistics" / f"Split-{split}" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
        folder = tmp_path / "anomalies" / f"Split-{split}"
        folder.mkdir(parents=True)
        (folder / "SchemaDiff.pb").write_bytes(tfdv.validate_statistics(statistics, schema).SerializeToString())
    seen = artifact(standard_artifacts.ExampleStatistics, tmp_path / "statistics")
    seen.split_names = examples.split_names
    checked = artifact(standard_artifacts.Examples, tmp_path / "checked")
    executor.Executor().Do(
        {
            "examples": [examples],
            "statistics": [seen],
            "anomalies": [artifact(standard_artifacts.ExampleAnomalies, tmp_path / "anomalies")],
            "schema": [artifact(standard_artifacts.Schema, tmp_path / "schema")],
        },
        {"checked_examples": [checked]},
        {},
    )
    return examples, checked


def test_clean_data_pass_unchanged(span_maker, tmp_path):
    span_maker.write()
    examples, checked = pass_gate(span_maker, tmp_path)
    assert checked.split_names == examples.split_names and checked.span == examples.span == 1
    assert checked.get_string_custom_property("records") == examples.get_string_custom_property("records")
    for split in spans.SPLITS:
        folders = [Path(one.uri) / f"Split-{split}" for one in (examples, checked)]
        before, after = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
        assert len(before) == 2 and before == after
        seen = tmp_path / "statistics" / f"Split-{split}" / "FeatureStats.pb"
        assert (Path(checked.uri) / "statistics" / f"{split}.pb").read_bytes() == seen.read_bytes()


def test_damage_is_listed_with_file_and_record(span_maker, tmp_path):
    """Each kind of damage in one span: every one is named with its record, and nothing is passed on."""
    nan = span_maker.scene(1)["image"]
    nan[3, 4] = np.nan
    train = [span_maker.scene(0), span_maker.scene(1), span_maker.scene(2), span_maker.scene(3, image=nan)]
    calibration = [span_maker.scene(i) for i in (10, 11, 12)] + [span_maker.scene(13, mask=np.full((SIZE, SIZE), 3))]
    test = [span_maker.scene(i) for i in (20, 21, 22)] + [span_maker.scene(23, noise_free=np.zeros((SIZE, SIZE - 1)))]
    encode = lambda scenes: [records.encode(scene) for scene in scenes]
    folder = span_maker.write(train=encode(train), calibration=encode(calibration), test=encode(test))
    with pytest.raises(DataError) as raised:
        pass_gate(span_maker, tmp_path)
    message = str(raised.value)
    lines = message.splitlines()
    assert lines[0] == "The examples do not conform to the schema:" and len(lines) == 5
    for line, split, feature, scene, fault in (
        (lines[1], "train", "image", "1:3", "image has 1 values that are NaN or infinite"),
        (lines[2], "calibration", "mask", "1:13", "mask holds 3; allowed: at most 2"),
        (lines[3], "test", "noise_free", "1:23", "noise_free has 56 values; allowed: 64, which is shape [8, 8, 1]"),
    ):
        where = folder / spans.shard_name(split, 1, 2)
        assert line.startswith(f"  split {split}, feature {feature}: ")
        assert line.endswith(f"{where}: record 1 (scene {scene}): {fault}")
    assert "nothing was trained or pushed" in lines[4]
    assert not (tmp_path / "checked").exists()


def test_missing_and_unknown_features_name_their_record(span_maker, tmp_path):
    train = [records.encode(span_maker.scene(i)) for i in range(4)]
    train[3] = train[3].replace(b"snr", b"xyz")
    folder = span_maker.write(train=train)
    ingest.ingest([folder], tmp_path / "examples", SIZE)
    anomalies = anomalies_pb2.Anomalies()
    for name in ("snr", "xyz"):
        anomalies.anomaly_info[name].description = "Column dropped or new."
    lines = executor.describe_anomalies(
        anomalies, load_schema(SIZE), "train", tmp_path / "examples" / "Split-train", str(span_maker.data_root)
    )
    where = folder / spans.shard_name("train", 1, 2)
    assert lines == [
        f"split train, feature snr: Column dropped or new; {where}: record 1 (scene 1:3): snr is missing",
        "split train, feature xyz: Column dropped or new; the schema has no such feature",
    ]


def test_records_that_the_statistics_did_not_see_stop_the_run(tmp_path):
    statistics = artifact(standard_artifacts.ExampleStatistics, tmp_path)
    statistics.split_names = artifact_utils.encode_split_names(["train", "test"])
    for split, count in (("train", 3), ("test", 2)):
        seen = statistics_pb2.DatasetFeatureStatisticsList()
        seen.datasets.add().num_examples = count
        (tmp_path / f"Split-{split}").mkdir()
        (tmp_path / f"Split-{split}" / "FeatureStats.pb").write_bytes(seen.SerializeToString())
    executor.check_counts(statistics, {"train": 3, "test": 2})
    with pytest.raises(
        DataError,
        match="the statistics saw {'train': 3, 'test': 2} records, but "
        "{'train': 4, 'test': 2} were ingested. Records were lost in a Beam step",
    ):
        executor.check_counts(statistics, {"train": 4, "test": 2})


def test_unreadable_anomalies_do_not_let_data_pass(tmp_path):
    with pytest.raises(DataError, match="the anomalies of this split cannot be read.*Run ExampleValidator again"):
        executor.read_anomalies(tmp_path / "SchemaDiff.pb")


def test_dataset_anomaly_is_listed(tmp_path):
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.description = "Too few examples."
    lines = executor.describe_anomalies(anomalies, load_schema(SIZE), "test", tmp_path)
    assert lines == ["split test: Too few examples"]
