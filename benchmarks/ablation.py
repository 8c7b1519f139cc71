"""What each part of the model is worth: trainings of equal cost, one change at a time.

    python benchmarks/ablation.py train SPAN_FOLDER OUT [--variants a,b] [--seeds 1,2,3] [--budget 1200]
    python benchmarks/ablation.py table OUT

The budget is counted in steps of the deterministic U-Net; every other kind of step is weighed by its processor time,
measured in the same process, so that all variants cost the same on any machine. A training that is already in OUT is
not repeated. `table` prints means over the seeds in Markdown.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import blendinator  # noqa: F401  (settles the Keras version)

# isort: split

import numpy as np
import tensorflow as tf

from blendinator.config import ModelConfig, TrainingConfig
from blendinator.model.input_data import Scenes, load_scenes
from blendinator.model.metrics import scenes as statistics
from blendinator.model.metrics.aggregate import metrics, sum_rows
from blendinator.model.metrics.bootstrap import poisson_weights
from blendinator.model.phases import Phases
from blendinator.model.probaunet import Odds, ProbaUNet, draw
from blendinator.model.recalibration import recalibrate
from blendinator.model.training import Optimizers, make_steps, resolve_precision, train

SIDE, DRAWS, BATCH = 64, 16, 25
TEST_SCENES = {"boosted": 700, "natural": 300}
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
    "one": ("the default with one field of 10 pixels behind a sample", dict(sample_scales=(10.0,)), {}),
    "joint": ("the default without the marginals' weight", {}, dict(marginal_weight=0.0)),
}


def settings(variant: str, seed: int, steps: int) -> tuple[ModelConfig, TrainingConfig]:
    """The configuration of a variant."""
    _, network, training = VARIANTS[variant]
    training = TrainingConfig(**dict(seed=seed, steps=steps, evaluate_every=steps, patience=10**6) | training)
    return ModelConfig(**network), training


def step_costs(variant: str, probe_batches: int = 8) -> dict[str, float]:
    """Processor time of each kind of step that the variant takes, in deterministic steps of the default network."""
    wanted = set(map(Phases(settings(variant, 1, 100)[1]).at, range(100)))
    seconds = {}
    for name, phases in (("default", {"deterministic"}), (variant, wanted)):
        network, training = settings(name, 1, 100)
        net = ProbaUNet(network, 1, resolve_precision("auto"))
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


def score(net: ProbaUNet, test: Scenes, normalise, odds: dict[str, Odds]) -> dict[str, np.ndarray]:
    """Rows of statistics of the sampled maps on the test scenes, each population at its own odds where it has some."""
    blocks = []
    for population in TEST_SCENES:
        part, own = test.of(population), odds.get(population)
        sample = tf.function(
            lambda image, own=own: draw(net, image, normalise(image), DRAWS, tf.constant([1, 1]), own),
            reduce_retracing=True,
        )
        for start in range(0, part.count, BATCH):
            image, mask = part.batch(start, BATCH)
            probabilities, classes = sample(image)
            ids = np.array([f"{population}-{i:05d}" for i in range(start, start + len(classes))])
            block = statistics.scene_statistics(
                mask.numpy(), classes.numpy(), tf.reduce_mean(probabilities, axis=1).numpy(), ids
            )
            blocks.append(block | {"population": np.full(len(classes), population)})
    return statistics.concatenate(blocks)


def run(variant: str, seed: int, budget: float, span: Path, out: Path) -> None:
    """Trains and evaluates one variant, before and after the post-hoc calibration."""
    files = lambda split: [str(span / f"{split}-*")]
    scenes, held_out, test = (load_scenes(files(split), SIDE) for split in ("train", "calibration", "test"))
    test = test.take(
        np.concatenate([np.flatnonzero(test.population == name)[:count] for name, count in TEST_SCENES.items()])
    )
    sky_sigma = float(np.median(scenes.sky_sigma))
    normalise = lambda image: tf.asinh(image / sky_sigma)
    steps, costs = steps_within(budget, variant)
    network, training = settings(variant, seed, steps)
    net = ProbaUNet(network, seed, resolve_precision(training.precision))
    start = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        facts = train(
            net, scenes, held_out.take(np.arange(0, held_out.count, 3)), normalise, training, scratch, scratch
        )
    seconds = time.process_time() - start
    if training.deterministic_share == 1.0:  # there is no z: whatever its untrained prior says must not reach the head
        net.head.from_latent.kernel.assign(tf.zeros_like(net.head.from_latent.kernel))
    rows = {"before": score(net, test, normalise, {})}
    parts = {name: held_out.of(name) for name in TEST_SCENES}
    calibration = recalibrate(net, parts, normalise, seed)
    odds = {
        name: Odds(found["temperature"], found["class_offsets"]) for name, found in calibration["populations"].items()
    }
    rows["after"] = score(net, test, normalise, odds)
    for when, found in rows.items():
        np.savez_compressed(out / f"{variant}-{seed}-{when}.npz", **found)
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
        "training": dataclasses.asdict(training),
    }
    (out / f"{variant}-{seed}.json").write_text(json.dumps(facts, indent=1))


COLUMNS = {  # header: (population, metric)
    "galaxy IoU": ("boosted", "iou_galaxy"),
    "blended IoU": ("boosted", "iou_blended"),
    "compl. at purity .8": ("boosted", "completeness_at_purity"),
    "NLL near": ("boosted", "nll_near_sources"),
    "ECE near": ("boosted", "ece_near_sources"),
    "GED": ("boosted", "ged"),
    "energy score": ("boosted", "energy_score"),
    "cov68 galaxy": ("boosted", "coverage_galaxy_area_68"),
    "cov68 blended": ("boosted", "coverage_blended_area_68"),
    "GED, natural": ("natural", "ged"),
    "ECE near, natural": ("natural", "ece_near_sources"),
}


def completeness_at_purity(bins: np.ndarray, purity: float = 0.8) -> float:
    """Largest completeness of blended pixels, over the thresholds on P(blended), at which the purity is kept.

    Args:
      bins: [3, K] count, summed probability and hits of the pixels by rising P(blended).
    """
    count, hits = (np.cumsum(bins[i][::-1]) for i in (0, 2))
    kept = hits >= purity * count
    return float((hits[kept] / hits[-1]).max()) if kept.any() else 0.0


def values(rows: dict[str, np.ndarray]) -> dict[tuple[str, str], float]:
    """The table's figures of one evaluation."""
    result = {}
    for population in TEST_SCENES:
        chosen = statistics.select(rows, rows["population"] == population)
        sums = sum_rows(chosen)
        found = {name: float(value[0]) for name, value in metrics(sums).items()}
        found["completeness_at_purity"] = completeness_at_purity(sums["fine_bins_near"][0, 2])
        result |= {(population, name): value for name, value in found.items()}
    return result


