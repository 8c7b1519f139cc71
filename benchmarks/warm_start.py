"""Steps to the cold run's NLL: training on a new span from scratch, and from the weights of an earlier span's model.

    python benchmarks/warm_start.py                                    3,000 scenes, 1,000 cold steps: some 15 minutes
    python benchmarks/warm_start.py --scenes 10000 --steps 4000        nearer to the default configuration

Span 1 is trained cold; span 2 is trained cold, and warm from span 1's weights with `retraining.warm_start`. All are
judged by the block-wise NLL of 512 held-out scenes of span 2, every `--every` steps. `--warm` names the schedules to
try: multi-sample share and share of the learning rate, such as 1.0:0.3.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import blendinator  # noqa: F401  settles the Keras version

# isort: split

import tensorflow as tf

from blendinator.config import Config
from blendinator.data.simulate import simulate_span
from blendinator.data.spans import span_dir
from blendinator.model import trainer, warm_start
from blendinator.model.input_data import load_scenes
from blendinator.model.training import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=3000, help="training scenes of each span")
    parser.add_argument("--steps", type=int, default=1000, help="steps of a cold training")
    parser.add_argument("--every", type=int, default=50, help="steps between evaluations")
    parser.add_argument("--warm", nargs="+", default=["1.0:0.3"], help="multi-sample share:share of the learning rate")
    parser.add_argument("--folder", help="keeps the spans here for another call")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(arguments, Path(arguments.folder or scratch))


def run(arguments, folder: Path) -> None:
    """Simulates, trains three times or more, and prints the table."""
    config = Config()
    simulation = dataclasses.replace(
        config.simulation, train_scenes=arguments.scenes, calibration_scenes=512, test_scenes=10
    )
    config = dataclasses.replace(
        config,
        simulation=simulation,
        training=dataclasses.replace(
            config.training, steps=arguments.steps, evaluate_every=arguments.every, patience=10**6
        ),
    )
    first, _ = load_span(simulation, folder, 1)
    second, held_out = load_span(simulation, folder, 2)
    print(f"{'training':32} {'best NLL':>9} {'after':>6}   held-out NLL by step", flush=True)
    base = trainer.build_model(config)
    fit("span 1, cold", base, first, held_out, config.training)
    cold = fit("span 2, cold", trainer.build_model(config), second, held_out, config.training)
    goal = min(row["prior_nll"] for row in cold)
    for text in arguments.warm:
        multi_sample, rate = map(float, text.split(":"))
        warm = dataclasses.replace(
            config.retraining.warm_start, multi_sample_share=multi_sample, learning_rate_share=rate
        )
        settings = warm_start.warm_training(
            dataclasses.replace(config, retraining=dataclasses.replace(config.retraining, warm_start=warm))
        )
        fresh = trainer.build_model(config)
        fresh.set_weights(base.get_weights())
        history = fit(
            f"span 2, warm {text}",
            fresh,
            second,
            held_out,
            dataclasses.replace(settings, evaluate_every=arguments.every),
        )
        reached = next((row["step"] for row in history if row["prior_nll"] <= goal), None)
        said = f"at step {reached}, {reached / arguments.steps:.0%} of the cold steps" if reached else "not reached"
        print(f"  the cold run's best NLL, {goal:.2f}: {said}", flush=True)


def load_span(simulation, folder: Path, span: int):
    """Training and held-out scenes of a span, which is simulated unless it is there."""
    where = span_dir(folder, span)
    if not (where / "manifest.json").exists():
        simulate_span(simulation, folder, span, workers=1)
    load = lambda split: load_scenes([str(where / f"{split}-*")], simulation.stamp_size)
    return load("train"), load("calibration")


def fit(label: str, network, scenes, held_out, settings) -> list[dict]:
    """Trains and prints one row; returns the evaluations. The normalisation is the simulation's sky sigma."""
    sigma = float(scenes.sky_sigma[0])
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        facts = train(
            network,
            scenes,
            held_out,
            lambda image: tf.asinh(image / sigma),
            settings,
            scratch,
            str(Path(scratch) / "logs"),
        )
    history = facts["history"]
    best = min(history, key=lambda row: row["prior_nll"])
    curve = " ".join(f"{row['step']}:{row['prior_nll']:.1f}" for row in history)
    print(
        f"{label:32} {best['prior_nll']:9.2f} {best['step']:6d}   {curve}   ({time.monotonic() - started:.0f} s)",
        flush=True,
    )
    return history


if __name__ == "__main__":
    main()
