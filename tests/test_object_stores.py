"""Addresses of object stores are refused where a folder is needed, before anything is written."""

from pathlib import Path

import pytest

from blendinator.data import spans
from blendinator.errors import ConfigError
from blendinator.files import check_local
from blendinator.model.client import find_model
from blendinator.model.versions import publish

MESSAGE = "allowed: a folder of this machine or of a mounted disk.*docs/serving.md"


@pytest.mark.parametrize("path", ["gs://bucket/data", "s3://bucket", "minio://bucket/a", Path("gs://bucket/data")])
def test_an_address_is_refused(path):
    with pytest.raises(ConfigError, match=f"data_root: received {path}; {MESSAGE}"):
        check_local(path, "data_root")


@pytest.mark.parametrize("path", ["output", "/data/gs:", "a:b/c", Path("/mnt/gs/bucket"), "./gs://"])
def test_a_folder_is_not(path):
    check_local(path, "data_root")


@pytest.mark.parametrize(
    "use",
    [
        lambda path: spans.list_spans(path),
        lambda path: spans.resolve_spans("1", path),
        lambda path: spans.span_dir(path, 1),
        lambda path: publish(Path("model"), Path(path)),
        lambda path: find_model(path),
    ],
    ids=["list", "resolve", "span", "push", "load"],
)
def test_nothing_is_written_for_it(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=MESSAGE):
        use("gs://bucket/folder")
    assert not list(tmp_path.iterdir())
