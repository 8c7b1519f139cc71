"""The launcher that needs no cluster, on pipelines of toy commands."""

import json
import sys

import pytest
import yaml

from blendinator.errors import ConfigError, DataError
from blendinator.pipeline.kubeflow.conditions import evaluate
from blendinator.pipeline.kubeflow.entrypoint import ROOT_VARIABLE
from blendinator.pipeline.kubeflow.simulator import (
    Simulator,
    last_message,
    merge_output,
    read_pipeline,
    topological_order,
)

# A task that copies its input, adds a file and an empty folder, and notes what it was given.
SCRIPT = """
import json, os, sys
from pathlib import Path
given = json.loads(sys.argv[1])
root = os.environ["BLENDINATOR_ARTIFACT_ROOT"]
local = lambda uri: Path(root) / uri.replace("minio://", "minio/")
target = local(given["outputs"]["artifacts"]["out"]["artifacts"][0]["uri"])
target.mkdir(parents=True)
(target / "empty").mkdir()
(target / "given.json").write_text(json.dumps(given))
seen = {}
for key, entry in given["inputs"]["artifacts"].items():
    folder = local(entry["artifacts"][0]["uri"])
    seen[key] = sorted(path.name for path in folder.iterdir())
metadata = {"blessed": int(sys.argv[2]), "seen": json.dumps(seen)}
[out] = given["outputs"]["artifacts"]["out"]["artifacts"]
output = {"artifacts": {"out": {"artifacts": [{"uri": out["uri"], "metadata": metadata}]}}}
Path(given["outputs"]["outputFile"]).write_text(json.dumps(output))
"""
KIND = {"instanceSchema": "title: tfx.Model\ntype: object\n"}


def task(name, after=(), condition=""):
    inputs = {
        producer: {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": "out"}} for producer in after
    }
    entry = {
        "taskInfo": {"name": name},
        "componentRef": {"name": name},
        "dependentTasks": list(after),
        "inputs": {
            "artifacts": inputs,
            "parameters": {
                "spans": {"componentInputParameter": "spans"},
                "size": {"runtimeValue": {"constant": 32}},
                "folder": {"runtimeValue": {"constant": "/mnt/x/serving"}},
            },
        },
    }
    return entry | ({"triggerPolicy": {"condition": condition}} if condition else {})


def pipeline(tmp_path, tasks, blessed="1", command=None, env=()):
    container = {
        "image": "i",
        "command": command or [sys.executable, "-c", SCRIPT],
        "args": ["{{$}}", blessed],
        "env": [dict(entry) for entry in env],
    }
    kinds = {
        "spans": {"parameterType": "STRING"},
        "size": {"parameterType": "NUMBER_INTEGER"},
        "folder": {"parameterType": "STRING"},
    }
    spec = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "toy"},
        "defaultPipelineRoot": "minio://bucket/root",
        "root": {
            "dag": {"tasks": tasks},
            "inputDefinitions": {"parameters": {"spans": {"parameterType": "STRING", "defaultValue": "latest"}}},
        },
        "components": {
            name: {
                "executorLabel": f"{name}_executor",
                "inputDefinitions": {
                    "parameters": kinds,
                    "artifacts": {key: {"artifactType": KIND} for key in entry["inputs"]["artifacts"]},
                },
                "outputDefinitions": {"artifacts": {"out": {"artifactType": KIND}}},
            }
            for name, entry in tasks.items()
        },
        "deploymentSpec": {"executors": {f"{name}_executor": {"container": container} for name in tasks}},
    }
    mounts = {f"{name}_executor": {"pvcMount": [{"constant": "claim", "mountPath": "/mnt/x"}]} for name in tasks}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": mounts}}}}
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump_all([spec, platform]))
    return path


