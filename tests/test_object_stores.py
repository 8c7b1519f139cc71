"""Addresses of object stores, where they are refused, and what stops a request before it reaches a store.

What is done in a store is tested in tests/test_gcs.py, on an emulator.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from blendinator import gcs
from blendinator.config_loader import load_config
from blendinator.data import spans
from blendinator.data.tfrecords import read_records
from blendinator.errors import ConfigError, ServiceError
from blendinator.files import check_local
from blendinator.model.pushed import find_model
from blendinator.model.versions import publish
from blendinator.pipeline.bulk_inference import predict
from blendinator.stores import ObjectPath, place

MESSAGE = "allowed: a folder of this machine or of a mounted disk.*docs/serving.md"
USES = {
    "list": lambda path: spans.list_spans(path),
    "resolve": lambda path: spans.resolve_spans("1", path),
    "push": lambda path: publish(Path("model"), place(path)),
    "load": lambda path: find_model(path),
}


@pytest.mark.parametrize("path", ["gs://bucket/data", "s3://bucket", "minio://bucket/a", Path("gs://bucket/data")])
def test_an_address_is_refused_where_a_folder_is_needed(path):
    with pytest.raises(ConfigError, match=f"output_dir: received {path}; {MESSAGE}"):
        check_local(path, "output_dir")


@pytest.mark.parametrize("path", ["output", "/data/gs:", "a:b/c", Path("/mnt/gs/bucket"), "./gs://"])
def test_a_folder_is_not(path):
    check_local(path, "output_dir")
    assert place(path) == Path(path)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("gs://bucket", "gs://bucket"),
        ("gs://bucket/a//b/", "gs://bucket/a/b"),
        (Path("gs://bucket/a"), "gs://bucket/a"),
        (ObjectPath("bucket", "a"), "gs://bucket/a"),
    ],
)
def test_an_address_is_read(given, found):
    assert str(place(given)) == found
    assert place(found) == place(given)


@pytest.mark.parametrize("address", ["s3://bucket/a", "gs://", "gs:///a", "gs://Bucket/a"])
def test_another_address_is_not(address):
    with pytest.raises(ConfigError, match=f"data_root: received {address}; allowed: a path, or an address gs://"):
        place(address, "data_root")


def test_parts_are_those_of_pathlib():
    path = place("gs://bucket/a/b.tfrecord.gz")
    assert (path.name, path.suffix, str(path.parent)) == ("b.tfrecord.gz", ".gz", "gs://bucket/a")
    assert [str(one) for one in path.parents] == ["gs://bucket/a", "gs://bucket"]
    assert str(path.with_name("c") / "d") == "gs://bucket/a/c/d"
    assert path.relative_to(place("gs://bucket")).parts == ("a", "b.tfrecord.gz")


def test_the_configuration_takes_addresses_and_folders(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("storage:\n  data_root: gs://bucket/data\n  serving_dir: pushed\n")
    config = load_config(file, base=tmp_path)
    assert config.data_root == ObjectPath("bucket", "data")
    assert config.serving_dir == tmp_path / "pushed"
    assert config.pipeline_root == tmp_path / "output" / "pipeline"


def test_the_configuration_refuses_other_addresses(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("storage:\n  data_root: s3://bucket/data\n")
    with pytest.raises(ConfigError, match="a.yaml: storage.data_root: received s3://bucket/data; allowed: a path"):
        load_config(file)


@pytest.mark.parametrize("name", ["RECORDS", "--output"])
def test_predict_names_another_address(name, tmp_path):
    given = {"RECORDS": str(tmp_path / "*"), "--output": str(tmp_path / "out"), name: "s3://bucket/a"}
    with pytest.raises(ConfigError, match=f"{name}: received s3://bucket/a; allowed: a path, or an address gs://"):
        predict([given["RECORDS"]], given["--output"], "model")


def test_records_at_another_address_are_not_read():
    with pytest.raises(ConfigError, match="TFRecords: received s3://bucket/a; allowed: a path, or an address gs://"):
        list(read_records("s3://bucket/a"))


def test_why_s3_is_refused():
    import tensorflow as tf
    from apache_beam.io.aws.s3filesystem import S3FileSystem
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.options.pipeline_options import PipelineOptions

    with pytest.raises(tf.errors.UnimplementedError, match="File system scheme 's3' not implemented"):
        tf.io.gfile.exists("s3://bucket/a")
    with pytest.raises(BeamIOError, match="Missing boto3 requirement"):
        S3FileSystem(PipelineOptions([])).exists("s3://bucket/a")


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_missing_client_is_named(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    gcs._connected.cache_clear()
    with pytest.raises(ConfigError, match=r"gs://bucket/.*google-cloud-storage.*pip install 'blendinator\[gcs\]'"):
        use("gs://bucket/folder")
    assert not list(tmp_path.iterdir())


def test_missing_credentials_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    gcs._connected.cache_clear()
    with pytest.raises(ServiceError, match="gs://bucket/data: there are no credentials for Google Cloud. Call `gcloud"):
        spans.list_spans("gs://bucket/data")


@pytest.fixture
def refusing_server(monkeypatch):
    """A server that answers 403 to every request, as a store does to an account without rights."""

    class Refuse(BaseHTTPRequestHandler):
        def refuse(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = refuse

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_refusal_names_the_role(use, refusing_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServiceError, match="gs://bucket/.*the store refuses access .403..*roles/storage.objectUser"):
        use("gs://bucket/folder")
    assert not list(tmp_path.iterdir())


def test_a_store_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr(gcs, "RETRY_SECONDS", 0.1)
    with pytest.raises(ServiceError, match="gs://bucket/data: the store does not answer.*STORAGE_EMULATOR_HOST"):
        spans.list_spans("gs://bucket/data")
