"""Loading the configuration: what comes out, and one message for each mistake."""

import pytest

from blendinator.config import Config
from blendinator.config_loader import config_from_dict, config_to_dict, load_config
from blendinator.errors import ConfigError


def test_a_file_names_only_what_it_changes(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("output_dir: out\ntraining: {steps: 7, learning_rate: 1e-4}\nmodel: {channels: [4, 8]}\n")
    config = load_config(path, base=tmp_path)
    assert (config.training.steps, config.training.learning_rate, config.model.channels) == (7, 1e-4, (4, 8))
    assert config.training.batch_size == Config().training.batch_size
    assert config.output_dir == str(tmp_path / "out")


def test_dictionaries_and_back():
    assert config_from_dict(config_to_dict(Config())) == Config()


@pytest.mark.parametrize(
    "raw, message",
    [
        ({"trainnig": {}}, "trainnig: unknown key; allowed here: name, output_dir, storage, simulation"),
        ({"training": {"stpes": 1}}, "training.stpes: unknown key; allowed here: seed, steps"),
        ({"training": 3}, "training: received 3; allowed: a mapping of keys"),
        ({"training": {"steps": 0}}, "training.steps: received 0; allowed: an integer from 1 to"),
        ({"training": {"steps": True}}, "training.steps: received True; allowed: an integer"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate: received 'fast'; allowed: a number from"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: received nan; allowed: a number from"),
        ({"training": {"fresh_noise": 1}}, "training.fresh_noise: received 1; allowed: true or false"),
        ({"model": {"channels": 16}}, "model.channels: received 16; allowed: a list"),
        ({"model": {"channels": [16, 0]}}, r"model.channels\[1\]: received 0; allowed: an integer from 1 to 1024"),
        (
            {"simulation": {"survey": "hst"}},
            "simulation.survey: received 'hst'; allowed: one of euclid_wide, euclid_deep, lsst_i",
        ),
        (
            {"serving": {"infra_check": "docker"}},
            "serving.infra_check: received 'docker'; allowed: one of savedmodel, triton",
        ),
        (
            {"simulation": {"population": {"density_scale": -1.0}}},
            "simulation.population.density_scale: received -1.0; allowed",
        ),
        (
            {"simulation": {"stamp_size": 60}},
            "simulation.stamp_size: received 60; allowed: a multiple of 8, at least 16",
        ),
        (
            {"simulation": {"stamp_size": 32}, "model": {"channels": [4] * 6}},
            "simulation.stamp_size: received 32; allowed: a multiple of 32, at least 64",
        ),
        (
            {"simulation": {"population": {"magnitude_bright": 28.0}}},
            "magnitude_bright: received 28.0; allowed: at most",
        ),
        (
            {"simulation": {"noise_range": [1.4, 0.7]}},
            r"simulation.noise_range: received \[1.4, 0.7\]; allowed: two numbers, the lower one first",
        ),
        (
            {"evaluation": {"thresholds": [{"metric": "ged"}]}},
            r"evaluation.thresholds\[0\].*needs `metric` and `min` or `max`",
        ),
        ({"evaluation": {"slices": [{"scalar": "snr", "edges": [2.0, 1.0]}]}}, "allowed: two or more rising numbers"),
        (
            {"evaluation": {"slices": [{"scalar": "snr", "edges": [0.0, float("inf")]}]}},
            r"slices\[0\].edges\[1\]: received inf; allowed: a number",
        ),
        (
            {"evaluation": {"thresholds": [{"metric": "ged", "max": float("inf")}]}},
            r"max: received inf; allowed: a number",
        ),
        (
            {"evaluation": {"thresholds": [{"metric": "ged", "min": 0.9, "max": 0.5}]}},
            r"thresholds\[0\]: received min 0.9 and max 0.5; allowed: a min that is not above the max",
        ),
        (
            {"simulation": {"train_populations": {"boosted": 0.5}}},
            r"simulation.train_populations: received {'boosted': 0.5}, which sum to 0.5; allowed: shares that sum to 1",
        ),
        (
            {"simulation": {"train_populations": {"boosted": 1.5}}},
            "simulation.train_populations.boosted: received 1.5; allowed: a number from 0.0 to 1.0",
        ),
        (
            {"simulation": {"train_populations": 0.7}},
            "simulation.train_populations: received 0.7; allowed: a mapping of names to numbers",
        ),
        (
            {"simulation": {"test_populations": {}}},
            "simulation.test_populations: received {}; allowed: a mapping of names to numbers",
        ),
        (
            {"simulation": {"train_boosted_share": 1.5}},
            "simulation.train_boosted_share: received '1.5'; this key is now called train_populations; allowed: shares"
            " of the populations, such as",
        ),
        (
            {"simulation": {"background_error": 0.1, "defects": {"background_error": 0.2}}},
            "simulation.background_error is now defects.background_error, which is there as well: remove it",
        ),
        (
            {"simulation": {"train_boosted_share": 0.5, "train_populations": {"boosted": 1.0}}},
            "simulation.train_boosted_share is now called train_populations, which is there as well: remove it",
        ),
        ({"evaluation": {"slices": []}}, r"evaluation.slices: received \[\]; allowed: a list that is not empty"),
    ],
)
def test_mistakes(raw, message):
    with pytest.raises(ConfigError, match="here: .*" + message if "here" not in message else message):
        config_from_dict(raw, source="here")


def test_former_keys_are_read_and_the_new_ones_named(tmp_path, caplog):
    path = tmp_path / "a.yaml"
    path.write_text("simulation: {train_boosted_share: 0.8, test_boosted_share: 1}")
    simulation = load_config(path).simulation
    assert simulation.train_populations == {"boosted": 0.8, "natural": 0.2}
    assert simulation.calibration_populations == Config().simulation.calibration_populations
    assert simulation.test_populations == {"boosted": 1.0, "natural": 0.0}
    assert (
        "simulation.train_boosted_share is now called train_populations; "
        "write train_populations: {boosted: 0.8, natural: 0.2}"
    ) in caplog.text
    caplog.clear()
    path.write_text("simulation: {background_error: 0.1, defects: {dithers: 3}}")
    assert load_config(path).simulation.defects.background_error == 0.1
    assert "simulation.background_error is now defects.background_error" in caplog.text
    caplog.clear()
    config_from_dict({"simulation": {"train_boosted_share": 0.8}})  # of a span or a model: nothing to write
    assert not caplog.text


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.yaml: the configuration cannot be read.*Give an existing YAML file"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_file_that_is_no_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: [1\n")
    with pytest.raises(ConfigError, match="a.yaml: this is not valid YAML"):
        load_config(path)


