"""Time budget: what fits, that it is decided once, and that every network has a pace."""

import dataclasses
import json

import pytest

from blendinator.config import ModelConfig, TrainingConfig
from blendinator.model import pace

SECONDS = {"deterministic": 0.1, "elbo": 0.2, "multi_sample": 0.4}
# 70 + 10 + 20 of 100 steps: 7 + 2 + 8 = 17 s.
TRAINING = TrainingConfig(steps=100, deterministic_share=0.7, multi_sample_share=0.2, evaluate_every=20)


def test_seconds_of_all_phases():
    assert pace.seconds_of(TRAINING, SECONDS) == pytest.approx(17.0)
    warm = dataclasses.replace(TRAINING, deterministic_share=0.0, multi_sample_share=1.0)
    assert pace.seconds_of(warm, SECONDS) == pytest.approx(40.0)


def test_a_budget_shortens_and_never_lengthens():
    # A tenth of the time is kept for evaluations: 0.9 * 9.444 s is half of 17 s.
    half = pace.within(dataclasses.replace(TRAINING, minutes=17.0 / 1.8 / 60.0 * 1.0001), SECONDS)
    assert (half.steps, half.evaluate_every, half.deterministic_share) == (50, 10, 0.7)
    assert pace.within(dataclasses.replace(TRAINING, minutes=60.0), SECONDS).steps == 100
    assert pace.within(dataclasses.replace(TRAINING, minutes=1e-9), SECONDS).steps == 1


def test_a_budget_is_decided_once(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "measure", lambda *_: SECONDS)
    training = dataclasses.replace(TRAINING, minutes=0.1)
    first, facts = pace.budget(tiny_config, training, tmp_path / "work")
    assert facts == json.loads((tmp_path / "work" / pace.BUDGET_FILE).read_text())
    assert (facts["steps"], facts["asked"], facts["minutes"]) == (first.steps, 100, 0.1) and first.steps < 100
    monkeypatch.setattr(pace, "measure", lambda *_: pytest.fail("it was measured again"))
    assert pace.budget(tiny_config, training, tmp_path / "work")[0] == first


def test_no_budget_measures_nothing(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "measure", lambda *_: pytest.fail("it was measured"))
    assert pace.budget(tiny_config, TRAINING, tmp_path) == (TRAINING, None)


def test_measured_steps_take_time(tiny_config):
    found = pace.measure(tiny_config, tiny_config.training)
    assert set(found) == set(pace.PHASES) and min(found.values()) > 0.0


def test_multiplications_by_hand():
    small = ModelConfig(channels=(2, 4), convs_per_block=2, head_channels=3, head_layers=2)
    # Encoder 9 * 2 * (1 + 2) + 9 * 4 * (2 + 4) / 4, decoder 9 * 2 * (4 + 2), head 3 * (3 + 3).
    assert pace.multiplications(small) == 54 + 54 + 108 + 18
    assert pace.multiplications(small, bands=2) == 54 + 54 + 108 + 18 + 9 * 2  # one map more into the first layer


def test_outlook_says_what_it_counts(tiny_config, monkeypatch):
    monkeypatch.setattr(pace, "estimate", lambda _: dict.fromkeys(pace.PHASES, 6.0))
    config = dataclasses.replace(tiny_config, training=TRAINING)
    assert pace.outlook(config, False) == "about 11 min of training on this machine (cold start, at most 100 steps)"
    assert "about 1 min" in pace.outlook(config, True) and "warm start, at most 10 steps" in pace.outlook(config, True)
    capped = dataclasses.replace(config, training=dataclasses.replace(TRAINING, minutes=2.0))
    assert "about 2 min" in pace.outlook(capped, False)
