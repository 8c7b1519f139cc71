"""What a run checks before the training, and what it says when it stops."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from blendinator.config import ServingConfig
from blendinator.errors import ConfigError, DataError
from blendinator.pipeline import run


def test_a_missing_triton_stops_the_run_before_the_training(config, make_span, tmp_path):
    make_span(1)
    serving = ServingConfig(infra_check="triton", triton_python=str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="serving.triton_python: received .* Install Triton"):
        run.run_pipeline(dataclasses.replace(config, serving=serving), "latest", Console(quiet=True), {})
    assert not config.pipeline_root.exists()


@pytest.mark.parametrize("pushes", [False, True])
def test_what_was_pushed_is_told_when_the_run_stops_later(config, capfd, pushes):
    def body(console, entry):
        if pushes:
            version = Path(config.serving_dir) / "17"
            version.mkdir(parents=True)
            (version / "saved_model.pb").touch()
        raise DataError("the report cannot be written")

    entry = run.perform(config, "run", body)
    shown = capfd.readouterr().out
    assert entry["status"] == "failed" and "the report cannot be written" in shown
    assert ("Nothing was pushed." in shown) is not pushes
    assert ("Version 17 had been pushed before" in shown) is pushes
    assert entry["version"] == (str(Path(config.serving_dir) / "17") if pushes else None)
