"""One row of additive statistics per scene.

A row holds what the metrics need and no image: any subset or weighting of the scenes is a weighted sum of rows
(`aggregate.py`), so that slices, populations and bootstrap replicates all come from one pass over the images.
Each row depends on its own scene only, bit for bit, however the scenes are batched.
"""

import numpy as np

from blendinator.data.records import NUM_CLASSES, SCALARS
from blendinator.model.metrics import joint, objects, pixels
from blendinator.model.metrics.bootstrap import scene_seeds

__all__ = ["concatenate", "scene_statistics", "select"]

DESCRIPTORS = tuple(SCALARS)  # what a row is; everything else in it can be summed

LEVELS = (50, 68, 95)  # per cent, of the central intervals
DRAWS = (1, 4, 8, 16)  # numbers of samples for which the energy distance is given
QUANTITIES = {"galaxy_area": 1, "blended_area": 2}  # areas in pixels, by class
# Fine bins of the probability, equally spaced in its logit, from which bins of equal mass are put together.
FINE_EDGES = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-9, 9, 59))), [1.0]])
# Bins of the entropy (nats), finer towards 0, where most pixels are.
ENTROPY_EDGES = np.log(NUM_CLASSES) * np.linspace(0, 1, 65) ** 2
# Thresholds of P(blended) for completeness against purity.
CURVE_THRESHOLDS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


def scene_statistics(
    mask: np.ndarray,
    samples: np.ndarray,
    probabilities: np.ndarray,
    scene_ids: np.ndarray,
    near_source_radius: int = 3,
    bins: int = 15,
    seed: int = 1,
    object_overlap: float = 0.5,
) -> dict[str, np.ndarray]:
    """Statistics of a batch of scenes.

    Args:
      mask: [B, H, W] true classes 0, 1, 2.
      samples: [B, N, H, W] drawn classes, N >= 2.
      probabilities: [B, H, W, 3], the mean over the draws.
      scene_ids: [B] text.
      near_source_radius: pixels, see `pixels.near_sources`.
      bins: equal bins of the probability for the calibration error.
      seed: of the independent-pixel samples; each scene's are seeded with its id as well.
      object_overlap: see `objects.recognised_blends`.

    Returns:
      Arrays whose first axis is B, without the descriptors except `scene_id`. Names ending in `_independent` belong to
      samples of independent pixels with the same probabilities, those in `_map` to the single most probable map.

    Raises:
      ValueError: shapes that don't belong together, or fewer than two samples.
    """
    batch, count, height, width = samples.shape
    if mask.shape != (batch, height, width) or probabilities.shape != (batch, height, width, NUM_CLASSES):
        raise ValueError(
            f"shapes don't agree: mask {mask.shape}, samples {samples.shape}, probabilities {probabilities.shape}"
        )
    if count < 2:
        raise ValueError(f"two or more samples are needed for distances between samples; received {count}")
    most_probable = probabilities.argmax(-1).astype(np.uint8)
    rows = {"scene_id": np.asarray(scene_ids, dtype=str), "scenes": np.ones(batch)}
    rows |= _pixel_statistics(mask, most_probable, probabilities, near_source_radius, bins)
    rows |= _joint_statistics(mask, samples, "")
    seeds = scene_seeds(rows["scene_id"], seed, "independent")
    rows |= _joint_statistics(mask, joint.independent_samples(probabilities, count, seeds), "_independent")
    rows |= _map_statistics(mask, most_probable)
    rows |= _object_statistics(mask, most_probable, probabilities, object_overlap)
    return {name: value if value.dtype.kind == "U" else value.astype(np.float32) for name, value in rows.items()}


def _pixel_statistics(
    mask: np.ndarray, most_probable: np.ndarray, probabilities: np.ndarray, radius: int, bins: int
) -> dict[str, np.ndarray]:
    near = pixels.near_sources(mask, most_probable, radius)
    everywhere = np.ones_like(near)
    nll, brier = pixels.log_score(mask, probabilities), pixels.brier_score(mask, probabilities)
    uncertainty = pixels.entropy(probabilities)
    wrong = mask != most_probable
    edges = np.linspace(0, 1, bins + 1)
    rows = {"confusion": pixels.confusion(mask, most_probable)}
    for suffix, where in (("", everywhere), ("_near", near)):
        rows["pixels" + suffix] = where.sum((1, 2))
        rows["nll" + suffix] = np.where(where, nll, 0).sum((1, 2))
        rows["brier" + suffix] = np.where(where, brier, 0).sum((1, 2))
        rows["bins" + suffix] = pixels.calibration_bins(mask, probabilities, edges, where)
        rows["entropy_wrong" + suffix] = pixels.histogram(uncertainty, ENTROPY_EDGES, where & wrong)
        rows["entropy_right" + suffix] = pixels.histogram(uncertainty, ENTROPY_EDGES, where & ~wrong)
    rows["fine_bins_near"] = pixels.calibration_bins(mask, probabilities, FINE_EDGES, near)
    return rows


