"""Curves of a report: points with their 95 % intervals, from the same summed rows as the metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blendinator.model.metrics.aggregate import (
    CLASS_NAMES,
    OBJECT_COUNTS,
    RANKED,
    presence_calibration,
    ratio,
    risk_coverage,
)
from blendinator.model.metrics.bootstrap import interval
from blendinator.model.metrics.scenes import CURVE_THRESHOLDS

__all__ = ["curves"]


def curves(sums: dict[str, np.ndarray], replicates: dict[str, np.ndarray]) -> dict[str, dict[str, list]]:
    """All curves, as lists of numbers; None where a point is undefined.

    Args:
      sums: [1, ...] as `aggregate.sum_rows` gives them.
      replicates: [R, ...], the same over the bootstrap.

    Returns:
      By name, with a key for each axis, and `low` and `high` for those with an interval:
      - `reliability_<class>` and `reliability_near_sources_<class>`: `probability`, `frequency`, `count` per bin;
      - `ranks_<quantity>` and `ranks_<quantity>_independent`: `share` of scenes per bin of rank;
      - `blend_presence` and `blend_presence_independent`: `probability`, `frequency`, `count`;
      - `objects`: `threshold` on P(blended), `completeness`, `purity`, each with its own `_low` and `_high`;
      - `pixels_blended`: `threshold`, `completeness`, `purity`;
      - `risk_coverage`, `risk_coverage_near_sources`: `coverage`, `risk`.
    """
    result = {}
    for suffix, label in (("", ""), ("_near", "_near_sources")):
        for c, name in enumerate(CLASS_NAMES):
            result[f"reliability{label}_{name}"] = _reliability(
                *(s["bins" + suffix][:, c].transpose(1, 0, 2) for s in (sums, replicates))
            )
        coverage, risk = risk_coverage(sums["entropy_wrong" + suffix], sums["entropy_right" + suffix])
        result["risk_coverage" + label] = {"coverage": _plain(coverage[0]), "risk": _plain(risk[0])}
    for suffix in ("", "_independent"):
        for name in RANKED:
            shares = [
                ratio(s[f"{name}_ranks{suffix}"], s[f"{name}_ranks{suffix}"].sum(-1, keepdims=True))
                for s in (sums, replicates)
            ]
            result[f"ranks_{name}{suffix}"] = {"share": _plain(shares[0][0]), **_intervals(shares[1], shares[0][0])}
        result["blend_presence" + suffix] = _presence(*(s["blend_presence" + suffix] for s in (sums, replicates)))
    result["objects"] = _objects(sums, replicates)
    result["pixels_blended"] = _pixels(sums["bins"][:, CLASS_NAMES.index("blended")])
    return result


def _reliability(parts: Sequence[np.ndarray], replicates: Sequence[np.ndarray]) -> dict[str, Any]:
    count, probability, hits = parts
    return {
        "probability": _plain(ratio(probability, count)[0]),
        "frequency": _plain(ratio(hits, count)[0]),
        "count": _plain(count[0]),
        **_intervals(ratio(replicates[2], replicates[0]), ratio(hits, count)[0]),
    }


def _presence(table: np.ndarray, replicates: np.ndarray) -> dict[str, Any]:
    expected, count, holding = presence_calibration(table)
    _, drawn_count, drawn_holding = presence_calibration(replicates)
    return {
        "probability": _plain(expected),
        "frequency": _plain(ratio(holding, count)[0]),
        "count": _plain(count[0]),
        **_intervals(ratio(drawn_holding, drawn_count), ratio(holding, count)[0]),
    }


def _objects(sums: dict[str, np.ndarray], replicates: dict[str, np.ndarray]) -> dict[str, Any]:
    result = {"threshold": _plain(CURVE_THRESHOLDS)}
    plain, drawn = ({name: s["objects_" + name] for name in OBJECT_COUNTS} for s in (sums, replicates))
    for name, part, whole in (("completeness", "recognised", "true"), ("purity", "matched", "predicted")):
        values = ratio(plain[part], plain[whole])[0]
        result[name], ends = _plain(values), _intervals(ratio(drawn[part], drawn[whole]), values)
        result[name + "_low"], result[name + "_high"] = ends["low"], ends["high"]
    return result


def _pixels(bins: np.ndarray) -> dict[str, Any]:
    """Completeness and purity of blended pixels for the thresholds at the lower edges of the bins."""
    count, hits = (np.cumsum(bins[0, k, ::-1])[::-1] for k in (0, 2))
    return {
        "threshold": _plain(np.arange(len(count)) / len(count)),
        "completeness": _plain(ratio(hits, hits[:1])),
        "purity": _plain(ratio(hits, count)),
    }


def _intervals(replicates: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    ends = [interval(column, value) for column, value in zip(replicates.T, values)]
    return {"low": _plain([low for low, _ in ends]), "high": _plain([high for _, high in ends])}


def _plain(values: Any) -> list[float | None]:
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in np.asarray(values, float)]
