"""How many sources an object holds: by hand, and on made-up objects whose odds are known."""

import numpy as np
import pytest

from blendinator.model.field import sources

ENDS = {"_lo68": 0.16, "": 0.5, "_hi68": 0.84}


def columns(count, seed=1):
    rng = np.random.default_rng(seed)
    area = np.exp(rng.uniform(2, 6, count))
    return {
        "area": area,
        "footprint": area,
        "semimajor": np.sqrt(area / np.pi) * 1.2,
        "semiminor": np.sqrt(area / np.pi) / 1.2,
        "p_blend": rng.uniform(0, 1, count),
        "ellipticity": rng.uniform(0, 0.8, count),
    }


def test_features_by_hand():
    one = {"area": 100.0, "footprint": 90.0, "semimajor": 10.0, "semiminor": 2.5, "p_blend": 0.3, "ellipticity": 0.7}
    seen, good = sources.features({name: np.full(2, value) for name, value in one.items()}, np.array([20.0, np.nan]))
    s, filled = np.log(20), np.log(90 / (25 * np.pi))
    expected = [1, s, 0.3, np.log(100), 0.7, filled, s * filled]
    np.testing.assert_allclose(seen[0], expected)
    assert good.tolist() == [True, False] and np.isfinite(seen).all()


def test_logistic_regression_of_a_table():
    # 1 of 4 where x = 0, 3 of 4 where x = 1, a thousand times: log odds of -log 3 and +log 3.
    seen = np.repeat([[1.0, 0.0], [1.0, 1.0]], 4, axis=0)
    hit = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    found = sources.logistic(np.tile(seen, (1000, 1)), np.tile(hit, 1000))
    np.testing.assert_allclose(found, [-np.log(3), 2 * np.log(3)], rtol=0.01)


def entry():
    """Odds of 9, 1 and 1/3 whatever is seen; a blendedness of 1/2 in the middle, with logits of -2 to 2, times 1.5."""
    zeros = [0.0] * 6
    return {
        "any": [np.log(9), *zeros],
        "second": [0.0, *zeros],
        "third": [-np.log(3), *zeros],
        "blendedness": [0.0, *zeros],
        "spread": [0.0, np.log(1.5)],
        "left": np.linspace(-2, 2, len(sources.LEVELS)).tolist(),
    }


def test_probabilities_and_quantiles_by_hand():
    found = sources.calibrate(columns(2), np.array([10.0, np.nan]), entry(), ENDS)
    assert [found[name][0] for name in sources.COUNTS] == pytest.approx([0.45, 0.45 * 0.75, 0.45 * 0.25])
    # One source in half of the cases: the level .84 is .68 of the others, between .5 (logit 0) and .75 (logit .4).
    assert found["blendedness"][0] == 0 and found["blendedness_lo68"][0] == 0
    assert found["blendedness_hi68"][0] == pytest.approx(1 / (1 + np.exp(-1.5 * 0.4 * 0.18 / 0.25)))
    assert all(np.isnan(value[1]) for value in found.values())


def test_the_fit_gives_back_the_odds():
    seen, snr = columns(40000), np.exp(np.random.default_rng(2).uniform(1.5, 5, 40000))
    rng = np.random.default_rng(3)
    second = sources.expit(3 * seen["p_blend"] - 2)
    number = 1 + (rng.uniform(size=40000) < second) * (1 + (rng.uniform(size=40000) < 0.2))
    share = np.where(number > 1, sources.expit(rng.normal(np.log(snr) - 4, 0.5)), 0.0)
    found = sources.fit(seen, snr, number, share)
    other = columns(5000, 4)
    at = sources.calibrate(other, np.full(5000, 50.0), found, ENDS)
    np.testing.assert_allclose(at["p_two"] + at["p_more"], sources.expit(3 * other["p_blend"] - 2), atol=0.05)
    np.testing.assert_allclose(at["p_more"], 0.2 * (at["p_two"] + at["p_more"]), atol=0.02)
    sure = at["p_one"] < 0.3
    expected = sources.expit(np.log(50) - 4)
    assert sure.any() and np.all((at["blendedness_hi68"] > expected)[sure])
