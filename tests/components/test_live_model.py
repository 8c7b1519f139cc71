"""The live model as an artifact: linked where the Trainer looks, or an artifact that says there is none."""

import json

import pytest
from tensorflow.core.protobuf import saved_model_pb2
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from blendinator.components.live_model import executor
from blendinator.errors import ModelError
from blendinator.model.live import FACTS_FILE, holds_no_model, live_version


def push(serving, version, key):
    folder = serving / version
    (folder / FACTS_FILE).parent.mkdir(parents=True)
    (folder / FACTS_FILE).write_text(json.dumps({"key": key}))
    (folder / "saved_model.pb").write_bytes(graph(key))
    (folder / "variables").mkdir()
    for name in ("variables.index", "variables.data-00000-of-00001"):
        (folder / "variables" / name).touch()
    return folder


def graph(key):
    """A SavedModel's graph that holds nothing but a name."""
    return saved_model_pb2.SavedModel(meta_graphs=[{"meta_info_def": {"meta_graph_version": key}}]).SerializeToString()


def find(serving, tmp_path, **parameters):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path / "artifact")
    executor.Executor().Do(
        {}, {"model": [artifact]}, {"serving_dir": str(serving), "key": "", "version": "", **parameters}
    )
    return artifact


def test_no_live_model_is_said(tmp_path):
    artifact = find(tmp_path / "serving", tmp_path)
    assert holds_no_model(artifact.uri) and live_version(artifact.uri) is None
    assert artifact.get_int_custom_property("live") == 0
    assert [path.name for path in (tmp_path / "artifact").iterdir()] == ["live.json"]


def test_the_newest_version_is_found_at_run_time(tmp_path):
    push(tmp_path / "serving", "9", "a")
    push(tmp_path / "serving", "10", "b")
    artifact = find(tmp_path / "serving", tmp_path)
    assert not holds_no_model(artifact.uri) and live_version(artifact.uri) == "10"
    assert artifact.get_string_custom_property("version") == "10"
    export = tmp_path / "artifact" / "Format-Serving"
    assert str(export) == path_utils.serving_model_path(artifact.uri)
    assert (export / "saved_model.pb").read_bytes() == graph("b")
    assert json.loads((export / FACTS_FILE).read_text()) == {"key": "b"}


def test_a_model_is_not_live_for_itself(tmp_path):
    push(tmp_path / "serving", "9", "a")
    push(tmp_path / "serving", "10", "b")
    assert live_version(find(tmp_path / "serving", tmp_path, key="b").uri) == "9"


def test_the_caller_says_which(tmp_path):
    push(tmp_path / "serving", "9", "a")
    push(tmp_path / "serving", "10", "b")
    assert live_version(find(tmp_path / "serving", tmp_path, version="9").uri) == "9"


def test_the_caller_says_none(tmp_path):
    push(tmp_path / "serving", "9", "a")
    assert holds_no_model(find(tmp_path / "serving", tmp_path, version="none").uri)


def test_the_copy_outlives_the_version(tmp_path):
    folder = push(tmp_path / "serving", "9", "a")
    find(tmp_path / "serving", tmp_path)
    (folder / "saved_model.pb").unlink()
    assert (tmp_path / "artifact" / "Format-Serving" / "saved_model.pb").read_bytes() == graph("a")


def test_a_version_that_is_gone(tmp_path):
    with pytest.raises(ModelError, match="version 9 is missing or incomplete. Run again"):
        find(tmp_path / "serving", tmp_path, version="9")


def test_another_models_artifact_is_no_cold_start(tmp_path):
    assert not holds_no_model(tmp_path)
