"""Ingestion: byte-exact files under the splits, counts, and one clear message per kind of damage."""

import gzip
import json

import pytest
from tfx.components.util import examples_utils
from tfx.types import artifact_utils, standard_artifacts

from blendinator.components.span_example_gen import executor
from blendinator.components.span_example_gen.component import SpanExampleGen
from blendinator.data import records, spans
from blendinator.data.tfrecords import read_records
from blendinator.errors import ConfigError, DataError


def ingest(span_maker, tmp_path, selection="latest", size=8):
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    executor.Executor().Do(
        {},
        {"examples": [examples]},
        {"data_root": str(span_maker.data_root), "spans": selection, "stamp_size": size, "bands": 1, "fingerprint": ""},
    )
    return examples


def test_files_arrive_unchanged_under_their_split(span_maker, tmp_path):
    folder = span_maker.write()
    examples = ingest(span_maker, tmp_path)
    assert artifact_utils.decode_split_names(examples.split_names) == ["train", "calibration", "test"]
    for split in spans.SPLITS:
        [uri] = artifact_utils.get_split_uris([examples], split)
        for i in range(2):
            name = spans.shard_name(split, i, 2)
            assert (tmp_path / uri / f"span-0001-{name}").read_bytes() == (folder / name).read_bytes()


def test_properties_say_what_was_ingested(span_maker, tmp_path):
    span_maker.write(1)
    span_maker.write(2)
    span_maker.write(4)
    examples = ingest(span_maker, tmp_path, "1,4")
    assert examples.span == 4
    assert examples.get_string_custom_property("spans") == "1,4"
    assert json.loads(examples.get_string_custom_property("records")) == {"train": 8, "calibration": 8, "test": 8}
    assert examples_utils.get_file_format(examples) == "tfrecords_gzip"
    assert examples_utils.get_payload_format_string(examples) == "FORMAT_TF_EXAMPLE"


def test_artifact_outlives_a_change_of_the_span(span_maker, tmp_path):
    folder = span_maker.write()
    examples = ingest(span_maker, tmp_path)
    name = spans.shard_name("train", 0, 2)
    (folder / name).write_bytes(b"overwritten")
    [uri] = artifact_utils.get_split_uris([examples], "train")
    assert len(list(read_records(f"{uri}/span-0001-{name}"))) == 2


def test_missing_span(span_maker, tmp_path):
    span_maker.write()
    with pytest.raises(DataError, match="span-0007: span 7 is missing or incomplete.*blendinator simulate"):
        ingest(span_maker, tmp_path, "7")


def test_unreadable_selection(span_maker, tmp_path):
    span_maker.write()
    with pytest.raises(ConfigError, match="spans: received 'one'; allowed"):
        ingest(span_maker, tmp_path, "one")


def test_truncated_file_names_file_and_record(span_maker, tmp_path):
    path = span_maker.write() / spans.shard_name("train", 1, 2)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"train-00001-of-00002.tfrecord.gz: record \d cannot be read.*simulate it"):
        ingest(span_maker, tmp_path)


def test_corrupt_record_names_file_and_record(span_maker, tmp_path):
    path = span_maker.write() / spans.shard_name("test", 0, 2)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-20] ^= 255  # in the second record's data
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DataError, match="test-00000-of-00002.tfrecord.gz: record 1 cannot be read.*simulate it again"):
        ingest(span_maker, tmp_path)


def test_records_that_the_manifest_does_not_account_for(span_maker, tmp_path):
    folder = span_maker.write()
    manifest = json.loads((folder / spans.MANIFEST).read_text())
    manifest["splits"]["train"]["records"] = 5
    (folder / spans.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="split train: the files of span-0001 hold 4 records; the manifests say 5"):
        ingest(span_maker, tmp_path)


def test_other_stamp_size_is_found_at_once(span_maker, tmp_path):
    span_maker.write()
    with pytest.raises(DataError, match=r"record 0 .*image has shape \[8, 8, 1\]; allowed: \[16, 16, 1\].*stamp_size"):
        ingest(span_maker, tmp_path, size=16)


def test_other_number_of_bands_is_found_at_once(span_maker, tmp_path):
    with pytest.raises(DataError, match=r"record 0 .*bands of image: received 1; allowed: 2, .*simulation.survey"):
        executor.ingest([span_maker.write()], tmp_path / "examples", 8, bands=2)


def test_record_that_is_no_example(span_maker, tmp_path):
    span_maker.write(train=[b"\xff\xff", records.encode(span_maker.scene(1))])
    with pytest.raises(DataError, match="train-00000-of-00002.tfrecord.gz: record 0: This record is not a tf.Example"):
        ingest(span_maker, tmp_path)


def test_copy_that_differs_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"data")
    with pytest.raises(DataError, match="the file changed while it was ingested"):
        executor.copy_verified(tmp_path / "a", tmp_path / "b" / "a", "0" * 64, tmp_path / "a")


def test_component_has_one_output(span_maker):
    component = SpanExampleGen(data_root="data", spans="1", stamp_size=8)
    assert list(component.outputs) == ["examples"]
    assert component.outputs["examples"].type is standard_artifacts.Examples


WORKERS = ("--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading")


def test_a_beam_job_copies_the_same_bytes(span_maker, tmp_path):
    folders = [span_maker.write(1), span_maker.write(2)]
    counts = [executor.ingest(folders, tmp_path / str(len(args)), 8, args) for args in ((), WORKERS)]
    assert counts[0] == counts[1] == {"train": 8, "calibration": 8, "test": 8}
    found = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "0", tmp_path / "3")
    ]
    assert found[0] == found[1] and len(found[0]) == 12


def test_a_beam_job_names_the_first_damaged_file(span_maker, tmp_path):
    folder = span_maker.write()
    for number in (1, 0):
        path = folder / spans.shard_name("train", number, 2)
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"train-00000-of-00002.tfrecord.gz: record \d cannot be read.*simulate it"):
        executor.ingest([folder], tmp_path / "examples", 8, WORKERS)
