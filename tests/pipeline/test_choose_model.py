"""A SavedModel from elsewhere is loaded only by an explicit choice."""

import dataclasses

import pytest

from blendinator.config import Config
from blendinator.errors import ConfigError
from blendinator.model import released
from blendinator.pipeline.commands._options import choose_model


@pytest.fixture
def config(tmp_path):
    config = dataclasses.replace(Config(), output_dir=str(tmp_path / "output"))
    (config.serving_dir / "7").mkdir(parents=True)
    (config.serving_dir / "7" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    return config


def test_what_the_pipeline_pushed_needs_no_trust(config, capsys):
    assert choose_model(config, None, False) == config.serving_dir
    for inside in (config.serving_dir, config.serving_dir / "7"):
        assert choose_model(config, inside, False) == inside
    assert capsys.readouterr().err == ""


def test_where_nothing_was_pushed_the_released_model_serves(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(released, "card", lambda: {"name": "euclid_wide-1"})
    monkeypatch.setattr(released, "unpack", lambda: tmp_path / "released")
    fresh = dataclasses.replace(config, output_dir=str(tmp_path / "fresh"))
    assert choose_model(fresh, None, False) == tmp_path / "released"
    assert "model: the released one, euclid_wide-1; nothing was pushed to" in capsys.readouterr().err
    monkeypatch.setattr(released, "card", lambda: None)
    assert choose_model(fresh, None, False) == fresh.serving_dir  # loading it says what is missing


@pytest.mark.parametrize(
    "path", ["elsewhere", "output/serving/blendinator/link", "output/serving/blendinator/../../.."]
)
def test_a_model_from_elsewhere_needs_it(config, tmp_path, capsys, path):
    (config.serving_dir / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="not in the serving folder .*give --trust-model if you know where it comes"):
        choose_model(config, tmp_path / path, False)
    assert choose_model(config, tmp_path / path, True) == tmp_path / path
    assert "runs with your rights" in capsys.readouterr().err