def given_to(simulator, name):
    address = simulator.produced[name]["out"]["uri"]
    return json.loads((simulator.stored(address) / "given.json").read_text())


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ran")
    condition = "(inputs.artifacts['first'].artifacts[0].metadata['blessed'] == 1.0)"
    tasks = {
        "second": task("second", ["first"], condition),
        "first": task("first"),
        "third": task("third", ["second"]),
        "never": task("never", ["first"], condition.replace("1.0", "0.0")),
        "after": task("after", ["never"]),
    }
    simulator = Simulator(pipeline(folder, tasks), folder / "run", {"spans": "1-3"})
    return simulator, simulator.run()


def test_tasks_run_in_order_and_a_condition_that_fails_skips_all_that_follows(ran):
    _, statuses = ran
    assert statuses == {"first": "done", "never": "skipped", "second": "done", "after": "skipped", "third": "done"}
    assert list(statuses).index("first") < list(statuses).index("second") < list(statuses).index("third")


def test_tasks_are_given_what_kubeflow_gives(ran):
    simulator, _ = ran
    given = given_to(simulator, "second")
    assert given["inputs"]["parameterValues"] == {"spans": "1-3", "size": 32.0, "folder": f"{simulator.volume}/serving"}
    [artifact] = given["inputs"]["artifacts"]["first"]["artifacts"]
    assert artifact["type"] == {"instanceSchema": ""} and artifact["metadata"]["blessed"] == 1.0
    assert artifact["uri"].startswith("minio://bucket/root/toy/")
    assert set(given["outputs"]["artifacts"]) == {"out", "executor-logs"}
    assert given["outputs"]["artifacts"]["out"]["artifacts"][0]["type"] == KIND


def test_files_go_through_the_store_and_empty_folders_vanish(ran):
    simulator, _ = ran
    assert json.loads(simulator.produced["second"]["out"]["metadata"]["seen"]) == {"first": ["given.json"]}
    assert not (simulator.folder / "pods" / "third" / "minio" / "bucket" / "root").samefile(
        simulator.folder / "pods" / "second" / "minio" / "bucket" / "root"
    )


@pytest.mark.parametrize("types, kind", [("general", {"schemaTitle": "system.Model"}), ("kept", KIND)])
def test_other_fates_of_types(tmp_path, types, kind):
    simulator = Simulator(pipeline(tmp_path, {"first": task("first")}), tmp_path / "run", types=types)
    assert simulator.degraded(KIND) == kind


def test_artifacts_on_the_volume_are_not_copied(tmp_path):
    env = [{"name": ROOT_VARIABLE, "value": "/mnt/x/artifacts"}]
    tasks = {"first": task("first"), "second": task("second", ["first"])}
    simulator = Simulator(pipeline(tmp_path, tasks, env=env), tmp_path / "run")
    simulator.run()
    assert json.loads(simulator.produced["second"]["out"]["metadata"]["seen"]) == {"first": ["empty", "given.json"]}
    assert (simulator.volume / "artifacts" / "minio" / "bucket").is_dir() and not (simulator.folder / "store").exists()


def test_a_task_that_fails_stops_the_run_and_names_its_log(tmp_path):
    command = [sys.executable, "-c", "print('before'); raise SystemExit('out of galaxies')"]
    path = pipeline(tmp_path, {"first": task("first"), "second": task("second", ["first"])}, command=command)
    with pytest.raises(DataError, match=r"toy.yaml: task first ended with code 1: out of galaxies\n.*logs/first.log"):
        Simulator(path, tmp_path / "run").run()
    assert "before" in (tmp_path / "run" / "logs" / "first.log").read_text()
    assert not (tmp_path / "run" / "logs" / "second.log").exists()


def test_the_last_error_of_a_log_is_shown_whole():
    assert (
        last_message("a\nDataError: first\nINFO x\nDataError: the data differ:\n  image: noise\nRepair it.\n")
        == "DataError: the data differ:\n  image: noise\nRepair it."
    )
    assert last_message("a\nb\n") == "b" and last_message("") == "no message"


