"""How fast this machine trains, and how many steps fit into `training.minutes`.

Two measurements. `measure` runs a few real steps of each phase, which takes as long as compiling them: a training with
a time budget can afford that. `estimate` times one convolution for a second and scales it to the network: that is
enough to tell a user what to expect.
"""

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from blendinator.config import Config, ModelConfig, TrainingConfig
from blendinator.data.records import NUM_CLASSES
from blendinator.data.survey import bands_of
from blendinator.files import write_json
from blendinator.model.optimizers import Optimizers
from blendinator.model.phases import Phases
from blendinator.model.probaunet import ProbaUNet
from blendinator.model.training import make_steps, resolve_precision
from blendinator.model.warm_start import warm_training

log = logging.getLogger("blendinator.training")
BUDGET_FILE = "budget.json"
PHASES = ("deterministic", "elbo", "multi_sample")
_EVALUATION = 0.1  # share of the time kept for the evaluations between the steps
_TIMED = 3  # steps of each phase
_PROBE_SECONDS = 1.0
_PROBE_CHANNELS = 16
# Seconds of a step over those of the probe's convolution, per multiplication of the network: between those of the
# default network on two cores in bfloat16 (1.5, 2.1, 2.2) and in float32 with AVX2 alone (1.4, 1.8, 1.7).
_RATIO = {"deterministic": 1.4, "elbo": 2.0, "multi_sample": 2.0}


def seconds_of(training: TrainingConfig, seconds: dict[str, float]) -> float:
    """Seconds of all steps, from those of one step of each phase."""
    phases = Phases(training)
    numbers = (
        phases.latent_from,
        max(0, phases.multi_sample_from - phases.latent_from),
        training.steps - max(phases.latent_from, phases.multi_sample_from),
    )
    return sum(number * seconds[name] for name, number in zip(PHASES, numbers))


def within(training: TrainingConfig, seconds: dict[str, float]) -> TrainingConfig:
    """The training, shortened to `training.minutes` where it would take longer: all phases and the decay of the
    learning rate keep their shares.

    Args:
      seconds: of one step of each phase.
    """
    needed = seconds_of(training, seconds)
    share = 60.0 * training.minutes * (1.0 - _EVALUATION) / needed
    if share >= 1.0:
        return training
    return dataclasses.replace(
        training,
        steps=max(1, int(training.steps * share)),
        evaluate_every=max(1, round(training.evaluate_every * share)),
    )


def budget(config: Config, training: TrainingConfig, work_dir: Path) -> tuple[TrainingConfig, dict | None]:
    """The training within its time budget, and the facts of it; (training, None) when there is no budget.

    It is decided once: a training that was killed goes on with the number of steps found in `work_dir`, on whatever
    machine.
    """
    if not training.minutes:
        return training, None
    path = work_dir / BUDGET_FILE
    if path.is_file():
        facts = json.loads(path.read_text(encoding="utf-8"))
        seconds = facts["seconds_per_step"]
    else:
        seconds = measure(config, training)
    shorter = within(training, seconds)
    facts = {"minutes": training.minutes, "asked": training.steps, "steps": shorter.steps, "seconds_per_step": seconds}
    work_dir.mkdir(parents=True, exist_ok=True)
    write_json(path, facts)
    log.info(
        "training.minutes %g: %d of %d steps; training.steps: %d with training.minutes: 0 repeats them elsewhere",
        training.minutes,
        shorter.steps,
        training.steps,
        shorter.steps,
    )
    return shorter, facts


def measure(config: Config, training: TrainingConfig) -> dict[str, float]:
    """Seconds of one step of each phase, on a network that is thrown away."""
    side = config.simulation.stamp_size
    bands = len(bands_of(config.simulation.survey))
    model = ProbaUNet(config.model, training.seed, resolve_precision(training.precision), bands)
    steps = make_steps(model, Optimizers(model, training), training)
    image = tf.zeros((training.batch_size, side, side, bands))
    mask = tf.zeros((training.batch_size, side, side), tf.int32)
    found = {}
    for name in PHASES:
        run = lambda step=steps[name]: step(image, mask, tf.constant(0, tf.int64))["loss"].numpy()
        run()  # compiles
        found[name] = _median_seconds(run, _TIMED)
    return found


def estimate(config: Config) -> dict[str, float]:
    """Seconds of one step of each phase, from one second of convolutions."""
    training, side = config.training, config.simulation.stamp_size
    seconds = convolution_seconds(training.batch_size, side, resolve_precision(training.precision))
    relative = multiplications(config.model, len(bands_of(config.simulation.survey))) / (9 * _PROBE_CHANNELS**2)
    return {name: seconds * relative * ratio for name, ratio in _RATIO.items()}


def outlook(config: Config, warm: bool) -> str:
    """How long the training will take on this machine, in a sentence; takes some two seconds.

    Args:
      warm: whether it goes on from a model's weights.
    """
    training = warm_training(config) if warm else config.training
    seconds = estimate(config)
    minutes = seconds_of(training, seconds) * (1.0 + _EVALUATION) / 60.0
    if training.minutes:
        minutes = min(minutes, training.minutes)
    start = "warm start" if warm else "cold start"
    return f"about {max(1, round(minutes))} min of training on this machine ({start}, at most {training.steps} steps)"


@functools.lru_cache(maxsize=1)
def convolution_seconds(batch: int, side: int, policy: str) -> float:
    """Seconds of one 3 x 3 convolution of 16 channels and its gradients, median over a second, once per process."""
    dtype = tf.bfloat16 if policy == "mixed_bfloat16" else tf.float32
    image = tf.ones((batch, side, side, _PROBE_CHANNELS), dtype)
    kernel = tf.ones((3, 3, _PROBE_CHANNELS, _PROBE_CHANNELS), dtype)

    @tf.function(autograph=False)
    def step(image: tf.Tensor, kernel: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([image, kernel])
            loss = tf.reduce_sum(tf.nn.conv2d(image, kernel, 1, "SAME"))
        return [tf.reduce_sum(gradient) for gradient in tape.gradient(loss, [image, kernel])]

    run = lambda: [part.numpy() for part in step(image, kernel)]
    run()
    started, times = time.perf_counter(), []
    while time.perf_counter() - started < _PROBE_SECONDS:
        times.append(_median_seconds(run, 1))
    return sorted(times)[len(times) // 2]


def multiplications(model: ModelConfig, bands: int = 1) -> float:
    """Multiplications of the network's convolutions on one pixel of an image, the encoder and the decoder."""
    channels, convs = model.channels, model.convs_per_block
    below = (bands, *channels[:-1])
    encoder = sum(9 * c * (b + (convs - 1) * c) / 4**i for i, (b, c) in enumerate(zip(below, channels)))
    # A block of the decoder sees the scale's own features and those that come up, brought to as many channels.
    decoder = sum(9 * c * (2 * c + (convs - 1) * c) / 4**i for i, c in enumerate(channels[:-1]))
    head = model.head_channels * (model.head_channels * (model.head_layers - 1) + NUM_CLASSES)
    return encoder + decoder + head


def _median_seconds(run: Callable[[], Any], count: int) -> float:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return sorted(times)[count // 2]
