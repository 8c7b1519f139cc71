"""The command of every task on Kubeflow: repairs what Kubeflow Pipelines v2 hands over, then runs TFX's executor.

    python -m blendinator.pipeline.kubeflow.entrypoint --executor_class_path ... --json_serialized_invocation_args ...

TFX 1.16 expects what its compiler wrote; Kubeflow's driver and launcher hand over something else:

- Input artifacts have lost their type: none at all, an empty `instanceSchema`, or a general one such as `system.Model`.
  The types of the task's own specification, which the compiler puts on the command line, take their place.
- The driver adds an output of its own, `executor-logs`, that no executor knows.
- Artifacts are named by the address in the object store, such as minio://mlpipeline/v2/... The launcher copies them
  to and from a local folder (/minio/mlpipeline/v2/...), which is what our executors read and write.
- An object store has no folders. Empty ones vanish, and where a tool marked one by an object of no bytes, a file of no
  bytes arrives.
- A model that was not written by TFX may lack the level `Format-Serving`.

This module changes nothing in TFX, and imports it only to run the executor.
"""

import argparse
import copy
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blendinator.errors import BlendinatorError, ConfigError
from blendinator.stack import use_in_memory_runner

log = logging.getLogger("blendinator.kubeflow")

# Below this folder lie the local copies of artifacts; "/" is where Kubeflow's launcher puts them.
ROOT_VARIABLE = "BLENDINATOR_ARTIFACT_ROOT"
# The folder names that Kubeflow's launcher gives to each kind of object store.
STORES = {"gs://": "gcs", "s3://": "s3", "minio://": "minio"}
SERVING = "Format-Serving"  # TFX's name for the exported model within a Model artifact
FOLDERS = ("assets", "assets.extra", "variables", "transformed_metadata", "transform_fn", SERVING)  # plus Split-*


def main(arguments: list[str] | None = None) -> int:
    """Runs one task; returns its exit code: 0, or 1 with a message when something is wrong that a user can fix.

    Other errors are raised: their traceback in the pod's log is what helps.
    """
    parser = argparse.ArgumentParser(prog="blendinator.pipeline.kubeflow.entrypoint")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}")
    parser.add_argument("--json_serialized_outputs_spec_args", default="{}")
    options, beam_args = parser.parse_known_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        given = parse_json(options.json_serialized_invocation_args, "--json_serialized_invocation_args")
        inputs_spec = parse_json(options.json_serialized_inputs_spec_args, "--json_serialized_inputs_spec_args")
        outputs_spec = parse_json(options.json_serialized_outputs_spec_args, "--json_serialized_outputs_spec_args")
        with tempfile.TemporaryDirectory(prefix="blendinator-") as scratch:
            executor_input, local = repair(
                given, inputs_spec, outputs_spec, os.environ.get(ROOT_VARIABLE) or "/", scratch, keeps_remote(beam_args)
            )
            run_executor(options.executor_class_path, executor_input, inputs_spec, beam_args)
        restore_output(executor_input["outputs"]["outputFile"], local)
        if keeps_remote(beam_args):
            for _, artifact in each_artifact(executor_input["outputs"]["artifacts"]):
                delete_markers(artifact["uri"])
    except BlendinatorError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def parse_json(text: str, name: str) -> dict:
    """A JSON object; ConfigError when it is not one."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"{name}: received {text[:80]!r}, which is not JSON ({error}). Kubeflow fills it in: compile "
            "the pipeline again with `blendinator kubeflow compile`."
        )
    if not isinstance(value, dict):
        raise ConfigError(
            f"{name}: received {text[:80]!r}; allowed: a JSON object. Compile the pipeline again with "
            "`blendinator kubeflow compile`."
        )
    return value


def keeps_remote(beam_args: list[str]) -> bool:
    """Whether Beam's workers run elsewhere and the object store is the only place that they share (Dataflow)."""
    runners = [arg.split("=", 1)[1] for arg in beam_args if arg.startswith("--runner=")]
    return bool(runners) and "dataflow" in runners[-1].lower()


def repair(
    executor_input: dict,
    inputs_spec: dict,
    outputs_spec: dict,
    root: str,
    scratch: str,
    remote: bool = False,
) -> tuple[dict, dict[str, str]]:
    """What TFX's executor needs, made from what Kubeflow's launcher hands over.

    Args:
      executor_input: Kubeflow's ExecutorInput, as JSON.
      inputs_spec: the component's `inputDefinitions`.
      outputs_spec: the component's `outputDefinitions`; without artifacts, those of `executor_input` are taken as
        they are.
      root: folder of the local copies, see `local_path`.
      scratch: folder for this task, for views of models.
      remote: leave the addresses of artifacts as they are, because Beam's workers are elsewhere.

    Returns:
      The repaired ExecutorInput, and {local path: address} of its artifacts.

    Raises:
      ConfigError: an artifact is named in an unknown way, or the specification lacks it.
    """
    result = copy.deepcopy(executor_input)
    inputs = result.setdefault("inputs", {}).setdefault("artifacts", {})
    outputs = result.setdefault("outputs", {}).setdefault("artifacts", {})
    wanted = outputs_spec.get("artifacts", {})
    for name in [name for name in outputs if wanted and name not in wanted]:
        log.info("the output %s is not one of this component's: left to Kubeflow", name)
        del outputs[name]
    set_types(inputs, inputs_spec.get("artifacts", {}))
    set_types(outputs, wanted)
    local = {}
    for name, artifact in each_artifact(inputs):
        if not remote:
            localise(artifact, root, local)
            repair_folder(Path(artifact["uri"]))
            if title(artifact) == "tfx.Model":
                view_flat_model(artifact, Path(scratch) / name, local)
    for _, artifact in each_artifact(outputs):
        if not remote:
            localise(artifact, root, local)
    return result, local