def test_unknown_and_missing_parameters(tmp_path):
    path = pipeline(tmp_path, {"first": task("first")})
    with pytest.raises(ConfigError, match="parameter span: .*toy.yaml has no such parameter; allowed: spans"):
        Simulator(path, tmp_path, {"span": "1"})
    path.write_text(path.read_text().replace("defaultValue: latest", "isOptional: true"))
    with pytest.raises(ConfigError, match="parameter spans: .*toy.yaml needs a value for it"):
        Simulator(path, tmp_path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: [", "x.yaml: this file cannot be read \\((.|\n)*Make it with `blendinator kubeflow compile`"),
        ("a: 1", "x.yaml: this is not a compiled pipeline"),
        ("pipelineInfo: {nmae: x}", "x.yaml: Kubeflow's specification does not allow this"),
    ],
)
def test_files_that_are_no_pipelines(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pipeline(path)


def test_tasks_that_wait_for_each_other():
    with pytest.raises(DataError, match="p.yaml: the tasks a, b wait for each other"):
        topological_order({"a": task("a", ["b"]), "b": task("b", ["a"])}, "p.yaml")


def test_output_that_kubeflow_cannot_store(tmp_path):
    written = {"artifacts": {"out": {"artifacts": [{"metadata": {"reason": None}}]}}}
    with pytest.raises(DataError, match="t.log: output out has no value for reason"):
        merge_output({"out": {"metadata": {}}}, written, tmp_path / "t.log")


NAMES = {"inputs": {"artifacts": {"a": {"artifacts": [{"metadata": {"x": 1.0, "name": "a && b"}}]}}}}
X = "inputs.artifacts['a'].artifacts[0].metadata['x']"


@pytest.mark.parametrize(
    "condition, expected",
    [
        (f"({X} == 1.0)", True),
        (f"{X} != 1", False),
        (f"!({X} > 2.0) && ({X} < 2.0)", True),
        (f"({X} < 0.0) || ({X} >= 1.0)", True),
        (X.replace("'x'", "'name'") + " == 'a && b'", True),
        ("true", True),
    ],
)
def test_conditions(condition, expected):
    assert evaluate(condition, NAMES) is expected


def test_conditions_as_tfx_compiles_them():
    from tfx import v1 as tfx
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    importer = tfx.dsl.Importer(source_uri="/x", artifact_type=tfx.types.standard_artifacts.ModelBlessing).with_id(
        "gate"
    )
    blessing = importer.outputs["result"]
    importer_model = tfx.dsl.Importer(source_uri="/m", artifact_type=tfx.types.standard_artifacts.Model).with_id(
        "model"
    )
    with tfx.dsl.Cond(blessing.future()[0].custom_property("blessed") == 1):
        pusher = tfx.components.Pusher(
            model=importer_model.outputs["result"],
            push_destination=tfx.proto.PushDestination(
                filesystem=tfx.proto.PushDestination.Filesystem(base_directory="/s")
            ),
        ).with_id("PusherIfBlessed")
    dag = tfx.dsl.Pipeline(pipeline_name="toy", pipeline_root="/r", components=[importer, importer_model, pusher])
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image="i", use_pipeline_spec_2_1=True)
    )
    compiled = runner.run(dag, write_out=False)["pipelineSpec"]["root"]["dag"]["tasks"]["PusherIfBlessed"]
    condition = compiled["triggerPolicy"]["condition"]
    [key] = [
        name
        for name, source in compiled["inputs"]["artifacts"].items()
        if source["taskOutputArtifact"]["producerTask"] == "gate"
    ]
    artifacts = lambda blessed: {"inputs": {"artifacts": {key: {"artifacts": [{"metadata": {"blessed": blessed}}]}}}}
    assert evaluate(condition, artifacts(1.0)) is True and evaluate(condition, artifacts(0.0)) is False


@pytest.mark.parametrize("condition", ["open('x')", "inputs.nothing == 1", "1 +", "inputs.artifacts['b'] == 1"])
def test_conditions_of_another_kind(condition):
    with pytest.raises(DataError, match="this cannot be evaluated"):
        evaluate(condition, NAMES)
