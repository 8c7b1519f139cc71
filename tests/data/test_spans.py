"""Spans on disk: selection, TFRecord framing, and what is wrong with a damaged one."""

import gzip
import json

import pytest
import tensorflow as tf

from blendinator.data import spans
from blendinator.data.tfrecords import frame_record, read_records
from blendinator.errors import ConfigError, DataError
from blendinator.files import sha256


def write_span(root, span, shards=(("train-00000-of-00001.tfrecord.gz", (b"one", b"two")),)):
    folder = spans.span_dir(root, span)
    folder.mkdir(parents=True)
    files = {}
    for name, records in shards:
        with gzip.open(folder / name, "wb") as file:
            for record in records:
                file.write(frame_record(record))
        files[name] = {"split": "train", "records": len(records), "sha256": sha256(folder / name)}
    manifest = {"complete": True, "format_version": spans.FORMAT_VERSION, "files": files, "splits": {}}
    (folder / spans.MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_span(tmp_path, 1)


FIRST = "train-00000-of-00001.tfrecord.gz"


def test_tensorflow_reads_the_framing(folder):
    data = tf.data.TFRecordDataset(str(folder / FIRST), compression_type="GZIP")
    assert [item.numpy() for item in data] == [b"one", b"two"]


def test_the_framing_of_tensorflow_is_read(tmp_path):
    path = tmp_path / "x.gz"
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        writer.write(b"abc")
        writer.write(b"")
    assert list(read_records(path)) == [b"abc", b""]


def test_names():
    assert str(spans.span_dir("out", 3)) == "out/span-0003"
    assert spans.shard_name("test", 0, 20) == "test-00000-of-00020.tfrecord.gz"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("latest", (11,)),
        ("latest:1", (11,)),
        ("latest:3", (3, 4, 11)),
        (" latest:9 ", (1, 3, 4, 11)),
        ("1", (1,)),
        ("1, 3-4", (1, 3, 4)),
        ("4,3,3", (3, 4)),
    ],
)
def test_resolve_spans(tmp_path, selection, expected):
    for span in (1, 3, 4, 11):
        write_span(tmp_path, span)
    (tmp_path / "span-0012").mkdir()  # begun, without a manifest
    (tmp_path / "span-x").mkdir()
    assert spans.list_spans(tmp_path) == (1, 3, 4, 11)
    assert spans.resolve_spans(selection, tmp_path) == expected


@pytest.mark.parametrize("selection", ["", "a", "3-1", "1;2", "-1", "latest:0", "latest:", "latest,3", "1-9999999"])
def test_resolve_spans_refuses_what_it_cannot_read(folder, selection):
    with pytest.raises(
        ConfigError, match=f"spans: received '{selection}'; allowed: latest, latest:3, or numbers and ranges"
    ):
        spans.resolve_spans(selection, folder.parent)


def test_incomplete_newest_span_is_skipped_with_a_message(tmp_path, caplog):
    for span in (1, 2, 4):
        write_span(tmp_path, span)
    (tmp_path / "span-0003").mkdir()
    (tmp_path / "span-0004" / FIRST).unlink()
    (tmp_path / "span-0005").mkdir()
    (tmp_path / "span-0006").mkdir()
    (tmp_path / "span-0006" / spans.MANIFEST).write_text('{"complete": false}')
    assert spans.resolve_spans("latest", tmp_path) == (2,)
    lines = caplog.text.splitlines()
    assert len(lines) == 4 and "span 3 is skipped" in lines[0] and "there is no manifest" in lines[0]
    assert "span 4 is skipped" in lines[1] and f"{FIRST}: this file is missing" in lines[1]
    assert "does not say that the span is complete" in lines[3]
    caplog.clear()
    assert spans.resolve_spans("1-2", tmp_path) == (1, 2) and caplog.text == ""
    with pytest.raises(DataError, match="span 4 is missing or incomplete .*this file is missing.*choose from"):
        spans.resolve_spans("2,4", tmp_path)


def test_resolve_spans_without_any(tmp_path):
    with pytest.raises(DataError, match="there is no complete span. Run `blendinator simulate` first.*none"):
        spans.resolve_spans("latest", tmp_path)


def test_resolve_spans_names_the_missing_one(folder):
    with pytest.raises(DataError, match="span-0002: span 2 is missing .*simulate --span 2` first, or choose from: 1"):
        spans.resolve_spans("1-2", folder.parent)


