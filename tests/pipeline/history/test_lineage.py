"""The list of versions, where each comes from, and the way back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as proto

from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.files import remove_folder
from blendinator.pipeline import cli
from blendinator.pipeline.history import lineage, metadata


def test_list_of_the_versions(output):
    found = lineage.list_models(output.config)
    assert [one["version"] for one in found] == ["3", "2", "1"]
    assert [one["live"] for one in found] == [True, False, False]
    assert found[0]["spans"] == [3] and found[0]["start"] == "warm from 2" and found[2]["start"] == "cold"
    assert found[1]["metrics"] == {"boosted iou_galaxy": 0.802} and found[0]["pushed"].startswith("20")


def test_list_without_metadata(output):
    output.config.metadata_path.unlink()
    assert [one["version"] for one in lineage.list_models(output.config)] == ["3", "2", "1"]


def test_lineage(output, rule):
    found = lineage.lineage(output.config, "2")
    assert [found[key] for key in ("run", "spans", "data_fingerprint", "code")] == [
        output.names[1],
        [2],
        "data2",
        "code1",
    ]
    assert found["baseline"] == "1" and found["republishes"] is None
    assert found["start"] == {"kind": "warm", "version": "1"}
    assert found["metrics"] == {"boosted iou_galaxy": 0.802} and found["rules"] == [rule]
    assert {step["name"] for step in found["steps"]} == {"Pusher", "Trainer", "CalibrationEvaluator", "SpanExampleGen"}
    [training] = [step for step in found["steps"] if step["name"] == "Trainer"]
    assert training["outputs"]["Model"].endswith("Trainer/model/2")


def test_lineage_of_a_version_that_was_removed(output):
    remove_folder(output.config.serving_dir / "1")
    found = lineage.lineage(output.config, "1")
    assert found["path"] is None and found["spans"] == [1] and found["run"] == output.names[0]


def test_lineage_of_an_unknown_version(output):
    with pytest.raises(ModelError, match=r"version: received '9'; allowed: one that was pushed \(1, 2, 3\)"):
        lineage.lineage(output.config, "9")


def test_rollback_publishes_the_earlier_model_again(output):
    target = lineage.rollback(output.config)
    assert int(target.name) > 3 and (target / "saved_model.pb").read_text() == "model 2"
    assert output.versions() == [1, 2, 3, int(target.name)]
    [live, *_] = lineage.list_models(output.config)
    assert live["live"] and live["version"] == target.name and live["republishes"] == "2"
    assert live["metrics"] == {"boosted iou_galaxy": 0.802}  # those of version 2
    found = lineage.lineage(output.config, target.name)
    assert found["republishes"] == "2" and found["steps"][0]["name"] == "Rollback" and found["run"] == output.names[1]
    [record] = output.store.get_executions_by_type("Rollback")
    assert record.custom_properties["from_version"].string_value == "3"
    assert record.custom_properties["to_version"].string_value == "2"


def test_rollback_twice_goes_to_and_fro(output):
    first = lineage.rollback(output.config)
    second = lineage.rollback(output.config)
    assert (second / "saved_model.pb").read_text() == "model 3" and int(second.name) > int(first.name)
    assert json.loads((second / lineage.ORIGIN).read_text()) == {"version": "3"}


def test_rollback_of_a_rollback_names_the_first_origin(output):
    first = lineage.rollback(output.config, "1")
    lineage.rollback(output.config, "3")
    again = lineage.rollback(output.config, first.name)
    assert lineage.lineage(output.config, again.name)["republishes"] == "1"


def test_rollback_to_a_chosen_version(output):
    assert (lineage.rollback(output.config, "1") / "saved_model.pb").read_text() == "model 1"


def test_rollback_to_nothing(output, tmp_path):
    with pytest.raises(ConfigError, match="version: received '9'; allowed: 1, 2, 3"):
        lineage.rollback(output.config, "9")
    with pytest.raises(ConfigError, match="received '3', which is the live model already"):
        lineage.rollback(output.config, "3")
    remove_folder(output.config.serving_dir / "1")
    remove_folder(output.config.serving_dir / "2")
    with pytest.raises(DataError, match="version 3 is the only model there; nothing to go back to"):
        lineage.rollback(output.config)
    remove_folder(output.config.serving_dir / "3")
    with pytest.raises(DataError, match="there is no pushed version. Run the pipeline first"):
        lineage.rollback(output.config)


def test_rollback_without_metadata_takes_effect_and_says_so(output, caplog):
    output.config.metadata_path.unlink()
    assert (lineage.rollback(output.config) / "saved_model.pb").read_text() == "model 2"
    assert "the rollback is not recorded" in caplog.text


def test_executions_that_a_killed_run_left_are_closed(output):
    kind = output.store.put_context_type(proto.ContextType(name="pipeline_run"))
    context = proto.Context(type_id=kind, name="killed")
    [context.id] = output.store.put_contexts([context])
    made = output.execution(
        "Transform",
        context,
        [],
        {"TransformGraph": (output.config.pipeline_root / "t" / "g" / "9", {})},
        state=proto.Execution.RUNNING,
    )
    made["TransformGraph"].state = proto.Artifact.PENDING
    output.store.put_artifacts([made["TransformGraph"]])
    assert metadata.close_interrupted(output.config.metadata_path) == ["Transform"]
    [execution] = output.store.get_executions_by_type("components.Transform")
    assert execution.last_known_state == proto.Execution.CANCELED
    [artifact] = output.store.get_artifacts_by_type("TransformGraph")
    assert artifact.state == proto.Artifact.ABANDONED
    assert metadata.close_interrupted(output.config.metadata_path) == []


def call(output, *words):
    path = Path(output.config.output_dir) / "config.yaml"
    path.write_text(f"output_dir: {output.config.output_dir}\nretraining: {{keep_versions: 1, keep_runs: 1}}\n")
    return CliRunner().invoke(cli.main, [*words, "--config", str(path)])


def test_commands_show_it(output):
    table = call(output, "models").output.splitlines()
    assert table[0].split() == ["version", "pushed", "spans", "start", "boosted", "iou_galaxy"]
    assert table[1].startswith("*  3 ") and table[1].endswith("3      warm from 2  0.803")
    assert [one["version"] for one in json.loads(call(output, "models", "--json").output)] == ["3", "2", "1"]
    text = call(output, "lineage", "2").output
    assert "warm, from version 1" in text and "compared with" in text and "rule iou_galaxy" in text and "data2" in text
    assert json.loads(call(output, "lineage", "2", "--json").output)["spans"] == [2]


def test_commands_roll_back_and_prune(output):
    assert "live is now version" in call(output, "rollback", "1").output
    assert call(output, "rollback", "9").exit_code == 1
    planned = call(output, "prune", "--dry-run").output
    assert planned.splitlines()[-1].endswith("would be removed.") and len(output.versions()) == 4
    done = call(output, "prune").output
    assert done.splitlines()[-1].replace("were", "would be") == planned.splitlines()[-1] and len(output.versions()) == 1


def test_nothing_was_pushed(make_output):
    assert "nothing was pushed yet" in call(make_output(), "models").output


@pytest.mark.parametrize(
    "words", [("--help",), ("models",), ("lineage", "2"), ("explain",), ("prune", "--dry-run"), ("doctor",)]
)
def test_commands_do_without_tensorflow(output, words):
    script = (
        "import sys\nfrom blendinator.pipeline import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "sys.exit(bool({'tensorflow', 'tfx', 'apache_beam', 'galsim'} & set(sys.modules)))"
    )
    call(output, "models")  # writes the configuration
    path = Path(output.config.output_dir) / "config.yaml"
    assert (
        subprocess.run([sys.executable, "-c", script, *words, "--config", str(path)], capture_output=True).returncode
        == 0
    )
