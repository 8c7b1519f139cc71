"""The verdict: rules of the configuration applied to the metrics."""

import difflib
import math
from typing import Any

import numpy as np

from blendinator.config import EvaluationConfig, RelativeConfig, SliceConfig, ThresholdConfig
from blendinator.data.population import check_populations
from blendinator.data.records import NUMBERS
from blendinator.errors import ConfigError
from blendinator.model.metrics.aggregate import lower_is_better, metric_names, metrics, sum_rows
from blendinator.model.metrics.bootstrap import interval, poisson_weights
from blendinator.model.metrics.evaluation import inside
from blendinator.model.metrics.scenes import LEVELS, select

__all__ = ["check_names", "check_relative", "check_rule", "check_rules", "signed_score", "slice_name", "slice_names"]


def check_rule(rule: ThresholdConfig, report: dict, min_scenes: int) -> dict:
    """One rule, applied to the report of `evaluation.evaluate_rows`.

    The number that must keep to the bound is chosen by `rule.bound`:
    - `value`: the metric itself;
    - `pessimistic`: the end of its 95 % interval that is worse for the rule, so that luck doesn't bless a model;
    - `optimistic`: the end that is better, so that noise doesn't refuse one.

    Returns:
      The rule's own keys and `value`, `low`, `high`, `scenes`, `passed` and `reason` (one sentence).
    """
    where = f"{rule.population} population" + (f", {rule.slice}" if rule.slice else "")
    found = _find(rule, report)
    scenes = found["scenes"] if found else 0
    numbers = (found or {}).get("metrics", {}).get(rule.metric)
    result = {
        "metric": rule.metric,
        "population": rule.population,
        "slice": rule.slice,
        "min": rule.min,
        "max": rule.max,
        "bound": rule.bound,
        "scenes": scenes,
        **(numbers or {"value": None, "low": None, "high": None}),
    }
    if found is None:
        return result | {"passed": False, "reason": f"no scenes or no such slice: {where}"}
    if scenes < min_scenes:
        return result | {"passed": False, "reason": f"too few scenes ({where}): {scenes} of at least {min_scenes}"}
    if numbers is None:
        return result | {"passed": False, "reason": f"no metric is called {rule.metric}"}
    if numbers["value"] is None:
        return result | {"passed": False, "reason": f"undefined on these scenes ({where})"}
    lower, upper = _ends(rule.bound, numbers)
    failures = []
    if rule.min is not None and not lower >= rule.min:
        failures.append(f"{lower:.4g} is below {rule.min:g}")
    if rule.max is not None and not upper <= rule.max:
        failures.append(f"{upper:.4g} is above {rule.max:g}")
    return result | {"passed": not failures, "reason": " and ".join(failures) or "passed"}


def check_rules(rules: tuple[ThresholdConfig, ...], report: dict, min_scenes: int) -> list[dict]:
    """All rules in their order; a model is blessed when each has passed."""
    return [check_rule(rule, report, min_scenes) for rule in rules]


def check_relative(
    rule: RelativeConfig, rows: dict[str, np.ndarray], live: dict[str, np.ndarray], config: EvaluationConfig
) -> dict:
    """One rule against the live model.

    Both models saw the same scenes with the same seeds, and each bootstrap replicate weights the scenes of both alike,
    so that what they share cancels: the interval is that of the paired difference.

    Args:
      rule: the rule.
      rows: columns of the candidate.
      live: columns of the live model, of the same scenes in the same order.
      config: seed and replicates, slices and the least number of scenes.

    Returns:
      The rule's own keys and `value`, `low`, `high` of the gain (positive: the candidate is better), `candidate`,
      `live`, `scenes`, `passed` and `reason`.

    Raises:
      ValueError: the scenes differ.
    """
    if not np.array_equal(rows["scene_id"], live["scene_id"]):
        raise ValueError("the candidate and the live model were evaluated on different scenes")
    where = (rows["population"] == rule.population) & _in_slice(rule.slice, rows, config.slices)
    result = {
        "metric": rule.metric,
        "population": rule.population,
        "slice": rule.slice,
        "margin": rule.margin,
        "bound": rule.bound,
        "scenes": int(where.sum()),
        "candidate": None,
        "live": None,
        "value": None,
        "low": None,
        "high": None,
    }
    place = f"{rule.population} population" + (f", {rule.slice}" if rule.slice else "")
    if where.sum() < config.min_scenes:
        reason = f"too few scenes ({place}): {where.sum()} of at least {config.min_scenes}"
        return result | {"passed": False, "reason": reason}
    weights = poisson_weights(rows["scene_id"][where], config.bootstrap_replicates, config.seed)
    values, replicates = [], []
    for columns in (rows, live):
        chosen = select(columns, where)
        values.append(float(metrics(sum_rows(chosen))[rule.metric][0]))
        replicates.append(signed_score(rule.metric, metrics(sum_rows(chosen, weights))[rule.metric]))
    gain = float(signed_score(rule.metric, values[0]) - signed_score(rule.metric, values[1]))
    if not math.isfinite(gain):
        return result | {"passed": False, "reason": f"undefined on these scenes ({place})"}
    low, high = interval(replicates[0] - replicates[1], gain)
    result |= {"candidate": values[0], "live": values[1], "value": gain, "low": low, "high": high}
    lower, _ = _ends(rule.bound, result)
    if lower >= -rule.margin:
        return result | {"passed": True, "reason": "passed"}
    reason = f"worse than the live model: gain {lower:.4g} is below {-rule.margin:g}"
    return result | {"passed": False, "reason": reason}


