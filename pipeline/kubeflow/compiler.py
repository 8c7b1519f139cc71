"""The DAG as a Kubeflow Pipelines v2 specification (schema 2.1.0), made offline.

TFX's compiler writes the tasks; this module adds what it leaves out: the parameters' defaults, the pipeline root, the
types of each task's outputs for `blendinator.pipeline.kubeflow.entrypoint`, and the volume, secrets and node pools.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from blendinator.config import Config, KubeflowConfig, ResourceConfig
from blendinator.config_loader import config_to_dict
from blendinator.data.spans import parse_selection
from blendinator.errors import ConfigError
from blendinator.pipeline.beam_args import runner_name
from blendinator.pipeline.dag import create_pipeline
from blendinator.pipeline.kubeflow import platform
from blendinator.pipeline.kubeflow.entrypoint import ROOT_VARIABLE, STORES
from blendinator.stores import ObjectPath

ResourceSpec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec
COMMAND = ["python", "-m", "blendinator.pipeline.kubeflow.entrypoint"]
SINGLE_POD_COMMAND = ["python", "-m", "blendinator.pipeline.kubeflow.single_pod"]
POD_FOLDER = "/tmp/blendinator"  # in place of output_dir where there is no volume; it ends with the pod
SINGLE_POD_TASK = "Trainer"  # so that the resources and the node pool of the Trainer are its own
DESCRIPTIONS = {
    "spans": "Spans to train on: latest, latest:3, or numbers and ranges such as 1,3-5.",
    "data_root": "Folder of the spans, on the volume or in an object store.",
    "train_args": "JSON; num_steps takes the place of training.steps unless it is 0.",
    "thresholds": "JSON, a list of rules in place of evaluation.thresholds; those of the configuration if empty.",
}


def train_args(steps: int = 0) -> str:
    """The run's parameter `train_args`, as TFX's TrainArgs in JSON; 0 steps are those of the configuration."""
    return json.dumps({"splits": ["train"], "num_steps": steps})


def on_cluster(config: Config) -> Config:
    """The configuration as the tasks see it: everything that stays lies on the volume or in the object store.

    The hooks stay behind: they are for `blendinator retrain`, and a webhook's token must not stand in a pipeline file.
    """
    retraining = dataclasses.replace(config.retraining, on_failure="", on_refusal="")
    output_dir = config.kubeflow.mount_path if config.kubeflow.claim else POD_FOLDER
    return dataclasses.replace(config, output_dir=output_dir, retraining=retraining)


def compile_pipeline(config: Config, image: str, pipeline_root: str, spans: str = "latest") -> list[dict]:
    """The pipeline with one pod for each component.

    Args:
      config: the configuration.
      image: the container image, which holds this package.
      pipeline_root: where Kubeflow keeps the artifacts: gs://, s3:// or minio://.
      spans: default of the run's parameter `spans`.

    Returns:
      The documents of the YAML file: PipelineSpec and PlatformSpec, as dictionaries.

    Raises:
      ConfigError: an option or a key of the section `kubeflow` cannot work.
    """
    check_options(config, image, pipeline_root, spans)
    cluster = on_cluster(config)
    defaults = {"spans": spans, "data_root": str(cluster.data_root), "train_args": train_args(), "thresholds": ""}
    parameters = {
        name: tfx.dsl.experimental.RuntimeParameter(name=name, ptype=str, default=value)
        for name, value in defaults.items()
    }
    pipeline = create_pipeline(cluster, spans, parameters=parameters, enable_cache=False)
    request_resources(pipeline.components, config.kubeflow.resources)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image, default_commands=COMMAND, use_pipeline_spec_2_1=True
        )
    )
    spec = runner.run(pipeline, write_out=False)["pipelineSpec"]
    spec["defaultPipelineRoot"] = pipeline_root
    spec["root"]["inputDefinitions"] = root_inputs(defaults)
    for component in spec["components"].values():
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        outputs = json.dumps(component.get("outputDefinitions", {}), sort_keys=True)
        container["args"] += ["--json_serialized_outputs_spec_args", outputs]
        container["env"] = environment(config.kubeflow)
    return [check_spec(spec), platform.platform_spec(spec, config.kubeflow)]


def compile_single_pod(config: Config, image: str, pipeline_root: str, spans: str = "latest") -> list[dict]:
    """The whole pipeline in one pod, which runs TFX's local runner on the volume; see `compile_pipeline`.

    Artifacts and ML Metadata lie on the volume, as on one machine; Kubeflow sees one task.
    """
    check_options(config, image, pipeline_root, spans)
    if not config.kubeflow.claim:
        raise ConfigError(
            "kubeflow.claim: received ''; allowed with --single-pod: the name of a claim. The metadata store is an"
            " SQLite file, which ends with the pod unless a volume holds it"
        )
    cluster = on_cluster(config)
    defaults = {"spans": spans, "train_args": train_args(), "thresholds": ""}
    resources = resource_spec(platform.find_resources(config.kubeflow.resources, "Trainer"))  # the largest one
    spec = {
        "schemaVersion": "2.1.0",
        "sdkVersion": f"tfx-{tfx.__version__}",
        "pipelineInfo": {"name": config.name},
        "defaultPipelineRoot": pipeline_root,
        "root": {
            "inputDefinitions": root_inputs(defaults),
            "dag": {
                "tasks": {
                    SINGLE_POD_TASK: {
                        "taskInfo": {"name": config.name},
                        "componentRef": {"name": SINGLE_POD_TASK},
                        "cachingOptions": {},
                        "inputs": {"parameters": {name: {"componentInputParameter": name} for name in defaults}},
                    }
                }
            },
        },
        "components": {
            SINGLE_POD_TASK: {
                "executorLabel": f"{SINGLE_POD_TASK}_executor",
                "inputDefinitions": {"parameters": {name: {"parameterType": "STRING"} for name in defaults}},
            }
        },
        "deploymentSpec": {
            "executors": {
                f"{SINGLE_POD_TASK}_executor": {
                    "container": {
                        "image": image,
                        "command": SINGLE_POD_COMMAND,
                        "args": [
                            "--config_json",
                            json.dumps(config_to_dict(cluster)),
                            *(
                                part
                                for name in defaults
                                for part in (f"--{name}", "{{$.inputs.parameters['%s']}}" % name)
                            ),
                        ],
                        "resources": json_format.MessageToDict(resources),
                    }
                }
            }
        },
    }
    return [check_spec(spec), platform.platform_spec(spec, config.kubeflow)]


def root_inputs(defaults: dict[str, str]) -> dict:
    """The run's parameters, each with its default."""
    return {
        "parameters": {
            name: {
                "parameterType": "STRING",
                "defaultValue": value,
                "isOptional": True,
                "description": DESCRIPTIONS[name],
            }
            for name, value in defaults.items()
        }
    }


