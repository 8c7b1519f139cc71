"""Are a pushed model's probabilities right at the density of the sky? By bins, with 95 % intervals over scenes.

    python benchmarks/natural.py MODEL [--scenes 20000] [--config FILE] [--fields 6] [--json FILE]

Natural scenes are simulated in memory, from a span of their own that no training, calibration or test uses. Printed are
the reliability of P(blended) and P(galaxy) over pixels, the ratio of expected to true area, and the reliability of
"the scene holds a blend", for all scenes and by the magnitude of the brightest galaxy; then that of the catalogue's
`p_blend` over the objects of simulated fields, and how often a single bright galaxy comes out blended.
"""

import argparse
import dataclasses
import json
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from blendinator.components.calibration_evaluator.scoring import Sampler
from blendinator.config import SimulationConfig
from blendinator.config_loader import load_config
from blendinator.data.field import FieldSimulator
from blendinator.data.scene import Simulator
from blendinator.errors import BlendinatorError
from blendinator.model.client import Segmenter
from blendinator.model.field.catalogue import Cataloguer, Settings
from blendinator.model.metrics.aggregate import CLASS_NAMES, presence_calibration, ratio
from blendinator.model.metrics.bootstrap import interval, poisson_weights
from blendinator.model.metrics.pixels import calibration_bins
from blendinator.model.pushed import find_model

SPAN = 900_001  # of the scenes; spans of a pipeline are counted from 1
SAMPLES, BATCH, ROUND = 16, 100, 4000  # draws; scenes simulated and drawn together; scenes in memory
REPLICATES = 400
EDGES = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 1])
MAGNITUDES = (16.0, 20.0, 22.0, 24.0, 27.0)  # of the brightest galaxy
SINGLE = (17.0, 20.0)  # magnitudes of the single galaxies
TOLERANCE = 0.05  # that an observed share may deviate from the predicted one, unless its interval holds that


def natural_config(simulation: SimulationConfig, scenes: int) -> SimulationConfig:
    """The same sky, `scenes` of it, all natural."""
    return dataclasses.replace(simulation, train_scenes=scenes, train_populations={"natural": 1.0})


def _start(simulation):
    global _simulator
    _simulator = Simulator.configured(simulation)


def _simulate(numbers):
    scenes = _simulator.scenes(SPAN, numbers)
    return (
        np.stack([scene["image"] for scene in scenes]),
        np.stack([scene["mask"] for scene in scenes]).astype(np.uint8),
        np.array([scene["brightest_magnitude"] for scene in scenes]),
    )


def simulate(simulation: SimulationConfig, scenes: int):
    """Batches of images, class maps and brightest magnitudes, from one process a core; few are in memory at a time."""
    context = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, _start, (natural_config(simulation, scenes),)) as pool:
        for first in range(0, scenes, ROUND):
            starts = range(first, min(first + ROUND, scenes), BATCH)
            yield from pool.map(_simulate, [range(start, min(start + BATCH, scenes)) for start in starts])


