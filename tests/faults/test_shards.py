"""A shard or manifest that is damaged anywhere: one message that names the file, and no wrong record is read."""

import gzip
import json
import struct

import numpy as np
import pytest

from blendinator.data import records, spans, tfrecords
from blendinator.data.tfrecords import frame_record, read_records
from blendinator.errors import DataError
from blendinator.files import sha256

NAME = "train-00000-of-00001.tfrecord.gz"
COUNT = 3
REGIONS = ("length", "length checksum", "payload", "payload checksum")
GZIP_REGIONS = {"gzip header": range(10), "compressed data": range(10, -8), "gzip trailer": range(-8, 0)}


def scene(number):
    image = np.random.default_rng(number).normal(0, 20, (8, 8)).astype(np.float32)
    return {
        "image": image,
        "noise_free": image * 0,
        "mask": np.zeros((8, 8), np.int64),
        "scene_id": f"1:{number}",
        "population": "boosted",
        "num_galaxies": 0,
        "min_separation": -1.0,
        "brightest_magnitude": 99.0,
        "magnitude_difference": -1.0,
        "snr": 0.0,
        "blended_share": 0.0,
        "sky_sigma": 26.3,
        "psf_fwhm": 0.17,
        "noise_correlation": 0.0,
        "num_stars": 1,
        "brightest_star": 21.5,
    }


ENTRY = {"split": "train", "records": 1, "sha256": "0"}
RECORDS = [records.encode(scene(i)) for i in range(COUNT)]
STREAM = b"".join(map(frame_record, RECORDS))
SHARD = gzip.compress(STREAM, 1, mtime=0)


def places(region, record):
    """Offsets in the stream of a region of a record."""
    start = sum(16 + len(data) for data in RECORDS[:record])
    size = len(RECORDS[record])
    return {
        "length": range(start, start + 8),
        "length checksum": range(start + 8, start + 12),
        "payload": range(start + 12, start + 12 + size),
        "payload checksum": range(start + 12 + size, start + 16 + size),
    }[region]


def sampled(offsets, count):
    """`count` of these offsets, evenly spread, each with another bit."""
    chosen = np.linspace(offsets[0], offsets[-1], min(count, len(offsets))).astype(int)
    return [(int(offset), 1 << i % 8) for i, offset in enumerate(chosen)]


def flipped(content, offset, bit):
    changed = bytearray(content)
    changed[offset] ^= bit
    return bytes(changed)


def write(folder, content, **changed):
    """A span of one shard whose manifest belongs to the undamaged one."""
    folder = spans.span_dir(folder, 1)
    folder.mkdir()
    (folder / NAME).write_bytes(SHARD)
    entry = {"split": "train", "records": COUNT, "sha256": sha256(folder / NAME)}
    (folder / NAME).write_bytes(content)
    manifest = {
        "complete": True,
        "format_version": spans.FORMAT_VERSION,
        "files": {NAME: entry},
        "splits": {"train": {"records": COUNT}},
        **changed,
    }
    (folder / spans.MANIFEST).write_text(json.dumps(manifest))
    return folder


STREAM_CASES = [
    (region, record, *place)
    for region in REGIONS
    for record in range(COUNT)
    for place in sampled(places(region, record), 24)
]
FILE_CASES = [
    (region, *place)
    for region, offsets in GZIP_REGIONS.items()
    for place in sampled(range(len(SHARD))[offsets.start : offsets.stop or None], 80)
]


def test_there_are_enough_cases():
    assert len(STREAM_CASES) + len(FILE_CASES) >= 200
    assert {region for region, *_ in STREAM_CASES} == set(REGIONS)
    assert {region for region, *_ in FILE_CASES} == set(GZIP_REGIONS)


@pytest.mark.parametrize("region, record, offset, bit", STREAM_CASES)
def test_flip_in_a_record(tmp_path, region, record, offset, bit):
    """Under a compression that is whole, as where the damage came before it: TFRecord's own checksums must tell."""
    path = tmp_path / NAME
    path.write_bytes(gzip.compress(flipped(STREAM, offset, bit), 1))
    read = []
    with pytest.raises(DataError, match=f"{NAME}: record {record} cannot be read.*truncated or corrupt.*simulate it"):
        read.extend(read_records(path, spans.REMEDY))
    assert read == RECORDS[:record]


