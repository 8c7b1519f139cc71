"""The list of versions, where each comes from, the way back, and what is kept: on a metadata store made by hand."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as proto

from blendinator.config import Config, RetrainingConfig
from blendinator.data import spans
from blendinator.errors import ConfigError, DataError, ModelError
from blendinator.files import INCOMING, remove_folder
from blendinator.model.live import FACTS_FILE, list_versions
from blendinator.pipeline import cli
from blendinator.pipeline.history import lineage, metadata, retention

RULE = {
    "metric": "iou_galaxy",
    "population": "boosted",
    "slice": "",
    "bound": "value",
    "min": 0.5,
    "max": None,
    "value": 0.8,
    "low": 0.7,
    "high": 0.9,
    "scenes": 100,
    "passed": True,
    "reason": "passed",
}


class Output:
    """An output folder with runs, as the pipeline leaves them."""

    def __init__(self, folder: Path, **retraining):
        self.config = dataclasses.replace(Config(), output_dir=str(folder), retraining=RetrainingConfig(**retraining))
        folder.mkdir(parents=True, exist_ok=True)
        connection = metadata_store_pb2_config(self.config.metadata_path)
        self.store = metadata_store.MetadataStore(connection)
        self.names = []

    def execution(self, name, context, inputs, outputs, state=proto.Execution.COMPLETE, **properties):
        """Publishes an execution; outputs: {type: (folder, custom properties)} -> {type: artifact}."""
        kind = self.store.put_execution_type(proto.ExecutionType(name=f"components.{name}"))
        execution = proto.Execution(type_id=kind, last_known_state=state)
        for key, value in properties.items():
            execution.custom_properties[key].string_value = value
        pairs = [(artifact, proto.Event(type=proto.Event.INPUT)) for artifact in inputs]
        made = {}
        for type_name, (folder, custom) in outputs.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "data").write_text("x" * 1000)
            artifact = proto.Artifact(
                type_id=self.store.put_artifact_type(proto.ArtifactType(name=type_name)),
                uri=str(folder),
                state=proto.Artifact.LIVE,
            )
            for key, value in custom.items():
                field = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[key], field, value)
            made[type_name] = artifact
            pairs.append((artifact, proto.Event(type=proto.Event.OUTPUT)))
        _, artifact_ids, _ = self.store.put_execution(execution, pairs, [context])
        for artifact, artifact_id in zip([pair[0] for pair in pairs], artifact_ids):
            artifact.id = artifact_id
        return made

    def run(self, number, span, baseline=None, pushed=True):
        """A run on one span; pushes version `number`."""
        kind = self.store.put_context_type(proto.ContextType(name="pipeline_run"))
        context = proto.Context(type_id=kind, name=f"2026-01-{number:02d}T10:00:00")
        [context.id] = self.store.put_contexts([context])
        self.names.append(context.name)
        root = self.config.pipeline_root
        ingested = self.execution(
            "SpanExampleGen",
            context,
            [],
            {"Examples": (root / "SpanExampleGen" / "examples" / str(number), {"spans": str(span)})},
        )
        trained = self.execution(
            "Trainer",
            context,
            [ingested["Examples"]],
            {"Model": (root / "Trainer" / "model" / str(number), {})},
            custom_config=json.dumps({"data": f"data{span}", "code": "code1"}),
        )
        evaluated = self.execution(
            "CalibrationEvaluator",
            context,
            [ingested["Examples"], trained["Model"]],
            {
                "ModelEvaluation": (root / "CalibrationEvaluator" / "evaluation" / str(number), {}),
                "ModelBlessing": (root / "CalibrationEvaluator" / "blessing" / str(number), {}),
            },
        )
        metrics = {
            "populations": {"boosted": {"metrics": {"iou_galaxy": {"value": 0.8 + number / 1000}}}},
            "live_version": baseline,
            "thresholds": [RULE],
        }
        (Path(evaluated["ModelEvaluation"].uri) / "metrics.json").write_text(json.dumps(metrics))
        destination = self.config.serving_dir / str(number)
        custom = {"pushed": int(pushed)}
        if pushed:
            custom |= {"pushed_version": str(number), "pushed_destination": str(destination)}
            (destination / FACTS_FILE).parent.mkdir(parents=True)
            (destination / "saved_model.pb").write_text(f"model {number}")
            start = {"kind": "cold", "reason": "there is no live model"}
            if baseline:
                start = {"kind": "warm", "version": baseline}
            (destination / FACTS_FILE).write_text(json.dumps({"key": f"key{number}", "spans": [span], "start": start}))
        self.execution(
            "Pusher",
            context,
            [trained["Model"], evaluated["ModelBlessing"]],
            {"PushedModel": (root / "Pusher" / "pushed_model" / str(number), custom)},
        )
        report = Path(self.config.output_dir) / "reports" / context.name.replace(":", "")
        report.mkdir(parents=True)
        folder = spans.span_dir(self.config.data_root, span)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / spans.MANIFEST).write_text(
            json.dumps({"complete": True, "format_version": 1, "files": {}, "splits": {}, "simulation": {"seed": 1}})
        )

    def versions(self):
        return [int(path.name) for path in list_versions(self.config.serving_dir)]


def metadata_store_pb2_config(path):
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    return connection


@pytest.fixture
def output(tmp_path):
    """Three runs that pushed versions 1, 2 and 3, each warm from the one before."""
    made = Output(tmp_path / "output")
    for number in (1, 2, 3):
        made.run(number, span=number, baseline=str(number - 1) if number > 1 else None)
    return made


def test_list_of_the_versions(output):
    found = lineage.list_models(output.config)
    assert [one["version"] for one in found] == ["3", "2", "1"]
    assert [one["live"] for one in found] == [True, False, False]
    assert found[0]["spans"] == [3] and found[0]["start"] == "warm from 2" and found[2]["start"] == "cold"
    assert found[1]["metrics"] == {"boosted iou_galaxy": 0.802} and found[0]["pushed"].startswith("20")


def test_list_without_metadata(output):
    output.config.metadata_path.unlink()
    assert [one["version"] for one in lineage.list_models(output.config)] == ["3", "2", "1"]


def test_lineage(output):
    found = lineage.lineage(output.config, "2")
    assert [found[key] for key in ("run", "spans", "data_fingerprint", "code")] == [
        output.names[1],
        [2],
        "data2",
        "code1",
    ]
    assert found["baseline"] == "1" and found["republishes"] is None
    assert found["start"] == {"kind": "warm", "version": "1"}
    assert found["metrics"] == {"boosted iou_galaxy": 0.802} and found["rules"] == [RULE]
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


def many_runs(tmp_path, **retraining):
    made = Output(tmp_path / "output", **retraining)
    for number in range(1, 7):
        made.run(number, span=number, baseline=str(number - 1) if number > 1 else None)
    return made


def doomed_names(output, kind):
    return sorted(one.path.name for one in retention.plan(output.config) if one.kind == kind)


def test_newest_versions_and_their_baselines_stay(tmp_path):
    output = many_runs(tmp_path, keep_versions=2)
    assert doomed_names(output, "version") == ["1", "2", "3"]  # 6 and 5 stay, and 4, with which 5 was compared
    assert [path.name for path in retention.prune_versions(output.config)] == ["1", "2", "3"]
    assert output.versions() == [4, 5, 6]


def test_a_baseline_that_only_the_evaluation_tells_stays_too(tmp_path):
    output = many_runs(tmp_path, keep_versions=1)
    facts = output.config.serving_dir / "6" / FACTS_FILE
    facts.write_text(json.dumps({"start": {"kind": "cold", "reason": "it is switched off"}}))
    assert doomed_names(output, "version") == ["1", "2", "3", "4"]


def test_artifacts_of_old_runs_go_but_for_those_behind_kept_versions(tmp_path):
    output = many_runs(tmp_path, keep_versions=2, keep_runs=1)
    orphan = output.config.pipeline_root / "Trainer" / "model" / "99"  # of a run that was killed
    orphan.mkdir()
    going = {
        str(one.path.relative_to(output.config.pipeline_root))
        for one in retention.plan(output.config)
        if one.kind == "artifact"
    }
    everything = {
        f"{folder}/{number}"
        for number in range(1, 7)
        for folder in (
            "SpanExampleGen/examples",
            "Trainer/model",
            "CalibrationEvaluator/evaluation",
            "CalibrationEvaluator/blessing",
            "Pusher/pushed_model",
        )
    }
    kept = {name for name in everything if name.endswith(("4", "5", "6")) and not name.startswith("SpanExampleGen")}
    assert everything - going == kept | {"SpanExampleGen/examples/6"}
    assert going - everything == {"Trainer/model/99"}
    assert doomed_names(output, "report") == [f"2026-01-{number:02d}T100000" for number in (1, 2, 3)]


def test_pruning_is_marked_in_the_metadata_and_leaves_nothing_to_prune(tmp_path):
    output = many_runs(tmp_path, keep_versions=1, keep_runs=1)
    expired = retention.prune(output.config)
    assert expired and not any(one.path.exists() for one in expired)
    assert retention.plan(output.config) == []
    states = {Path(one.uri): one.state for one in output.store.get_artifacts()}
    assert all((state == proto.Artifact.DELETED) == (not path.exists()) for path, state in states.items())
    assert lineage.lineage(output.config, "1")["spans"] == [1]  # the record outlives the files
    assert lineage.lineage(output.config, "6")["metrics"]


def test_spans(tmp_path):
    output = many_runs(tmp_path, keep_spans=2)
    own = spans.span_dir(output.config.data_root, 1) / spans.MANIFEST
    own.write_text(json.dumps({"complete": True, "format_version": 1, "files": {}, "splits": {}}))  # a user's
    assert doomed_names(output, "span") == ["span-0002", "span-0003", "span-0004"]
    lineage.rollback(output.config, "3")
    assert doomed_names(output, "span") == ["span-0002", "span-0004"]  # 3 is the live version's
    assert doomed_names(Output(tmp_path / "output", keep_spans=0), "span") == []


def test_logs_checkpoints_and_leftovers(tmp_path):
    output = many_runs(tmp_path, keep_logs=2)
    folder = Path(output.config.output_dir)
    (folder / "logs").mkdir()
    for number in range(4):
        (folder / "logs" / f"run-{number}.log").touch()
        os.utime(folder / "logs" / f"run-{number}.log", (number, number))
        (folder / "checkpoints" / str(number)).mkdir(parents=True)
    (folder / "logs" / "runs.jsonl").touch()
    (output.config.serving_dir / (INCOMING + "7")).mkdir()
    (output.config.pipeline_root / "Trainer" / ".system" / "executor_execution" / "3").mkdir(parents=True)
    assert doomed_names(output, "log") == ["run-0.log", "run-1.log"]
    (folder / "logs" / "run-0.log").rename(folder / "logs" / f"run-0-{os.getpid()}.log")  # ours; the clock went back
    assert doomed_names(output, "log") == ["run-1.log"]
    assert len(doomed_names(output, "checkpoint")) == 3
    assert doomed_names(output, "leftover") == [".incoming-7", "3"]


def test_nothing_has_run(tmp_path):
    config = dataclasses.replace(Config(), output_dir=str(tmp_path))
    assert retention.plan(config) == [] and lineage.list_models(config) == []


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


def test_nothing_was_pushed(tmp_path):
    assert "nothing was pushed yet" in call(Output(tmp_path / "output"), "models").output


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
