"""Named metrics from summed rows.

Everything is computed along a leading axis R: 1 for the plain value, the number of replicates for the bootstrap.
A ratio with an empty denominator is NaN: a metric that the scenes at hand don't define.
"""

import numpy as np

from blendinator.data.classes import CLASSES
from blendinator.model.metrics.scenes import CURVE_THRESHOLDS, DESCRIPTORS, DRAWS, LEVELS, QUANTITIES, scene_statistics

__all__ = [
    "aggregate",
    "auroc",
    "brier_decomposition",
    "calibration_error",
    "lower_is_better",
    "merge_equal_mass",
    "metric_names",
    "metrics",
    "presence_calibration",
    "rank_chi_square",
    "ratio",
    "risk_coverage",
    "sum_rows",
]

CLASS_NAMES = tuple(one.name for one in CLASSES)
OBJECT_COUNTS = ("true", "recognised", "predicted", "matched")
RANKED = (*QUANTITIES, "blend_presence")
ADAPTIVE_BINS = 15  # of equal mass


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
    result = _overlap(sums["confusion"]) | _objects(sums)
    for suffix, label in (("", ""), ("_near", "_near_sources")):
        result |= _scores(sums, suffix, label)
        result |= _entropy_against_error(sums["entropy_wrong" + suffix], sums["entropy_right" + suffix], label)
    result |= _reliability(sums["bins"])
    adaptive = calibration_error(merge_equal_mass(sums["fine_bins_near"], ADAPTIVE_BINS))
    result["adaptive_ece_near_sources"] = adaptive.mean(-1)
    result["adaptive_ece_near_sources_blended"] = adaptive[:, CLASS_NAMES.index("blended")]
    for suffix in ("", "_independent"):
        result |= _joint(sums, suffix)
    for draws in DRAWS[1:]:
        if f"distance_among_{draws}" in sums:
            result[f"ged_{draws}"] = ratio(
                2 * sums[f"distance_truth_{draws}"] - sums[f"distance_among_{draws}"], sums["scenes"]
            )
    result["ged_map"] = ratio(2 * sums["distance_truth_map"], sums["scenes"])
    result["energy_score_map"] = ratio(sums["energy_score_map"], sums["scenes"])
    return result


def metric_names(num_samples: int) -> list[str]:
    """All names that `metrics` gives for this number of samples, in its order."""
    mask, samples = np.zeros((1, 2, 2), int), np.zeros((1, num_samples, 2, 2), np.uint8)
    probabilities = np.full((1, 2, 2, len(CLASSES)), 1 / len(CLASSES), np.float32)
    return list(aggregate(scene_statistics(mask, samples, probabilities, np.array([""]))))


def lower_is_better(name: str) -> bool | None:
    """Whether a smaller value of the metric is the better one.

    None where neither is: coverage, bias, ratio of areas, diversity.
    """
    if name.startswith(("coverage", "bias", "diversity", "brier_uncertainty")) or name.endswith("_area_ratio"):
        return None
    if name.startswith("brier_resolution"):
        return False
    lower = (
        "nll",
        "brier",
        "ece",
        "reliability",
        "adaptive_ece",
        "ged",
        "energy_score",
        "aurc",
        "rank_chi_square",
        "blend_presence_ece",
        "blend_presence_brier",
    )
    return name.startswith(lower)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator with NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _overlap(counts: np.ndarray) -> dict[str, np.ndarray]:
    """IoU, completeness and purity of each class, from pixel counts [R, true, predicted]."""
    result = {}
    for c, name in enumerate(CLASS_NAMES):
        hits, true, predicted = counts[:, c, c], counts[:, c, :].sum(-1), counts[:, :, c].sum(-1)
        result[f"iou_{name}"] = ratio(hits, true + predicted - hits)
        result[f"completeness_{name}"] = ratio(hits, true)
        result[f"purity_{name}"] = ratio(hits, predicted)
        result[f"f1_{name}"] = ratio(2 * hits, true + predicted)
    result["iou_mean"] = np.mean([result[f"iou_{name}"] for name in CLASS_NAMES], axis=0)
    return result