def write_yaml(documents: list[dict], path: str | Path) -> None:
    """Writes what `compile_pipeline` returned; the same documents give the same bytes."""
    text = yaml.safe_dump_all([document for document in documents if document], sort_keys=True)
    Path(path).write_text(f"# {documents[0]['pipelineInfo']['name']}: Kubeflow Pipelines v2\n{text}", encoding="utf-8")


def check_options(config: Config, image: str, pipeline_root: str, spans: str) -> None:
    """Raises ConfigError when an option cannot work on Kubeflow."""
    parse_selection(spans)
    if not re.fullmatch(r"[a-z0-9][\w.:/@-]*", image):
        raise ConfigError(
            f"`image`: received {image!r}; allowed: a container image such as registry.example.org/blendinator:1"
        )
    if not pipeline_root.startswith(tuple(STORES)) or pipeline_root in STORES:
        raise ConfigError(
            f"`pipeline_root`: received {pipeline_root!r}; allowed: gs://, s3:// or minio:// with a bucket. "
            "Kubeflow takes no path here: to keep artifacts on the volume, set kubeflow.artifacts_on_volume"
        )
    check_storage(config)
    runner = runner_name(config.beam.pipeline_args)
    if runner == "DataflowRunner" and (config.kubeflow.artifacts_on_volume or not pipeline_root.startswith("gs://")):
        raise ConfigError(
            f"`pipeline_root`: received {pipeline_root!r}; allowed with --runner=DataflowRunner: gs://, "
            "and kubeflow.artifacts_on_volume: false. Dataflow's workers see nothing else"
        )
    if runner in ("FlinkRunner", "SparkRunner", "PortableRunner") and not config.kubeflow.artifacts_on_volume:
        raise ConfigError(
            f"kubeflow.artifacts_on_volume: received false; allowed with --runner={runner}: true. The "
            "workers share nothing but the volume with the tasks"
        )


def check_storage(config: Config) -> None:
    """Raises ConfigError where pods would not see the spans and the pushed versions."""
    for key, folder in (("data_root", config.data_root), ("serving_dir", config.serving_dir)):
        given = getattr(config.storage, key)
        if given and not isinstance(folder, ObjectPath):
            raise ConfigError(
                f"storage.{key}: received {given!r}; allowed on Kubeflow: gs://bucket/folder, or nothing for a folder"
                " on the volume"
            )
        if not given and not config.kubeflow.claim:
            raise ConfigError(
                f"storage.{key}: received nothing; allowed without a volume (kubeflow.claim is empty): gs://bucket/folder"
            )
    if config.kubeflow.artifacts_on_volume and not config.kubeflow.claim:
        raise ConfigError(
            "kubeflow.artifacts_on_volume: received true; allowed without a volume (kubeflow.claim is empty): false"
        )


def environment(settings: KubeflowConfig) -> list[dict[str, str]]:
    """Environment variables of every task."""
    variables = {"TF_CPP_MIN_LOG_LEVEL": "1"}
    if settings.artifacts_on_volume:
        variables[ROOT_VARIABLE] = f"{settings.mount_path.rstrip('/')}/artifacts"
    return [{"name": name, "value": value} for name, value in variables.items()]


def request_resources(components: Sequence[BaseNode], entries: tuple[ResourceConfig, ...]) -> None:
    """Sets what each component's pod asks for; ConfigError where an entry names no component."""
    names = [component.id for component in components]
    for i, entry in enumerate(entries):
        if entry.component and entry.component not in names:
            raise ConfigError(
                f"kubeflow.resources[{i}].component: received {entry.component!r}; allowed: one of "
                f"{', '.join(sorted(names))}, or nothing for all others"
            )
    for component in components:
        component.with_platform_config(resource_spec(platform.find_resources(entries, component.id)))


def resource_spec(entry: ResourceConfig) -> Any:
    """An entry as Kubeflow's ResourceSpec."""
    spec = ResourceSpec(
        cpu_request=entry.cpu, cpu_limit=entry.cpu_limit, memory_request=entry.memory, memory_limit=entry.memory_limit
    )
    if entry.gpu:
        spec.accelerator.type, spec.accelerator.count = entry.gpu_type, entry.gpu
    return spec


def check_spec(spec: dict) -> dict:
    """Returns a specification that Kubeflow's own protobuf can hold; raises ParseError, a defect of ours, otherwise."""
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    return spec
