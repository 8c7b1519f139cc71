"""Our metrics against those of scikit-learn and TensorFlow Probability on the same numbers."""

import numpy as np
import pytest
from sklearn import calibration, metrics as sklearn_metrics

from blendinator.model.metrics import aggregate, pixels, scenes


@pytest.fixture(scope="module")
def data():
    """Truth drawn from probabilities that are then made over-confident."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (2, 24, 24, 3))
    honest = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truth = (rng.random((2, 24, 24, 1)) > honest.cumsum(-1)[..., :2]).sum(-1)
    sharp = np.exp(1.6 * logits)
    return truth, (sharp / sharp.sum(-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def sums(data):
    truth, probabilities = data
    samples = np.stack([probabilities.argmax(-1), truth], 1).astype(np.uint8)
    return aggregate.sum_rows(scenes.scene_statistics(truth, samples, probabilities, ["a", "b"], near_source_radius=0))


def flat(data):
    return data[0].ravel(), data[1].reshape(-1, 3).astype(np.float64)


def test_overlap(data, sums):
    truth, p = flat(data)
    found, predicted = aggregate.metrics(sums), p.argmax(1)
    jaccard = sklearn_metrics.jaccard_score(truth, predicted, average=None)
    purity, completeness, f1, _ = sklearn_metrics.precision_recall_fscore_support(truth, predicted)
    for c, name in enumerate(aggregate.CLASS_NAMES):
        for ours, theirs in (("iou", jaccard), ("purity", purity), ("completeness", completeness), ("f1", f1)):
            assert found[f"{ours}_{name}"][0] == pytest.approx(theirs[c])


def test_scores(data, sums):
    import tensorflow_probability as tfp

    truth, p = flat(data)
    found = aggregate.metrics(sums)
    assert found["nll"][0] == pytest.approx(sklearn_metrics.log_loss(truth, p), rel=1e-5)
    per_class = [sklearn_metrics.brier_score_loss(truth == c, p[:, c]) for c in range(3)]
    assert found["brier"][0] == pytest.approx(sum(per_class), rel=1e-5)
    theirs = tfp.stats.brier_score(truth, np.log(p).astype(np.float32)).numpy().mean()  # without the constant 1
    assert found["brier"][0] == pytest.approx(theirs + 1, rel=1e-5)


def test_reliability_curve(data, sums):
    truth, p = flat(data)
    count, total, hits = sums["bins"][0, 2]
    frequency, mean = calibration.calibration_curve(truth == 2, p[:, 2], n_bins=15)
    filled = count > 0
    np.testing.assert_allclose(hits[filled] / count[filled], frequency, rtol=1e-5)
    np.testing.assert_allclose(total[filled] / count[filled], mean, rtol=1e-5)


def test_calibration_error_is_the_library_s_for_the_most_probable_class():
    """The library's ECE is of the most probable class; ours of a class equals it where that class is always on top."""
    import tensorflow_probability as tfp

    rng = np.random.default_rng(1)
    top = rng.uniform(0.51, 0.999, (1, 40, 40)).astype(np.float32)
    p = np.stack([top, (1 - top) * 0.7, (1 - top) * 0.3], -1)
    truth = np.where(rng.random(top.shape) < top**2, 0, 1)
    bins = pixels.calibration_bins(truth, p, np.linspace(0, 1, 11))[:, :1].sum(0, keepdims=True)
    theirs = tfp.stats.expected_calibration_error(
        10, logits=np.log(p.reshape(-1, 3)), labels_true=truth.ravel().astype(np.int32)
    )
    assert aggregate.calibration_error(bins)[0, 0] == pytest.approx(float(theirs), rel=1e-3)


def test_error_auroc(data):
    truth, p = flat(data)
    wrong = p.argmax(1) != truth
    entropy = pixels.entropy(p)
    where = np.ones(len(truth), bool)
    counts = [
        pixels.histogram(entropy[None, None], scenes.ENTROPY_EDGES, (where & chosen)[None, None])
        for chosen in (~wrong, wrong)
    ]
    binned = np.searchsorted(scenes.ENTROPY_EDGES, entropy, side="right")
    ours = aggregate.auroc(*counts)[0]
    assert ours == pytest.approx(sklearn_metrics.roc_auc_score(wrong, binned))
    assert ours == pytest.approx(sklearn_metrics.roc_auc_score(wrong, entropy), abs=0.005)


def test_brier_decomposition_adds_up_for_probabilities_of_few_values():
    rng = np.random.default_rng(2)
    p = rng.choice([0.1, 0.35, 0.8], (1, 30, 30))
    probabilities = np.stack([1 - p, p, 0 * p], -1)
    truth = (rng.random(p.shape) < p**1.3).astype(int)
    bins = pixels.calibration_bins(truth, probabilities, np.linspace(0, 1, 11))
    parts = aggregate.brier_decomposition(bins)
    total = (parts["reliability"] - parts["resolution"] + parts["uncertainty"])[0, 1]
    assert total == pytest.approx(sklearn_metrics.brier_score_loss(truth.ravel() == 1, p.ravel()))