def _scores(sums: dict[str, np.ndarray], suffix: str, label: str) -> dict[str, np.ndarray]:
    """Proper scores and calibration errors over the pixels of one region."""
    result = {score + label: ratio(sums[score + suffix], sums["pixels" + suffix]) for score in ("nll", "brier")}
    errors = calibration_error(sums["bins" + suffix])
    result["ece" + label] = errors.mean(-1)
    parts = brier_decomposition(sums["bins" + suffix])
    for part, value in parts.items():
        result[f"brier_{part}{label}"] = value.sum(-1)
    for c, name in enumerate(CLASS_NAMES):
        result[f"ece{label}_{name}"] = errors[:, c]
    return result


def _reliability(bins: np.ndarray) -> dict[str, np.ndarray]:
    """How far the probabilities of each source class are from frequencies, over all pixels, from bins [R, C, 3, bins].

    `reliability_<class>` is the mean absolute deviation between probability and frequency over the bins from the second
    on, weighted by count: most of the sky is in the first one and would drive any error to zero.
    `<class>_area_ratio` is the expected over the true number of pixels of the class.
    """
    result = {}
    for c, name in enumerate(CLASS_NAMES[1:], start=1):
        count, probability, hits = (bins[:, c, k] for k in range(3))
        result[f"reliability_{name}"] = ratio(np.abs(probability - hits)[:, 1:].sum(-1), count[:, 1:].sum(-1))
        result[f"{name}_area_ratio"] = ratio(probability.sum(-1), hits.sum(-1))
    return result


def calibration_error(bins: np.ndarray) -> np.ndarray:
    """Class-wise expected calibration error [R, C]: sum over bins of share * |mean probability - frequency|.

    Kull et al. 2019 (arXiv:1910.12656), definition 2, per class; `bins` [R, C, 3, bins] are those of
    `pixels.calibration_bins`.
    """
    count, probability, hits = bins[:, :, 0], bins[:, :, 1], bins[:, :, 2]
    return ratio(np.abs(probability - hits).sum(-1), count.sum(-1))


def merge_equal_mass(bins: np.ndarray, target: int) -> np.ndarray:
    """Neighbouring fine bins joined to at most `target` bins of about equal counts (Nguyen and O'Connor 2015).

    Args:
      bins: [R, C, 3, fine bins].
      target: number of bins.

    Returns:
      [R, C, 3, target]. A fine bin goes where the middle of its mass falls, so that bins are equal up to a fine one.
    """
    count = bins[:, :, 0]
    total = np.maximum(count.sum(-1, keepdims=True), 1e-300)
    middle = (np.cumsum(count, -1) - count / 2) / total
    place = np.minimum((middle * target).astype(int), target - 1)
    member = (place[..., None] == np.arange(target)).astype(float)  # [R, C, fine, target]
    return np.einsum("rckf,rcft->rckt", bins, member)


def brier_decomposition(bins: np.ndarray) -> dict[str, np.ndarray]:
    """Murphy's (1973) decomposition of each class's Brier score, binned: reliability - resolution + uncertainty.

    Exact when all probabilities in a bin are equal; otherwise the variance within bins is missing (Stephenson et al.
    2008). `bins` [R, C, 3, bins] as above; returns three arrays [R, C].
    """
    count, probability, hits = bins[:, :, 0], bins[:, :, 1], bins[:, :, 2]
    total = count.sum(-1)
    frequency, rate = ratio(hits, count), ratio(hits.sum(-1), total)
    reliability = np.nansum(count * (ratio(probability, count) - frequency) ** 2, -1)
    resolution = np.nansum(count * (frequency - rate[..., None]) ** 2, -1)
    return {
        "reliability": ratio(reliability, total),
        "resolution": ratio(resolution, total),
        "uncertainty": rate * (1 - rate),
    }


