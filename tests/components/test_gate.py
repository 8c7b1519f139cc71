"""Can the gate be trusted? Models of known quality against its rules.

The toy world has a known posterior. Two discs lie at known places; given the image, their radii are independent normals
of known mean and width s. So the class probabilities of each pixel are known in closed form, and a right model is one
that draws its radii from those normals.
"""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from blendinator.components.calibration_evaluator import executor, scoring
from blendinator.config import Config, EvaluationConfig, RelativeConfig, SliceConfig, ThresholdConfig
from blendinator.data.records import NUMBERS
from blendinator.model.metrics import joint, rules, scenes
from blendinator.model.metrics.bootstrap import interval, poisson_weights

SIZE, DRAWS, WIDTH = 24, 8, 1.0
RULES = (
    ThresholdConfig("ece_near_sources", "boosted", max=0.03),
    ThresholdConfig("coverage_galaxy_area_68", "boosted", min=0.6, max=0.76),
    ThresholdConfig("coverage_blended_area_68", "boosted", min=0.6, max=0.76),
)


def toy_maps(scene_count, seed, temperature=1.0, independent=False, shift=0.0):
    """Truths, samples and probabilities of a model in the toy world.

    `temperature` below 1 narrows what the model believes, above 1 widens it; `shift` moves its radii. The truths depend
    on `scene_count` and `seed` only, so that models can be compared on the same scenes.
    """
    truth_rng, model_rng = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1))
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.stack([np.hypot(y - 12, x - 9), np.hypot(y - 12, x - 15)])  # [2, H, W]
    believed = truth_rng.uniform(4, 6, (scene_count, 2))
    radii = believed + WIDTH * truth_rng.normal(size=believed.shape)
    mask = (distance < radii[..., None, None]).sum(1)

    width, centre = WIDTH * temperature, believed + shift
    inside = norm.cdf((centre[..., None, None] - distance) / width)  # [S, 2, H, W]
    first, second = inside[:, 0], inside[:, 1]
    both = first * second
    probabilities = np.stack([(1 - first) * (1 - second), first + second - 2 * both, both], -1).astype(np.float32)
    if independent:
        samples = joint.independent_samples(probabilities, DRAWS, model_rng.integers(0, 2**62, scene_count))
    else:
        drawn = centre[:, None] + width * model_rng.normal(size=(scene_count, DRAWS, 2))
        samples = (distance < drawn[..., None, None]).sum(2).astype(np.uint8)
    return mask, samples, probabilities


def toy(scene_count, seed, **model):
    """Rows of the same."""
    mask, samples, probabilities = toy_maps(scene_count, seed, **model)
    rows = scenes.scene_statistics(mask, samples, probabilities, [f"{seed}:{i:06d}" for i in range(scene_count)])
    rows["population"] = np.full(scene_count, "boosted")
    return rows | {name: np.zeros(scene_count, np.float32) for name in NUMBERS}


def verdict(rows, thresholds=RULES, relative=(), live=None):
    settings = dataclasses.replace(
        EvaluationConfig(),
        thresholds=thresholds,
        relative=relative,
        bootstrap_replicates=200,
        num_samples=DRAWS,
        slices=(SliceConfig("snr", (0.0, 1.0, 2.0)),),
    )
    found = {scoring.CANDIDATE: rows} | ({scoring.LIVE: live} if live else {})
    return executor.make_report(found, dataclasses.replace(Config(), evaluation=settings))


def failures(report):
    return {rule["metric"] for rule in report["thresholds"] + report["relative"] if not rule["passed"]}


def test_the_right_model_is_blessed():
    report = verdict(toy(300, seed=1))
    assert report["blessed"], report["thresholds"]


def test_an_over_confident_model_is_refused():
    """A third of the width multiplies the probits by 3, which is what logits x 3 does to a softmax."""
    failed = failures(verdict(toy(300, seed=1, temperature=1 / 3)))
    assert failed == {rule.metric for rule in RULES}


