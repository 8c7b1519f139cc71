"""The pipeline for TFX's own command line, which calls this file as a script.

    tfx pipeline create --engine=local --pipeline-path=<absolute path of this file>
    tfx run create --engine=local --pipeline-name=blendinator

The configuration is the file that BLENDINATOR_CONFIG names, else configs/default.yaml of the project; BLENDINATOR_SPANS
chooses the spans ("latest" if unset). A relative output_dir is taken from the project's folder.
"""

import os
import sys
from pathlib import Path

import blendinator  # noqa: F401  settles the Keras version before TFX imports TensorFlow

# isort: split

from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from blendinator.errors import BlendinatorError
from blendinator.pipeline import exit_codes
from blendinator.pipeline.config_checks import read_config

PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Runs the pipeline, or only describes it to `tfx pipeline create`; returns the exit code."""
    spans = os.environ.get("BLENDINATOR_SPANS", "latest")
    try:
        config = read_config(os.environ.get("BLENDINATOR_CONFIG", PROJECT / "configs" / "default.yaml"), base=PROJECT)
    except BlendinatorError as error:
        print(error, file=sys.stderr)
        return 1
    # `tfx pipeline create` wraps `run` in a function that only notes the pipeline's name. Nothing is simulated then.
    if hasattr(LocalDagRunner.run, "__wrapped__"):
        from blendinator.pipeline.dag import create_pipeline

        LocalDagRunner().run(create_pipeline(config, spans))
        return 0
    from blendinator.pipeline.run import run

    return exit_codes.for_orchestrator(run(config, spans))


if __name__ == "__main__":
    code = main()
    if code:
        sys.exit(code)