def each_artifact(artifacts: dict) -> Iterator[tuple[str, dict]]:
    """Yields (key, artifact) for every artifact of a mapping of artifact lists."""
    for name, entry in artifacts.items():
        for artifact in entry.get("artifacts", []):
            yield name, artifact


def set_types(artifacts: dict, spec: dict) -> None:
    """Gives every artifact the type of the component's specification; nothing else can be trusted."""
    for name, artifact in each_artifact(artifacts):
        if name in spec:
            artifact["type"] = spec[name]["artifactType"]
        elif not title(artifact).startswith("tfx."):
            raise ConfigError(
                f"artifact {name}: received the type {artifact.get('type')!r}, which no TFX class has, and "
                "the component's specification does not name it. Compile the pipeline again with "
                "`blendinator kubeflow compile`."
            )


def title(artifact: dict) -> str:
    """The title of an artifact's type, such as "tfx.Model"; "" where it has none."""
    import yaml

    kind = artifact.get("type") or {}
    if kind.get("schemaTitle"):
        return kind["schemaTitle"]
    schema = yaml.safe_load(kind.get("instanceSchema") or "")
    return schema.get("title", "") if isinstance(schema, dict) else ""


def local_path(uri: str, root: str = "/") -> str:
    """The folder in which Kubeflow's launcher keeps the artifact at an address: minio://b/k is /minio/b/k.

    Args:
      uri: an address in an object store, or a path.
      root: what stands before it. On Kubeflow "/", or a folder of a volume that all tasks share.
    """
    for scheme, folder in STORES.items():
        if uri.startswith(scheme):
            return os.path.join(root, folder, uri.removeprefix(scheme))
    if uri.startswith("/"):
        return uri
    raise ConfigError(
        f"artifact {uri!r}: this address cannot be read; allowed: gs://, s3://, minio:// or an absolute "
        "path. Compile with another pipeline root."
    )


def localise(artifact: dict, root: str, local: dict[str, str]) -> None:
    """Replaces an artifact's address by its local path, and notes both in `local`."""
    path = local_path(artifact["uri"], root)
    local[path] = artifact["uri"]
    artifact["uri"] = path


def repair_folder(path: Path) -> None:
    """Makes folders of what an object store made of them: nothing at all, or files of no bytes."""
    if is_marker(path) or not path.exists():
        make_folder(path)
    for entry in [entry for entry in path.rglob("*") if entry.name in FOLDERS or entry.name.startswith("Split-")]:
        if is_marker(entry):
            make_folder(entry)


def is_marker(path: Path) -> bool:
    """Whether this is a file of no bytes."""
    return path.is_file() and path.stat().st_size == 0


def make_folder(path: Path) -> None:
    """A folder in place of a file or of nothing."""
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def view_flat_model(artifact: dict, view: Path, local: dict[str, str]) -> None:
    """Shows a model that lies directly in its artifact's folder below `Format-Serving`, where TFX looks for it."""
    uri = artifact["uri"]
    if not os.path.exists(os.path.join(uri, "saved_model.pb")) or os.path.exists(os.path.join(uri, SERVING)):
        return
    view.mkdir(parents=True, exist_ok=True)
    (view / SERVING).symlink_to(os.path.abspath(uri))
    local[str(view)] = local.get(uri, uri)
    artifact["uri"] = str(view)


def run_executor(class_path: str, executor_input: dict, inputs_spec: dict, beam_args: list[str]) -> None:
    """Calls TFX's own entry point with a repaired ExecutorInput."""
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    use_in_memory_runner()
    arguments = argparse.Namespace(
        executor_class_path=class_path,
        json_serialized_invocation_args=json.dumps(executor_input),
        json_serialized_inputs_spec_args=json.dumps(inputs_spec),
    )
    kubeflow_v2_run_executor.main((arguments, beam_args))


def delete_markers(uri: str, filesystems: Any = None) -> None:
    """Deletes the objects of no bytes by which TensorFlow marks folders below an address of an object store.

    Kubeflow's launcher downloads such an object as a file, and then cannot make the folder of that name.

    Args:
      uri: the artifact's address.
      filesystems: what lists and deletes, by default Beam's `FileSystems`.
    """
    if filesystems is None:
        from apache_beam.io.filesystems import FileSystems

        filesystems = FileSystems
    found = filesystems.match([uri.rstrip("/") + "/**"])[0].metadata_list
    markers = [entry.path for entry in found if entry.path.endswith("/") and not entry.size_in_bytes]
    if markers:
        filesystems.delete(markers)


def restore_output(path: str, local: dict[str, str]) -> None:
    """Puts the addresses back into the executor's output file: Kubeflow uploads by them, and other tasks read them."""
    file = Path(path)
    if not file.exists() or not local:
        return
    output = json.loads(file.read_text(encoding="utf-8"))
    for _, artifact in each_artifact(output.get("artifacts", {})):
        artifact["uri"] = remote_address(artifact.get("uri", ""), local)
        metadata = artifact.get("metadata", {})
        for key, value in list(metadata.items()):
            if value is None:  # Kubeflow's metadata store cannot hold it
                del metadata[key]
            elif isinstance(value, str):
                metadata[key] = remote_address(value, local)
    file.write_text(json.dumps(output), encoding="utf-8")


def remote_address(value: str, local: dict[str, str]) -> str:
    """`value` with the local path that it starts with, if any, replaced by its address."""
    for path in sorted(local, key=len, reverse=True):
        if value == path or value.startswith(path + "/"):
            return local[path] + value[len(path) :]
    return value


if __name__ == "__main__":
    sys.exit(main())
