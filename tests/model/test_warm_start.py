"""Warm start: weights are taken over where they fit, and the reason is given where they do not."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from blendinator.config import Config, ModelConfig, RetrainingConfig, SimulationConfig, TrainingConfig, WarmStartConfig
from blendinator.config_loader import config_to_dict
from blendinator.data import records, spans
from blendinator.data.simulate import simulate_span
from blendinator.data.tfrecords import read_records
from blendinator.model import warm_start
from blendinator.model.export import WEIGHTS_FILE
from blendinator.model.live import FACTS_FILE, LIVE_FILE
from blendinator.model.preprocessing import sigma_from_quantiles
from blendinator.model.probaunet import ProbaUNet

MODEL = ModelConfig(channels=(4, 8), convs_per_block=1, head_channels=4, head_layers=2, latent_dim=2)
CONFIG = dataclasses.replace(Config(), model=MODEL)


@pytest.fixture
def live(tmp_path):
    """The artifact of a live model with weights of seed 2, temperature 1.5 and a scale of 26 electrons."""
    made = ProbaUNet(MODEL, seed=2)
    made.temperature.assign(1.5)
    folder = tmp_path / "artifact" / "Format-Serving"
    (folder / WEIGHTS_FILE).parent.mkdir(parents=True)
    made.save_weights(folder / WEIGHTS_FILE)
    (folder / "saved_model.pb").touch()
    write_facts(folder, key="abc", sky_sigma=[26.0], config={"model": config_to_dict(MODEL)})
    (tmp_path / "artifact" / LIVE_FILE).write_text(json.dumps({"version": "7"}))
    return folder


def write_facts(folder, **facts):
    (folder / FACTS_FILE).write_text(json.dumps(facts))


def test_weights_are_taken_over_and_the_calibration_is_not(live):
    fresh = ProbaUNet(MODEL, seed=1)
    facts = warm_start.start(fresh, live, CONFIG, [26.26])
    assert facts == {"kind": "warm", "version": "7", "key": "abc", "sigma_change": pytest.approx(0.01)}
    expected = ProbaUNet(MODEL, seed=2)
    for ours, theirs in zip(fresh.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    assert float(fresh.temperature.numpy()) == 1.0


@pytest.mark.parametrize("base", [None, "empty"])
def test_no_live_model_is_a_cold_start(base, tmp_path, caplog):
    caplog.set_level("INFO")
    facts = warm_start.start(ProbaUNet(MODEL, seed=1), base and tmp_path, CONFIG, [26.0])
    assert facts == {"kind": "cold", "reason": "there is no live model"}
    assert "cold start: there is no live model" in caplog.text


def test_switched_off_is_said():
    config = dataclasses.replace(CONFIG, retraining=RetrainingConfig(warm_start=WarmStartConfig(enabled=False)))
    assert warm_start.start(ProbaUNet(MODEL, seed=1), None, config, [26.0])["reason"] == "it is switched off"


def test_another_architecture_is_a_cold_start(live):
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, head_layers=3, channels=(4, 9)))
    facts = warm_start.start(ProbaUNet(config.model, seed=1), live, config, [26.0])
    assert facts["kind"] == "cold" and facts["version"] == "7"
    assert facts["reason"] == "the architecture differs in model.channels, model.head_layers"


@pytest.mark.parametrize("sigma, change", [(28.6, "+10.0 %"), (23.4, "-10.0 %")])
def test_another_noise_level_is_a_cold_start(live, sigma, change):
    facts = warm_start.start(ProbaUNet(MODEL, seed=1), live, CONFIG, [sigma])
    assert facts["reason"] == (
        f"the normalisation changed by {change}, and retraining.warm_start.max_sigma_change is 5 %"
    )


def test_another_number_of_bands_is_a_cold_start(live):
    facts = warm_start.start(ProbaUNet(MODEL, seed=1, bands=2), live, CONFIG, [26.0, 5.0])
    assert facts["reason"] == "the number of bands changed from 1 to 2"


def test_a_scale_that_was_noted_as_a_number_is_read(live):
    """As the models of one band did that were exported before there were bands."""
    write_facts(live, key="abc", sky_sigma=26.0, config={"model": config_to_dict(MODEL)})
    assert warm_start.start(ProbaUNet(MODEL, seed=1), live, CONFIG, [26.26])["sigma_change"] == pytest.approx(0.01)


def test_an_older_export_is_a_cold_start(live):
    write_facts(live, key="abc")
    assert (
        "does not tell its normalisation" in warm_start.start(ProbaUNet(MODEL, seed=1), live, CONFIG, [26.0])["reason"]
    )


def test_missing_weights_are_a_cold_start(live):
    (live / WEIGHTS_FILE).unlink()
    facts = warm_start.start(ProbaUNet(MODEL, seed=1), live, CONFIG, [26.0])
    assert "has no assets.extra/probaunet.weights.h5" in facts["reason"]


def test_weights_of_other_code_leave_the_network_as_it_was(live):
    ProbaUNet(dataclasses.replace(MODEL, head_channels=5), seed=2).save_weights(live / WEIGHTS_FILE)
    fresh, untouched = ProbaUNet(MODEL, seed=1), ProbaUNet(MODEL, seed=1)
    assert "weights do not fit" in warm_start.start(fresh, live, CONFIG, [26.0])["reason"]
    for ours, theirs in zip(fresh.get_weights(), untouched.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_schedule_after_a_warm_start():
    training = TrainingConfig(steps=1000, learning_rate=0.01, kernel_learning_rate=0.04, evaluate_every=600)
    warm = WarmStartConfig(
        steps_share=0.5, learning_rate_share=0.25, deterministic_share=0.125, multi_sample_share=0.75
    )
    config = dataclasses.replace(CONFIG, training=training, retraining=RetrainingConfig(warm_start=warm))
    found = warm_start.warm_training(config)
    assert (found.steps, found.learning_rate, found.kernel_learning_rate) == (500, 0.0025, 0.01)
    assert found.deterministic_share == 0.125
    assert (found.multi_sample_share, found.evaluate_every, found.batch_size) == (0.75, 125, training.batch_size)


def test_the_mean_of_start_and_trained_weights():
    trained, start = ProbaUNet(MODEL, seed=1), ProbaUNet(MODEL, seed=2).get_weights()
    before = trained.get_weights()
    warm_start.average(trained, start, 0.25)
    for mean, first, last in zip(trained.get_weights(), start, before):
        np.testing.assert_allclose(mean, 0.75 * first + 0.25 * last, rtol=1e-6, atol=1e-7)


def test_scale_of_the_normalisation():
    normalise = lambda image: tf.asinh(image / [26.3, 7.0])
    assert warm_start.normalisation_scale(normalise, 8, 2) == pytest.approx([26.3, 7.0], rel=1e-5)


def refitted(folder, span, **changes):
    """The transform's sky sigma for a small simulated span, and its images."""
    # Natural scenes: 400 boosted ones of so few pixels differ too much in how much of them is bright.
    sky = dict(stamp_size=32, train_scenes=400, calibration_scenes=1, test_scenes=1, train_populations={"natural": 1.0})
    settings = SimulationConfig(**sky, **changes)
    simulate_span(settings, folder, span, workers=1)
    images = np.stack(
        [
            records.decode(one)["image"]
            for path in sorted(spans.span_dir(folder, span).glob("train-*"))
            for one in read_records(path)
        ]
    )
    inner = np.linspace(0, 1, 2001)[1:-1]
    return float(sigma_from_quantiles(np.quantile(images[:, ::4, ::4], inner))), images


