"""The grid of conditions: what its cells are, and the figures of one of them."""

import numpy as np
import pytest

from blendinator.config import EvaluationConfig, SimulationConfig
from blendinator.data.scene import Simulator


@pytest.fixture(scope="module")
def conditions(load_benchmark):
    return load_benchmark("conditions")


def test_cells_are_all_combinations(conditions):
    found = list(conditions.cells(SimulationConfig(psf_range=(0.8, 1.25), noise_range=(0.5, 2.0))))
    assert len(found) == 27
    assert {round(cell["psf"], 9) for cell, _ in found} == {0.8, 1.0, 1.25}
    assert {round(cell["noise"], 9) for cell, _ in found} == {0.5, 1.0, 2.0}
    scene = Simulator(found[-1][1]).sample(1, 0)
    assert (scene.noise_correlation, scene.population) == (1.0, "natural")
    assert scene.fwhm == pytest.approx(1.25 * Simulator(SimulationConfig()).survey.psf_fwhm)


class Background:
    """A model to which all is empty sky, for certain."""

    def sample(self, images, num_samples, seed, populations):
        probabilities = np.zeros((*images.shape[:3], 3), np.float32)
        probabilities[..., 0] = 1.0
        return np.zeros((len(images), num_samples, *images.shape[1:3]), np.uint8), probabilities


def test_figures_of_a_cell(conditions):
    settings = next(iter(conditions.cells(SimulationConfig(stamp_size=32))))[1]
    evaluation = EvaluationConfig(num_samples=4, bootstrap_replicates=20)
    found = conditions.judge_cell(Background(), settings, 60, evaluation)
    assert set(found) == set(conditions.METRICS)
    assert found["galaxy_area_ratio"]["value"] == 0.0 and found["coverage_galaxy_area_68"]["value"] < 0.5
