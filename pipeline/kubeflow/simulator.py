"""Runs a compiled pipeline without a cluster: each task's own command, started as Kubeflow's driver and launcher would.

What is imitated, from the sources of Kubeflow Pipelines 2 (backend/src/v2): the driver resolves parameters, conditions
and artifacts; input artifacts arrive without a type, numbers as floating-point ones, and there is an output that no
component requested. The launcher copies artifacts from the object store to a local folder and back: files only, so that
empty folders vanish. Each task has a local folder of its own, as each pod has. A volume is a folder that all share.

Not imitated: Kubernetes, images, caching, loops and nested pipelines.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from blendinator.errors import ConfigError, DataError
from blendinator.pipeline.kubeflow.conditions import evaluate
from blendinator.pipeline.kubeflow.entrypoint import ROOT_VARIABLE, local_path

LOGS = "executor-logs"  # the driver's own output
TYPES = ("lost", "general", "kept")  # what becomes of the types of input artifacts


def read_pipeline(path: str | Path) -> tuple[dict, dict]:
    """PipelineSpec and PlatformSpec of a compiled pipeline's YAML file, checked against Kubeflow's protobuf.

    Raises:
      DataError: the file cannot be read or is not such a pipeline.
    """
    remedy = "Make it with `blendinator kubeflow compile`."
    try:
        documents = list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: this file cannot be read ({error}). {remedy}")
    if not documents or not isinstance(documents[0], dict) or "pipelineInfo" not in documents[0]:
        raise DataError(f"{path}: this is not a compiled pipeline: it has no pipelineInfo. {remedy}")
    spec, platform = documents[0], documents[1] if len(documents) > 1 else {}
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    except json_format.ParseError as error:
        raise DataError(f"{path}: Kubeflow's specification does not allow this: {error}. {remedy}")
    return spec, platform


class Simulator:
    """One run of a compiled pipeline."""

    def __init__(
        self,
        path: str | Path,
        folder: str | Path,
        parameters: Mapping[str, object] | None = None,
        types: str = "lost",
        report: Callable[[str, str], None] = lambda task, status: None,
    ) -> None:
        """
        Args:
          path: the compiled pipeline.
          folder: for everything the run makes: `volume` in place of the claim, `store` in place of the object store,
            `pods` and `logs` of the tasks.
          parameters: the run's parameters; those left out have their defaults.
          types: what becomes of the types of input artifacts: "lost" (empty), "general" (system.Model and the like) or
            "kept".
          report: called with a task's name and "running", "done" or "skipped".

        Raises:
          ConfigError: a parameter is unknown or missing.
          DataError: see `read_pipeline`.
        """
        self.path, self.folder, self.types, self.report = Path(path), Path(folder).resolve(), types, report
        self.spec, platform = read_pipeline(path)
        kubernetes = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
        mounts = [
            mount["mountPath"]
            for executor in kubernetes.get("executors", {}).values()
            for mount in executor.get("pvcMount", [])
        ]
        self.mounts = sorted(set(mounts), key=len, reverse=True)
        self.parameters = root_parameters(self.spec, parameters or {}, self.path)
        self.root = self.spec.get("defaultPipelineRoot", "minio://mlpipeline/v2/artifacts").rstrip("/")
        self.address = f"{self.root}/{self.spec['pipelineInfo']['name']}/{uuid.uuid4()}"
        self.produced: dict[str, dict] = {}  # task -> key -> artifact, as the metadata store would have it

    @property
    def volume(self) -> Path:
        """The folder in place of the claim."""
        return self.folder / "volume"

    def run(self) -> dict[str, str]:
        """Runs every task in order; returns {task: "done" or "skipped"}.

        Raises:
          DataError: a task failed; the message holds its last error and names its log.
        """
        self.volume.mkdir(parents=True, exist_ok=True)
        tasks = self.spec["root"]["dag"]["tasks"]
        statuses = {}
        for name in topological_order(tasks, self.path):
            upstream = dependencies(tasks[name])
            inputs = None if any(statuses[task] == "skipped" for task in upstream) else self.resolve(tasks[name])
            condition = tasks[name].get("triggerPolicy", {}).get("condition", "")
            if inputs is None or (condition and not evaluate(condition, {"inputs": inputs})):
                statuses[name] = "skipped"
            else:
                self.report(name, "running")
                self.launch(name, tasks[name], inputs)
                statuses[name] = "done"
            self.report(name, statuses[name])
        return statuses

    def resolve(self, task: dict) -> dict:
        """The inputs of a task, as the driver resolves them."""
        component = self.spec["components"][task["componentRef"]["name"]]
        kinds = component.get("inputDefinitions", {}).get("parameters", {})
        values = {name: kind["defaultValue"] for name, kind in kinds.items() if "defaultValue" in kind}
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                values[name] = self.parameters[source["componentInputParameter"]]
            else:
                values[name] = source["runtimeValue"]["constant"]
        numbers = {name: float(value) for name, value in values.items() if type(value) is int}
        texts = {name: self.on_volume(value) for name, value in values.items() if isinstance(value, str)}
        artifacts = {}
        for name, source in task.get("inputs", {}).get("artifacts", {}).items():
            source = source["taskOutputArtifact"]
            artifact = self.produced[source["producerTask"]][source["outputArtifactKey"]]
            artifacts[name] = {"artifacts": [{**artifact, "type": self.degraded(artifact["type"])}]}
        return {"parameterValues": values | texts | numbers, "artifacts": artifacts}

    def degraded(self, kind: dict) -> dict:
        """What is left of an artifact's type in the next task."""
        if self.types == "kept":
            return kind
        if self.types == "lost":
            return {"instanceSchema": ""}
        model = "title: tfx.Model" in kind.get("instanceSchema", "")
        return {"schemaTitle": "system.Model" if model else "system.Artifact"}

    def on_volume(self, text: str) -> str:
        """A text with the path of a mounted claim replaced by the folder in its place."""
        for mount in self.mounts:
            text = text.replace(mount, str(self.volume))
        return text

    def launch(self, name: str, task: dict, inputs: dict) -> None:
        """Starts a task's command in a fresh local folder and takes over its outputs, as the launcher does."""
        component = self.spec["components"][task["componentRef"]["name"]]
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        address = f"{self.address}/{name}/{uuid.uuid4()}"
        pod = self.folder / "pods" / name
        shutil.rmtree(pod, ignore_errors=True)
        variables = {entry["name"]: self.on_volume(entry["value"]) for entry in container.get("env", [])}
        root = variables.setdefault(ROOT_VARIABLE, str(pod))
        specs = component.get("outputDefinitions", {}).get("artifacts", {})
        outputs = {
            key: {
                "name": key,
                "uri": f"{address}/{key}",
                "type": entry["artifactType"],
                "metadata": entry.get("metadata", {}),
            }
            for key, entry in specs.items()
        }
        driver = {LOGS: {"name": LOGS, "uri": f"{address}/{LOGS}", "type": {"schemaTitle": "system.Artifact"}}}
        output_file = Path(local_path(address, root)) / "output_metadata.json"
        output_file.parent.mkdir(parents=True, exist_ok=True)
        listed = {key: {"artifacts": [artifact]} for key, artifact in {**outputs, **driver}.items()}
        executor_input = {"inputs": inputs, "outputs": {"artifacts": listed, "outputFile": str(output_file)}}
        json_format.ParseDict(executor_input, pipeline_spec_pb2.ExecutorInput())

        shared = root != str(pod)  # artifacts lie on the volume: nothing is copied
        if not shared:
            for uri in (entry["artifacts"][0]["uri"] for entry in inputs["artifacts"].values()):
                copy_files(self.stored(uri), Path(local_path(uri, root)))
        parts = [*container.get("command", []), *container.get("args", [])]
        command = [self.fill_in(part, executor_input) for part in parts]
        log = self.execute(name, command, variables)
        if output_file.exists():
            merge_output(outputs, json.loads(output_file.read_text(encoding="utf-8")), log)
        for artifact in outputs.values():
            if not shared:
                copy_files(Path(local_path(artifact["uri"], root)), self.stored(artifact["uri"]))
        self.produced[name] = outputs

    def stored(self, uri: str) -> Path:
        """The folder in place of an address of the object store."""
        return Path(local_path(uri, str(self.folder / "store")))

    def fill_in(self, text: str, executor_input: dict) -> str:
        """An argument with the launcher's placeholders filled in."""
        text = self.on_volume(text)
        for key, value in executor_input["inputs"]["parameterValues"].items():
            plain = f"{value:g}" if isinstance(value, float) else str(value)
            text = text.replace("{{$.inputs.parameters['%s']}}" % key, plain)
        return text.replace("{{$}}", json.dumps(executor_input))

    def execute(self, name: str, command: list[str], variables: dict[str, str]) -> Path:
        """Runs a command with its output in a log, which is returned; raises DataError when it fails."""
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        # `python` of the image is the interpreter that runs this.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        with open(log, "wb") as file:
            code = subprocess.run(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **variables, "PATH": path},
            ).returncode
        if code:
            message = last_message(log.read_text(encoding="utf-8", errors="replace"))
            raise DataError(f"{self.path}: task {name} ended with code {code}: {message}\nSee {log} for details")
        return log