@pytest.mark.parametrize("region, offset, bit", FILE_CASES)
def test_flip_in_the_file(tmp_path, region, offset, bit):
    folder = write(tmp_path, flipped(SHARD, offset, bit))
    with pytest.raises(DataError, match=NAME):
        spans.verify_span(folder)
    try:  # without the manifest: an error, or all the records, as with a flip in gzip's time stamp
        assert list(read_records(folder / NAME)) == RECORDS
    except DataError as error:
        assert f"{NAME}: record" in str(error)
    (folder / NAME).write_bytes(SHARD)
    assert spans.verify_span(folder)["files"][NAME]["records"] == COUNT  # nothing but the file was harmed


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, len(SHARD) // 2, len(SHARD) - 9, len(SHARD) - 8, len(SHARD) - 1])
def test_truncated_file(tmp_path, size):
    folder = write(tmp_path, SHARD[:size])
    with pytest.raises(DataError, match=NAME):
        spans.verify_span(folder)


@pytest.mark.parametrize("content", [b"", gzip.compress(b""), SHARD + b"more", SHARD + SHARD, b"\0" * 100])
def test_file_that_is_empty_longer_or_zeros(tmp_path, content):
    with pytest.raises(DataError, match=NAME):
        spans.verify_span(write(tmp_path, content))


@pytest.mark.parametrize("length", [2**31, 2**62, 2**64 - 1])
def test_length_that_no_memory_holds(tmp_path, length):
    """Its checksum is right: a file that somebody made so."""
    framed = frame_record(struct.pack("<Q", length))
    crc = tfrecords._masked_crc(struct.pack("<Q", length))
    path = tmp_path / NAME
    path.write_bytes(gzip.compress(struct.pack("<QI", length, crc) + framed))
    with pytest.raises(DataError, match="record 0 cannot be read"):
        list(read_records(path))


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"format_version": 0}, "format_version is 0; allowed: 1. Simulate the span again with this version"),
        ({"format_version": 2}, "format_version is 2; allowed: 1"),
        ({"format_version": None}, "format_version is None; allowed: 1"),
        ({"complete": False}, "does not say that the span is complete"),
        ({"files": None}, "files: received None; allowed: a mapping of file names"),
        ({"files": [NAME]}, "files: received .*; allowed: a mapping of file names"),
        ({"splits": 3}, "splits: received 3; allowed: a mapping"),
        ({"splits": None}, "splits: received None; allowed: a mapping"),
        ({"splits": {"train": {}}}, "splits: received .*; allowed: a mapping of splits, each with `records`"),
        ({"splits": {"train": 7}}, "splits: received .*; allowed: a mapping of splits, each with `records`"),
        (
            {"simulation": "x"},
            "simulation: received x; allowed: a mapping. Correct the manifest, or leave simulation out",
        ),
        ({"sky_sigma": "26"}, "sky_sigma: received 26; allowed: a number"),
        ({"seed": None}, "seed: received None; allowed: a number"),
        ({"class_shares": {"natural": [1.0, 0.0]}}, "class_shares: received .*; allowed: a mapping to three shares"),
        ({"class_shares": {"natural": 1.0}}, "class_shares: received .*; allowed: a mapping to three shares"),
        ({"files": {NAME: {}}}, f"files: received .*{NAME}.*; allowed: plain names ending in .tfrecord.gz"),
        (
            {"files": {NAME: {"split": "../..", "records": 1, "sha256": ""}}},
            "allowed: plain names.*and the `split` train",
        ),
        ({"files": {NAME: {"split": "train", "records": "1", "sha256": ""}}}, "allowed: plain names"),
        (
            {"files": {"../../secret.tfrecord.gz": ENTRY}},
            "files: received .*secret.tfrecord.gz.*; allowed: plain names",
        ),
        ({"files": {"/etc/passwd": ENTRY}}, "files: received .*passwd.*; allowed: plain names"),
    ],
)
def test_manifest_of_another_shape(tmp_path, changed, message):
    folder = write(tmp_path, SHARD, **changed)
    with pytest.raises(DataError, match=f"{spans.MANIFEST}: .*{message}"):
        spans.read_manifest(folder)
    assert spans.MANIFEST in spans.find_fault(folder)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 10**5, b"3", b"null", b'{"complete": true'])
def test_manifest_that_is_none(tmp_path, content):
    folder = write(tmp_path, SHARD)
    (folder / spans.MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=f"{spans.MANIFEST}: .*imulate"):
        spans.read_manifest(folder)


def test_folder_in_place_of_a_shard(tmp_path):
    folder = write(tmp_path, SHARD)
    (folder / NAME).unlink()
    (folder / NAME).mkdir()
    with pytest.raises(DataError, match=f"{NAME}: this file cannot be read .Is a directory"):
        spans.verify_span(folder)
