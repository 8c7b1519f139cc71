"""configs/default.yaml is the documentation of every key, and what the code takes for granted."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import yaml

from blendinator.config import Config
from blendinator.config_loader import load_config
from blendinator.pipeline.config_checks import read_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"

_spec = importlib.util.spec_from_file_location("default_config", ROOT / "scripts" / "default_config.py")
default_config = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(default_config)


def keys(config):
    """The nested names of a configuration's keys and of shares; lists of rules count as one key."""
    if isinstance(config, dict):
        return dict.fromkeys(config)
    if not dataclasses.is_dataclass(config):
        return None
    return {field.name: keys(getattr(config, field.name)) for field in dataclasses.fields(config)}


def test_default_file_equals_the_defaults(tmp_path):
    assert load_config(CONFIGS / "default.yaml", base=tmp_path) == load_config(base=tmp_path)


def test_default_file_is_made_from_the_dataclasses():
    made = default_config.default_yaml()
    text = (CONFIGS / "default.yaml").read_text(encoding="utf-8")
    assert text == made, "blendinator/config.py has changed: call scripts/default_config.py"


def test_comments_are_found_before_and_after_a_field(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        "class A:\n    # before,\n    # on two lines\n    x: int = 1\n    y: int = 2  # after\n    z = 3  # no\n"
    )
    assert default_config.read_comments(path) == {
        ("A", "x"): default_config.Comments("before, on two lines", ""),
        ("A", "y"): default_config.Comments("", "after"),
    }


@pytest.mark.parametrize("value", [1e-5, 2.5e-7, 3e-3, 1e20, ["a", 1.0], [], "", "a: b", True, 7])
def test_yaml_reads_the_values_that_are_written(value):
    assert yaml.safe_load(default_config._flow(value)) == value


def test_default_file_names_every_key():
    raw = yaml.safe_load((CONFIGS / "default.yaml").read_text())

    def names(value):
        return {key: names(item) for key, item in value.items()} if isinstance(value, dict) else None

    assert names(raw) == keys(Config())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_can_be_loaded(path):
    assert isinstance(read_config(path), Config)
