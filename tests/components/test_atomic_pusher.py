"""The push: only with both blessings, whole, and once."""

import json

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from blendinator.components.atomic_pusher import executor
from blendinator.model.live import FACTS_FILE, list_versions


def artifact(kind, path, **properties):
    made = kind()
    made.uri = str(path)
    for name, value in properties.items():
        made.set_int_custom_property(name, value)
    return made


def push(tmp_path, model_blessed=1, infra_blessed=1):
    export = tmp_path / "model" / "Format-Serving"
    if not export.exists():
        (export / FACTS_FILE).parent.mkdir(parents=True)
        (export / FACTS_FILE).write_text(json.dumps({"key": "a"}))
        (export / "saved_model.pb").write_text("model")
    infra = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra", blessed=infra_blessed)
    (tmp_path / "infra").mkdir(exist_ok=True)
    for name in ("INFRA_BLESSED", "INFRA_NOT_BLESSED"):
        (tmp_path / "infra" / name).unlink(missing_ok=True)
    (tmp_path / "infra" / ("INFRA_BLESSED" if infra_blessed else "INFRA_NOT_BLESSED")).touch()
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    )
    executor.Executor().Do(
        {
            "model": [artifact(standard_artifacts.Model, tmp_path / "model")],
            "model_blessing": [
                artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing", blessed=model_blessed)
            ],
            "infra_blessing": [infra],
        },
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def test_a_blessed_model_is_pushed_and_recorded(tmp_path):
    pushed = push(tmp_path)
    [version] = list_versions(tmp_path / "serving")
    assert (version / "saved_model.pb").read_text() == "model"
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_string_custom_property("pushed_destination") == str(version)


@pytest.mark.parametrize("model_blessed, infra_blessed", [(0, 1), (1, 0)])
def test_both_blessings_are_needed(tmp_path, model_blessed, infra_blessed):
    pushed = push(tmp_path, model_blessed, infra_blessed)
    assert pushed.get_int_custom_property("pushed") == 0 and not (tmp_path / "serving").exists()


def test_a_push_that_was_killed_before_its_record_is_recorded_and_not_repeated(tmp_path):
    first, second = push(tmp_path), push(tmp_path)
    assert len(list_versions(tmp_path / "serving")) == 1
    assert first.get_string_custom_property("pushed_version") == second.get_string_custom_property("pushed_version")
