"""The verdict: rules of the configuration applied to the metrics."""

from pipeline.config import ThresholdConfig


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
        "metric": rule.metric, "population": rule.population, "slice": rule.slice, "min": rule.min, "max": rule.max,
        "bound": rule.bound, "scenes": scenes, **(numbers or {"value": None, "low": None, "high": None}),
    }
    if found is None:
        return result | {"passed": False, "reason": f"no scenes or no such slice: {where}"}
    if scenes < min_scenes:
        return result | {"passed": False, "reason": f"too few scenes ({where}): {scenes} of at least {min_scenes}"}
    if numbers is None:
        return result | {"passed": False, "reason": f"no metric is called {rule.metric}"}
    if numbers["value"] is None:
        return result | {"passed": False, "reason": f"undefined on these scenes ({where})"}
    lower, upper = {
        "value": (numbers["value"], numbers["value"]),
        "pessimistic": (numbers["low"], numbers["high"]),
        "optimistic": (numbers["high"], numbers["low"]),
    }[rule.bound]
    failures = []
    if rule.min is not None and not lower >= rule.min:
        failures.append(f"{lower:.4g} is below {rule.min:g}")
    if rule.max is not None and not upper <= rule.max:
        failures.append(f"{upper:.4g} is above {rule.max:g}")
    return result | {"passed": not failures, "reason": " and ".join(failures) or "kept"}


def check_rules(rules: tuple[ThresholdConfig, ...], report: dict, min_scenes: int) -> list[dict]:
    """All rules in their order; a model is blessed when each has passed and there is at least one."""
    return [check_rule(rule, report, min_scenes) for rule in rules]


def slice_name(scalar: str, low: float, high: float) -> str:
    """How a rule names a bin: `min_separation 0.3 to 0.7`."""
    return f"{scalar} {low:g} to {high:g}"


def _find(rule, report):
    population = report.get(rule.population)
    if population is None or not rule.slice:
        return population
    for scalar, bins in population["slices"].items():
        for entry in bins:
            if slice_name(scalar, entry["low"], entry["high"]) == rule.slice:
                return entry
    return None
