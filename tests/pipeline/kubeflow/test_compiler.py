"""The compiled specification: what the configuration asks for is in it, and Kubeflow's own tools can read it."""

import json
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from blendinator.config import Config
from blendinator.config_loader import config_from_dict
from blendinator.errors import ConfigError
from blendinator.pipeline.commands.kubeflow import kubeflow
from blendinator.pipeline.kubeflow import compiler, single_pod

IMAGE, ROOT = "registry.example.org/blendinator:1", "minio://mlpipeline/v2/artifacts"
CLUSTER = {
    "claim": "galaxies",
    "mount_path": "/data",
    "secrets": [{"name": "bucket", "env": ["key=AWS_SECRET_ACCESS_KEY"]}, {"name": "token", "mount_path": "/secret"}],
    "resources": [
        {"component": "", "cpu": 0.5, "memory": 2},
        {
            "component": "Trainer",
            "cpu": 4,
            "cpu_limit": 8,
            "memory": 16,
            "memory_limit": 24,
            "gpu": 1,
            "gpu_type": "nvidia.com/gpu",
            "node_selector": ["pool=gpu"],
        },
    ],
}


@pytest.fixture(scope="module")
def documents():
    return compiler.compile_pipeline(config_from_dict({"kubeflow": CLUSTER}), IMAGE, ROOT, "latest:3")


def containers(spec):
    return {name: entry["container"] for name, entry in spec["deploymentSpec"]["executors"].items()}


def constant(spec, task, name):
    return spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"][name]["runtimeValue"]["constant"]


def test_every_component_of_the_dag_is_a_task(documents):
    from blendinator.pipeline.dag import create_pipeline

    names = {component.id for component in create_pipeline(Config(output_dir="/x"), "1").components}
    assert set(documents[0]["root"]["dag"]["tasks"]) == names
    assert documents[0]["schemaVersion"] == "2.1.0" and documents[0]["defaultPipelineRoot"] == ROOT


def test_every_task_runs_our_entry_point_in_the_image(documents):
    for container in containers(documents[0]).values():
        assert container["image"] == IMAGE and container["command"] == [
            "python",
            "-m",
            "blendinator.pipeline.kubeflow.entrypoint",
        ]
        position = container["args"].index("--json_serialized_outputs_spec_args")
        assert "artifactType" in container["args"][position + 1]
        assert "lifecycle" not in container  # no driver hook, which Kubeflow does not run


def test_runtime_parameters_reach_their_tasks(documents):
    spec = documents[0]
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: entry["defaultValue"] for name, entry in inputs.items()} == {
        "spans": "latest:3",
        "data_root": "/data/data",
        "thresholds": "",
        "train_args": '{"splits": ["train"], "num_steps": 0}',
    }
    used = {
        (task, name): source["componentInputParameter"]
        for task, entry in spec["root"]["dag"]["tasks"].items()
        for name, source in entry["inputs"].get("parameters", {}).items()
        if "componentInputParameter" in source
    }
    assert used == {
        ("SpanExampleGen", "spans"): "spans",
        ("SpanExampleGen", "data_root"): "data_root",
        ("Trainer", "train_args"): "train_args",
        ("CalibrationEvaluator", "thresholds"): "thresholds",
    }


def test_what_stays_lies_on_the_volume(documents):
    spec = documents[0]
    assert constant(spec, "LiveModel", "serving_dir") == "/data/serving/blendinator"
    destination = json.loads(constant(spec, "Pusher", "push_destination"))
    assert destination["filesystem"]["base_directory"] == "/data/serving/blendinator"
    assert json.loads(json.loads(constant(spec, "Trainer", "custom_config"))["config"])["output_dir"] == "/data"


def test_the_push_needs_both_blessings(documents):
    artifacts = documents[0]["root"]["dag"]["tasks"]["Pusher"]["inputs"]["artifacts"]
    producers = {name: source["taskOutputArtifact"]["producerTask"] for name, source in artifacts.items()}
    assert producers == {"model": "Trainer", "model_blessing": "CalibrationEvaluator", "infra_blessing": "ExportCheck"}


def test_nothing_is_cached(documents):
    """Kubeflow's cache does not see the data and the pushed models on the volume."""
    assert not any(
        task.get("cachingOptions", {}).get("enableCache") for task in documents[0]["root"]["dag"]["tasks"].values()
    )


