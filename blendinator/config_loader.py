"""Reads a configuration from YAML and checks it; a message names the key, what was received and what is allowed.

A file needs to name only what it changes.
"""

import contextlib
import dataclasses
import difflib
import math
import re
import reprlib
import typing
from pathlib import Path

import yaml

from blendinator.config import Config, RelativeConfig, SecretConfig
from blendinator.data.spans import parse_selection
from blendinator.errors import ConfigError
from blendinator.pipeline.beam_args import check_beam_args


class _Loader(yaml.SafeLoader):
    """Plain values only, and every key once: of two equal ones YAML's loader keeps the last and says nothing."""

    def construct_mapping(self, node, deep=False):
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the key {key.value!r} stands here a second time", key.start_mark
                        )
                    seen.add(key.value)
        return super().construct_mapping(node, deep)


LONGEST_KEY = 60  # characters of a key that a message shows whole
_MAY_BE_EMPTY = (str, RelativeConfig, SecretConfig)


def load_config(path: str | Path | None = None, base: str | Path | None = None) -> Config:
    """Reads a YAML file; without one, the defaults.

    Args:
      path: the YAML file.
      base: folder from which a relative `output_dir` is taken; the current one by default.

    Raises:
      ConfigError: the file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    raw = {}
    if path is not None:
        try:
            raw = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
            raw = {} if raw is None else raw
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the configuration cannot be read ({error}). Give an existing YAML file.")
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as the 99th of a month; lists 1000 deep
            raise ConfigError(f"{path}: this is not valid YAML: {error}")
    config = config_from_dict(raw, source=str(path or "defaults"))
    if "://" in config.output_dir:
        raise ConfigError(f"{path}: output_dir: received {config.output_dir!r}; allowed: a folder of this machine")
    try:
        output = (Path(base) if base else Path.cwd()) / Path(config.output_dir).expanduser()
        return dataclasses.replace(config, output_dir=str(output.resolve()))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path}: output_dir: received {config.output_dir!r}; allowed: a folder ({error})")


def config_from_dict(raw: dict, source: str = "configuration") -> Config:
    """Builds a checked `Config` from plain dictionaries and lists; `source` stands first in messages."""
    config = _build(Config, raw, source, "")
    population = config.simulation.population
    _require_order(
        source,
        "simulation.population.magnitude_bright",
        population.magnitude_bright,
        "simulation.population.magnitude_faint",
        population.magnitude_faint,
    )
    _require_order(
        source,
        "simulation.population.boosted_magnitude_bright",
        population.boosted_magnitude_bright,
        "simulation.population.boosted_magnitude_faint",
        population.boosted_magnitude_faint,
    )
    _require_order(
        source,
        "simulation.population.boosted_separation_min",
        population.boosted_separation_min,
        "simulation.population.boosted_separation_max",
        population.boosted_separation_max,
    )
    factor = 2 ** (len(config.model.channels) - 1)
    if config.simulation.stamp_size % factor or config.simulation.stamp_size < 2 * factor:
        raise ConfigError(
            f"{source}: simulation.stamp_size: received {config.simulation.stamp_size}; allowed: a multiple of"
            f" {factor}, at least {2 * factor}, because model.channels has {len(config.model.channels)} scales and each"
            " further one halves the pixels"
        )
    for key in ("noise_range", "psf_range", "noise_correlation"):
        ends = getattr(config.simulation, key)
        if len(ends) != 2 or ends[0] > ends[1]:
            raise ConfigError(
                f"{source}: simulation.{key}: received {list(ends)}; allowed: two numbers, the lower one first"
            )
    for i, rule in enumerate(config.evaluation.thresholds):
        if not rule.metric or (rule.min is None and rule.max is None):
            raise ConfigError(
                f"{source}: evaluation.thresholds[{i}]: received {rule}; a rule needs `metric` and `min` or `max`"
            )
        if rule.min is not None and rule.max is not None and rule.min > rule.max:
            raise ConfigError(
                f"{source}: evaluation.thresholds[{i}]: received min {rule.min:g} and max {rule.max:g}; "
                "allowed: a min that is not above the max"
            )
    for i, rule in enumerate(config.evaluation.relative):
        if not rule.metric:
            raise ConfigError(f"{source}: evaluation.relative[{i}]: received {rule}; a rule needs `metric`")
    try:
        parse_selection(config.retraining.spans)
    except ConfigError as error:
        raise ConfigError(f"{source}: retraining.{error}")
    _check_names(config.evaluation, source)
    _check_kubeflow(config, source)
    check_beam_args(config.beam.pipeline_args, source)
    for i, cut in enumerate(config.evaluation.slices):
        if len(cut.edges) < 2 or list(cut.edges) != sorted(set(cut.edges)):
            raise ConfigError(
                f"{source}: evaluation.slices[{i}].edges: received {list(cut.edges)}; allowed: two or more"
                " rising numbers"
            )
    return config


def config_to_dict(config) -> dict:
    """The configuration as plain dictionaries, lists and scalars, as YAML and JSON hold them."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(config))