def last_message(text: str) -> str:
    """The last error in a log, with the lines after it; else the last line."""
    lines = text.strip().splitlines() or ["no message"]
    starts = [i for i, line in enumerate(lines) if re.match(r"[\w.]+Error: ", line)]
    return "\n".join(lines[starts[-1] if starts else -1 :])


def root_parameters(spec: dict, given: Mapping[str, object], path: Path) -> dict[str, object]:
    """Values of the pipeline's parameters: the given ones, else their defaults."""
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in given:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"parameter {name}: {path} has no such parameter; allowed: {allowed}")
    values = {name: kind["defaultValue"] for name, kind in known.items() if "defaultValue" in kind} | dict(given)
    for name in known:
        if name not in values:
            raise ConfigError(f"parameter {name}: {path} needs a value for it. Give {name}=...")
    return values


def dependencies(task: dict) -> set[str]:
    """The tasks that must have ended before this one."""
    sources = task.get("inputs", {}).get("artifacts", {}).values()
    return {*task.get("dependentTasks", []), *(source["taskOutputArtifact"]["producerTask"] for source in sources)}


def topological_order(tasks: dict[str, dict], path: str | Path = "") -> list[str]:
    """Names of the tasks, each after those that it depends on; DataError when there is no such order."""
    order, left = [], dict(sorted(tasks.items()))
    while left:
        ready = [name for name, task in left.items() if dependencies(task) <= set(order)]
        if not ready:
            raise DataError(
                f"{path}: the tasks {', '.join(left)} wait for each other or for a task that is not there. "
                "Compile the pipeline again."
            )
        order += ready
        for name in ready:
            del left[name]
    return order


def merge_output(outputs: dict[str, dict], written: dict, log: Path) -> None:
    """Takes over what an executor wrote about its outputs; numbers become floating-point ones, as in Kubeflow."""
    json_format.ParseDict(written, pipeline_spec_pb2.ExecutorOutput())
    for key, entry in written.get("artifacts", {}).items():
        for artifact in entry.get("artifacts", [])[:1]:
            for name, value in artifact.get("metadata", {}).items():
                if value is None:
                    raise DataError(
                        f"{log}: output {key} has no value for {name}, which Kubeflow's metadata store cannot "
                        "hold. Let the executor leave the property out."
                    )
                if isinstance(value, bool):
                    value = float(value)
                elif isinstance(value, (list, dict)):
                    value = {"list" if isinstance(value, list) else "struct": value}
                outputs[key]["metadata"][name] = value
            outputs[key]["uri"] = artifact.get("uri") or outputs[key]["uri"]


def copy_files(source: Path, target: Path) -> None:
    """Copies files as the launcher does: an object store knows no empty folders."""
    paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    for path in paths:
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
