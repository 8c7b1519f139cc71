"""A candidate against the live model on the same scenes, metric by metric: the difference with its 95 % interval.

    python benchmarks/paired.py EVALUATION [--json FILE]

EVALUATION is the folder of an evaluation, `pipeline/CalibrationEvaluator/evaluation/N`, of a run with a live model.
Each bootstrap replicate weights the scenes of both alike, so that what they share cancels. Last comes the purity of the
blended pixels at equal completeness: the curve of P(blended) over its thresholds, straight between them.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from blendinator.components.calibration_evaluator import scoring
from blendinator.components.calibration_evaluator.executor import SCENES
from blendinator.config import EvaluationConfig, SimulationConfig
from blendinator.config_loader import load_config
from blendinator.data.scene import Simulator
from blendinator.errors import BlendinatorError, DataError
from blendinator.model.metrics.aggregate import CLASS_NAMES, metrics, ratio, sum_rows
from blendinator.model.metrics.bootstrap import interval, poisson_weights
from blendinator.model.metrics.scenes import concatenate, select

SPAN = 900_003  # of the scenes; spans of a pipeline are counted from 1
METRICS = (
    *("iou_galaxy", "iou_blended", "ged", "energy_score", "nll_near_sources", "ece_near_sources"),
    *("reliability_blended", "blended_area_ratio", "blend_presence_ece"),
    *("coverage_galaxy_area_68", "coverage_blended_area_68", "object_f1"),
)
COMPLETENESS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def purity_at(bins: np.ndarray, completeness: float) -> np.ndarray:
    """Purity of what lies above the threshold on a probability at which so much of the class is found.

    Args:
      bins: [R, 3, K] numbers, summed probabilities and hits of K bins of rising probability.
      completeness: 0 to 1.

    Returns:
      [R], linear in completeness between the bins' edges; NaN where the class never occurs.
    """
    counts = np.cumsum(bins[:, 0, ::-1], axis=1)
    hits = np.cumsum(bins[:, 2, ::-1], axis=1)
    found, pure = ratio(hits, hits[:, -1:]), ratio(hits, counts)
    known = [np.isfinite(f) & np.isfinite(p) for f, p in zip(found, pure)]
    return np.array([np.interp(completeness, f[k], p[k]) if k.any() else np.nan for f, p, k in zip(found, pure, known)])


def compare(candidate: dict[str, np.ndarray], live: dict[str, np.ndarray], settings: EvaluationConfig) -> list[dict]:
    """Rows {name, candidate, live, difference, low, high} of the scenes of one population, in the same order."""
    weights = poisson_weights(candidate["scene_id"], settings.bootstrap_replicates, settings.seed)
    sums = [sum_rows(rows) for rows in (candidate, live)]
    replicates = [sum_rows(rows, weights) for rows in (candidate, live)]
    values, spread = [metrics(part) for part in sums], [metrics(part) for part in replicates]
    blended = CLASS_NAMES.index("blended")
    for at in COMPLETENESS:
        name = f"purity of blended pixels at completeness {at}"
        for found, parts in ((values, sums), (spread, replicates)):
            for one, part in zip(found, parts):
                one[name] = purity_at(part["bins"][:, blended], at)
    rows = []
    for name in (*METRICS, *(name for name in values[0] if name.startswith("purity of"))):
        ours, theirs = (float(found[name][0]) for found in values)
        low, high = interval(spread[0][name] - spread[1][name], ours - theirs)
        rows.append(
            {"name": name, "candidate": ours, "live": theirs, "difference": ours - theirs, "low": low, "high": high}
        )
    return rows


def read(folder: Path) -> list[dict[str, np.ndarray]]:
    """Columns of the candidate and of the live model; DataError where the evaluation had no live model."""
    paths = [folder / SCENES[label] for label in (scoring.CANDIDATE, scoring.LIVE)]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: this file does not exist. Give the evaluation of a run that had a live model.")
    return [scoring.unpack(path.read_bytes()) for path in paths]


def score(
    models: list[Path], numbers: dict[str, int], simulation: SimulationConfig, settings: EvaluationConfig
) -> list[dict[str, np.ndarray]]:
    """Columns of each model on the same simulated scenes, so many of each population."""
    samplers = [scoring.Sampler(str(model)) for model in models]
    blocks: list[list] = [[] for _ in models]
    for population, count in numbers.items():
        shares = {"train_scenes": count, "train_populations": {population: 1.0}}
        simulator = Simulator(dataclasses.replace(simulation, **shares))
        for start in range(0, count, settings.batch_size):
            batch = simulator.scenes(SPAN, range(start, min(start + settings.batch_size, count)))
            for found, sampler in zip(blocks, samplers):
                found.append(scoring.score_batch(batch, sampler, settings))
    return [concatenate(found) for found in blocks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="EVALUATION, or CANDIDATE and LIVE")
    parser.add_argument("--boosted", type=int, default=1000)
    parser.add_argument("--natural", type=int, default=4000)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if len(given.folders) > 2:
        parser.error("give the folder of an evaluation, or those of two models")
    config, report = load_config(given.config), {}
    settings = config.evaluation
    if len(given.folders) == 1:
        rows = read(given.folders[0])
    else:
        numbers = {"boosted": given.boosted, "natural": given.natural}
        rows = score(given.folders, numbers, config.simulation, settings)
    for population in np.unique(rows[0]["population"]).tolist():
        chosen = [select(part, part["population"] == population) for part in rows]
        report[population] = compare(*chosen, settings)
        print(f"\n{population}, {len(chosen[0]['scene_id'])} scenes")
        for row in report[population]:
            print(
                f"  {row['name']:<46} {row['candidate']:8.4f}  live {row['live']:8.4f}  "
                f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            )
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except BlendinatorError as error:
        raise SystemExit(f"paired: {error}")