def auroc(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Area under the ROC curve [R] from counts [R, bins] of a score, rising; ties within a bin count one half."""
    below = np.cumsum(negatives, -1) - negatives
    wins = (positives * (below + negatives / 2)).sum(-1)
    return ratio(wins, negatives.sum(-1) * positives.sum(-1))


def risk_coverage(wrong: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the pixels kept and error rate among them [R, bins], from the most certain pixels on."""
    kept = np.cumsum(wrong + right, -1)
    return ratio(kept, kept[:, -1:]), ratio(np.cumsum(wrong, -1), kept)


def _entropy_against_error(wrong: np.ndarray, right: np.ndarray, label: str) -> dict[str, np.ndarray]:
    """Does the entropy tell where the map is wrong? AUROC, and the mean risk over all coverages (AURC)."""
    coverage, risk = risk_coverage(wrong, right)
    step = np.diff(coverage, prepend=0)
    return {"error_auroc" + label: auroc(right, wrong), "aurc" + label: np.nansum(risk * step, -1)}


def _objects(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    result = {}
    half = {name: sums["objects_" + name][:, list(CURVE_THRESHOLDS).index(0.5)] for name in OBJECT_COUNTS}
    single = {name: sums[f"objects_{name}_map"] for name in OBJECT_COUNTS}
    for suffix, counts in (("", half), ("_map", single)):
        completeness, purity = (
            ratio(counts["recognised"], counts["true"]),
            ratio(counts["matched"], counts["predicted"]),
        )
        result["object_completeness" + suffix], result["object_purity" + suffix] = completeness, purity
        # Where one of the two is zero so is the F1, though the other may be undefined.
        zero = (completeness == 0) | (purity == 0)
        result["object_f1" + suffix] = np.where(zero, 0, ratio(2 * completeness * purity, completeness + purity))
    return result


def presence_calibration(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibration of P(the scene holds a blend) without the bias of a finite number of draws.

    Of N + 1 exchangeable draws, the truth among them, of which K hold a blend, the truth is one of these with
    probability K / (N + 1), exactly. (Grouping by the N draws alone would make a right model look over-confident.)

    Args:
      table: [R, 2, N + 1] counts by (truth holds a blend, number of draws that do).

    Returns:
      Expected probability [N + 2], scenes [R, N + 2] and scenes whose truth holds a blend [R, N + 2], by K.
    """
    places = table.shape[-1]
    without, holding = np.zeros((len(table), places + 1)), np.zeros((len(table), places + 1))
    without[:, :-1], holding[:, 1:] = table[:, 0], table[:, 1]
    return np.arange(places + 1) / places, without + holding, holding


def rank_chi_square(ranks: np.ndarray) -> np.ndarray:
    """Pearson's chi-square of rank histograms [R, bins] against flat ones, per degree of freedom; 1 is expected.

    Ties are spread over their ranks, which makes it smaller: a value well above 1 is a misfit, one below proves little.
    """
    expected = ranks.sum(-1, keepdims=True) / ranks.shape[-1]
    return ratio((ranks - expected) ** 2, expected).sum(-1) / (ranks.shape[-1] - 1)


def _joint(sums: dict[str, np.ndarray], suffix: str) -> dict[str, np.ndarray]:
    """Metrics of the samples (or of the independent-pixel ones) as whole maps."""
    column = {name[: len(name) - len(suffix)]: value for name, value in sums.items() if name.endswith(suffix)}
    scenes = sums["scenes"]
    result = {
        "ged": ratio(2 * column["distance_truth"] - column["distance_among"], scenes),
        "diversity": ratio(column["distance_among"], scenes),
        "diversity_blended": ratio(column["distance_among_blended"], column["blended_scenes"]),
        "energy_score": ratio(column["energy_score"], scenes),
    }
    for name in RANKED:
        for level in LEVELS:
            result[f"coverage_{name}_{level}"] = ratio(column[f"{name}_covered_{level}"], column[name + "_scenes"])
        result[f"rank_chi_square_{name}"] = rank_chi_square(column[name + "_ranks"])
    for name in QUANTITIES:
        result[f"bias_{name}"] = ratio(column[name + "_bias"], column[name + "_truth"])
    table = column["blend_presence"]
    expected, count, holding = presence_calibration(table)
    draws = table.shape[-1] - 1
    p = np.arange(draws + 1) / draws
    result["blend_presence_ece"] = ratio(np.abs(count * expected - holding).sum(-1), scenes)
    result["blend_presence_brier"] = ratio(table[:, 0] @ p**2 + table[:, 1] @ (1 - p) ** 2, scenes)
    result["blend_presence_auroc"] = auroc(table[:, 0], table[:, 1])
    return {name + suffix: value for name, value in result.items()}
