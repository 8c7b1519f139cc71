"""Reads a configuration from YAML and checks it; a message names the key, what was received and what is allowed.

A file needs to name only what it changes. Types, ranges, and keys that must agree are checked here; what other parts of
the package know (metrics, spans, Beam, Kubeflow) is checked by `blendinator.pipeline.config_checks`, so that reading a
configuration imports none of them.
"""

import contextlib
import dataclasses
import logging
import math
import reprlib
import typing
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from blendinator.config import Config, RelativeConfig, SecretConfig, StorageConfig
from blendinator.errors import ConfigError
from blendinator.files import check_local
from blendinator.former_keys import describe_former, migrate_model, migrate_simulation
from blendinator.stores import ObjectPath, place


class _Loader(yaml.SafeLoader):
    """Plain values only, and every key once: of two equal ones YAML's loader keeps the last and says nothing."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
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


log = logging.getLogger("blendinator.config")

SHARES_TOLERANCE = 1e-6  # of the sum of shares
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
    if isinstance(raw, dict) and isinstance(raw.get("simulation"), dict):
        for former in describe_former(raw["simulation"]):
            log.warning("%s: simulation.%s", path, former)
    config = config_from_dict(raw, source=str(path or "defaults"))
    check_local(config.output_dir, f"{path}: output_dir")
    try:
        here = Path(base) if base else Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current folder no longer exists. Change to another one, and call again.")
    try:
        output = here / Path(config.output_dir).expanduser()
        files = {name: getattr(config.simulation, name) for name in ("catalog", "stamps")}
        files = {name: str(Path(path).expanduser()) for name, path in files.items() if path.startswith("~")}
        config = dataclasses.replace(config, simulation=dataclasses.replace(config.simulation, **files))
        storage = {
            name: _resolved(value, here, f"{path}: storage.{name}") for name, value in vars(config.storage).items()
        }
        config = dataclasses.replace(config, storage=StorageConfig(**storage))
        return dataclasses.replace(config, output_dir=str(output.resolve()))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path}: output_dir: received {config.output_dir!r}; allowed: a folder ({error})")


def _resolved(value: str, here: Path, name: str) -> str:
    """A path made absolute; an address as it is; nothing where nothing is set."""
    found = place(value, name)
    return str(found if isinstance(found, ObjectPath) else (here / found.expanduser()).resolve()) if value else ""


def config_from_dict(raw: dict, source: str = "configuration") -> Config:
    """Builds a checked `Config` from plain dictionaries and lists; `source` stands first in messages."""
    if isinstance(raw, dict) and isinstance(raw.get("simulation"), dict):
        raw = {**raw, "simulation": migrate_simulation(raw["simulation"], source)}
    if isinstance(raw, dict) and isinstance(raw.get("model"), dict):
        raw = {**raw, "model": migrate_model(raw["model"])}
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
    for key in ("train_populations", "calibration_populations", "test_populations"):
        shares = getattr(config.simulation, key)
        if abs(sum(shares.values()) - 1.0) > SHARES_TOLERANCE:
            raise ConfigError(
                f"{source}: simulation.{key}: received {shares}, which sum to {sum(shares.values()):g}; allowed: shares"
                " that sum to 1"
            )
    factor = 2 ** (len(config.model.channels) - 1)
    if config.simulation.stamp_size % factor or config.simulation.stamp_size < 2 * factor:
        raise ConfigError(
            f"{source}: simulation.stamp_size: received {config.simulation.stamp_size}; allowed: a multiple of"
            f" {factor}, at least {2 * factor}, because model.channels has {len(config.model.channels)} scales and each"
            " further one halves the pixels"
        )
    scales = config.model.sample_scales
    if not scales or any(low >= high for low, high in pairwise(scales)):
        raise ConfigError(
            f"{source}: model.sample_scales: received {list(scales)}; allowed: one rising number of pixels or more"
        )
    ranges = {key: getattr(config.simulation, key) for key in ("noise_range", "psf_range", "noise_correlation")}
    ranges["population.bright_range"] = population.bright_range
    ranges["defects.residue_range"] = config.simulation.defects.residue_range
    for key, ends in ranges.items():
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
    for i, cut in enumerate(config.evaluation.slices):
        if len(cut.edges) < 2 or list(cut.edges) != sorted(set(cut.edges)):
            raise ConfigError(
                f"{source}: evaluation.slices[{i}].edges: received {list(cut.edges)}; allowed: two or more"
                " rising numbers"
            )
    return config


def config_to_dict(config: Any) -> dict:
    """The configuration as plain dictionaries, lists and scalars, as YAML and JSON hold them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(config))


def _require_order(source: str, low_key: str, low: float, high_key: str, high: float) -> None:
    if low > high:
        raise ConfigError(f"{source}: {low_key}: received {low}; allowed: at most {high_key}, which is {high}")


def _build(cls: Any, raw: Any, source: str, prefix: str) -> Any:
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


def _convert(kind: Any, value: Any, limits: Mapping[str, Any], source: str, key: str) -> Any:
    """One value, checked against its type and limits."""
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, source, key + ".")
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)) or (not value and typing.get_args(kind)[0] not in _MAY_BE_EMPTY):
            empty = " that is not empty" if isinstance(value, (list, tuple)) else ""
            raise ConfigError(f"{source}: {key}: received {_shown(value)}; allowed: a list{empty}")
        item = typing.get_args(kind)[0]
        return tuple(_convert(item, entry, limits, source, f"{key}[{i}]") for i, entry in enumerate(value))
    if typing.get_origin(kind) is Mapping:
        if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
            raise ConfigError(f"{source}: {key}: received {_shown(value)}; allowed: a mapping of names to numbers")
        item = typing.get_args(kind)[1]
        return {name: _convert(item, entry, limits, source, f"{key}.{name}") for name, entry in value.items()}
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


def _is_plain(text: str) -> bool:
    """Whether file systems and other programs take the text."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _shown(value: Any) -> str:
    """A value for a message: YAML's references make a billion items of a short file, and its hexadecimal integers can
    have more digits than Python prints."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    short.maxlevel = 3
    try:
        return short.repr(value)
    except ValueError:
        return f"a {type(value).__name__} that is too long to show"