def test_resources(documents):
    resources = {name: container["resources"] for name, container in containers(documents[0]).items()}
    assert resources["Trainer_executor"] == {
        "cpuRequest": 4.0,
        "cpuLimit": 8.0,
        "memoryRequest": 16.0,
        "memoryLimit": 24.0,
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    assert resources["Transform_executor"] == {"cpuRequest": 0.5, "memoryRequest": 2.0}


def test_volume_secrets_and_node_pool(documents):
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(documents[0]["deploymentSpec"]["executors"])
    for entry in executors.values():
        json_format.ParseDict(entry, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        assert entry["pvcMount"] == [{"constant": "galaxies", "mountPath": "/data"}]
        assert entry["secretAsEnv"] == [
            {"secretName": "bucket", "keyToEnv": [{"secretKey": "key", "envVar": "AWS_SECRET_ACCESS_KEY"}]}
        ]
        assert entry["secretAsVolume"] == [{"secretName": "token", "mountPath": "/secret"}]
    assert executors["Trainer_executor"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert "nodeSelector" not in executors["Transform_executor"]


def test_kubeflows_protobuf_and_sdk_read_the_file(documents, tmp_path):
    path = tmp_path / "pipeline.yaml"
    compiler.write_yaml(documents, path)
    spec, platform = yaml.safe_load_all(path.read_text())
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    loaded = components.load_component_from_file(str(path))
    assert loaded.name == "blendinator" and set(loaded.component_spec.inputs) == set(compiler.DESCRIPTIONS)


def test_the_same_configuration_gives_the_same_file_in_another_process(documents, tmp_path):
    compiler.write_yaml(documents, tmp_path / "here.yaml")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kubeflow": CLUSTER}))
    command = [
        sys.executable,
        "-m",
        "blendinator.pipeline.cli",
        "kubeflow",
        "compile",
        "--config",
        tmp_path / "config.yaml",
        "--image",
        IMAGE,
        "--pipeline-root",
        ROOT,
        "--spans",
        "latest:3",
        "--output",
        tmp_path / "there.yaml",
    ]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{tmp_path}/there.yaml\n" and process.stderr == ""
    assert (tmp_path / "there.yaml").read_bytes() == (tmp_path / "here.yaml").read_bytes()


def test_artifacts_on_the_volume():
    settings = config_from_dict({"kubeflow": {**CLUSTER, "artifacts_on_volume": True}}).kubeflow
    assert {"name": "BLENDINATOR_ARTIFACT_ROOT", "value": "/data/artifacts"} in compiler.environment(settings)
    assert "BLENDINATOR_ARTIFACT_ROOT" not in str(compiler.environment(Config().kubeflow))


def test_single_pod(tmp_path):
    spec, platform = compiler.compile_single_pod(config_from_dict({"kubeflow": CLUSTER}), IMAGE, ROOT, "1-3")
    [container] = containers(spec).values()
    assert container["command"] == ["python", "-m", "blendinator.pipeline.kubeflow.single_pod"]
    assert container["resources"]["memoryRequest"] == 16.0
    [mounts] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert mounts["pvcMount"] == [{"constant": "galaxies", "mountPath": "/data"}]
    arguments = dict(zip(container["args"][::2], container["args"][1::2]))
    assert arguments["--spans"] == "{{$.inputs.parameters['spans']}}"
    config = single_pod.read_config(
        arguments["--config_json"], compiler.train_args(7), '[{"metric": "iou_galaxy", "min": 0.1}]'
    )
    assert config.output_dir == "/data" and config.training.steps == 7 and len(config.evaluation.thresholds) == 1
    assert single_pod.read_config(arguments["--config_json"], compiler.train_args(), "").training == Config().training
    compiler.write_yaml([spec, platform], tmp_path / "single.yaml")
    assert components.load_component_from_file(str(tmp_path / "single.yaml")).name == "blendinator"


def test_parameters_of_a_single_pod_that_cannot_be_read(capsys):
    with pytest.raises(
        ConfigError, match=r"thresholds: received '\[x', which is not JSON .* Correct the run's parameter"
    ):
        single_pod.read_config("{}", "", "[x")
    assert single_pod.main(["--config_json", "{}", "--train_args", '{"num_steps": -1}']) == 1
    assert "the run's parameters: training.steps: received -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "raw, image, root, message",
    [
        ({}, "My Image", ROOT, "`image`: received 'My Image'; allowed: a container image such as"),
        (
            {},
            IMAGE,
            "/mnt/artifacts",
            "`pipeline_root`: received '/mnt/artifacts'; allowed: gs://.*artifacts_on_volume",
        ),
        (
            {"kubeflow": {"resources": [{"component": "Trainre"}]}},
            IMAGE,
            ROOT,
            r"kubeflow.resources\[0\].component: received 'Trainre'; allowed: one of AnomalyGate, ",
        ),
        (
            {"beam": {"pipeline_args": ["--runner=FlinkRunner", "--flink_master=a", "--environment_type=LOOPBACK"]}},
            IMAGE,
            ROOT,
            "kubeflow.artifacts_on_volume: received false; allowed with --runner=FlinkRunner: true",
        ),
        (
            {
                "beam": {
                    "pipeline_args": [
                        "--runner=DataflowRunner",
                        "--project=p",
                        "--region=r",
                        "--temp_location=gs://b",
                        "--sdk_container_image=i",
                    ]
                }
            },
            IMAGE,
            ROOT,
            "`pipeline_root`: received 'minio://.*allowed with --runner=DataflowRunner: gs://",
        ),
    ],
)
def test_mistakes(raw, image, root, message):
    with pytest.raises(ConfigError, match=message):
        compiler.compile_pipeline(config_from_dict(raw), image, root)


def test_compile_says_what_is_missing():
    result = CliRunner().invoke(kubeflow, ["compile", "--image", IMAGE])
    assert result.exit_code == 2 and "--pipeline-root" in result.output


# Without a volume

STORAGE = {"data_root": "gs://bucket/data", "serving_dir": "gs://bucket/serving"}


def test_without_a_claim_data_and_pushes_are_in_the_object_store():
    config = config_from_dict({"storage": STORAGE, "kubeflow": {**CLUSTER, "claim": "", "secrets": []}})
    spec, platform = compiler.compile_pipeline(config, IMAGE, "gs://bucket/artifacts")
    assert "pvcMount" not in json.dumps(platform)
    assert "/data/" not in json.dumps(spec) and "/mnt/" not in json.dumps(spec)
    assert spec["root"]["inputDefinitions"]["parameters"]["data_root"]["defaultValue"] == "gs://bucket/data"
    assert constant(spec, "LiveModel", "serving_dir") == "gs://bucket/serving"
    destination = json.loads(constant(spec, "Pusher", "push_destination"))
    assert destination["filesystem"]["base_directory"] == "gs://bucket/serving"
    trained = json.loads(json.loads(constant(spec, "Trainer", "custom_config"))["config"])
    assert trained["output_dir"] == "/tmp/blendinator"


def test_a_claim_and_a_store_can_stand_together(documents):
    config = config_from_dict({"storage": {"serving_dir": "gs://bucket/serving"}, "kubeflow": CLUSTER})
    spec, platform = compiler.compile_pipeline(config, IMAGE, ROOT)
    assert spec["root"]["inputDefinitions"]["parameters"]["data_root"]["defaultValue"] == "/data/data"
    assert constant(spec, "LiveModel", "serving_dir") == "gs://bucket/serving"
    assert platform == documents[1]


@pytest.mark.parametrize(
    "storage, cluster, message",
    [
        ({}, {"claim": ""}, "storage.data_root: received nothing; allowed without a volume .*: gs://bucket/folder"),
        ({**STORAGE, "serving_dir": ""}, {"claim": ""}, "storage.serving_dir: received nothing; allowed without"),
        ({"data_root": "/home/me"}, {}, "storage.data_root: received '/home/me'; allowed on Kubeflow: gs://bucket/"),
        (
            STORAGE,
            {"claim": "", "artifacts_on_volume": True},
            "kubeflow.artifacts_on_volume: received true; allowed without a volume .*: false",
        ),
    ],
)
def test_storage_that_pods_would_not_see(storage, cluster, message):
    with pytest.raises(ConfigError, match=message):
        compiler.compile_pipeline(config_from_dict({"storage": storage, "kubeflow": cluster}), IMAGE, ROOT)


def test_a_single_pod_needs_a_claim():
    config = config_from_dict({"storage": STORAGE, "kubeflow": {"claim": ""}})
    with pytest.raises(
        ConfigError, match="kubeflow.claim: received ''; allowed with --single-pod: the name of a claim"
    ):
        compiler.compile_single_pod(config, IMAGE, ROOT)
