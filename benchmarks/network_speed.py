"""Training and sampling speed of the ProbaUNet next to its baselines, in one run on one machine.

    python benchmarks/network_speed.py [--torch PYTHON] [--wide]

Baselines: the same shapes in PyTorch (`torch_probaunet.py`, run by the interpreter `PYTHON` of an environment with it;
float32, and bfloat16 with channels last), and the loop that earlier implementations used (eager steps, a new optimiser
at each). All figures are medians; baselines take turns, so that a drift of the machine's speed touches all alike.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import blendinator  # noqa: F401  (settles the Keras version)

# isort: split

import keras
import numpy as np
import tensorflow as tf

from blendinator.config import ModelConfig, TrainingConfig
from blendinator.model import losses
from blendinator.model.input_data import Scenes, training_batches
from blendinator.model.optimizers import Optimizers
from blendinator.model.probaunet import ProbaUNet, draw
from blendinator.model.training import make_steps, resolve_precision

BATCH, SIDE, DRAWS = 32, 64, 64
REPEATS, ROUNDS = 8, 3
DEFAULT = "training, default network (spatial z, shared encoder)"
FED = "training, default network, batches from the input pipeline"
CLASSIC = dict(latent="global", latent_dim=6, prior_encoder="separate")


def rate(work, items: int, repeats: int = REPEATS) -> float:
    """Items a second: the median of `repeats` calls after two warm-ups."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return items / statistics.median(times[2:])


class Ours:
    """One network with its training step and its two ways to sample."""

    def __init__(self, config: ModelConfig, precision: str):
        self.model = ProbaUNet(config, seed=1, dtype=precision)
        self.image = tf.random.stateless_normal([BATCH, SIDE, SIDE, 1], [1, 1])
        self.mask = tf.random.stateless_uniform([BATCH, SIDE, SIDE], [2, 2], maxval=3, dtype=tf.int32)
        settings = TrainingConfig(steps=1000, batch_size=BATCH)
        self.steps = make_steps(self.model, Optimizers(self.model, settings), settings)

    def train(self) -> float:
        """Training images a second."""
        return rate(lambda: float(self.steps["elbo"](self.image, self.mask, tf.constant(500, tf.int64))["loss"]), BATCH)

    def train_from(self, batches: Iterator) -> float:
        """Training images a second when the batches come from the input pipeline instead of from memory."""

        def step():
            image, mask = next(batches)
            float(self.steps["elbo"](image, mask, tf.constant(500, tf.int64))["loss"])

        return rate(step, BATCH)

    def train_as_the_seed_did(self) -> float:
        """Eager steps with a new optimiser each; images a second."""
        net, variables = self.model, self.model.trainable_variables

        def step():
            optimizer = keras.optimizers.Adam(1e-4)
            with tf.GradientTape() as tape:
                features, prior = net.features(self.image)
                posterior = net.posterior(self.image, self.mask)
                z = posterior.sample()[:, None]
                loss = losses.negative_elbo(
                    losses.cross_entropy(net.logits(features, z)[:, 0], self.mask),
                    losses.free_bits(losses.kl_per_dimension(posterior, prior), 0.0),
                    1.0,
                )
            optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

        return rate(step, BATCH, repeats=3)

    def sample(self) -> float:
        """Draws a second at N = 64: the U-Net once, the head N times; classes come out."""
        image = self.image[:1]

        @tf.function
        def sample(seed):
            return draw(self.model, image, image, DRAWS, seed)

        return rate(lambda: sample(tf.constant([1, 2]))[1].numpy(), DRAWS)

    def sample_whole(self, compiled: bool) -> float:
        """Draws a second when the whole network runs again for each, one image at a time as in `sample`."""
        image = self.image[:1]

        def once():
            features, prior = self.model.features(image)
            z = prior.sample()[:, None]
            return tf.cast(tf.argmax(self.model.logits(features, z), axis=-1), tf.uint8)

        sample = tf.function(once) if compiled else once
        return rate(lambda: [sample().numpy() for _ in range(8)], 8)


def input_batches() -> Iterator:
    """Batches of the input pipeline: fresh noise, flips and turns, normalisation, from 2,000 scenes in memory."""
    noise_free = np.maximum(np.random.default_rng(3).normal(0.0, 100.0, [2000, SIDE, SIDE, 1]), 0.0).astype(np.float32)
    mask = (noise_free[..., 0] > 100.0).astype(np.uint8)
    sky_sigma, correlation = np.full((2000, 1), 26.0, np.float32), np.zeros(2000, np.float32)
    scenes = Scenes(noise_free, noise_free, mask, sky_sigma, correlation, np.zeros(2000, bool))
    settings = TrainingConfig(steps=10**6, batch_size=BATCH)
    return iter(training_batches(scenes, lambda image: tf.asinh(image / 26.0), settings))