def test_logits_times_three_alone_are_refused_for_calibration():
    """The same draws, but sharpened probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (40, 16, 16, 3))
    honest = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truth = (rng.random((40, 16, 16, 1)) > honest.cumsum(-1)[..., :2]).sum(-1)
    samples = joint.independent_samples(honest.astype(np.float32), DRAWS, np.arange(40))
    blessed = []
    for factor in (1, 3):
        sharp = np.exp(factor * logits)
        sharp = (sharp / sharp.sum(-1, keepdims=True)).astype(np.float32)
        rows = scenes.scene_statistics(truth, samples, sharp, [f"1:{i:02d}" for i in range(40)])
        rows["population"] = np.full(40, "boosted")
        rows |= {name: np.zeros(40, np.float32) for name in NUMBERS}
        blessed.append(verdict(rows, thresholds=RULES[:1])["blessed"])
    assert blessed == [True, False]


def test_the_prior_of_the_training_is_refused_at_the_density_of_the_sky():
    """A model of boosted scenes has their odds: its P(blended) is p k / (1 - p + p k), here with k = 2.

    The sky's p rises from 0 to 1 along the rows of each of the 60 scenes, which is a blend's edge.
    """
    rng = np.random.default_rng(3)
    sky = np.broadcast_to(np.linspace(0.02, 0.98, 16)[None, :, None], (60, 16, 16))
    truth = 1 + (rng.random(sky.shape) < sky)
    rules = [rule for rule in EvaluationConfig().thresholds if rule.metric.startswith(("reliability", "blended_area"))]
    assert [rule.population for rule in rules] == ["natural", "natural"]
    blessed = []
    for odds in (1.0, 2.0):
        blended = sky * odds / (1.0 - sky + sky * odds)
        probabilities = np.stack((np.zeros_like(sky), 1.0 - blended, blended), axis=-1).astype(np.float32)
        samples = joint.independent_samples(probabilities, DRAWS, np.arange(60))
        rows = scenes.scene_statistics(truth, samples, probabilities, [f"1:{i:02d}" for i in range(60)])
        rows["population"] = np.full(60, "natural")
        rows |= {name: np.zeros(60, np.float32) for name in NUMBERS}
        blessed.append(verdict(rows, thresholds=tuple(rules))["blessed"])
    assert blessed == [True, False]


def test_an_under_confident_model_is_refused():
    failed = failures(verdict(toy(300, seed=1, temperature=3)))
    assert failed == {rule.metric for rule in RULES}


def test_right_marginals_with_independent_pixels_are_refused_for_joint_coverage_only():
    failed = failures(verdict(toy(300, seed=1, independent=True)))
    assert failed == {"coverage_galaxy_area_68", "coverage_blended_area_68"}


def test_error_rates_of_the_right_model_are_as_advertised():
    """200 repeats: the 95 % interval misses the true coverage in about 5 of 100, 2.5 at either end."""
    repeats, size = 200, 60
    passed, both_sides = {"optimistic": 0, "value": 0, "pessimistic": 0}, 0
    for i in range(repeats):
        mask, samples, _ = toy_maps(size, seed=1000 + i)
        covered = joint.covered(*joint.rank_interval(joint.areas(mask, 1), joint.areas(samples, 1)), 0.68)
        weights = poisson_weights([f"{i}:{k}" for k in range(size)], 200, seed=1)
        low, high = interval(weights @ covered / weights.sum(1), covered.mean())
        numbers = {"coverage_galaxy_area_68": {"value": covered.mean(), "low": low, "high": high}}
        report = {"boosted": {"scenes": size, "metrics": numbers, "slices": {}}}
        for bound in passed:
            rule = ThresholdConfig("coverage_galaxy_area_68", min=0.68, bound=bound)
            passed[bound] += rules.check_rule(rule, report, 30)["passed"]
        rule = ThresholdConfig("coverage_galaxy_area_68", min=0.68, max=0.68, bound="optimistic")
        both_sides += rules.check_rule(rule, report, 30)["passed"]
    assert 0.90 <= both_sides / repeats <= 0.99  # 95 % with three standard errors of 1.5 %
    assert passed["optimistic"] / repeats >= 0.94  # 97.5 %: noise refuses few
    assert 0.39 <= passed["value"] / repeats <= 0.61
    assert passed["pessimistic"] / repeats <= 0.06  # 2.5 %: luck blesses few


RELATIVE = tuple(
    RelativeConfig(name, "boosted", margin=0.0, bound="optimistic") for name in ("iou_blended", "nll_near_sources")
)
STRICT = tuple(dataclasses.replace(rule, bound="pessimistic") for rule in RELATIVE)


@pytest.fixture(scope="module")
def decent():
    """A live model that is somewhat off."""
    return toy(200, seed=3, shift=-0.6)


@pytest.mark.parametrize("rules_used", [RELATIVE, STRICT])
def test_a_better_model_than_the_live_one_is_blessed(decent, rules_used):
    report = verdict(toy(200, seed=3), thresholds=(), relative=rules_used, live=decent)
    assert report["blessed"], report["relative"]
    assert all(rule["low"] > 0 for rule in report["relative"])


def test_a_slightly_worse_model_within_noise_follows_the_rule(decent):
    slightly = toy(200, seed=3, shift=-0.61)
    assert verdict(slightly, (), RELATIVE[:1], decent)["relative"][0]["value"] < 0.01
    with_margin = tuple(dataclasses.replace(rule, margin=0.02, bound="pessimistic") for rule in RELATIVE)
    assert verdict(slightly, (), with_margin, decent)["blessed"]
    assert not verdict(slightly, (), STRICT, decent)["blessed"]


@pytest.mark.parametrize("rules_used", [RELATIVE, STRICT])
def test_a_clearly_worse_model_is_refused(decent, rules_used):
    report = verdict(toy(200, seed=3, shift=-1.5), thresholds=(), relative=rules_used, live=decent)
    assert failures(report) == {"iou_blended", "nll_near_sources"}
    assert "worse than the live model: gain -" in report["relative"][0]["reason"]


def test_the_same_model_is_never_worse_than_itself(decent):
    report = verdict(decent, thresholds=(), relative=STRICT, live=decent)
    assert report["blessed"]
    assert {rule["value"] for rule in report["relative"]} == {0.0}


def test_paired_intervals_are_narrower_than_separate_ones(decent):
    report = verdict(toy(200, seed=3, shift=-0.7), thresholds=(), relative=RELATIVE, live=decent)
    paired = report["relative"][1]["high"] - report["relative"][1]["low"]
    alone = report["live"]["boosted"]["metrics"]["nll_near_sources"]
    assert paired < 0.7 * (alone["high"] - alone["low"])


def test_different_scenes_are_not_compared(decent):
    with pytest.raises(ValueError, match="different scenes"):
        verdict(toy(200, seed=4), thresholds=(), relative=RELATIVE, live=decent)


def test_an_empty_slice_is_refused_and_not_passed():
    rule = ThresholdConfig("iou_galaxy", "boosted", min=0.0, slice="snr 1 to 2")
    found = verdict(toy(40, seed=5), thresholds=(rule,))["thresholds"][0]
    assert not found["passed"]
    assert "too few scenes (boosted population, snr 1 to 2): 0 of at least 30" in found["reason"]
    relative = RelativeConfig("iou_galaxy", slice="snr 1 to 2")
    rows = toy(40, seed=5)
    assert "too few scenes" in verdict(rows, (), (relative,), rows)["relative"][0]["reason"]


@pytest.mark.parametrize("value", [0, 2])
def test_scenes_without_any_galaxy_or_all_blend_break_nothing(value):
    rows = toy(60, seed=6)
    mask = np.full((3, SIZE, SIZE), value)
    odd = scenes.scene_statistics(
        mask,
        np.repeat(mask[:, None], DRAWS, 1).astype(np.uint8),
        np.eye(3, dtype=np.float32)[mask],
        [f"odd:{i}" for i in range(3)],
    )
    odd["population"] = np.full(3, "boosted")
    odd |= {name: np.zeros(3, np.float32) for name in NUMBERS}
    assert verdict(scenes.concatenate([rows, odd]))["populations"]["boosted"]["scenes"] == 63
    alone = verdict(odd)
    assert not alone["blessed"]
    assert "too few scenes" in alone["thresholds"][0]["reason"]