def _check_names(evaluation, source):
    """Rules name metrics and slices: a misspelt one should not come to light after hours of training."""
    # Imported here: most users of the configuration need none of it.
    from blendinator.data.records import NUMBERS
    from blendinator.model.metrics.aggregate import metric_names
    from blendinator.model.metrics.rules import goodness, slice_names

    for i, cut in enumerate(evaluation.slices):
        if cut.scalar not in NUMBERS:
            raise ConfigError(
                f"{source}: evaluation.slices[{i}].scalar: received {cut.scalar!r}; allowed: {', '.join(NUMBERS)}"
            )
    metrics, slices = metric_names(evaluation.num_samples), slice_names(evaluation.slices)
    for key in ("thresholds", "relative"):
        for i, rule in enumerate(getattr(evaluation, key)):
            if rule.metric not in metrics:
                close = difflib.get_close_matches(rule.metric, metrics, 5, 0.3)
                raise ConfigError(
                    f"{source}: evaluation.{key}[{i}].metric: received {rule.metric!r}; allowed: a metric of"
                    f" docs/calibration.md, such as {', '.join(close or metrics[:5])}"
                )
            if key == "relative":
                try:
                    goodness(rule.metric, 0.0)
                except ValueError as error:
                    raise ConfigError(
                        f"{source}: evaluation.relative[{i}].metric: received {rule.metric!r}; allowed: a metric"
                        f" of which more or less is better ({error})"
                    )
            if rule.slice and rule.slice not in slices:
                raise ConfigError(
                    f"{source}: evaluation.{key}[{i}].slice: received {rule.slice!r}; allowed: nothing, or a"
                    f" bin of evaluation.slices: {', '.join(slices)}"
                )


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


def _require_order(source, low_key, low, high_key, high):
    if low > high:
        raise ConfigError(f"{source}: {low_key}: received {low}; allowed: at most {high_key}, which is {high}")


def _build(cls, raw, source, prefix):
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{source}: {prefix.rstrip('.') or 'top level'}: received {_shown(raw)}; allowed: a mapping of keys"
        )
    hints = typing.get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls)}
    for key in raw:
        if key not in fields:
            name = key if isinstance(key, str) and len(key) < LONGEST_KEY else _shown(key)
            raise ConfigError(f"{source}: {prefix}{name}: unknown key; allowed here: {', '.join(fields)}")
    values = {
        key: _convert(hints[key], value, fields[key].metadata, source, prefix + key) for key, value in raw.items()
    }
    return cls(**values)


def _convert(kind, value, limits, source, key):
    """One value, checked against its type and limits."""
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, source, key + ".")
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)) or (not value and typing.get_args(kind)[0] not in _MAY_BE_EMPTY):
            empty = " that is not empty" if isinstance(value, (list, tuple)) else ""
            raise ConfigError(f"{source}: {key}: received {_shown(value)}; allowed: a list{empty}")
        item = typing.get_args(kind)[0]
        return tuple(_convert(item, entry, limits, source, f"{key}[{i}]") for i, entry in enumerate(value))
    if kind == float | None:
        if value is None:
            return None
        kind = float
    if kind is float and isinstance(value, (str, int)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):  # YAML 1.1 reads 1e-3 as a string
            value = float(value)
    low, high, choices = (limits.get(name) for name in ("low", "high", "choices"))
    allowed = {int: "an integer", float: "a number", str: "text", bool: "true or false"}[kind]
    if choices:
        allowed = "one of " + ", ".join(choices)
    elif low is not None:
        allowed += f" from {low} to {high}"
    in_range = type(value) is kind and (not choices or value in choices)
    if in_range and kind in (int, float):
        in_range = (low is None or value >= low) and (high is None or value <= high) and math.isfinite(value)
    if in_range and kind is str and not _is_plain(value):
        in_range, allowed = False, "text without null characters and lone surrogates"
    if not in_range:
        raise ConfigError(f"{source}: {key}: received {_shown(value)}; allowed: {allowed}")
    return value


def _is_plain(text):
    """Whether file systems and other programs take the text."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _shown(value):
    """A value for a message: YAML's references make a billion items of a short file, and its hexadecimal integers can
    have more digits than Python prints."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    short.maxlevel = 3
    try:
        return short.repr(value)
    except ValueError:
        return f"a {type(value).__name__} that is too long to show"
