"""When a run simulates, and what it says of spans that were simulated before."""

import json

from rich.console import Console

from blendinator.data import spans
from blendinator.pipeline import simulation


def test_data_are_simulated_only_when_there_are_none(config, make_span, monkeypatch):
    simulated = []
    monkeypatch.setattr(simulation, "simulate", lambda config, span, console: simulated.append(span))
    simulation.simulate_if_missing(config, "3", Console())
    assert simulated == []
    simulation.simulate_if_missing(config, "latest", Console())
    assert simulated == [1]
    make_span(2)
    simulation.simulate_if_missing(config, "latest", Console())
    assert simulated == [1]


def test_a_users_own_span_has_no_other_settings(config, make_span, caplog):
    make_span(1)
    path = spans.span_dir(config.data_root, 1) / spans.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["simulation"]
    path.write_text(json.dumps(manifest))
    simulation.warn_of_other_settings(config, (1,))
    assert caplog.text == ""


def test_span_of_other_settings_is_pointed_out(config, make_span, caplog):
    make_span(1)
    make_span(2, noise_scale=2.0, seed=7)
    simulation.warn_of_other_settings(config, (1,))
    assert caplog.text == ""
    simulation.warn_of_other_settings(config, (1, 2))
    assert "span 2 was simulated with other settings" in caplog.text
    assert "simulation.noise_scale, simulation.seed. It is used as it is." in caplog.text
