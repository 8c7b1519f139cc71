import numpy as np
import pytest

from blendinator.model.metrics import aggregate, scenes


def blobs(count=6, draws=4, size=16, seed=0):
    """Random scenes whose samples are shifted truths, and the mean of those."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((count, size, size), int)
    for scene in mask:
        for _ in range(2):
            y, x = rng.integers(0, size - 6, 2)
            scene[y : y + 6, x : x + 6] += 1
    shifts = rng.integers(-1, 2, (draws, 2))
    samples = np.stack([np.roll(mask, shift, (1, 2)) for shift in shifts], 1).astype(np.uint8)
    probabilities = np.stack([(samples == c).mean(1) for c in range(3)], -1).astype(np.float32)
    return mask, samples, probabilities, np.array([f"1:{i}" for i in range(count)])


def test_rows_do_not_depend_on_the_batches():
    mask, samples, probabilities, names = blobs()
    whole = scenes.concatenate([scenes.scene_statistics(mask, samples, probabilities, names)])
    parts = [
        scenes.scene_statistics(mask[i:j], samples[i:j], probabilities[i:j], names[i:j])
        for i, j in ((4, 6), (0, 1), (1, 4))
    ]
    pieced = scenes.concatenate(parts)
    assert whole.keys() == pieced.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, pieced[name], err_msg=name)


def test_perfect_samples_reach_the_ideal_values():
    mask, _, _, names = blobs()
    samples = np.repeat(mask[:, None], 4, axis=1).astype(np.uint8)
    probabilities = np.eye(3, dtype=np.float32)[mask]
    metrics = aggregate.aggregate(scenes.scene_statistics(mask, samples, probabilities, names))
    for name in ("iou_background", "iou_galaxy", "iou_blended", "completeness_blended", "purity_galaxy"):
        assert metrics[name] == 1
    for name in ("nll", "brier", "ece", "ece_near_sources", "ged", "diversity", "energy_score", "ged_map"):
        assert metrics[name] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0, 2])
def test_a_scene_that_is_all_one_class_breaks_nothing(value):
    mask = np.full((2, 8, 8), value)
    samples = np.full((2, 3, 8, 8), value, np.uint8)
    metrics = aggregate.aggregate(scenes.scene_statistics(mask, samples, np.eye(3, dtype=np.float32)[mask], ["a", "b"]))
    assert metrics["ged"] == 0
    assert np.isnan(metrics["iou_galaxy"])  # no such pixel, nor a predicted one: undefined, not 0 or 1
    assert np.isnan(metrics["coverage_galaxy_area_68"])


def test_coverage_leaves_out_scenes_where_nothing_is_there_nor_drawn():
    mask, samples, probabilities, names = blobs(count=2)
    mask[1], samples[1], probabilities[1] = 0, 0, [1, 0, 0]
    rows = scenes.scene_statistics(mask, samples, probabilities, names)
    np.testing.assert_array_equal(rows["galaxy_area_scenes"], [1, 0])
    assert rows["galaxy_area_covered_68"][1] == 0


def test_messages():
    mask, samples, probabilities, names = blobs()
    with pytest.raises(ValueError, match="shapes don't agree"):
        scenes.scene_statistics(mask[:, 1:], samples, probabilities, names)
    with pytest.raises(ValueError, match="two or more samples"):
        scenes.scene_statistics(mask, samples[:, :1], probabilities, names)