def test_inputs_of_a_warm_start_do_not_shift(tmp_path, live):
    """Refitting on another span of one distribution moves no input by more than the bound; other noise starts cold."""
    first, _ = refitted(tmp_path, 1)
    second, images = refitted(tmp_path, 2)
    bound = WarmStartConfig().max_sigma_change
    assert abs(second / first - 1.0) < bound
    shift = np.abs(np.arcsinh(images / second) - np.arcsinh(images / first)).max()
    assert shift <= abs(np.log(second / first)) + 1e-6 < np.log1p(bound) + 1e-6
    write_facts(live, key="abc", sky_sigma=[first], config={"model": config_to_dict(MODEL)})
    assert warm_start.start(ProbaUNet(MODEL, seed=1), live, CONFIG, [second])["kind"] == "warm"
    noisier, _ = refitted(tmp_path, 3, noise_scale=1.3)
    assert warm_start.start(ProbaUNet(MODEL, seed=1), live, CONFIG, [noisier])["kind"] == "cold"


def test_checkpoints_of_other_starts_are_others():
    starts = [
        {"kind": "cold", "reason": "x"},
        {"kind": "warm", "version": "1", "key": "a"},
        {"kind": "warm", "version": "2", "key": "a"},
    ]
    assert len({warm_start.digest(start) for start in starts}) == 3