def difference(
    rows: dict, others: dict, metric: str = "ged", population: str = "boosted"
) -> tuple[float, float, float]:
    """Paired difference of a metric with the ends of its 95 % bootstrap interval."""
    one, two = (statistics.select(part, part["population"] == population) for part in (rows, others))
    weights = poisson_weights(one["scene_id"], 1000, 1)
    replicates = metrics(sum_rows(one, weights))[metric] - metrics(sum_rows(two, weights))[metric]
    value = metrics(sum_rows(one))[metric][0] - metrics(sum_rows(two))[metric][0]
    return float(value), *(float(q) for q in np.quantile(replicates, [0.025, 0.975]))


def table(out: Path) -> None:
    """Means over the seeds, and the spread between them where there are several."""
    load = lambda name: dict(np.load(out / f"{name}.npz"))
    print("| model | seeds | steps |", " | ".join(COLUMNS), "|")
    print("|---" * (len(COLUMNS) + 3) + "|")
    for variant, (label, _, _) in VARIANTS.items():
        facts = [json.loads(path.read_text()) for path in sorted(out.glob(f"{variant}-[0-9]*.json"))]
        for when in ("before", "after") if facts else ():
            found = [values(load(f"{variant}-{fact['seed']}-{when}")) for fact in facts]
            cells = []
            for key in COLUMNS.values():
                numbers = np.array([one[key] for one in found])
                cells.append(f"{numbers.mean():.3f}" + (f" ± {numbers.std(ddof=1):.3f}" if len(numbers) > 1 else ""))
            name = label if when == "before" else "... after post-hoc calibration"
            print(
                f"| {name} | {len(facts)} | {np.mean([fact['steps'] for fact in facts]):.0f} |", " | ".join(cells), "|"
            )
    base = out / "deterministic-1-after.npz"
    for variant in VARIANTS if base.exists() else ():
        path = out / f"{variant}-1-after.npz"
        if path.exists():
            print(
                f"GED of {variant} less the deterministic one's, seed 1: %.4f (%.4f to %.4f)"
                % difference(dict(np.load(path)), dict(np.load(base)))
            )


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
        return table(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        for variant in options.variants.split(","):
            if not (options.out / f"{variant}-{seed}.json").exists():
                print(variant, seed, flush=True)
                run(variant, seed, options.budget, options.span, options.out)


if __name__ == "__main__":
    main()