def test_verify_span_returns_the_manifest(folder):
    assert spans.verify_span(folder)["files"][FIRST]["records"] == 2


def test_missing_manifest(tmp_path):
    with pytest.raises(DataError, match="manifest.json: there is no manifest.*Call `blendinator simulate` to complete"):
        spans.read_manifest(tmp_path)


def test_unreadable_manifest(folder):
    (folder / spans.MANIFEST).write_text("{")
    with pytest.raises(DataError, match="the manifest cannot be read .*or call `blendinator simulate --span 1`"):
        spans.read_manifest(folder)


def test_manifest_of_an_incomplete_span(folder):
    (folder / spans.MANIFEST).write_text("{}")
    with pytest.raises(DataError, match="does not say that the span is complete"):
        spans.read_manifest(folder)


def test_manifest_of_another_format(folder):
    (folder / spans.MANIFEST).write_text(json.dumps({"complete": True, "format_version": 99}))
    with pytest.raises(DataError, match="format_version is 99; allowed: 1"):
        spans.read_manifest(folder)


def test_missing_file(folder):
    (folder / FIRST).unlink()
    with pytest.raises(DataError, match=f"{FIRST}: this file is missing. Call `blendinator simulate --span 1`"):
        spans.verify_span(folder)


def test_extra_file(folder):
    (folder / "train-00001-of-00002.tfrecord.gz").write_bytes(b"")
    with pytest.raises(DataError, match="train-00001-of-00002.tfrecord.gz: this file is not in the manifest"):
        spans.verify_span(folder)


def test_truncated_file_names_the_record(folder):
    path = folder / FIRST
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:-3]))
    with pytest.raises(DataError, match=f"{FIRST}: record 1 cannot be read: .*truncated or corrupt.*simulate it again"):
        spans.verify_span(folder)


def test_truncated_compression(folder):
    path = folder / FIRST
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=f"{FIRST}: record . cannot be read: .*truncated or corrupt"):
        spans.verify_span(folder)


def test_flipped_byte_names_the_record(folder):
    path = folder / FIRST
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[12] ^= 1  # in the first record's data
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DataError, match=f"{FIRST}: record 0 cannot be read: .*its checksum is wrong"):
        spans.verify_span(folder)


def test_no_gzip_file(folder):
    (folder / FIRST).write_bytes(b"nonsense")
    with pytest.raises(DataError, match=f"{FIRST}: record 0 cannot be read: .* no TFRecords.*simulate it again"):
        spans.verify_span(folder)


def test_replaced_file(folder):
    (folder / FIRST).write_bytes(gzip.compress(frame_record(b"other")))
    with pytest.raises(DataError, match=f"{FIRST}: the checksum differs from the manifest \\(1 readable records\\)"):
        spans.verify_span(folder)


def test_wrong_count_in_the_manifest(folder):
    manifest = json.loads((folder / spans.MANIFEST).read_text())
    manifest["files"][FIRST]["records"] = 3
    (folder / spans.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=f"{FIRST}: received 2 records; the manifest says 3"):
        spans.verify_span(folder)


def test_read_records_of_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="x.gz: this file is missing. Give a whole file of TFRecords"):
        list(read_records(tmp_path / "x.gz"))


@pytest.mark.parametrize(
    "name, change",
    [
        ("../x.tfrecord.gz", {}),
        ("a/x.tfrecord.gz", {}),
        ("/x.tfrecord.gz", {}),
        (".x.tfrecord.gz", {}),
        ("x.gz", {}),
        (FIRST, {"split": "../../x"}),
        (FIRST, {"split": None}),
        (FIRST, {"sha256": 3}),
        (FIRST, {"records": "2"}),
    ],
)
def test_a_manifest_names_files_of_its_own_folder_and_known_splits(folder, name, change):
    manifest = json.loads((folder / spans.MANIFEST).read_text())
    manifest["files"] = {name: {**manifest["files"][FIRST], **change}}
    (folder / spans.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        DataError, match="manifest.json: files: received .*; allowed: plain names ending in .tfrecord.gz"
    ):
        spans.read_manifest(folder)


@pytest.mark.parametrize("files", [None, [], "x"])
def test_a_manifest_without_files(folder, files):
    content = {"complete": True, "format_version": spans.FORMAT_VERSION, "files": files, "splits": {}}
    (folder / spans.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(DataError, match="manifest.json: files: received .*; allowed: a mapping of file names"):
        spans.read_manifest(folder)