@pytest.mark.parametrize("text", ["name: a\nname: b", "training: {seed: 1, seed: 2}", '"name": a\nname: b'])
def test_a_key_that_stands_twice_is_refused(tmp_path, text):
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not valid YAML: the key '(name|seed)' stands here a second time"):
        load_config(tmp_path / "twice.yaml")


def test_only_plain_values_are_made(tmp_path):
    (tmp_path / "object.yaml").write_text(f"name: !!python/object/apply:os.mkdir [{tmp_path}/made]")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "object.yaml")
    assert not (tmp_path / "made").exists()


def test_output_folder_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text("output_dir: ~/runs\n")
    assert load_config(tmp_path / "a.yaml").output_dir == str(tmp_path / "runs")


def test_output_folder_that_is_no_folder_of_this_machine(tmp_path):
    (tmp_path / "a.yaml").write_text("output_dir: gs://bucket/runs\n")
    with pytest.raises(ConfigError, match="output_dir: received gs://bucket/runs; allowed: a folder of this machine"):
        load_config(tmp_path / "a.yaml")


def test_a_home_folder_in_paths_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("output_dir: ~/out\nsimulation: {catalog: ~/my.csv}\n")
    config = load_config(tmp_path / "c.yaml")
    assert (config.output_dir, config.simulation.catalog) == (str(tmp_path / "out"), str(tmp_path / "my.csv"))


def test_a_current_folder_that_was_removed(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the current folder no longer exists. Change to another one"):
        load_config()
