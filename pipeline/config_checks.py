"""What a configuration names that other parts of the package know: metrics, spans, Beam's runners, Kubeflow.

A mistake should come to light before a run starts, not hours into it.
"""

import re
from pathlib import Path

from blendinator.config import Config
from blendinator.config_loader import load_config
from blendinator.data.spans import parse_selection
from blendinator.errors import ConfigError
from blendinator.pipeline.beam_args import check_beam_args


def read_config(path: str | Path | None = None, base: str | Path | None = None) -> Config:
    """Reads a YAML file, see `load_config`, and checks it, see `check_config`."""
    config = load_config(path, base)
    check_config(config, str(path or "defaults"))
    return config


def check_config(config: Config, source: str = "configuration") -> None:
    """Raises ConfigError where the configuration names what there is not; `source` stands first in messages."""
    from blendinator.model.metrics.rules import check_names  # imports SciPy

    try:
        parse_selection(config.retraining.spans)
    except ConfigError as error:
        raise ConfigError(f"{source}: retraining.{error}")
    check_names(config.evaluation, source)
    _check_kubeflow(config, source)
    check_beam_args(config.beam.pipeline_args, source)


def _check_kubeflow(config, source):
    if not re.fullmatch(r"[a-z0-9][-a-z0-9]{0,62}", config.name):
        raise ConfigError(
            f"{source}: name: received {config.name!r}; allowed: up to 63 lower-case letters, digits and dashes,"
            " a letter or digit first, which is what Kubeflow takes as a pipeline's name"
        )
    if not config.kubeflow.mount_path.startswith("/"):
        raise ConfigError(
            f"{source}: kubeflow.mount_path: received {config.kubeflow.mount_path!r}; allowed: an absolute path"
        )
    for i, secret in enumerate(config.kubeflow.secrets):
        if not secret.name or not (secret.mount_path or secret.env):
            raise ConfigError(
                f"{source}: kubeflow.secrets[{i}]: received {secret}; a secret needs `name` and `mount_path` or `env`"
            )
        _require_pairs(secret.env, source, f"kubeflow.secrets[{i}].env")
    names = [entry.component for entry in config.kubeflow.resources]
    for i, entry in enumerate(config.kubeflow.resources):
        if entry.component in names[:i]:
            raise ConfigError(
                f"{source}: kubeflow.resources[{i}].component: received {entry.component!r} a second time; allowed:"
                " one entry for each component"
            )
        _require_pairs(entry.node_selector, source, f"kubeflow.resources[{i}].node_selector")


def _require_pairs(values, source, key):
    for value in values:
        if not re.fullmatch(r"[^=]+=[^=]*", value):
            raise ConfigError(f"{source}: {key}: received {value!r}; allowed: key=value")
