"""The command of the pipeline's only pod in the mode `--single-pod`: TFX's local runner on the mounted volume."""

import argparse
import json
import sys

from blendinator.config import Config
from blendinator.config_loader import config_from_dict
from blendinator.errors import BlendinatorError, ConfigError
from blendinator.pipeline import exit_codes
from blendinator.pipeline.config_checks import check_config


def main(arguments: list[str] | None = None) -> int:
    """Runs the pipeline as `blendinator run` does; returns the pod's exit code."""
    parser = argparse.ArgumentParser(prog="blendinator.pipeline.kubeflow.single_pod")
    parser.add_argument("--config_json", required=True)
    parser.add_argument("--spans", default="latest")
    parser.add_argument("--train_args", default="")
    parser.add_argument("--thresholds", default="")
    options = parser.parse_args(arguments)
    try:
        config = read_config(options.config_json, options.train_args, options.thresholds)
    except BlendinatorError as error:
        print(error, file=sys.stderr)
        return 1
    from blendinator.pipeline.run import run

    return exit_codes.for_orchestrator(run(config, options.spans))


def read_config(text: str, train_args: str, thresholds: str) -> Config:
    """The compiled configuration with the run's own steps and rules.

    Args:
      text: JSON of the configuration.
      train_args: JSON of TFX's TrainArgs; `num_steps` takes the place of training.steps unless it is 0 or missing.
      thresholds: JSON of a list of rules; none if empty.

    Raises:
      ConfigError: one of them cannot be read or holds something that is not allowed.
    """
    given = {"config_json": text, "train_args": train_args or "{}", "thresholds": thresholds or "null"}
    values = {}
    for name, value in given.items():
        try:
            values[name] = json.loads(value)
        except ValueError as error:
            raise ConfigError(
                f"{name}: received {value[:80]!r}, which is not JSON ({error}). Correct the run's parameter."
            )
    raw = values["config_json"]
    if steps := values["train_args"].get("num_steps"):
        raw.setdefault("training", {})["steps"] = steps
    if values["thresholds"]:
        raw.setdefault("evaluation", {})["thresholds"] = values["thresholds"]
    config = config_from_dict(raw, source="the run's parameters")
    check_config(config, "the run's parameters")
    return config


if __name__ == "__main__":
    sys.exit(main())