def _joint_statistics(mask: np.ndarray, samples: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    rows = {}
    pairwise = joint.distances(np.concatenate([mask[:, None].astype(samples.dtype), samples], axis=1))
    to_truth, among = joint.energy_distance(pairwise)
    has_blend = (mask == 2).any((1, 2))
    rows["distance_truth"], rows["distance_among"] = to_truth, among
    rows["blended_scenes"] = has_blend
    rows["distance_among_blended"] = np.where(has_blend, among, 0)
    for draws in DRAWS:
        if draws <= samples.shape[1] and not suffix:
            to_truth, among = joint.energy_distance(pairwise, draws)
            rows[f"distance_truth_{draws}"] = to_truth
            if draws > 1:
                rows[f"distance_among_{draws}"] = among
    for name, which in QUANTITIES.items():
        truth, drawn = joint.areas(mask, which), joint.areas(samples, which)
        rows |= _rank_statistics(name, truth, drawn)
        rows[name + "_bias"], rows[name + "_truth"] = drawn.mean(1) - truth, truth
    rows |= _presence_statistics(has_blend, (samples == 2).any((2, 3)))
    rows["energy_score"] = joint.energy_score(_summary(mask), _summary(samples))
    return {name + suffix: value for name, value in rows.items()}


def _rank_statistics(name: str, truth: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Coverage and ranks over scenes where the truth or a draw is above zero.

    The condition treats truth and draws alike, so that it leaves them exchangeable; without it, thousands of scenes in
    which nothing is there and nothing is drawn would pull every coverage to its nominal value.
    """
    defined = (truth > 0) | (drawn > 0).any(1)
    low, high = joint.rank_interval(truth, drawn)
    rows = {name + "_scenes": defined}
    for level in LEVELS:
        rows[f"{name}_covered_{level}"] = np.where(defined, joint.covered(low, high, level / 100), 0)
    rows[name + "_ranks"] = np.where(defined[:, None], joint.rank_histogram(low, high, drawn.shape[1] + 1), 0)
    return rows


def _presence_statistics(has_blend: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Whether the scene holds a blend: in the truth [B] and in each draw [B, N]."""
    rows = _rank_statistics("blend_presence", has_blend.astype(int), drawn.astype(int))
    table = np.zeros((len(has_blend), 2, drawn.shape[1] + 1))
    table[np.arange(len(has_blend)), has_blend.astype(int), drawn.sum(1)] = 1
    rows["blend_presence"] = table  # by (truth holds a blend, number of draws that do)
    return rows


def _object_statistics(
    mask: np.ndarray, most_probable: np.ndarray, probabilities: np.ndarray, overlap: float
) -> dict[str, np.ndarray]:
    """Recognised blends for each threshold on the mean P(blended), and for the most probable map."""
    true = objects.Groups.of(mask == 2)
    counts = [objects.recognised_blends(true, probabilities[..., 2] >= t, overlap) for t in CURVE_THRESHOLDS]
    rows = {f"objects_{name}": np.stack([count[name] for count in counts], axis=1) for name in counts[0]}
    single = objects.recognised_blends(true, most_probable == 2, overlap)
    return rows | {f"objects_{name}_map": value for name, value in single.items()}


def _map_statistics(mask: np.ndarray, most_probable: np.ndarray) -> dict[str, np.ndarray]:
    pair = np.stack([mask.astype(np.uint8), most_probable], axis=1)
    return {
        "distance_truth_map": joint.distances(pair)[:, 0, 1],
        "energy_score_map": np.linalg.norm(_summary(mask) - _summary(most_probable), axis=-1),
    }


def _summary(maps: np.ndarray) -> np.ndarray:
    """[..., 3]: square roots of the two areas (pixels; the root puts them on the scale of a length) and the number of
    components; the vector of the energy score."""
    roots = [np.sqrt(joint.areas(maps, which)) for which in QUANTITIES.values()]
    return np.stack([*roots, joint.component_counts(maps).astype(np.float64)], axis=-1)


def concatenate(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows of all blocks, sorted by scene id: the same whatever the blocks and their order were."""
    names = blocks[0].keys()
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in names}
    order = np.argsort(joined["scene_id"], kind="stable")
    return {name: value[order] for name, value in joined.items()}


def select(rows: dict[str, np.ndarray], where: np.ndarray) -> dict[str, np.ndarray]:
    """The rows where the boolean array [S] is true."""
    return {name: value[where] for name, value in rows.items()}
