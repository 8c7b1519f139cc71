"""Drift between two sets of TFDV statistics, as plain functions.

Of each physical scalar the mean is compared, against its standard error and against what is worth stopping for; of
those that spread, and of the pixels, the histogram, by TFDV's Jensen-Shannon comparator; and of the pixels their noise.

TFDV's own histograms have ten buckets of equal width between the extremes. One bright galaxy stretches them, and two
spans of the same distribution then differ by 0.3 bits. So the comparator gets both histograms on the reference's
deciles.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from blendinator.config import DriftConfig
from blendinator.data.records import SCALARS

DRIFTING = tuple(name for name, scalar in SCALARS.items() if scalar.drift)
PIXELS = "image"
_LOW, _HIGH = 0.1, 0.3  # among the faintest pixels, which sources touch least
_SIGMAS = 0.7572  # between them, in a normal distribution

Features: TypeAlias = dict[str, statistics_pb2.FeatureNameStatistics]
Buckets: TypeAlias = Sequence[statistics_pb2.Histogram.Bucket]


def compare(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    config: DriftConfig,
) -> list[dict]:
    """Compares the statistics of a split with those of the live model's data.

    Args:
      statistics: of the new data, one data set, as StatisticsGen writes them.
      reference: of the data that the live model was trained on.
      config: the limits.

    Returns:
      One entry for each comparison: `feature`, `measure` ("mean", "histogram" or "noise"), `reference` and `new` (their
      values, in the feature's unit; None for histograms), `difference`, `limit`, and `drift` (whether the difference
      exceeds the limit). Noise and its limit are relative; histograms are in bits.
    """
    new, old = features(statistics), features(reference)
    found = []
    for name in DRIFTING:
        if name in new and name in old:
            found.append(compare_means(name, new[name].num_stats, old[name].num_stats, config))
    distances = histogram_distances(statistics, reference)
    for name in (*DRIFTING, PIXELS):
        # The histogram of a scalar that barely spreads can shift by less than is relevant; its mean tells.
        if name in distances and old[name].num_stats.std_dev > config.relative * abs(old[name].num_stats.mean):
            found.append(_entry(name, "histogram", None, None, distances[name], config.distance))
    if PIXELS in new and PIXELS in old:
        ours, theirs = pixel_noise(new[PIXELS].num_stats), pixel_noise(old[PIXELS].num_stats)
        found.append(_entry(PIXELS, "noise", theirs, ours, ours / theirs - 1.0, config.relative))
    return found


def features(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Features:
    """The numeric features of the only data set, by name."""
    return {
        feature.path.step[0]: feature for feature in statistics.datasets[0].features if feature.HasField("num_stats")
    }


def compare_means(
    name: str, new: statistics_pb2.NumericStatistics, old: statistics_pb2.NumericStatistics, config: DriftConfig
) -> dict:
    """Compares the means of one scalar.

    A difference counts when it is beyond chance (`standard_errors`) and beyond what is worth stopping for: `location`
    spreads of the reference, and `relative` to its mean for scalars that barely spread, such as the sky sigma.
    """
    error = math.sqrt(sum(one.std_dev**2 / max(one.common_stats.num_non_missing, 1) for one in (new, old)))
    limit = max(config.standard_errors * error, config.location * old.std_dev, config.relative * abs(old.mean))
    return _entry(name, "mean", old.mean, new.mean, new.mean - old.mean, limit)


def histogram_distances(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, reference: statistics_pb2.DatasetFeatureStatisticsList
) -> dict[str, float]:
    """TFDV's Jensen-Shannon divergence of each feature's histogram on the reference's deciles, in bits (0 to 1)."""
    new, old = statistics_pb2.DatasetFeatureStatisticsList(), statistics_pb2.DatasetFeatureStatisticsList()
    schema = schema_pb2.Schema()
    ours, theirs = features(statistics), features(reference)
    for made, source in ((new, statistics), (old, reference)):
        made.datasets.add(num_examples=source.datasets[0].num_examples)
    for name in (*DRIFTING, PIXELS):
        if name not in ours or name not in theirs:
            continue
        edges = _edges(ours[name].num_stats, theirs[name].num_stats)
        for made, feature in ((new, ours[name]), (old, theirs[name])):
            copy = made.datasets[0].features.add()
            copy.CopyFrom(feature)
            copy.type = statistics_pb2.FeatureNameStatistics.FLOAT
            del copy.num_stats.histograms[:]
            copy.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD).buckets.extend(
                _rebin(_deciles(feature.num_stats), edges)
            )
        schema.feature.add(name=name, type=schema_pb2.FLOAT).drift_comparator.jensen_shannon_divergence.threshold = 1.0
    info = tfdv.validate_statistics(new, schema, previous_statistics=old).drift_skew_info
    return {one.path.step[0]: one.drift_measurements[0].value for one in info if one.drift_measurements}


