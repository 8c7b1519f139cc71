"""Metrics with 95 % intervals, by population and slice."""

import math
from typing import Any

import numpy as np

from blendinator.config import EvaluationConfig, SliceConfig
from blendinator.data.population import POPULATIONS
from blendinator.model.metrics.aggregate import metrics, sum_rows
from blendinator.model.metrics.bootstrap import interval, poisson_weights
from blendinator.model.metrics.curves import curves
from blendinator.model.metrics.scenes import select

__all__ = ["evaluate_rows", "inside", "keep_map_metrics", "with_intervals"]


def evaluate_rows(rows: dict[str, np.ndarray], config: EvaluationConfig) -> dict[str, dict]:
    """The report of one set of rows.

    Args:
      rows: columns of `scenes.concatenate`, with all descriptors.
      config: seed and number of the bootstrap's replicates, slices.

    Returns:
      By population, for those with at least one scene: `scenes`, `metrics` (name to `value`, `low`, `high`), `curves`
      (see `curves.py`) and `slices` (scalar to a list of bins with `low`, `high`, `scenes`, `metrics`). The populations
      are never mixed.
    """
    report = {}
    for population in POPULATIONS:
        chosen = select(rows, rows["population"] == population)
        if len(chosen["scene_id"]):
            weights = poisson_weights(chosen["scene_id"], config.bootstrap_replicates, config.seed)
            report[population] = {
                "scenes": len(chosen["scene_id"]),
                "metrics": with_intervals(chosen, weights),
                "curves": curves(sum_rows(chosen), sum_rows(chosen, weights)),
                "slices": {cut.scalar: _slice(chosen, weights, cut) for cut in config.slices},
            }
    return report


def with_intervals(rows: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Each metric's value on the scenes and its 95 % percentile interval over the replicates; None where undefined."""
    values, replicates = metrics(sum_rows(rows)), metrics(sum_rows(rows, weights))
    result = {}
    for name, value in values.items():
        low, high = interval(replicates[name], value[0])
        result[name] = {"value": _number(value[0]), "low": _number(low), "high": _number(high)}
    return result


def inside(values: np.ndarray, low: float, high: float, last: bool) -> np.ndarray:
    """Whether values are in [low, high), or in [low, high] for the last bin."""
    return (values >= low) & ((values <= high) if last else (values < high))


def _slice(rows: dict[str, np.ndarray], weights: np.ndarray, cut: SliceConfig) -> list[dict[str, Any]]:
    bins = []
    for i, (low, high) in enumerate(zip(cut.edges[:-1], cut.edges[1:])):
        where = inside(rows[cut.scalar], low, high, last=i == len(cut.edges) - 2)
        bins.append(
            {
                "low": low,
                "high": high,
                "scenes": int(where.sum()),
                "metrics": with_intervals(select(rows, where), weights[:, where]) if where.any() else {},
            }
        )
    return bins


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


# What can be said of a single class map without probabilities.
MAP_METRICS = ("iou_", "completeness_", "purity_", "f1_", "object_", "ged_map", "energy_score_map")


def keep_map_metrics(report: dict[str, dict]) -> dict[str, dict]:
    """The report of a method that gives one class map per scene: without the metrics that need probabilities."""

    def keep(found: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in found.items() if name.startswith(MAP_METRICS)}

    return {
        population: {
            "scenes": entry["scenes"],
            "metrics": keep(entry["metrics"]),
            "slices": {
                scalar: [one | {"metrics": keep(one["metrics"])} for one in bins]
                for scalar, bins in entry["slices"].items()
            },
        }
        for population, entry in report.items()
    }
