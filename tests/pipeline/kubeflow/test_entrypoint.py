"""Every repair on real executors of TFX, which fail without it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from blendinator.errors import ConfigError
from blendinator.pipeline.kubeflow import entrypoint

PUSHER = "tfx.components.pusher.executor.Executor"
TYPES = {"model": "tfx.Model", "model_blessing": "tfx.ModelBlessing", "infra_blessing": "tfx.InfraBlessing"}
EMPTY = {"instanceSchema": ""}


def schema(name):
    return {"instanceSchema": f"title: {name}\ntype: object\n"}


def spec(types):
    return {"artifacts": {key: {"artifactType": schema(name)} for key, name in types.items()}}


class Task:
    """A Pusher's task as Kubeflow's launcher starts it, with the artifacts in an object store named minio://."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.root = folder / "pod"
        self.output_file = self.root / "minio" / "bucket" / "run" / "output_metadata.json"
        self.serving = folder / "serving"
        self.inputs = {
            name: {"name": "7", "type": EMPTY, "uri": f"minio://bucket/{name}", "metadata": {}} for name in TYPES
        }
        for name in ("model_blessing", "infra_blessing"):
            self.inputs[name]["metadata"] = {"blessed": 1.0}
        self.outputs = {
            "pushed_model": {
                "name": "pushed_model",
                "type": schema("tfx.PushedModel"),
                "uri": "minio://bucket/run/pushed_model",
                "metadata": {},
            }
        }
        saved = self.local("model") / "Format-Serving"
        (saved / "variables").mkdir(parents=True)
        (saved / "saved_model.pb").write_bytes(b"graph")
        (saved / "variables" / "variables.index").write_bytes(b"weights")
        for name in ("model_blessing", "infra_blessing"):
            self.local(name).mkdir()
        self.output_file.parent.mkdir(parents=True)

    def local(self, name):
        return self.root / "minio" / "bucket" / name

    @property
    def executor_input(self):
        listed = lambda artifacts: {name: {"artifacts": [artifact]} for name, artifact in artifacts.items()}
        destination = json.dumps({"filesystem": {"base_directory": str(self.serving)}})
        return {
            "inputs": {
                "artifacts": listed(self.inputs),
                "parameterValues": {"push_destination": destination, "custom_config": "null"},
            },
            "outputs": {"artifacts": listed(self.outputs), "outputFile": str(self.output_file)},
        }

    def arguments(self, executor_input=None):
        return [
            "--executor_class_path",
            PUSHER,
            "--json_serialized_invocation_args",
            json.dumps(executor_input or self.executor_input),
            "--json_serialized_inputs_spec_args",
            json.dumps(spec(TYPES) | {"parameters": {"push_destination": {"parameterType": "STRING"}}}),
            "--json_serialized_outputs_spec_args",
            json.dumps(spec({"pushed_model": "tfx.PushedModel"})),
        ]

    def run(self, monkeypatch):
        monkeypatch.setenv(entrypoint.ROOT_VARIABLE, str(self.root))
        return entrypoint.main(self.arguments())

    def run_without(self, monkeypatch, name, replacement):
        """The same with one repair replaced; raises whatever TFX raises."""
        monkeypatch.setattr(entrypoint, name, replacement)
        return self.run(monkeypatch)

    @property
    def pushed(self):
        return [
            path.relative_to(version).as_posix()
            for version in self.serving.glob("*")
            for path in sorted(version.rglob("*"))
            if path.is_file()
        ]


@pytest.fixture
def task(tmp_path):
    return Task(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        EMPTY,
        {},
        None,
        {"schemaTitle": "system.Model"},
        {"schemaTitle": "tfx.Model"},
        {"instanceSchema": "title: system.Artifact"},
        schema("tfx.Model"),
    ],
)
def test_types_are_taken_from_the_specification(task, monkeypatch, given):
    task.inputs["model"]["type"] = given
    task.outputs["pushed_model"]["type"] = {"schemaTitle": "system.Model"}
    assert task.run(monkeypatch) == 0
    assert task.pushed == ["saved_model.pb", "variables/variables.index"]


@pytest.mark.parametrize("given", [EMPTY, {"schemaTitle": "system.Model"}])
def test_tfx_fails_on_the_types_of_kubeflow(task, monkeypatch, given):
    task.inputs["model"]["type"] = given
    with pytest.raises((TypeError, AttributeError, ValueError, ImportError)):
        task.run_without(monkeypatch, "set_types", lambda artifacts, wanted: None)


def test_output_of_the_driver_is_left_out(task, monkeypatch):
    log = {
        "name": "executor-logs",
        "type": {"schemaTitle": "system.Artifact"},
        "uri": "minio://bucket/run/executor-logs",
    }
    task.outputs["executor-logs"] = log
    assert task.run(monkeypatch) == 0
    assert set(json.loads(task.output_file.read_text())["artifacts"]) == {"pushed_model"}


def test_the_output_names_addresses_in_the_object_store(task, monkeypatch):
    assert task.run(monkeypatch) == 0
    output = json.loads(task.output_file.read_text())["artifacts"]["pushed_model"]["artifacts"][0]
    assert output["uri"] == "minio://bucket/run/pushed_model"
    assert output["metadata"]["pushed"] == 1
    assert output["metadata"]["pushed_destination"].startswith(str(task.serving))


def test_the_gates_refusal_arrives(task, monkeypatch):
    task.inputs["model_blessing"]["metadata"]["blessed"] = 0.0
    assert task.run(monkeypatch) == 0
    assert task.pushed == []
    [pushed] = json.loads(task.output_file.read_text())["artifacts"]["pushed_model"]["artifacts"]
    assert pushed["metadata"]["pushed"] == 0