def pixel_noise(numbers: statistics_pb2.NumericStatistics) -> float:
    """Noise of the pixels from the faint end of their distribution, in electrons, by TFDV's deciles.

    TFDV's quantiles are approximate, to about 1 % in rank, which is some 4 % here whatever the number of pixels.
    Nothing is interpolated: the first decile reaches down to the lowest pixel of all, which one bright star decides.
    """
    return (_quantile(_deciles(numbers), _HIGH) - _quantile(_deciles(numbers), _LOW)) / _SIGMAS


def describe(entry: dict) -> str:
    """One comparison as a sentence."""
    if entry["measure"] == "histogram":
        return f"{entry['feature']}: the histograms differ by {entry['difference']:.3f} bits, limit {entry['limit']:g}"
    values = f"{entry['new']:.4g} against {entry['reference']:.4g}"
    if entry["measure"] == "noise":
        return (
            f"{entry['feature']}: the pixels' noise is {values} electrons, {100 * entry['difference']:+.1f} %, "
            f"limit {100 * entry['limit']:g} %"
        )
    return f"{entry['feature']}: the mean is {values}, limit {entry['limit']:.3g}"


def _deciles(numbers: statistics_pb2.NumericStatistics) -> Buckets:
    [found] = [one for one in numbers.histograms if one.type == statistics_pb2.Histogram.QUANTILES]
    return found.buckets


def _edges(new: statistics_pb2.NumericStatistics, old: statistics_pb2.NumericStatistics) -> list[float]:
    """The reference's deciles, without repeats, and the extremes of both."""
    inner = {bucket.high_value for bucket in _deciles(old)[:-1]}
    low = min(_deciles(new)[0].low_value, _deciles(old)[0].low_value)
    high = max(_deciles(new)[-1].high_value, _deciles(old)[-1].high_value)
    return [low, *sorted(inner - {low, high}), high if high > low else low + 1.0]


def _rebin(buckets: Buckets, edges: list[float]) -> list[statistics_pb2.Histogram.Bucket]:
    """Counts between the edges; what sits exactly on an edge counts below it."""
    counts = [_below(buckets, edge) for edge in edges]
    counts[0] = 0.0
    return [
        statistics_pb2.Histogram.Bucket(low_value=low, high_value=high, sample_count=count - before)
        for low, high, before, count in zip(edges, edges[1:], counts, counts[1:])
    ]


def _below(buckets: Buckets, value: float) -> float:
    """How many values are at most `value`, interpolated within the deciles."""
    total = 0.0
    for bucket in buckets:
        if bucket.high_value <= value:
            total += bucket.sample_count
        elif bucket.low_value < value:
            total += bucket.sample_count * (value - bucket.low_value) / (bucket.high_value - bucket.low_value)
    return total


def _quantile(buckets: Buckets, probability: float) -> float:
    """The upper end of a bucket whose rank is nearest to `probability`."""
    counts = list(accumulate(bucket.sample_count for bucket in buckets))
    nearest = min(range(len(buckets)), key=lambda i: abs(counts[i] - probability * counts[-1]))
    return buckets[nearest].high_value


def _entry(
    feature: str, measure: str, reference: float | None, new: float | None, difference: float, limit: float
) -> dict:
    return {
        "feature": feature,
        "measure": measure,
        "reference": reference,
        "new": new,
        "difference": difference,
        "limit": limit,
        "drift": bool(abs(difference) > limit),
    }