def torch_rates(python: str, config: ModelConfig, bfloat16: bool) -> dict:
    """What `torch_probaunet.py` prints."""
    shape = dict(
        channels=config.channels,
        count=config.convs_per_block,
        head=config.head_channels,
        layers=config.head_layers,
        latent=config.latent_dim,
        batch=BATCH,
        draws=DRAWS,
        repeats=REPEATS,
    )
    command = [python, str(Path(__file__).with_name("torch_probaunet.py")), "--shape", json.dumps(shape)]
    out = subprocess.run(command + ["--bfloat16"] * bfloat16, capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def convolution_peak() -> float:
    """GFLOP/s of the best of a few large 3x3 convolutions, forward, in the precision of the training."""
    best = 0.0
    dtype = tf.bfloat16 if resolve_precision("auto") == "mixed_bfloat16" else tf.float32
    for channels in (64, 128, 256):
        x = tf.cast(tf.random.stateless_normal([BATCH, 32, 32, channels], [1, 1]), dtype)
        kernel = tf.cast(tf.random.stateless_normal([3, 3, channels, channels], [1, 1]), dtype)
        convolve = tf.function(lambda x, kernel: tf.reduce_sum(tf.nn.conv2d(x, kernel, 1, "SAME")))
        flop = 2 * 9 * channels * channels * 32 * 32 * BATCH
        best = max(best, rate(lambda: convolve(x, kernel).numpy(), flop) / 1e9)  # noqa: B023 called at once
    return best


def training_gflop(net: Ours) -> float:
    """GFLOP of one training step's convolutions, an image: three times the forward pass (outputs, inputs, weights)."""
    total = 0
    for part in (net.model.unet, net.model.prior_encoder, net.model.posterior_encoder):
        for layer in part.layers if part is not None else ():
            if isinstance(layer, keras.layers.Conv2D):
                stage = layer.name.split("_")[0].removeprefix("down").removeprefix("up")
                scale = int(stage or 0) if layer.name[0] in "du" else 0
                scale += layer.name.endswith("_reduce")
                pixels = (SIDE >> scale) ** 2
                total += 2 * pixels * int(tf.size(layer.kernel))
    for layer in [*net.model.head.hidden, net.model.head.to_logits]:
        total += 2 * SIDE * SIDE * int(tf.size(layer.kernel))
    return 3 * total / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", help="interpreter of an environment with PyTorch")
    parser.add_argument("--wide", action="store_true", help="channels 32-64-128-192 instead of 16-32-64-128")
    options = parser.parse_args()
    channels = (32, 64, 128, 192) if options.wide else ModelConfig().channels
    precision = resolve_precision("auto")
    classic = Ours(ModelConfig(channels=channels, **CLASSIC), precision)
    default = Ours(ModelConfig(channels=channels), precision)
    batches = input_batches()
    measured: dict[str, list[float]] = {}
    note = lambda name, value: measured.setdefault(name, []).append(value)
    for i in range(ROUNDS):
        print(f"round {i + 1} of {ROUNDS}", file=sys.stderr)
        note("training, classic network", classic.train())
        note(DEFAULT, default.train())
        note(FED, default.train_from(batches))
        if options.torch:
            for bfloat16 in (False, True):
                rates = torch_rates(options.torch, classic.model.config, bfloat16)
                label = "bfloat16, channels last" if bfloat16 else "float32"
                note(f"training, PyTorch {label}", rates["training"])
                note(f"whole network again for each draw, PyTorch {label}, batch of {BATCH}", rates["sampling"])
        note("training, eager with a new optimiser each step", classic.train_as_the_seed_did())
        note(f"sampling, classic network, N = {DRAWS}", classic.sample())
        note(f"sampling, default network, N = {DRAWS}", default.sample())
        note("whole network again for each draw, compiled", classic.sample_whole(True))
        note("whole network again for each draw, eager", classic.sample_whole(False))
        note("convolution peak, GFLOP/s", convolution_peak())
    base = statistics.median(measured["training, classic network"])
    drawn = statistics.median(measured[f"sampling, classic network, N = {DRAWS}"])
    for name, values in measured.items():
        median = statistics.median(values)
        ratio = (
            f"ours / this {base / median:6.2f}"
            if name.startswith("training")
            else (f"ours / this {drawn / median:6.2f}" if "GFLOP" not in name else "")
        )
        print(f"{name:75} {median:9.1f}  [{min(values):.1f}, {max(values):.1f}]  {ratio}")
    share = statistics.median(a / b for a, b in zip(measured[FED], measured[DEFAULT]))
    print(f"with the input pipeline, training runs at {share:.0%} of its speed on a batch in memory")
    achieved = base * training_gflop(classic)
    peak = statistics.median(measured["convolution peak, GFLOP/s"])
    print(
        f"classic network trains at {achieved:.0f} GFLOP/s, {achieved / peak:.0%} of the convolution peak; "
        f"precision {precision}"
    )


if __name__ == "__main__":
    main()
