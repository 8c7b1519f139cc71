"""The table of `ablation.py`: joint scores of each network and kind of fields, over the seeds."""

from pathlib import Path

import numpy as np

from blendinator.model.metrics import scenes as statistics
from blendinator.model.metrics.aggregate import metrics, sum_rows
from blendinator.model.metrics.bootstrap import poisson_weights

POPULATIONS = ("boosted", "natural")
FIELDS = {
    "argmax": "none: the most probable class of each draw",
    "fixed": "one, 10 pixels",
    "joint": "one; length and scale of the prior by a joint score",
    "learned": "mixture of four, learned",
}
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
    "cov95 galaxy": ("boosted", "coverage_galaxy_area_95"),
    "cov95 blended": ("boosted", "coverage_blended_area_95"),
    "rank chi2 galaxy": ("boosted", "rank_chi_square_galaxy_area"),
    "rank chi2 blended": ("boosted", "rank_chi_square_blended_area"),
    "natural: GED": ("natural", "ged"),
    "energy score ": ("natural", "energy_score"),
    "ECE near ": ("natural", "ece_near_sources"),
    "cov68 galaxy ": ("natural", "coverage_galaxy_area_68"),
    "cov68 blended ": ("natural", "coverage_blended_area_68"),
    "rank chi2 galaxy ": ("natural", "rank_chi_square_galaxy_area"),
    "rank chi2 blended ": ("natural", "rank_chi_square_blended_area"),
    "ECE of 'holds a blend'": ("natural", "blend_presence_ece"),
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
    for population in POPULATIONS:
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


def show(out: Path, labels: dict[str, str]) -> None:
    """Means over the seeds with their spread; then GED less the deterministic network's with fixed fields, by seed."""
    load = lambda *name: dict(np.load(out / f"{'-'.join(map(str, name))}.npz"))
    seeds = lambda variant: sorted(int(path.stem.split("-")[1]) for path in out.glob(f"{variant}-[0-9]*.json"))
    present = [
        (variant, kind)
        for variant in labels
        for kind in FIELDS
        if seeds(variant) and (out / f"{variant}-{seeds(variant)[0]}-{kind}.npz").exists()
    ]
    print("| network | fields | seeds |", " | ".join(COLUMNS), "|")
    print("|---" * (len(COLUMNS) + 3) + "|")
    for variant, kind in present:
        found = [values(load(variant, seed, kind)) for seed in seeds(variant)]
        cells = []
        for key in COLUMNS.values():
            numbers = np.array([one[key] for one in found])
            cells.append(f"{numbers.mean():.3f}" + (f" ± {numbers.std(ddof=1):.3f}" if len(numbers) > 1 else ""))
        print(f"| {labels[variant]} | {FIELDS[kind]} | {len(found)} |", " | ".join(cells), "|")
    for variant, kind in present:
        for population in POPULATIONS:
            cells = [
                "%+.4f (%+.4f to %+.4f)"
                % difference(load(variant, seed, kind), load("deterministic", seed, "fixed"), population=population)
                for seed in seeds(variant)
                if (out / f"deterministic-{seed}-fixed.npz").exists()
            ]
            print(f"GED, {population}, {variant} {kind} less deterministic fixed:", "; ".join(cells))
