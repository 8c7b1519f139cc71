"""Volume, secrets and node pools: the second document of the YAML, which Kubeflow calls the platform specification.

The messages are those of the package kfp-kubernetes, whose own functions work on tasks of the kfp DSL only.
"""

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
from kfp.pipeline_spec import pipeline_spec_pb2

from blendinator.config import KubeflowConfig, ResourceConfig


def platform_spec(spec: dict, settings: KubeflowConfig) -> dict:
    """The platform specification for all executors of a PipelineSpec; {} when there is nothing to say."""
    executors = {}
    for label in sorted(spec["deploymentSpec"]["executors"]):
        message = executor_config(label.removesuffix("_executor"), settings)
        if message.ListFields():
            executors[label] = json_format.MessageToDict(message)
    if not executors:
        return {}
    document = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
    return document


def executor_config(component: str, settings: KubeflowConfig) -> kubernetes.KubernetesExecutorConfig:
    """What the pod of one component needs in addition to its container."""
    message = kubernetes.KubernetesExecutorConfig()
    if settings.claim:
        message.pvc_mount.add(constant=settings.claim, mount_path=settings.mount_path)
    for secret in settings.secrets:
        if secret.mount_path:
            message.secret_as_volume.add(secret_name=secret.name, mount_path=secret.mount_path)
        if secret.env:
            entry = message.secret_as_env.add(secret_name=secret.name)
            for pair in secret.env:
                key, variable = pair.split("=", 1)
                entry.key_to_env.add(secret_key=key, env_var=variable)
    for label in find_resources(settings.resources, component).node_selector:
        key, value = label.split("=", 1)
        message.node_selector.labels[key] = value
    return message


def find_resources(entries: tuple[ResourceConfig, ...], component: str) -> ResourceConfig:
    """A component's entry, or the one for all."""
    named = {entry.component: entry for entry in entries}
    return named.get(component) or named.get("") or ResourceConfig()
