"""Named metrics from summed rows.

Everything is computed along a leading axis R: 1 for the plain value, the number of replicates for the bootstrap.
A ratio with an empty denominator is NaN: a metric that the scenes at hand don't define.
"""

import numpy as np

from model.metrics.scenes import DESCRIPTORS, DRAWS, LEVELS, QUANTITIES

CLASSES = ("background", "galaxy", "blended")
# Metrics for which a smaller value is the better one; for those of NEITHER the distance from a target counts.
LOWER_IS_BETTER = ("nll", "brier", "ece", "adaptive_ece", "ged", "energy_score", "aurc", "blend_presence_brier", "blend_presence_ece")
NEITHER = ("coverage", "diversity", "area_bias", "rank_chi_square", "accuracy_gap")


def sum_rows(rows: dict[str, np.ndarray], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Sums over the scenes.

    Args:
      rows: additive columns [S, ...]; descriptors are left out.
      weights: [R, S] weights of the scenes; one set of ones by default.

    Returns:
      The same columns [R, ...], float64.
    """
    sums = {}
    for name, value in rows.items():
        if name in DESCRIPTORS:
            continue
        flat = value.reshape(len(value), -1).astype(np.float64)
        total = flat.sum(0)[None] if weights is None else weights @ flat
        sums[name] = total.reshape(-1, *value.shape[1:])
    return sums


def aggregate(rows: dict[str, np.ndarray], weights: np.ndarray | None = None) -> dict[str, float]:
    """All metrics of the scenes, optionally weighted by `weights` [S]."""
    sums = sum_rows(rows, None if weights is None else np.asarray(weights, np.float64)[None])
    return {name: float(value[0]) for name, value in metrics(sums).items()}


def metrics(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All metrics [R] by name, from the sums [R, ...] of `sum_rows`."""
    result = _overlap(sums["confusion"])
    for suffix, label in (("", ""), ("_near", "_near_sources")):
        result |= _scores(sums, suffix, label)
    for suffix in ("", "_independent"):
        result |= _joint(sums, suffix)
    for draws in DRAWS[1:]:
        if f"distance_among_{draws}" in sums:
            result[f"ged_{draws}"] = _ratio(
                2 * sums[f"distance_truth_{draws}"] - sums[f"distance_among_{draws}"], sums["scenes"])
    result["ged_map"] = _ratio(2 * sums["distance_truth_map"], sums["scenes"])
    result["energy_score_map"] = _ratio(sums["energy_score_map"], sums["scenes"])
    return result


def _ratio(numerator, denominator):
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _overlap(counts):
    """IoU, completeness and purity of each class, from pixel counts [R, true, predicted]."""
    result = {}
    for c, name in enumerate(CLASSES):
        hits, true, predicted = counts[:, c, c], counts[:, c, :].sum(-1), counts[:, :, c].sum(-1)
        result[f"iou_{name}"] = _ratio(hits, true + predicted - hits)
        result[f"completeness_{name}"] = _ratio(hits, true)
        result[f"purity_{name}"] = _ratio(hits, predicted)
        result[f"f1_{name}"] = _ratio(2 * hits, true + predicted)
    result["iou_mean"] = np.mean([result[f"iou_{name}"] for name in CLASSES], axis=0)
    return result


def _scores(sums, suffix, label):
    """Proper scores and calibration errors over the pixels of one region."""
    result = {score + label: _ratio(sums[score + suffix], sums["pixels" + suffix]) for score in ("nll", "brier")}
    errors = calibration_error(sums["bins" + suffix])
    result["ece" + label] = errors.mean(-1)
    for c, name in enumerate(CLASSES):
        result[f"ece{label}_{name}"] = errors[:, c]
    return result


def calibration_error(bins: np.ndarray) -> np.ndarray:
    """Class-wise expected calibration error [R, C]: sum over bins of share * |mean probability - frequency|.

    Kull et al. 2019 (arXiv:1910.12656), definition 2, per class; `bins` [R, C, 3, bins] are those of
    `pixels.calibration_bins`.
    """
    count, probability, hits = bins[:, :, 0], bins[:, :, 1], bins[:, :, 2]
    return _ratio(np.abs(probability - hits).sum(-1), count.sum(-1))


def _joint(sums, suffix):
    """Metrics of the samples (or of the independent-pixel ones) as whole maps."""
    column = {name[:len(name) - len(suffix)]: value for name, value in sums.items() if name.endswith(suffix)}
    scenes = sums["scenes"]
    result = {
        "ged": _ratio(2 * column["distance_truth"] - column["distance_among"], scenes),
        "diversity": _ratio(column["distance_among"], scenes),
        "diversity_blended": _ratio(column["distance_among_blended"], column["blended_scenes"]),
        "energy_score": _ratio(column["energy_score"], scenes),
    }
    for name in QUANTITIES:
        for level in LEVELS:
            result[f"coverage_{name}_{level}"] = _ratio(column[f"{name}_covered_{level}"], column[name + "_scenes"])
        result[f"{name}_bias"] = _ratio(column[name + "_bias"], column[name + "_truth"])
    return {name + suffix: value for name, value in result.items()}
