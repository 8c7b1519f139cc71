"""Paired differences: a curve by hand, two models that are one, and a folder without a live model."""

import dataclasses

import numpy as np
import pytest

from blendinator.config import EvaluationConfig
from blendinator.errors import DataError
from blendinator.model.metrics.scenes import scene_statistics

SETTINGS = dataclasses.replace(EvaluationConfig(), bootstrap_replicates=50)


@pytest.fixture(scope="module")
def paired(load_benchmark):
    return load_benchmark("paired")


def test_purity_at_a_completeness(paired):
    """From the top: 4 of 4 pixels, then 8 of 10, then 10 of 20, of the 10 that are blended."""
    bins = np.zeros((1, 3, 3))
    bins[0, 0], bins[0, 2] = [10, 6, 4], [2, 4, 4]
    expected = {0.4: 1.0, 0.6: 0.9, 0.8: 0.8, 0.9: 0.65, 1.0: 0.5}
    for completeness, purity in expected.items():
        np.testing.assert_allclose(paired.purity_at(bins, completeness), purity)


def test_no_purity_of_a_class_that_never_occurs(paired):
    assert np.isnan(paired.purity_at(np.zeros((1, 3, 3)), 0.5)).all()


def rows_of(sure):
    """Statistics of 40 scenes with a blend in each, of a model that gives the true class the probability `sure`."""
    rng = np.random.default_rng(1)
    mask = np.zeros((40, 16, 16), np.uint8)
    for scene, (y, x) in zip(mask, rng.integers(1, 8, (40, 2))):
        scene[y : y + 6, x : x + 6] = 1
        scene[y + 2 : y + 4, x + 2 : x + 4] = 2
    probabilities = np.where(np.eye(3, dtype=bool)[mask], sure, (1 - sure) / 2).astype(np.float32)
    samples = np.stack([mask, np.where(rng.random(mask.shape) < sure, mask, 0)], axis=1).astype(np.uint8)
    ids = [f"1:{i}" for i in range(40)]
    return scene_statistics(mask, samples, probabilities, ids) | {"population": np.full(40, "natural")}


def test_a_model_does_not_differ_from_itself(paired):
    found = {row["name"]: row for row in paired.compare(rows_of(0.9), rows_of(0.9), SETTINGS)}
    assert {"iou_blended", "ged", "purity of blended pixels at completeness 0.5"} <= set(found)
    for row in found.values():
        assert row["difference"] == row["low"] == row["high"] == 0 or np.isnan(row["candidate"])


def test_the_sign_is_that_of_candidate_less_live(paired):
    found = {row["name"]: row for row in paired.compare(rows_of(0.9), rows_of(0.6), SETTINGS)}
    row = found["nll_near_sources"]
    np.testing.assert_allclose(row["difference"], np.log(0.6 / 0.9), rtol=1e-5)
    np.testing.assert_allclose([row["low"], row["high"]], row["difference"], rtol=1e-5)  # the same in every scene


def test_an_evaluation_without_a_live_model(paired, tmp_path):
    with pytest.raises(DataError, match=r"scenes\.npz: this file does not exist\. Give the evaluation of a run that"):
        paired.read(tmp_path)