def signed_score(name: str, value: Any) -> Any:
    """The metric with its sign such that more is better: for a coverage, minus its distance from the nominal one.

    Raises:
      ValueError: neither more nor less of this metric is better.
    """
    lower = lower_is_better(name)
    if lower is not None:
        return -value if lower else value
    for level in LEVELS:
        if name.startswith("coverage") and f"_{level}" in name:
            return -abs(value - level / 100)
    if name.startswith("bias"):
        return -abs(value)
    raise ValueError(f"{name}: neither more nor less of it is better, so that two models can't be compared by it")


def slice_name(scalar: str, low: float, high: float) -> str:
    """How a rule names a bin: `min_separation 0.3 to 0.7`."""
    return f"{scalar} {low:g} to {high:g}"


def slice_names(slices: tuple[SliceConfig, ...]) -> list[str]:
    """The names of all bins."""
    return [slice_name(cut.scalar, *ends) for cut in slices for ends in zip(cut.edges[:-1], cut.edges[1:])]


def _in_slice(name: str, rows: dict[str, np.ndarray], slices: tuple[SliceConfig, ...]) -> np.ndarray:
    for cut in slices:
        for i, (low, high) in enumerate(zip(cut.edges[:-1], cut.edges[1:])):
            if slice_name(cut.scalar, low, high) == name:
                return inside(rows[cut.scalar], low, high, last=i == len(cut.edges) - 2)
    return np.ones(len(rows["scene_id"]), bool)


def _ends(bound: str, numbers: dict[str, Any]) -> tuple[float, float]:
    """What must keep to a minimum and to a maximum."""
    return {
        "value": (numbers["value"], numbers["value"]),
        "pessimistic": (numbers["low"], numbers["high"]),
        "optimistic": (numbers["high"], numbers["low"]),
    }[bound]


def _find(rule: ThresholdConfig, report: dict[str, Any]) -> dict[str, Any] | None:
    population = report.get(rule.population)
    if population is None or not rule.slice:
        return population
    for scalar, bins in population["slices"].items():
        for entry in bins:
            if slice_name(scalar, entry["low"], entry["high"]) == rule.slice:
                return entry
    return None


def check_names(evaluation: EvaluationConfig, source: str = "configuration") -> None:
    """Raises ConfigError where a rule or a slice names a metric, a population, a bin or a scalar that there is not.

    A misspelt name should not come to light after hours of training.
    """
    for i, cut in enumerate(evaluation.slices):
        if cut.scalar not in NUMBERS:
            raise ConfigError(
                f"{source}: evaluation.slices[{i}].scalar: received {cut.scalar!r}; allowed: {', '.join(NUMBERS)}"
            )
    known, slices = metric_names(evaluation.num_samples), slice_names(evaluation.slices)
    for key in ("thresholds", "relative"):
        for i, rule in enumerate(getattr(evaluation, key)):
            if rule.metric not in known:
                close = difflib.get_close_matches(rule.metric, known, 5, 0.3)
                raise ConfigError(
                    f"{source}: evaluation.{key}[{i}].metric: received {rule.metric!r}; allowed: a metric of"
                    f" docs/calibration.md, such as {', '.join(close or known[:5])}"
                )
            check_populations([rule.population], f"{source}: evaluation.{key}[{i}].population")
            if key == "relative":
                try:
                    signed_score(rule.metric, 0.0)
                except ValueError as error:
                    raise ConfigError(
                        f"{source}: evaluation.relative[{i}].metric: received {rule.metric!r}; allowed: a metric"
                        f" of which more or less is better ({error})"
                    )
            if rule.slice and rule.slice not in slices:
                raise ConfigError(
                    f"{source}: evaluation.{key}[{i}].slice: received {rule.slice!r}; allowed: nothing, or a"
                    f" bin of evaluation.slices: {', '.join(slices)}"
                )
