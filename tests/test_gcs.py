"""Spans and pushed versions in an object store: Google Cloud Storage as fake-gcs-server emulates it.

Started where `make test-gcs` has set it up.
"""

import dataclasses
import json
import socket
import subprocess
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from blendinator.components.atomic_pusher import executor as pusher
from blendinator.components.live_model.executor import check_readable, write_live
from blendinator.components.span_example_gen.executor import ingest
from blendinator.config import Config, RetrainingConfig, StorageConfig
from blendinator.config_loader import config_from_dict
from blendinator.data import spans
from blendinator.data.shards import PARTS
from blendinator.data.simulate import simulate_span
from blendinator.errors import DataError, ModelError, ServiceError
from blendinator.files import INCOMING, REMOVED
from blendinator.lock import BusyError, hold
from blendinator.model import released, versions
from blendinator.model.client import Segmenter
from blendinator.model.live import FACTS_FILE, find_live, list_versions
from blendinator.model.pushed import find_model
from blendinator.pipeline.doctor import output
from blendinator.pipeline.doctor.check import PROBLEM
from blendinator.pipeline.fingerprint import data_fingerprint
from blendinator.pipeline.history import lineage, retention
from blendinator.stores import ObjectPath, place

ROOT = Path(__file__).resolve().parent.parent
EMULATOR = ROOT / ".tools" / "gcs"
SCENES = {"train_scenes": 12, "calibration_scenes": 4, "test_scenes": 4}
pytestmark = pytest.mark.skipif(
    not (EMULATOR / ".complete").is_file(), reason="the emulator is not set up here: `make test-gcs` does it"
)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(tmp_path_factory.mktemp("gcs") / "log", "wb") as log:
        process = subprocess.Popen(["sh", ROOT / "scripts/gcs.sh", "serve", str(port)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, Path(log.name).read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def bucket(emulator, monkeypatch) -> ObjectPath:
    """A new bucket."""
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    storage.Client(project="none").create_bucket(name)
    return place(f"gs://{name}")


@pytest.fixture(scope="module")
def simulation():
    return config_from_dict({"simulation": {**SCENES, "stamp_size": 32, "scenes_per_shard": 4}}).simulation


@pytest.fixture(scope="module")
def local_span(simulation, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    simulate_span(simulation, root, 1, workers=1)
    return spans.span_dir(root, 1)


@pytest.fixture
def span(bucket, local_span) -> ObjectPath:
    """The folder of a complete span, in the bucket's data/."""
    folder = spans.span_dir(bucket / "data", 1)
    for path in local_span.iterdir():
        (folder / path.name).upload(path)
    return folder


def names(folder: ObjectPath) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def model(folder: Path, key: str = "a") -> Path:
    """Files like those of a SavedModel."""
    for name in (FACTS_FILE, "variables/variables.index", "saved_model.pb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"key": key, "spans": [1]}))
    return folder


# Spans


def test_a_span_is_the_same_bytes_as_on_a_disk(bucket, simulation, local_span):
    there = bucket / "data"
    assert simulate_span(simulation, there, 1, workers=1)["complete"]
    folder = spans.span_dir(there, 1)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == {
        path.name: path.read_bytes() for path in local_span.iterdir()
    }
    assert spans.list_spans(there) == spans.resolve_spans("latest", there) == (1,)
    assert spans.verify_span(folder)["splits"]["train"]["records"] == 12
    assert data_fingerprint(there, (1,)) == data_fingerprint(local_span.parent, (1,))
    assert names(bucket / "data") == [f"span-0001/{name}" for name in names(folder)]  # no lock is left


def test_processes_write_the_same_span(bucket, simulation, local_span):
    manifest = simulate_span(simulation, bucket, 1, workers=2)
    assert manifest["files"] == spans.read_manifest(local_span)["files"]


def test_an_interrupted_simulation_goes_on(span, simulation):
    manifest = spans.read_manifest(span)
    lost = next(iter(manifest["files"]))
    (span / lost).unlink()
    assert spans.find_fault(span) == f"{span / lost}: this file is missing"
    assert simulate_span(simulation, span.parent, 1, workers=1)["files"] == manifest["files"]
    assert not list((span / PARTS).glob("*"))


def test_other_settings_are_refused(span, simulation):
    other = dataclasses.replace(simulation, seed=simulation.seed + 1)
    with pytest.raises(DataError, match=f"{span}: this span was simulated with other settings"):
        simulate_span(other, span.parent, 1, workers=1)


@pytest.mark.parametrize("args", [(), ("--runner=FnApiRunner", "--direct_running_mode=in_memory")])
def test_a_span_is_ingested(args, span, tmp_path):
    counts = ingest([span], tmp_path / "examples", 32, args)
    assert counts == {"train": 12, "calibration": 4, "test": 4}
    for name, entry in spans.read_manifest(span)["files"].items():
        copy = tmp_path / "examples" / f"Split-{entry['split']}" / f"span-0001-{name}"
        assert copy.read_bytes() == (span / name).read_bytes()


def test_a_damaged_object_is_named(span, tmp_path):
    path = span / next(iter(spans.read_manifest(span)["files"]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path}: record 3 cannot be read: the file is truncated or corrupt"):
        spans.verify_span(span)
    with pytest.raises(DataError, match=f"{path}: record 3 cannot be read"):
        ingest([span], tmp_path / "examples", 32)


def test_one_process_simulates_a_span(bucket, simulation):
    lock = bucket / ".span-0001.lock"
    with (
        hold(lock, "simulate", "simulates."),
        pytest.raises(
            BusyError,
            match=rf"{lock}: process \d+ on .* \(blendinator simulate, since .* simulates this span. Wait until it has"
            rf" ended. If that process was killed, remove its lock: gcloud storage rm {lock}",
        ),
    ):
        simulate_span(simulation, bucket, 1)
    assert names(bucket) == []


# A lock whose owner was replaced by hand cannot be tried: the emulator ignores preconditions of deletions.


# Pushed versions


def test_a_version_is_pushed_listed_and_removed(bucket, tmp_path):
    serving = bucket / "serving"
    first = versions.publish(model(tmp_path / "a"), serving)
    assert versions.publish(tmp_path / "a", serving) == first  # nothing is pushed twice
    second = versions.publish(model(tmp_path / "b", "b"), serving)
    assert list_versions(serving) == [first, second]
    assert int(second.name) > int(first.name)
    assert versions.digest(second) == versions.digest(tmp_path / "b")
    assert find_live(serving, "b") == first
    versions.remove(first)
    assert list_versions(serving) == [second]
    assert sorted(names(serving)) == sorted(f"{second.name}/{name}" for name in names(second))
    assert names(bucket) == [f"serving/{name}" for name in names(serving)]  # no lock is left


def test_the_model_comes_last_and_goes_first(bucket, tmp_path, monkeypatch):
    seen = []

    def write(path, data, new=False, write_bytes=ObjectPath.write_bytes):
        found = write_bytes(path, data, new)
        seen.append((path.name, len(list_versions(bucket / "serving"))))
        return found

    monkeypatch.setattr(ObjectPath, "write_bytes", write)
    version = versions.publish(model(tmp_path / "a"), bucket / "serving")
    assert [count for name, count in seen if name != versions.MODEL] == [0] * (len(seen) - 1)
    assert seen[-1] == (versions.MODEL, 1)
    removed = []

    def unlink(path, missing_ok=False, generation=None, unlink=ObjectPath.unlink):
        unlink(path, missing_ok, generation)
        removed.append((path.name, len(list_versions(bucket / "serving"))))

    monkeypatch.setattr(ObjectPath, "unlink", unlink)
    versions.remove(version)
    assert removed[0] == (versions.MODEL, 0)


@pytest.mark.parametrize("file", [FACTS_FILE.split("/")[-1], versions.MODEL])
def test_a_push_that_fails_leaves_nothing(file, bucket, tmp_path, monkeypatch):
    serving = bucket / "serving"

    def write(path, data, new=False, write_bytes=ObjectPath.write_bytes):
        if path.name == file:
            raise ServiceError("refused")
        return write_bytes(path, data, new)

    with monkeypatch.context() as patch, pytest.raises(ServiceError, match="refused"):
        patch.setattr(ObjectPath, "write_bytes", write)
        versions.publish(model(tmp_path / "a"), serving)
    assert names(bucket) == []


def test_what_a_killed_push_or_removal_left_is_removed(bucket, tmp_path):
    serving = bucket / "serving"
    kept = versions.publish(model(tmp_path / "a"), serving)
    for number, note in ((7, INCOMING), (8, REMOVED)):
        (serving / str(number) / FACTS_FILE).write_bytes(b"{}")
        (serving / f"{note}{number}").write_bytes(b"")
    (serving / f"{INCOMING}{kept.name}").write_bytes(b"")  # killed between the last two steps
    assert list_versions(serving) == [kept]
    assert "left over: .incoming-" in output.serving(serving).text
    versions.publish(tmp_path / "a", serving)
    assert [path.name for path in serving.iterdir()] == [kept.name]


def test_one_process_pushes(bucket, tmp_path):
    lock = bucket / ".serving.lock"
    with hold(lock, "push", "pushes."), pytest.raises(BusyError, match=f"{lock}: process .* pushes there. Wait until"):
        versions.publish(model(tmp_path / "a"), bucket / "serving")
    assert names(bucket) == []


def test_the_pusher_pushes_to_a_bucket(bucket, tmp_path):
    model(tmp_path / "model" / "Format-Serving")
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "INFRA_BLESSED").touch()
    blessed = {}
    for key, kind, uri in (
        ("model", standard_artifacts.Model, tmp_path / "model"),
        ("model_blessing", standard_artifacts.ModelBlessing, tmp_path / "blessing"),
        ("infra_blessing", standard_artifacts.InfraBlessing, tmp_path / "infra"),
    ):
        blessed[key] = [kind()]
        blessed[key][0].uri = str(uri)
        blessed[key][0].set_int_custom_property("blessed", 1)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(bucket / "serving"))
    )
    given = {"push_destination": proto_utils.proto_to_json(destination)}
    pusher.Executor().Do(blessed, {"pushed_model": [pushed]}, given)
    [version] = list_versions(bucket / "serving")
    assert pushed.get_string_custom_property("pushed_destination") == str(version)


def test_the_policy_and_the_way_back(bucket, tmp_path):
    storage = StorageConfig(data_root=str(bucket / "data"), serving_dir=str(bucket / "serving"))
    retraining = RetrainingConfig(keep_versions=2, keep_spans=1)
    config = dataclasses.replace(Config(), output_dir=str(tmp_path / "output"), storage=storage, retraining=retraining)
    pushed = [versions.publish(model(tmp_path / key, key), config.serving_dir) for key in ("a", "b", "c")]
    assert [path.name for path in retention.prune_versions(config)] == [pushed[0].name]
    back = lineage.rollback(config)
    assert list_versions(config.serving_dir) == [*pushed[1:], back]
    assert lineage.model_digest(back) == versions.digest(pushed[1])
    listed = lineage.list_models(config)
    assert [one["republishes"] for one in listed] == [pushed[1].name, None, None]
    assert listed[0]["path"] == str(back)
    (config.serving_dir / ".incoming-5").write_bytes(b"")
    expired = {(one.kind, one.path) for one in retention.prune(config)}
    assert expired == {("version", pushed[1]), ("leftover", config.serving_dir / ".incoming-5")}
    assert list_versions(config.serving_dir) == [pushed[2], back]


def test_old_spans_go(bucket, span, tmp_path):
    for path in list(span.rglob("*")):
        (span.with_name("span-0002") / path.name).write_bytes(path.read_bytes())
    storage = StorageConfig(data_root=str(bucket / "data"))
    config = dataclasses.replace(
        Config(), output_dir=str(tmp_path), storage=storage, retraining=RetrainingConfig(keep_spans=1)
    )
    [gone] = retention.prune(config)
    assert (gone.kind, gone.path) == ("span", span) and gone.bytes > 10_000
    assert [path.name for path in config.data_root.iterdir()] == ["span-0002"]


def test_the_live_model_is_downloaded(bucket, tmp_path):
    version = versions.publish(released.unpack(), bucket / "serving")
    check_readable(version)
    write_live(version, tmp_path / "live")
    copy = tmp_path / "live" / "Format-Serving"
    assert versions.digest(copy) == versions.digest(version)


def test_a_model_is_loaded_and_cached(bucket, tmp_path, monkeypatch):
    source = released.unpack()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    version = versions.publish(source, bucket / "serving")
    image = np.random.default_rng(0).normal(0, 30, (32, 32)).astype(np.float32)
    maps = [Segmenter.load(path).sample(image, num_samples=2, seed=1) for path in (source, str(bucket / "serving"))]
    np.testing.assert_array_equal(maps[0].samples, maps[1].samples)
    found = find_model(version)
    assert found.name == version.name and tmp_path in found.parents
    monkeypatch.setattr(ObjectPath, "download", lambda *args: pytest.fail("downloaded again"))
    assert find_model(bucket / "serving") == found


def test_a_name_that_would_leave_the_cache_is_refused(bucket, tmp_path):
    (bucket / "serving" / "1" / "saved_model.pb").write_bytes(b"")
    ObjectPath(bucket.bucket, "serving/1/../../x").write_bytes(b"")
    with pytest.raises(DataError, match="serving/1/../../x: this object's name holds '..'. Remove it"):
        released.download(bucket / "serving" / "1", tmp_path)
    assert not list(tmp_path.rglob("x"))


def test_a_bucket_without_models_is_named(bucket):
    with pytest.raises(ModelError, match=f"{bucket}/serving: there is no SavedModel here"):
        find_model(bucket / "serving")


# Wrong buckets


@pytest.mark.parametrize(
    "use",
    [
        lambda path, tmp: spans.resolve_spans("1", path),
        lambda path, tmp: simulate_span(Config().simulation, path, 1),
        lambda path, tmp: versions.publish(model(tmp / "a"), place(path)),
        lambda path, tmp: find_model(path),
    ],
    ids=["read", "simulate", "push", "load"],
)
def test_a_wrong_bucket_is_named(use, bucket, tmp_path):
    with pytest.raises(ServiceError, match=r"the bucket 'no-such' does not exist. Correct the address, or make the"):
        use("gs://no-such/folder", tmp_path)


def test_doctor_names_it(bucket):
    for check in (output.spans("gs://no-such/data"), output.serving("gs://no-such/serving")):
        assert check.state == PROBLEM and "the bucket 'no-such' does not exist" in check.text
