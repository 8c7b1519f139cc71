"""Is a pushed model calibrated under all conditions of its training? A grid of PSF, depth and noise correlation.

    python benchmarks/conditions.py MODEL [--scenes 300] [--config FILE] [--json FILE]

Each cell holds natural scenes of one PSF FWHM, one sky noise and one correlation of the noise, from a span that no
training uses. Printed are, with 95 % intervals over scenes, the calibration error near sources, the share of true areas
within the 68 % interval of the draws, and the ratio of expected to true area.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from blendinator.components.calibration_evaluator.scoring import Sampler, score_batch
from blendinator.config import EvaluationConfig, SimulationConfig
from blendinator.config_loader import load_config
from blendinator.data.scene import Simulator
from blendinator.errors import BlendinatorError
from blendinator.model.metrics import scenes
from blendinator.model.metrics.evaluation import evaluate_rows
from blendinator.model.pushed import find_model

SPAN = 900_004  # spans of a pipeline are counted from 1
BATCH = 50
CORRELATIONS = (0.0, 0.5, 1.0)  # sigma of the noise's Gaussian kernel, pixels
METRICS = {
    "ece_near_sources": "ECE near sources",
    "coverage_galaxy_area_68": "cov68 galaxy",
    "coverage_blended_area_68": "cov68 blended",
    "galaxy_area_ratio": "expected / true galaxy area",
}


def cells(simulation: SimulationConfig) -> Iterator[tuple[dict[str, float], SimulationConfig]]:
    """The ends and the middle of the ranges of PSF and noise, with each correlation: conditions, and their settings."""
    middle = lambda ends: (ends[0], float(np.sqrt(ends[0] * ends[1])), ends[1])
    for psf, noise, correlation in itertools.product(
        middle(simulation.psf_range), middle(simulation.noise_range), CORRELATIONS
    ):
        yield (
            {"psf": psf, "noise": noise, "correlation": correlation},
            dataclasses.replace(
                simulation,
                psf_range=(psf, psf),
                noise_range=(noise, noise),
                noise_correlation=(correlation, correlation),
                white_noise_share=0.0,
                train_populations={"natural": 1.0},
            ),
        )


def judge_cell(sampler: Sampler, simulation: SimulationConfig, count: int, evaluation: EvaluationConfig) -> dict:
    """The metrics of `count` natural scenes of one cell, each {value, low, high}."""
    simulator = Simulator.configured(dataclasses.replace(simulation, train_scenes=count))
    rows = [
        score_batch(simulator.scenes(SPAN, range(start, min(start + BATCH, count))), sampler, evaluation)
        for start in range(0, count, BATCH)
    ]
    found = evaluate_rows(scenes.concatenate(rows), evaluation)["natural"]["metrics"]
    return {name: found[name] for name in METRICS}


def show(results: list[dict], fwhm: float) -> None:
    """Prints the grid as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("PSF FWHM", "noise", "correlation", *METRICS.values(), title="calibration by conditions")
    for result in results:
        cell = result["cell"]
        figures = (
            "{value:.3f} ({low:.3f} to {high:.3f})".format(**result["metrics"][name])
            if result["metrics"][name]["value"] is not None
            else "-"
            for name in METRICS
        )
        table.add_row(f'{cell["psf"] * fwhm:.3f}"', f"{cell['noise']:.2f}", f"{cell['correlation']:g} px", *figures)
    Console(width=160).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a pushed version, or of all versions")
    parser.add_argument("--scenes", type=int, default=300, help="natural scenes of each cell")
    parser.add_argument("--config", help="configuration whose sky is simulated; the default one if not given")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    try:
        config = load_config(options.config)
        sampler = Sampler(str(find_model(options.model)))
        results = [
            {"cell": cell, "metrics": judge_cell(sampler, simulation, options.scenes, config.evaluation)}
            for cell, simulation in cells(config.simulation)
        ]
    except BlendinatorError as error:
        raise SystemExit(f"{error}")
    show(results, Simulator(config.simulation).survey.psf_fwhm * config.simulation.psf_scale)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