def test_flat_model_is_found(task, monkeypatch):
    flat = task.local("model") / "Format-Serving"
    for path in list(flat.iterdir()):
        path.rename(task.local("model") / path.name)
    flat.rmdir()
    assert task.run(monkeypatch) == 0
    assert task.pushed == ["saved_model.pb", "variables/variables.index"]


def test_tfx_pushes_nothing_of_a_flat_model_and_says_that_it_pushed(task, monkeypatch):
    (task.local("model") / "Format-Serving").rename(task.local("flat"))
    task.inputs["model"]["uri"] = "minio://bucket/flat"
    task.run_without(monkeypatch, "view_flat_model", lambda artifact, view, local: None)
    assert task.pushed == []


def test_markers_of_folders_become_folders(task, monkeypatch):
    saved = task.local("model") / "Format-Serving"
    (saved / "assets").touch()
    (saved / "BLESSED").touch()  # no folder's name: a file of no bytes stays one
    assert task.run(monkeypatch) == 0
    [version] = task.serving.glob("*")
    assert (version / "BLESSED").is_file() and not (version / "assets").is_file()


def test_an_artifact_without_files_is_an_empty_folder(tmp_path):
    entrypoint.repair_folder(tmp_path / "gone")
    (tmp_path / "marker").touch()
    entrypoint.repair_folder(tmp_path / "marker")
    assert (tmp_path / "gone").is_dir() and (tmp_path / "marker").is_dir()


@pytest.mark.parametrize(
    "uri, path",
    [
        ("gs://b/x/y", "/gcs/b/x/y"),
        ("s3://b/x", "/s3/b/x"),
        ("minio://mlpipeline/v2/z", "/minio/mlpipeline/v2/z"),
        ("/mnt/volume/x", "/mnt/volume/x"),
    ],
)
def test_local_paths_are_those_of_kubeflows_launcher(uri, path):
    assert entrypoint.local_path(uri) == path
    if not uri.startswith("/"):
        assert entrypoint.local_path(uri, "/mnt/a") == "/mnt/a" + path


def test_metadata_of_the_output_is_fit_for_kubeflow(tmp_path):
    file = tmp_path / "output.json"
    metadata = {
        "current_model": "/minio/b/model/Format-Serving",
        "other": "/minio/b/model2",
        "nothing": None,
        "blessed": 1.0,
    }
    file.write_text(
        json.dumps({"artifacts": {"blessing": {"artifacts": [{"uri": "/minio/b/x", "metadata": metadata}]}}})
    )
    entrypoint.restore_output(str(file), {"/minio/b/model": "minio://b/model", "/minio/b/x": "minio://b/x"})
    [artifact] = json.loads(file.read_text())["artifacts"]["blessing"]["artifacts"]
    assert artifact["uri"] == "minio://b/x"
    assert artifact["metadata"] == {
        "current_model": "minio://b/model/Format-Serving",
        "other": "/minio/b/model2",
        "blessed": 1.0,
    }


def test_dataflow_reads_the_object_store_itself(task):
    given = task.executor_input
    repaired, local = entrypoint.repair(
        given, spec(TYPES), spec({"pushed_model": "tfx.PushedModel"}), "/", "/s", remote=True
    )
    assert local == {} and repaired["inputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "minio://bucket/model"
    assert entrypoint.keeps_remote(["--runner=DataflowRunner"])
    assert not entrypoint.keeps_remote(["--runner=FlinkRunner"]) and not entrypoint.keeps_remote([])


def test_markers_written_by_tensorflow_are_deleted():
    files = [
        SimpleNamespace(path="gs://b/m/", size_in_bytes=0),
        SimpleNamespace(path="gs://b/m/BLESSED", size_in_bytes=0),
        SimpleNamespace(path="gs://b/m/x", size_in_bytes=3),
    ]
    deleted = []
    store = SimpleNamespace(match=lambda patterns: [SimpleNamespace(metadata_list=files)], delete=deleted.extend)
    entrypoint.delete_markers("gs://b/m", store)
    assert deleted == ["gs://b/m/"]


def test_repair_leaves_its_argument_alone(task):
    given = task.executor_input
    before = json.dumps(given)
    entrypoint.repair(given, spec(TYPES), {}, str(task.root), str(task.folder))
    assert json.dumps(given) == before


def test_unknown_address_is_refused():
    with pytest.raises(
        ConfigError, match=r"artifact 'ftp://x': this address cannot be read; allowed: gs://, s3://, minio://"
    ):
        entrypoint.local_path("ftp://x")


def test_unknown_type_without_specification_is_refused():
    artifacts = {"thing": {"artifacts": [{"type": {"schemaTitle": "system.Model"}}]}}
    with pytest.raises(
        ConfigError, match="artifact thing: received the type .*system.Model.*Compile the pipeline again"
    ):
        entrypoint.set_types(artifacts, {})


def test_command_line_that_kubeflow_did_not_fill_in():
    with pytest.raises(ConfigError, match=r"--x: received '\{\{\$\}\}', which is not JSON"):
        entrypoint.parse_json("{{$}}", "--x")
    with pytest.raises(ConfigError, match=r"--x: received '\[\]'; allowed: a JSON object"):
        entrypoint.parse_json("[]", "--x")


def test_exit_code_and_message_of_a_users_mistake(task, monkeypatch, capsys):
    task.inputs["model"]["uri"] = "ftp://x"
    assert task.run(monkeypatch) == 1
    assert "ConfigError: artifact 'ftp://x'" in capsys.readouterr().err


def test_exit_code_of_the_process(task):
    command = [sys.executable, "-m", "blendinator.pipeline.kubeflow.entrypoint", *task.arguments()]
    command[command.index("--json_serialized_invocation_args") + 1] = "{{$}}"
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1 and "which is not JSON" in process.stderr and "Traceback" not in process.stderr
