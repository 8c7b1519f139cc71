"""The picture of a scene."""

import numpy as np
import pytest

from blendinator.config import PopulationConfig, SimulationConfig
from blendinator.data.scene import Simulator
from blendinator.data.show import parse_scene_id, show_scene, source_table
from blendinator.errors import ConfigError, DataError

CONFIG = SimulationConfig(stamp_size=32, train_scenes=5, calibration_scenes=1, test_scenes=1)


@pytest.mark.parametrize(
    "config",
    [CONFIG, SimulationConfig(train_populations={"natural": 1.0}, population=PopulationConfig(density_scale=0.0))],
)
def test_the_picture_is_written_and_the_record_is_that_of_the_span(tmp_path, config):
    record = show_scene(config, "2:3", tmp_path / "scene.png")
    assert (tmp_path / "scene.png").read_bytes().startswith(b"\x89PNG")
    assert record["scene_id"] == "2:3"
    np.testing.assert_array_equal(record["image"], Simulator(config).scenes(2, [3])[0]["image"])


def test_the_table_of_sources():
    simulator = Simulator(CONFIG)
    scene, stamps = simulator.isolated_images(1, 0)
    table = source_table(scene.sources, stamps, scene.sky_sigma, simulator.survey)
    assert len(table) == 1 + len(scene.sources) and len(set(map(len, table))) == 1
    assert [row[-1] for row in table[1:]] == (stamps > scene.sky_sigma).sum(axis=(1, 2)).tolist()
    assert table[1][4] == f"{scene.sources.magnitude[0]:.2f}"


@pytest.mark.parametrize("text", ["4711", "1:", ":3", "a:1", "1:-2", "1:2:3", ""])
def test_a_scene_id_that_cannot_be_read(text):
    with pytest.raises(ConfigError, match=f"scene: received '{text}'; allowed: <span>:<scene number>, such as 1:4711"):
        parse_scene_id(text)


def test_no_such_scene(tmp_path):
    with pytest.raises(DataError, match="scene 7: the span has no such scene; allowed: 0 to 6"):
        show_scene(CONFIG, "1:7", tmp_path / "scene.png")


def test_a_picture_that_cannot_be_written(tmp_path):
    for name in ("absent/scene.png", "scene.nonsense"):
        with pytest.raises(
            DataError, match="the picture cannot be written .* Give a path ending in .png in a folder that exists"
        ):
            show_scene(CONFIG, "1:0", tmp_path / name)
