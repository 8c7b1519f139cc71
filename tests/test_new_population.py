"""A new population is one entry of `POPULATIONS`: records, schema, slices and rules follow."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from blendinator.components.calibration_evaluator import scoring
from blendinator.config_loader import config_from_dict
from blendinator.data import population, records, simulate, spans
from blendinator.data.tfrecords import read_records
from blendinator.errors import ConfigError
from blendinator.model import gallery, input_data
from blendinator.model.metrics import evaluation, rules, scenes
from blendinator.pipeline.config_checks import check_config
from blendinator.schemas.schema import find_violation, load_schema

PAGE = Path(__file__).resolve().parent.parent / "docs/architecture.md"
RAW = {
    "simulation": {
        "train_scenes": 20,
        "calibration_scenes": 2,
        "test_scenes": 2,
        "stamp_size": 32,
        "train_populations": {"boosted": 0.4, "natural": 0.3, "crowded": 0.3},
        "test_populations": {"crowded": 1.0},
    },
    "evaluation": {
        "num_samples": 2,
        "bootstrap_replicates": 10,
        "min_scenes": 1,
        "classical": {"threshold": 2.0},
        "thresholds": [{"metric": "nll", "population": "crowded", "slice": "psf_fwhm 0.1 to 0.3", "min": 0.0}],
        "slices": [{"scalar": "psf_fwhm", "edges": [0.1, 0.3]}],
    },
}


@pytest.fixture
def crowded(monkeypatch):
    """The example of docs/architecture.md, registered for one test."""
    text = re.search(r"<!-- example: population -->\n *```python\n(.*?)\n *```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    monkeypatch.setattr(population, "POPULATIONS", population.POPULATIONS)  # the name, should the example bind it
    monkeypatch.setitem(population.POPULATIONS, "crowded", None)
    exec("import dataclasses\n" + textwrap.dedent(text), vars(population).copy())
    assert population.POPULATIONS["crowded"] is not None


def thirds(read):
    return {name: sum(scene["population"] == name for scene in read) for name in population.POPULATIONS}


def test_from_the_configuration_to_slices(crowded, tmp_path):
    config = config_from_dict(RAW)
    check_config(config)
    manifest = simulate.simulate_span(config.simulation, tmp_path, 1, workers=1)
    folder = spans.span_dir(tmp_path, 1)
    assert spans.verify_span(folder) == manifest
    assert manifest["splits"]["train"] == {"records": 20, "boosted": 8, "natural": 6, "bright": 0, "crowded": 6}
    assert manifest["splits"]["test"] == {"records": 2, "boosted": 0, "natural": 0, "bright": 0, "crowded": 2}
    assert len(manifest["class_shares"]["crowded"]) == 3

    (file,) = folder.glob("train-*.tfrecord.gz")
    read = [records.decode(record) for record in read_records(file)]
    for scene in read:
        records.check(scene, 32)
    assert thirds(read) == {"boosted": 8, "natural": 6, "bright": 0, "crowded": 6}
    feature = next(feature for feature in load_schema(32).feature if feature.name == "population")
    assert find_violation(feature, np.array([b"crowded"], object)) is None

    block = scoring.score_batch(read, scoring.ClassicalBaseline(config.evaluation.classical), config.evaluation)
    report = evaluation.evaluate_rows(scenes.concatenate([block]), config.evaluation)
    assert {name: part["scenes"] for name, part in report.items()} == {k: n for k, n in thirds(read).items() if n}
    assert report["crowded"]["slices"]["psf_fwhm"][0]["scenes"] == 6
    (verdict,) = rules.check_rules(config.evaluation.thresholds, report, config.evaluation.min_scenes)
    assert verdict["passed"] and verdict["population"] == "crowded"

    chosen = gallery.choose_scenes(block, 9)
    assert {name: chosen.count(name) for name in chosen} == dict.fromkeys(chosen, 1) and 3 <= len(chosen) <= 9
    loaded = input_data.load_scenes([str(file)], 32, tmp_path)
    assert loaded.natural.tolist() == [scene["population"] == "natural" for scene in read]


@pytest.mark.parametrize(
    "raw, message",
    [
        (
            {"simulation": {"test_populations": {"crowded": 1.0}}},
            "configuration: simulation.test_populations: received 'crowded'; allowed: boosted, natural, bright",
        ),
        (
            {"evaluation": {"relative": [{"metric": "ged", "population": "crowded", "margin": 1.0}]}},
            r"evaluation.relative\[0\].population: received 'crowded'; allowed: boosted, natural, bright",
        ),
    ],
)
def test_a_population_that_is_not_registered(raw, message):
    with pytest.raises(ConfigError, match=message):
        check_config(config_from_dict(raw))
