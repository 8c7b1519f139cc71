"""The post-hoc fit of the class odds."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from blendinator.model.recalibration import class_odds


def test_class_odds_undo_offsets_and_temperature():
    """Truths drawn from known probabilities; the logits are shifted and stretched by known amounts."""
    rng = np.random.default_rng(1)
    right = rng.normal(0, 2, (40000, 1, 3))
    mask = (softmax(right[:, 0], axis=-1).cumsum(axis=-1) < rng.random((40000, 1))).sum(axis=-1)
    shifted = 1.5 * right - np.array([0.0, 0.5, 1.0])  # (shifted + offsets) / 1.5 is right again
    temperature, offsets = class_odds(shifted, mask)
    assert temperature == pytest.approx(1.5, rel=0.03)
    np.testing.assert_allclose(offsets, [0.0, 0.5, 1.0], atol=0.06)


def test_class_odds_score_the_mean_over_samples():
    """Two samples that contradict each other: no temperature makes their mean better than the coin it is."""
    logits = np.array([[[3.0, 0.0, -50.0], [0.0, 3.0, -50.0]]] * 200)
    mask = np.arange(200) % 2
    temperature, offsets = class_odds(logits, mask)
    mean = np.exp(log_softmax((logits + offsets) / temperature, axis=-1)).mean(axis=1)
    np.testing.assert_allclose(mean[:, :2], 0.5, atol=0.01)
