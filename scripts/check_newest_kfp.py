"""Loads compiled pipelines with the newest kfp, in an environment of its own: the pinned one is an old one.

    python3 scripts/check_newest_kfp.py blendinator.yaml ...

Needs any Python 3.9 or newer and the package index; not part of `make test`.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path


def check(paths: list[str]) -> None:
    """Parses both documents with the protobuf of the kfp at hand, and loads the pipeline with its SDK."""
    import kfp
    import yaml
    from google.protobuf import json_format
    from kfp import components
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    for path in paths:
        spec, platform = yaml.safe_load_all(Path(path).read_text(encoding="utf-8"))
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        for entry in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            json_format.ParseDict(entry, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        loaded = components.load_component_from_file(path)
        parameters = ", ".join(sorted(loaded.component_spec.inputs))
        print(f"kfp {kfp.__version__} reads {path}: {loaded.name}, parameters {parameters}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        check(sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            python = Path(folder) / "bin" / "python"
            subprocess.run([python, "-m", "pip", "install", "--quiet", "kfp", "kfp-kubernetes"], check=True)
            sys.exit(subprocess.run([python, __file__, "--here", *sys.argv[1:]]).returncode)
