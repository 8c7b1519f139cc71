import dataclasses

import numpy as np
import pytest

from blendinator.config import EvaluationConfig, SliceConfig, ThresholdConfig
from blendinator.data.records import NUMBERS
from blendinator.model.metrics import evaluation, rules, scenes

REPORT = {
    "boosted": {
        "scenes": 100,
        "metrics": {
            "iou_galaxy": {"value": 0.8, "low": 0.75, "high": 0.85},
            "ged": {"value": None, "low": None, "high": None},
        },
        "slices": {
            "snr": [
                {
                    "low": 0.0,
                    "high": 10.0,
                    "scenes": 3,
                    "metrics": {"iou_galaxy": {"value": 0.9, "low": 0.9, "high": 0.9}},
                }
            ]
        },
    }
}


@pytest.mark.parametrize(
    "bound, minimum, passed",
    [
        ("value", 0.79, True),
        ("value", 0.81, False),
        ("pessimistic", 0.74, True),
        ("pessimistic", 0.76, False),
        ("optimistic", 0.84, True),
        ("optimistic", 0.86, False),
    ],
)
def test_the_bound_decides(bound, minimum, passed):
    rule = ThresholdConfig("iou_galaxy", "boosted", min=minimum, bound=bound)
    assert rules.check_rule(rule, REPORT, 30)["passed"] is passed


def test_a_maximum_takes_the_other_end():
    assert not rules.check_rule(ThresholdConfig("iou_galaxy", max=0.84, bound="pessimistic"), REPORT, 30)["passed"]
    assert rules.check_rule(ThresholdConfig("iou_galaxy", max=0.76, bound="optimistic"), REPORT, 30)["passed"]


@pytest.mark.parametrize(
    "rule, reason",
    [
        (ThresholdConfig("iou_galaxy", min=0.9), "0.8 is below 0.9"),
        (ThresholdConfig("iou_galaxy", max=0.1), "0.8 is above 0.1"),
        (ThresholdConfig("iou_galaxy", "natural", min=0.1), "no scenes or no such slice: natural population"),
        (
            ThresholdConfig("iou_galaxy", slice="snr 10 to 30", min=0.1),
            "no such slice: boosted population, snr 10 to 30",
        ),
        (
            ThresholdConfig("iou_galaxy", slice="snr 0 to 10", min=0.1),
            "too few scenes (boosted population, snr 0 to 10): 3 of at least 30",
        ),
        (ThresholdConfig("iou", min=0.1), "no metric is called iou"),
        (ThresholdConfig("ged", max=0.1), "undefined on these scenes"),
    ],
)
def test_each_refusal_says_why(rule, reason):
    verdict = rules.check_rule(rule, REPORT, 30)
    assert not verdict["passed"]
    assert reason in verdict["reason"]


def test_populations_and_slices_are_kept_apart():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (6, 8, 8))
    samples = rng.integers(0, 3, (6, 4, 8, 8)).astype(np.uint8)
    probabilities = np.full((6, 8, 8, 3), 1 / 3, np.float32)
    rows = scenes.scene_statistics(mask, samples, probabilities, [f"1:{i}" for i in range(6)])
    rows["population"] = np.array(["boosted"] * 4 + ["natural"] * 2)
    rows |= {name: np.zeros(6) for name in NUMBERS}
    rows["snr"] = np.array([-1.0, 0.0, 5.0, 10.0, 10.0, 5.0])
    config = dataclasses.replace(
        EvaluationConfig(), bootstrap_replicates=20, slices=(SliceConfig("snr", (0.0, 5.0, 10.0)),)
    )
    report = evaluation.evaluate_rows(rows, config)
    assert report["boosted"]["scenes"] == 4 and report["natural"]["scenes"] == 2
    assert [entry["scenes"] for entry in report["boosted"]["slices"]["snr"]] == [1, 2]
    assert [entry["scenes"] for entry in report["natural"]["slices"]["snr"]] == [0, 2]
    assert report["natural"]["slices"]["snr"][0]["metrics"] == {}
    assert report["boosted"]["metrics"]["nll"]["value"] == pytest.approx(np.log(3), rel=1e-5)
