"""The default gate at natural density: the released model passes at the sky's odds, and not at the boosted ones."""

import numpy as np
import pytest

from blendinator.components.calibration_evaluator.scoring import Sampler, score_batch
from blendinator.config import Config, EvaluationConfig, SimulationConfig
from blendinator.data.scene import Simulator
from blendinator.model.metrics import evaluation, rules, scenes
from blendinator.model.released import unpack

SCENES, BATCH, SPAN = 2000, 50, 900_003
OF_THE_SKY = ("reliability_blended", "blended_area_ratio")
EVALUATION = EvaluationConfig(num_samples=4, bootstrap_replicates=50)


@pytest.fixture(scope="module")
def natural_scenes():
    simulator = Simulator(SimulationConfig(train_scenes=SCENES, train_populations={"natural": 1.0}))
    return [simulator.scenes(SPAN, range(start, start + BATCH)) for start in range(0, SCENES, BATCH)]


def verdicts(batches, odds):
    """Metric -> verdict of the default rules on P(blended), the scenes sampled at the odds of a population."""
    sampler = Sampler(str(unpack()))
    blocks = [score_batch([scene | {"population": odds} for scene in batch], sampler, EVALUATION) for batch in batches]
    rows = scenes.concatenate(blocks)
    report = evaluation.evaluate_rows(rows | {"population": np.full(SCENES, "natural")}, EVALUATION)
    wanted = [rule for rule in Config().evaluation.thresholds if rule.metric in OF_THE_SKY]
    return {row["metric"]: row for row in rules.check_rules(wanted, report, EVALUATION.min_scenes)}


def test_calibrated_for_the_sky_passes(natural_scenes):
    found = verdicts(natural_scenes, "natural")
    assert set(found) == set(OF_THE_SKY) and all(row["passed"] for row in found.values()), found


def test_the_boosted_prior_is_refused(natural_scenes):
    found = verdicts(natural_scenes, "boosted")
    assert not any(row["passed"] for row in found.values()), found
    assert found["blended_area_ratio"]["value"] > 1.4  # blends where the sky has none
