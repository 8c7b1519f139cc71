"""What a configuration names that other parts of the package know: metrics, spans, Beam's runners, Kubeflow.

A mistake should come to light before a run starts, not hours into it.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from blendinator.config import Config
from blendinator.config_loader import load_config
from blendinator.data.spans import SPLITS, parse_selection
from blendinator.errors import ConfigError
from blendinator.pipeline.beam_args import check_beam_args

# What Kubernetes takes as names: an expression, and its words.
_PART, _WORD = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?"
_LABEL = _PART, "up to 63 lower-case letters, digits and dashes, a letter or digit first and last"
_SUBDOMAIN = (
    rf"(?=.{{1,253}}$){_PART}(\.{_PART})*",
    "lower-case letters, digits, dashes and dots, a letter or digit first and last",
)
_QUALIFIED = (
    rf"({_PART}(\.{_PART})*/)?{_WORD}",
    "a name of letters, digits, dashes, dots and underscores, such as nvidia.com/gpu",
)
_VALUE = _WORD, "up to 63 letters, digits, dashes, dots and underscores, a letter or digit first and last"
_KEY = r"[-\w.]{1,253}", "letters, digits, dashes, dots and underscores"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and underscores, no digit first"


def read_config(path: str | Path | None = None, base: str | Path | None = None) -> Config:
    """Reads a YAML file, see `load_config`, and checks it, see `check_config`."""
    config = load_config(path, base)
    check_config(config, str(path or "defaults"))
    return config


def check_config(config: Config, source: str = "configuration") -> None:
    """Raises ConfigError where the configuration names what does not exist; `source` stands first in messages."""
    from blendinator.data.population import check_populations  # imports NumPy
    from blendinator.model.metrics.rules import check_names  # imports SciPy

    try:
        parse_selection(config.retraining.spans)
    except ConfigError as error:
        raise ConfigError(f"{source}: retraining.{error}")
    check_names(config.evaluation, source)
    for split in SPLITS:
        key = f"{split}_populations"
        check_populations(getattr(config.simulation, key), f"{source}: simulation.{key}")
    _check_kubeflow(config, source)
    check_beam_args(config.beam.pipeline_args, source)


def _check_kubeflow(config: Config, source: str) -> None:
    if not re.fullmatch(r"[a-z0-9][-a-z0-9]{0,62}", config.name):
        raise ConfigError(
            f"{source}: name: received {config.name!r}; allowed: up to 63 lower-case letters, digits and dashes,"
            " a letter or digit first, which is what Kubeflow takes as a pipeline's name"
        )
    if not config.kubeflow.mount_path.startswith("/"):
        raise ConfigError(
            f"{source}: kubeflow.mount_path: received {config.kubeflow.mount_path!r}; allowed: an absolute path"
        )
    settings = config.kubeflow
    for key, value, pattern in (
        ("namespace", settings.namespace, _LABEL),
        ("service_account", settings.service_account, _SUBDOMAIN),
        ("claim", settings.claim, _SUBDOMAIN),
        *((f"secrets[{i}].name", one.name, _SUBDOMAIN) for i, one in enumerate(settings.secrets)),
        *(
            (f"resources[{i}].gpu_type", one.gpu_type, _QUALIFIED)
            for i, one in enumerate(settings.resources)
            if one.gpu
        ),
    ):
        _require_name(value, source, f"kubeflow.{key}", pattern, may_be_empty=not key.endswith("gpu_type"))
    for i, secret in enumerate(config.kubeflow.secrets):
        if not secret.name or not (secret.mount_path or secret.env):
            raise ConfigError(
                f"{source}: kubeflow.secrets[{i}]: received {secret}; a secret needs `name` and `mount_path` or `env`"
            )
        _require_pairs(secret.env, source, f"kubeflow.secrets[{i}].env")
        for pair in secret.env:
            _require_name(pair.split("=")[0], source, f"kubeflow.secrets[{i}].env, the key", _KEY)
            _require_name(pair.split("=")[1], source, f"kubeflow.secrets[{i}].env, the variable", _VARIABLE)
        if secret.mount_path and not secret.mount_path.startswith("/"):
            raise ConfigError(
                f"{source}: kubeflow.secrets[{i}].mount_path: received {secret.mount_path!r}; allowed: an absolute path"
            )
    names = [entry.component for entry in config.kubeflow.resources]
    for i, entry in enumerate(config.kubeflow.resources):
        if entry.component in names[:i]:
            raise ConfigError(
                f"{source}: kubeflow.resources[{i}].component: received {entry.component!r} a second time; allowed:"
                " one entry for each component"
            )
        key = f"kubeflow.resources[{i}].node_selector"
        _require_pairs(entry.node_selector, source, key)
        for pair in entry.node_selector:
            _require_name(pair.split("=")[0], source, f"{key}, the label", _QUALIFIED)
            _require_name(pair.split("=")[1], source, f"{key}, its value", _VALUE, may_be_empty=True)


def _require_name(value: str, source: str, key: str, pattern: tuple[str, str], may_be_empty: bool = False) -> None:
    """Raises unless Kubernetes takes the name, which the cluster would refuse only when a pod starts."""
    expression, allowed = pattern
    if not (may_be_empty and not value) and not re.fullmatch(expression, value, re.ASCII):
        raise ConfigError(f"{source}: {key}: received {value!r}; allowed: {allowed}")


def _require_pairs(values: Iterable[str], source: str, key: str) -> None:
    for value in values:
        if not re.fullmatch(r"[^=]+=[^=]*", value):
            raise ConfigError(f"{source}: {key}: received {value!r}; allowed: key=value")
