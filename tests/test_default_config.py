"""configs/default.yaml is the documentation of every key, and what the code takes for granted."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from blendinator.config import Config
from blendinator.config_loader import load_config
from blendinator.pipeline.config_checks import read_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def keys(config):
    """The nested names of a configuration's keys; lists of rules count as one key."""
    return {
        field.name: keys(value) if dataclasses.is_dataclass(value := getattr(config, field.name)) else None
        for field in dataclasses.fields(config)
    }


def test_default_file_equals_the_defaults(tmp_path):
    assert load_config(CONFIGS / "default.yaml", base=tmp_path) == load_config(base=tmp_path)


def test_default_file_names_every_key():
    raw = yaml.safe_load((CONFIGS / "default.yaml").read_text())

    def names(value):
        return {key: names(item) for key, item in value.items()} if isinstance(value, dict) else None

    assert names(raw) == keys(Config())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_can_be_loaded(path):
    assert isinstance(read_config(path), Config)
