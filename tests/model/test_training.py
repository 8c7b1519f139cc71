"""The training loop: it learns, resumes to the same weights, stops on NaN, and calibrates."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from blendinator.errors import ConfigError
from blendinator.model import training
from blendinator.model.optimizers import Optimizers
from blendinator.model.phases import Phases
from blendinator.model.probaunet import ProbaUNet
from blendinator.model.recalibration import recalibrate


def new_model(config):
    return ProbaUNet(config.model, seed=1)


def train(tmp_path, config, scenes, normalise, model=None, name="a"):
    model = model or new_model(config)
    facts = training.train(
        model,
        scenes,
        scenes.take(np.arange(8)),
        normalise,
        config.training,
        str(tmp_path / name),
        str(tmp_path / "logs"),
    )
    return model, facts


def test_the_held_out_nll_falls(tmp_path, tiny_config, scenes, normalise):
    settings = dataclasses.replace(tiny_config.training, steps=60, evaluate_every=20, learning_rate=1e-2)
    _, facts = train(tmp_path, dataclasses.replace(tiny_config, training=settings), scenes, normalise)
    nll = [row["prior_nll"] for row in facts["history"]]
    assert nll[-1] < 0.7 * 16 * 16 * np.log(3)
    assert facts["steps"] == 60 and len(facts["history"][0]["kl_per_dimension"]) == 2


def test_a_killed_training_ends_with_the_same_weights(tmp_path, tiny_config, scenes, normalise, monkeypatch):
    whole, expected_facts = train(tmp_path, tiny_config, scenes, normalise, name="whole")

    batches = training.training_batches

    def killed(*arguments):
        for i, batch in enumerate(batches(*arguments)):
            if i == 6:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(training, "training_batches", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, tiny_config, scenes, normalise, name="resumed")
    monkeypatch.undo()
    resumed, facts = train(tmp_path, tiny_config, scenes, normalise, name="resumed")
    assert [(row["step"], row["phase"]) for row in facts["history"]] == [(4, "elbo"), (8, "elbo")]
    for mine, theirs in zip(facts["history"], expected_facts["history"]):
        assert mine["prior_nll"] == pytest.approx(theirs["prior_nll"], rel=1e-5)
    for expected, got in zip(whole.get_weights(), resumed.get_weights()):
        np.testing.assert_allclose(expected, got, atol=1e-6)


def test_the_same_optimisers_serve_all_phases(tiny_config):
    """Defect: a new Adam at every step, which never gathers its moments."""
    model = new_model(tiny_config)
    optimizers = Optimizers(model, tiny_config.training)
    steps = training.make_steps(model, optimizers, tiny_config.training)
    image, mask = tf.zeros([4, 16, 16, 1]), tf.zeros([4, 16, 16], tf.int32)
    for i, phase in enumerate(("deterministic", "elbo", "multi_sample", "elbo")):
        steps[phase](image, mask, tf.constant(i, tf.int64))
    assert int(optimizers.network.iterations) == 4
    assert int(optimizers.latent.iterations) == 3


def test_the_latent_starts_with_its_own_warm_up_and_ends_with_the_network(tiny_config):
    settings = dataclasses.replace(tiny_config.training, steps=100, deterministic_share=0.5, learning_rate=1e-2)
    optimizers = Optimizers(new_model(tiny_config), settings)
    rate = lambda optimizer, step: float(optimizer._learning_rate(step))
    assert rate(optimizers.latent, 0) == 0.0
    assert rate(optimizers.latent, 1) == pytest.approx(0.5e-2, rel=0.01)
    assert rate(optimizers.latent, 50) == pytest.approx(rate(optimizers.network, 100)) == pytest.approx(1e-4)


def test_the_deterministic_phase_leaves_prior_and_posterior_alone(tiny_config, scenes, normalise):
    model = new_model(tiny_config)
    steps = training.make_steps(model, Optimizers(model, tiny_config.training), tiny_config.training)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    for i in range(2):  # the learning rate of the first step is 0
        steps["deterministic"](normalise(scenes.image[:4]), scenes.mask[:4], tf.constant(i, tf.int64))
    changed = {
        path
        for path in before
        if not np.array_equal(before[path], {v.path: v for v in model.trainable_variables}[path].numpy())
    }
    assert changed and not any("posterior" in path or "prior" in path for path in changed)


def test_phases_follow_their_shares(tiny_config):
    settings = dataclasses.replace(tiny_config.training, steps=100, deterministic_share=0.3, multi_sample_share=0.2)
    phases = Phases(settings)
    assert [phases.at(step) for step in (0, 29, 30, 79, 80, 99)] == [
        "deterministic",
        "deterministic",
        "elbo",
        "elbo",
        "multi_sample",
        "multi_sample",
    ]


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, tiny_config, scenes):
    message = (
        r"the loss is nan at step 7: the training diverged. Lower training.learning_rate \(received 0.003\) and "
        r"training.kernel_learning_rate \(received 0.01\)"
    )
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, tiny_config, scenes, lambda image: image * np.nan)


def test_early_stopping_keeps_the_best_weights(tmp_path, tiny_config, scenes, normalise, monkeypatch):
    worse = iter([10.0, 20.0, 30.0, 40.0, 50.0])
    make = training.make_monitor

    def make_worse(*arguments):
        evaluate = make(*arguments)
        return lambda scenes: {**evaluate(scenes), "prior_nll": next(worse)}

    monkeypatch.setattr(training, "make_monitor", make_worse)
    settings = dataclasses.replace(tiny_config.training, steps=20, patience=2, beta_warmup=0.0)
    _, facts = train(tmp_path, dataclasses.replace(tiny_config, training=settings), scenes, normalise)
    assert facts["steps"] == 12 and facts["best_step"] == 4


def test_precision():
    assert training.resolve_precision("float32") == "float32"
    assert training.resolve_precision("bfloat16") == "mixed_bfloat16"


def test_recalibration_undoes_logits_that_are_three_times_too_sure(tmp_path, tiny_config, scenes, normalise):
    settings = dataclasses.replace(tiny_config.training, steps=60, evaluate_every=60, learning_rate=1e-2)
    model, _ = train(tmp_path, dataclasses.replace(tiny_config, training=settings), scenes, normalise)
    fitted = recalibrate(model, {"natural": scenes}, normalise, seed=1)
    for variable in (model.head.to_logits.kernel, model.head.to_logits.bias):
        variable.assign(3.0 * variable)
    again = recalibrate(model, {"natural": scenes}, normalise, seed=1)
    assert again["nll_before"] > fitted["nll_before"] + 1
    assert again["temperature"] == pytest.approx(3 * fitted["temperature"], rel=0.15)
    assert again["nll_after"] == pytest.approx(fitted["nll_after"], rel=0.02)


MIRRORED = """
import sys

