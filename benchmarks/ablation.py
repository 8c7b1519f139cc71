"""What each part of the model is worth: trainings of equal cost, one change at a time.

    python benchmarks/ablation.py train SPAN_FOLDER OUT [--variants a,b] [--seeds 1,2,3] [--budget 1200]
    python benchmarks/ablation.py table OUT

The budget is counted in steps of the deterministic U-Net; every other kind of step is weighed by its processor time,
measured in the same process, so that all variants cost the same on any machine. A training that is already in OUT is
not repeated. Each network's samples are scored through several kinds of fields (`ablation_table.FIELDS`). `table`
prints means over the seeds in Markdown, and paired differences in GED with their intervals for each seed.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import blendinator  # noqa: F401  (settles the Keras version)

# isort: split

import ablation_table  # this and the next beside this file
import candidates
import numpy as np
import tensorflow as tf

from blendinator.config import ModelConfig, TrainingConfig
from blendinator.model.input_data import load_scenes
from blendinator.model.optimizers import Optimizers
from blendinator.model.phases import Phases
from blendinator.model.probaunet import Odds, ProbaUNet
from blendinator.model.recalibration import recalibrate
from blendinator.model.training import make_steps, resolve_precision, train

SIDE = 64
TEST_SCENES = {"boosted": 1000, "natural": 2000}
HELD_OUT = {"boosted": 1500, "natural": 4000}  # of the calibration split, for the post-hoc calibration
MONITORED = 500  # held-out scenes for early stopping
CLASSIC_NET = dict(latent="global", latent_dim=6, prior_encoder="separate")
ALL_ELBO = dict(deterministic_share=0.0, multi_sample_share=0.0, beta_warmup=0.15, kl_balance=0.5, fresh_noise=False)

# name: (label, changes to ModelConfig, changes to TrainingConfig); from "classic" to "default" each
# adds to the one before it.
VARIANTS = {
    "deterministic": ("deterministic U-Net", {}, dict(deterministic_share=1.0, multi_sample_share=0.0)),
    "classic": ("classic ProbaUNet: one z a stamp, ELBO", CLASSIC_NET, ALL_ELBO),
    "balance": ("+ KL balancing 0.8", CLASSIC_NET, ALL_ELBO | dict(kl_balance=0.8)),
    "multi": (
        "+ multi-sample steps, last 35 %, on blocks",
        CLASSIC_NET,
        ALL_ELBO | dict(kl_balance=0.8, multi_sample_share=0.35, marginal_weight=0.0),
    ),
    "marginal": (
        "+ half of their weight on the pixels' marginals",
        CLASSIC_NET,
        ALL_ELBO | dict(kl_balance=0.8, multi_sample_share=0.35),
    ),
    "fresh": ("+ fresh noise", CLASSIC_NET, ALL_ELBO | dict(kl_balance=0.8, multi_sample_share=0.35, fresh_noise=True)),
    "schedule": (
        "+ shared encoder, 70 % deterministic, 20 % multi-sample, balance 0.5",
        dict(latent="global", latent_dim=6),
        {},
    ),
    "default": ("the default: the same with a spatial z", {}, {}),
    "half": (
        "the default with 50 % deterministic and 35 % multi-sample steps",
        {},
        dict(deterministic_share=0.5, multi_sample_share=0.35),
    ),
    "blocks": ("the default without the marginals' weight", {}, dict(marginal_weight=0.0)),
    "ssn": ("SSN of rank 10, empty sky masked", {}, dict(multi_sample_share=0.3, marginal_weight=0.0)),
}


def settings(variant: str, seed: int, steps: int) -> tuple[ModelConfig, TrainingConfig]:
    """The configuration of a variant."""
    _, network, training = VARIANTS[variant]
    training = TrainingConfig(**dict(seed=seed, steps=steps, evaluate_every=steps, patience=10**6) | training)
    return ModelConfig(**network), training


def make_network(variant: str, config: ModelConfig, seed: int, precision: str) -> ProbaUNet:
    """The untrained network of a variant."""
    return (candidates.LowRankSSN if variant == "ssn" else ProbaUNet)(config, seed, precision)


def step_costs(variant: str, probe_batches: int = 8) -> dict[str, float]:
    """Processor time of each kind of step that the variant takes, in deterministic steps of the default network."""
    wanted = set(map(Phases(settings(variant, 1, 100)[1]).at, range(100)))
    seconds = {}
    for name, phases in (("default", {"deterministic"}), (variant, wanted)):
        network, training = settings(name, 1, 100)
        net = make_network(name, network, 1, resolve_precision("auto"))
        steps = make_steps(net, Optimizers(net, training), training)
        image = tf.random.stateless_normal([training.batch_size, SIDE, SIDE, 1], [1, 1])
        mask = tf.random.stateless_uniform([training.batch_size, SIDE, SIDE], [2, 2], maxval=3, dtype=tf.int32)
        for phase in phases:
            times = []
            for i in range(probe_batches + 3):
                start = time.process_time()
                float(steps[phase](image, mask, tf.constant(i, tf.int64))["loss"])
                times.append(time.process_time() - start)
            seconds[name, phase] = float(np.median(times[3:]))
    return {phase: seconds[variant, phase] / seconds["default", "deterministic"] for phase in wanted}


def steps_within(budget: float, variant: str) -> tuple[int, dict[str, float]]:
    """Steps that cost as much as `budget` deterministic ones, and the costs of the kinds of steps."""
    costs = step_costs(variant)
    phases = Phases(settings(variant, 1, 1000)[1])
    return round(budget * 1000 / sum(costs[phases.at(step)] for step in range(1000))), costs


def run(variant: str, seed: int, budget: float, span: Path, out: Path) -> None:
    """Trains one variant, calibrates it, and evaluates its samples through each kind of fields."""
    files = lambda split: [str(span / f"{split}-*")]
    scenes, held_out, test = (load_scenes(files(split), SIDE) for split in ("train", "calibration", "test"))
    test = test.take(
        np.concatenate([np.flatnonzero(test.population == name)[:count] for name, count in TEST_SCENES.items()])
    )
    sky_sigma = float(np.median(scenes.sky_sigma))
    normalise = lambda image: tf.asinh(image / sky_sigma)
    steps, costs = steps_within(budget, variant)
    network, training = settings(variant, seed, steps)
    net = make_network(variant, network, seed, resolve_precision(training.precision))
    parts = {name: held_out.of(name).spread(count) for name, count in HELD_OUT.items()}
    start = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        few = held_out.take(np.arange(0, held_out.count, max(1, held_out.count // MONITORED)))
        facts = train(net, scenes, few, normalise, training, scratch, scratch)
    seconds = time.process_time() - start
    without_latent = training.deterministic_share == 1.0
    if without_latent:  # without z: whatever its untrained prior says must not reach the head
        net.head.from_latent.kernel.assign(tf.zeros_like(net.head.from_latent.kernel))
    calibration = recalibrate(net, parts, normalise, seed)
    odds = {
        name: Odds(found["temperature"], found["class_offsets"]) for name, found in calibration["populations"].items()
    }
    rows = {
        "learned": candidates.score(net, test, normalise, odds),
        "fixed": candidates.score(candidates.with_one_field(net, candidates.FIXED), test, normalise, odds),
    }
    scales = () if without_latent else candidates.PRIOR_SCALES
    joint, fitted, chosen = candidates.fit_jointly(net, parts, normalise, odds, seed, scales)
    rows["joint"] = candidates.score(joint, test, normalise, fitted)
    if variant == "ssn":
        rows["argmax"] = candidates.score(net, test, normalise, odds, argmax=True)
    for kind, found in rows.items():
        np.savez_compressed(out / f"{variant}-{seed}-{kind}.npz", **found)
    net.save_weights(out / f"{variant}-{seed}.weights.h5")
    facts = {
        "variant": variant,
        "seed": seed,
        "budget": budget,
        "steps": steps,
        "costs": costs,
        "processor_seconds": round(seconds),
        "monitors": facts["history"][-1],
        "calibration": calibration,
        "joint": chosen,
        "training": dataclasses.asdict(training),
    }
    (out / f"{variant}-{seed}.json").write_text(json.dumps(facts, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("span", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("--variants", default=",".join(VARIANTS))
    training.add_argument("--seeds", default="1")
    training.add_argument("--budget", type=float, default=1200)
    commands.add_parser("table").add_argument("out", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        return ablation_table.show(options.out, {name: label for name, (label, _, _) in VARIANTS.items()})
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        for variant in options.variants.split(","):
            if not (options.out / f"{variant}-{seed}.json").exists():
                print(variant, seed, flush=True)
                run(variant, seed, options.budget, options.span, options.out)


if __name__ == "__main__":
    main()