def scene_rows(truth: np.ndarray, samples: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """What is counted of each scene: `calibration_bins` as `bins`, and `presence_rows` as `presence`."""
    held, drawn = (truth == 2).any(axis=(1, 2)), (samples == 2).any(axis=(2, 3)).sum(axis=1)
    return {
        "bins": calibration_bins(truth, probabilities, EDGES),
        "presence": presence_rows(held, drawn, samples.shape[1]),
    }


def presence_rows(held: np.ndarray, drawn: np.ndarray, draws: int) -> np.ndarray:
    """One count in [2, draws + 1] for each scene or object: (truth holds a blend, number of draws that do)."""
    table = np.zeros((len(held), 2, draws + 1))
    table[np.arange(len(held)), held.astype(int), drawn] = 1
    return table


def reliability(bins: np.ndarray, weights: np.ndarray) -> dict:
    """Reliability of one probability.

    Args:
      bins: [S, 3, bins] numbers, summed probabilities and summed hits of each scene or object.
      weights: [R, S] of the bootstrap.

    Returns:
      `expected_over_true`, and `deviation`, the mean absolute deviation over the bins above .05 weighted by count, each
      {value, low, high}; `bins`, rows of {predicted, observed, low, high, count, within} of those that hold anything,
      where `within` says whether predicted and observed agree to `TOLERANCE` or within the interval.
    """
    sums = bins.sum(axis=0)[None]
    replicates = (weights @ bins.reshape(len(bins), -1)).reshape(len(weights), *bins.shape[1:])
    observed, observed_replicates = (ratio(values[:, 2], values[:, 0]) for values in (sums, replicates))
    rows = []
    for k in np.flatnonzero(sums[0, 0] > 0):
        predicted, share = float(sums[0, 1, k] / sums[0, 0, k]), float(observed[0, k])
        low, high = share_interval(share, observed_replicates[:, k], int((bins[:, 0, k] > 0).sum()))
        within = abs(share - predicted) <= TOLERANCE or low <= predicted <= high
        rows.append(
            {"predicted": predicted, "observed": share, "low": low, "high": high, "count": int(sums[0, 0, k])}
            | {"within": bool(within)}
        )
    return {
        "expected_over_true": _with_interval(sums, replicates, lambda s: ratio(s[:, 1].sum(-1), s[:, 2].sum(-1))),
        "deviation": _with_interval(
            sums,
            replicates,
            lambda s: ratio(np.abs(s[:, 1] - s[:, 2])[:, 1:].sum(-1), s[:, 0, 1:].sum(-1)),
        ),
        "bins": rows,
    }


def share_interval(share: float, replicates: np.ndarray, scenes: int) -> tuple[float, float]:
    """95 % interval of a share over `scenes` independent scenes.

    A share of 0 or 1 is the same in every replicate; there it is the exact interval of 0 or `scenes` hits among
    `scenes` (Clopper and Pearson 1934), as if the pixels of a scene were one.
    """
    reach = 1.0 - 0.025 ** (1.0 / scenes)
    if share in (0.0, 1.0):
        return (0.0, reach) if share == 0.0 else (1.0 - reach, 1.0)
    return interval(replicates, share)


def _with_interval(sums, replicates, measure):
    value = float(measure(sums)[0])
    low, high = interval(measure(replicates), value)
    return {"value": value, "low": low, "high": high}


def presence_bins(table: np.ndarray) -> np.ndarray:
    """Bins [S, 3, bins] as `reliability` takes them, from rows [S, 2, N + 1] of `presence_rows`.

    The truth counts as one of N + 1 exchangeable draws (`aggregate.presence_calibration`), which leaves the comparison
    without the bias of a finite number of draws.
    """
    expected, count, holding = presence_calibration(table)
    place = np.clip(np.searchsorted(EDGES, expected, side="right") - 1, 0, len(EDGES) - 2)
    member = (place[:, None] == np.arange(len(EDGES) - 1)).astype(float)
    return np.stack([count @ member, (count * expected) @ member, holding @ member], axis=1)


def judge_rows(rows: dict[str, np.ndarray], weights: np.ndarray, chosen: np.ndarray) -> dict:
    """The figures of the scenes where `chosen` [S]."""
    weights = weights[:, chosen]
    result = {"scenes": int(chosen.sum())}
    for c, name in enumerate(CLASS_NAMES[1:], start=1):
        result[name] = reliability(rows["bins"][chosen, c], weights)
    result["holds_blend"] = reliability(presence_bins(rows["presence"][chosen]), weights)
    return result


def judge_scenes(sampler: Sampler, simulation: SimulationConfig, scenes: int, seed: int) -> dict:
    """The figures of all scenes, and by brightest magnitude."""
    parts, brightest = [], []
    for images, truth, magnitudes in simulate(simulation, scenes):
        parts.append(scene_rows(truth, *sampler.sample(images, SAMPLES, seed)))
        brightest.append(magnitudes)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    magnitude = np.concatenate(brightest)
    weights = poisson_weights(np.array([f"{SPAN}:{number}" for number in range(scenes)]), REPLICATES, seed)
    result = {"all": judge_rows(rows, weights, np.ones(scenes, bool))}
    for low, high in pairwise(MAGNITUDES):
        chosen = (magnitude >= low) & (magnitude < high)
        if chosen.any():
            result[f"{low:g}-{high:g}"] = judge_rows(rows, weights, chosen)
    return result


def judge_objects(model: Path, simulation: SimulationConfig, side: int, fields: int, seed: int) -> dict:
    """Reliability of the catalogue's `p_blend` over the objects of simulated fields of `side` pixels."""
    segmenter, simulator = Segmenter.load(model), FieldSimulator(simulation)
    found = [field_objects(segmenter, simulator, side, seed + number) for number in range(fields)]
    drawn, held = (np.concatenate(parts) for parts in zip(*found))
    weights = poisson_weights(np.array([str(number) for number in range(len(held))]), REPLICATES, seed)
    rows = presence_bins(presence_rows(held, drawn, SAMPLES))
    return {"objects": len(held), "blends": int(held.sum()), "p_blend": reliability(rows, weights)}


def field_objects(segmenter: Segmenter, simulator: FieldSimulator, side: int, seed: int):
    """Of each object in the catalogue of a field: the number of draws with a blend, and whether it truly holds one.

    It does when its region holds a pixel that is truly blended: the same catalogue, with the truth as its only sample.
    """
    field = simulator.field(side, seed)
    maps = segmenter.sample(field.image, SAMPLES, seed)
    shared = {name: getattr(maps, name) for name in ("probabilities", "class_map")} | {"image": field.image}
    columns = []
    for samples in (maps.samples, field.mask[None]):
        cataloguer = Cataloguer(field.image.shape, len(samples), Settings(), lambda start, stop: field.sky_sigma)
        cataloguer.write(0, {**shared, "samples": samples})
        columns.append(cataloguer.finish()[0])
    share, true = (column["p_blend"][column["kind"] == "object"] for column in columns)
    return np.rint(share * SAMPLES).astype(int), true > 0.5


def judge(model: Path, simulation: SimulationConfig, scenes: int, field: int, fields: int, seed: int) -> dict:
    """All figures, as --json writes them."""
    from real_sky import LargeGalaxies, judge_large  # beside this file

    sampler = Sampler(str(model))
    result = {"model": str(model), "populations": judge_scenes(sampler, simulation, scenes, seed)}
    result["single"] = judge_large(sampler, LargeGalaxies(simulation), simulation.structure.share, SINGLE, seed)
    if fields:
        result["field"] = judge_objects(model, simulation, field, fields, seed)
    return result


def show(result: dict) -> None:
    """Prints the figures as tables."""
    from rich.console import Console

    console = Console()
    for name, part in result["populations"].items():
        title = f"{part['scenes']} natural scenes" + ("" if name == "all" else f", brightest galaxy of {name} mag")
        labels = {"blended": "P(blended)", "galaxy": "P(galaxy)", "holds_blend": "P(the scene holds a blend)"}
        for key, label in labels.items():
            console.print(reliability_table(f"{title}: {label}", part[key]))
    if "field" in result:
        field = result["field"]
        title = f"{field['objects']} objects of simulated fields, {field['blends']} blended: p_blend"
        console.print(reliability_table(title, field["p_blend"]))
    console.print(f"single galaxies of {SINGLE[0]:g} to {SINGLE[1]:g} mag with a false blend: {result['single']:.1%}")


def reliability_table(title: str, figures: dict):
    """A rich table of what `reliability` returned; a star marks the bins that don't agree."""
    from rich.table import Table

    caption = "; ".join(
        "{} {value:.3f} ({low:.3f} to {high:.3f})".format(label, **figures[key])
        for key, label in (("expected_over_true", "expected over true"), ("deviation", "mean deviation"))
    )
    table = Table("predicted", "observed", "95 %", "count", "", title=title, caption=caption)
    for row in figures["bins"]:
        table.add_row(
            f"{row['predicted']:.3f}",
            f"{row['observed']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['count']:,}",
            "" if row["within"] else "*",
        )
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a pushed version, or of all versions")
    parser.add_argument("--scenes", type=int, default=20000)
    parser.add_argument("--config", help="configuration whose sky is simulated; the default one if not given")
    parser.add_argument("--field", type=int, default=4096, help="pixels per side of a field for p_blend")
    parser.add_argument("--fields", type=int, default=6, help="number of fields; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    try:
        simulation = load_config(options.config).simulation
        result = judge(
            find_model(options.model), simulation, options.scenes, options.field, options.fields, options.seed
        )
    except BlendinatorError as error:
        raise SystemExit(f"{error}")
    show(result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
