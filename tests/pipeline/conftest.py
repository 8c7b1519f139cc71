"""A configuration, and spans for the tests that do not read their scenes."""

import dataclasses
import json

import pytest

from blendinator.config import Config, SimulationConfig
from blendinator.config_loader import config_to_dict
from blendinator.data import spans


@pytest.fixture
def config(tmp_path):
    simulation = SimulationConfig(stamp_size=32, train_scenes=100, calibration_scenes=50, test_scenes=50)
    return dataclasses.replace(Config(), output_dir=str(tmp_path / "output"), simulation=simulation)


@pytest.fixture
def make_span(config):
    """Makes a span of no files with the configuration's settings and those given."""

    def make(span, **simulation):
        folder = spans.span_dir(config.data_root, span)
        folder.mkdir(parents=True)
        settings = config_to_dict(dataclasses.replace(config.simulation, **simulation))
        (folder / spans.MANIFEST).write_text(
            json.dumps(
                {
                    "complete": True,
                    "format_version": spans.FORMAT_VERSION,
                    "simulation": settings,
                    "files": {},
                    "splits": {},
                }
            )
        )

    return make