import blendinator  # settles the Keras version
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from blendinator.model.input_data import Scenes, training_batches
from blendinator.model.optimizers import Optimizers
from blendinator.model.probaunet import ProbaUNet
from blendinator.model.training import make_steps
from blendinator.config import ModelConfig, TrainingConfig

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if sys.argv[1] == "two" else tf.distribute.get_strategy()
settings = TrainingConfig(steps=4, batch_size=4, deterministic_share=1.0, multi_sample_share=0.0)
rng = np.random.default_rng(1)
noise = lambda: rng.normal(size=[6, 16, 16, 1]).astype(np.float32)
scenes = Scenes(noise(), noise(), rng.integers(0, 3, [6, 16, 16], np.uint8), np.ones([6, 1], np.float32),
                np.zeros(6, np.float32), np.full(6, "boosted"))
with strategy.scope():
    network = ProbaUNet(ModelConfig(channels=(4, 8), convs_per_block=1, latent_dim=2), seed=1)
    steps = make_steps(network, Optimizers(network, settings), settings)
    losses = [float(steps["deterministic"](x, y, tf.constant(i, tf.int64))["loss"])
              for i, (x, y) in enumerate(training_batches(scenes, lambda x: x, settings))]
    elbo = make_steps(network, Optimizers(network, settings), settings)["elbo"]
    for x, y in training_batches(scenes, lambda x: x, settings):
        assert np.isfinite(float(elbo(x, y, tf.constant(4, tf.int64))["loss"]))
        break
print("losses", *losses)
"""


def test_two_replicas_train_as_one():
    """The same batch shared out to two devices: the same losses over several steps of the optimiser."""

    def losses(devices):
        out = subprocess.run(
            [sys.executable, "-c", MIRRORED, devices], capture_output=True, text=True, check=True
        ).stdout
        return [float(value) for value in out.split("losses ")[1].split()]

    one, two = losses("one"), losses("two")
    assert len(one) == 4
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_a_warm_training_never_ends_worse_than_it_began(tmp_path, tiny_config, scenes, normalise):
    settings = dataclasses.replace(tiny_config.training, steps=4, evaluate_every=2)
    model = new_model(tiny_config)
    before = model.get_weights()
    row = {"kl_per_dimension": [0.0], "active_units": 0, "diversity": 0.0}
    rows = iter([{**row, "prior_nll": nll} for nll in (10.0, 20.0, 30.0)])
    folders = str(tmp_path / "work"), str(tmp_path / "logs")
    facts = training.train(model, scenes, scenes, normalise, settings, *folders, lambda _: next(rows), warm=True)
    assert facts["best_step"] == 0 and [row["step"] for row in facts["history"]] == [0, 2, 4]
    for ours, expected in zip(model.get_weights(), before):
        np.testing.assert_array_equal(ours, expected)
